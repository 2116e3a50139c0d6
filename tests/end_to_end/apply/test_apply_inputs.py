"""What apply says before it computes: what it would take, and what does not fit."""

from pathlib import Path

import apply_parts
import numpy as np
import pytest
import tensorstore
from apply_parts import SMALL, make_raw, make_store

from dacapo_hd.arrays import create_volume, open_volume
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.manager import RunManager
from dacapo_hd.stores import FileStore


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(apply, capsys, here, raw):
    assert apply(dry_run=True, workers=2, memory="510MB") == []
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop(0) == (
        f"input {raw}/s0: Zarr 2, axes z y x, 20 x 90 x 110 voxels (z y x) of uint8, no channels, voxel size [8, 8, 8] "
        "nm, corner [0, 0, 0] nm, level s0; intensities 0 to 255 become -1 to 1"
    )
    assert [line.split(":")[0] for line in lines] == ["blocks", "read", "write", "memory", "disk"]
    assert lines[0].endswith("0.198 Mvoxels in all")
    assert lines[2] == "write: 792 kB of predictions before compression"
    assert lines[3].endswith("for each of 2 workers")
    # 4 channels of uint8 and 2 classes of uint32, of which others are kept until they are stitched
    assert lines[4].startswith("disk: at most 4.75 MB with segmentation and pyramids, before compression; ")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("segmenter", "disk"),
    [
        # 4 channels and 2 masks or 2 classes of uint32, with their levels; beside these what is needed until the end
        ("{type: Threshold, quantity: distance, threshold: 0.0}", 4 / 3 * (4 + 2)),
        ("{type: ConnectedComponents, quantity: distance, threshold: 0.0}", 4 / 3 * (4 + 8) + 8),
        ("{type: Watershed, quantity: distance, seed_threshold: 0.5}", 4 / 3 * (4 + 8) + 24),
    ],
)
def test_the_disk_needed_is_what_lies_on_it_at_most(segmenter, disk, apply, capsys):
    apply(dry_run=True, parameters=segmenter)
    assert f"disk: at most {disk * np.prod(apply_parts.SHAPE) / 1e6:.3g} MB with" in capsys.readouterr().out


def test_a_dry_run_refuses_what_the_disk_cannot_hold(apply, here):
    grid = Grid.from_nm((30_000, 100_000, 100_000), (8, 8, 8))
    create_volume("huge.zarr", grid, np.uint8, chunk_shape_vx=(256, 256, 256))
    with pytest.raises(UserError) as raised:
        apply(source="huge.zarr", dry_run=True, memory="4GB")
    assert str(raised.value).startswith(f"{here} has ")
    assert str(raised.value).endswith("free, but up to 7.2e+03 TB are needed; give another OUTPUT, or a smaller --roi")
    assert not Path("out.zarr").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "some"}, "--memory: expected a size such as 8GB or 500MB, got 'some'"),
        (
            {"memory": "10MB"},
            "--memory: 0.01 GB are not enough for this network; its smallest block takes about 0.5 GB",
        ),
        ({"compute": "slurm"}, "--compute: expected a YAML file or '{type: Slurm, workers: 8, ...}', got 'slurm'"),
        ({"compute": "{type: Slurn}"}, "--compute: type: unknown compute 'Slurn'; did you mean 'Slurm'?"),
        ({"mask": "nowhere.zarr"}, "no array at "),
        (
            {"output": "s3://bucket/out.zarr"},
            "cannot write to s3://bucket/out.zarr: only folders can be written; give one, and upload it afterwards",
        ),
        ({"device": "gpu"}, "--device: unknown device 'gpu'; give auto, cpu, cuda, cuda:N or mps"),
    ],
)
def test_mistakes_are_named(options, message, apply):
    with pytest.raises(UserError) as raised:
        apply(**options)
    assert str(raised.value).startswith(message)


def test_a_mask_elsewhere_is_refused(apply):
    grid = Grid.from_nm((4, 4, 4), (8, 8, 8), (10_000, 0, 0))
    create_volume("mask.zarr", grid, np.uint8)
    with pytest.raises(UserError, match=r"--mask: mask.zarr lies at .* outside of .*raw.zarr"):
        apply(mask="mask.zarr")
    assert not Path("out.zarr").exists()


def write_plain(path, data):
    """Write a Zarr 2 array that says nothing of itself."""
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(Path(path).absolute())}}
    metadata = {"shape": data.shape, "chunks": [64] * data.ndim}
    tensorstore.open({**spec, "metadata": metadata, "create": True}, dtype=data.dtype).result()[...] = data


def test_what_files_do_not_say_is_said_by_options(made, calm, apply):
    data = open_volume(made / "raw.zarr").read()
    write_plain("plain.zarr", np.ascontiguousarray(data.T))
    with pytest.raises(UserError, match=r"has no voxel size.*; give --assumed-voxel-size Z,Y,X in nm"):
        apply(source="plain.zarr")
    apply(source="plain.zarr", axes="xyz", assumed_voxel_size_nm=(8, 8, 8))
    expected = open_volume(calm / "prediction").read()
    np.testing.assert_array_equal(open_volume("out.zarr/prediction").read(), expected)
    # the file's own size counts where there is one
    apply("own.zarr", assumed_voxel_size_nm=(4, 4, 4))
    np.testing.assert_array_equal(open_volume("own.zarr/prediction").read(), expected)


def test_a_mask_may_need_words_of_its_own(made, apply):
    data = open_volume(made / "raw.zarr").read()
    inside = np.zeros(data.shape, np.uint8)
    inside[:8] = 1
    write_plain("mask.zarr", np.ascontiguousarray(inside.T))
    with pytest.raises(UserError, match=r"give --mask '\{path: \.\.\., voxel_size_nm: \[z, y, x\]\}'"):
        apply(mask="mask.zarr")
    apply(mask="{path: mask.zarr, axes: xyz, voxel_size_nm: [8, 8, 8]}")
    predicted = open_volume("out.zarr/prediction").read()
    assert predicted[:, :8].any() and not predicted[:, 8:].any()


def test_intensities_of_the_volume_itself_or_as_given(made, calm, capsys):
    data = open_volume(made / "raw.zarr").read()
    low, high = map(int, np.percentile(data, (1, 99), method="inverted_cdf"))
    # the same image as another microscope might give it
    grid = Grid.from_nm(data.shape, apply_parts.VOXEL_SIZE_NM)
    create_volume("bright.zarr", grid, np.uint16).write(grid.roi, data.astype(np.uint16) * 100 + 5000)
    manager = RunManager(make_store("by_volume", str(made / "raw.zarr"), {"intensity_range": "percentile"}))
    manager.apply("tiny", str(made / "raw.zarr"), "a.zarr", memory=SMALL)
    assert f"; intensities {low:g} to {high:g} become -1 to 1\n" in capsys.readouterr().err
    manager.apply("tiny", "bright.zarr", "b.zarr", memory=SMALL)
    assert f"; intensities {low * 100 + 5000:.4g} to {high * 100 + 5000:.4g} become" in capsys.readouterr().err
    a, b = (open_volume(f"{name}.zarr/prediction").read().astype(int) for name in "ab")
    assert abs(a - b).max() <= 1
    manager.apply("tiny", str(made / "raw.zarr"), "c.zarr", memory=SMALL, intensity_range=(0, 255), progress=False)
    np.testing.assert_array_equal(open_volume("c.zarr/prediction").read(), open_volume(calm / "prediction").read())


def test_a_single_section_is_warned_of_where_the_network_sees_others(made, apply, tmp_path, caplog):
    make_raw("section.zarr", (1, 90, 110))
    section = str(tmp_path / "section.zarr")
    apply("flat.zarr", section)
    assert caplog.messages == []
    make_store("deep", str(made / "raw.zarr"), dims=3, input_shape_vx=[8, 48, 48])
    manager = RunManager(FileStore("deep"))
    manager.apply("tiny", str(made / "raw.zarr"), "volume.zarr", roi="3:4,:,:", progress=False)
    assert caplog.messages == []
    manager.apply("tiny", section, "deep.zarr", progress=False)
    assert [text for text in caplog.messages if "nothing was segmented" not in text] == [
        f"{section}: a single section, but the network of run 'tiny' sees 6 more on either side, which are copies of "
        "it here; expect less than in a volume"
    ]
