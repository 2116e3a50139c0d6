"""Apply with many blocks: every option, restarts, failing blocks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import apply_parts
import numpy as np
import pytest
import tensorstore
import torch
import yaozarrs
from apply_parts import SMALL, files, make_raw, make_store

from dacapo_hd.arrays import ArrayRef, create_volume, open_volume
from dacapo_hd.blockwise import BlocksFailedError
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.manager import RunManager
from dacapo_hd.prediction import predict_in_memory, read_prediction
from dacapo_hd.stores import FileStore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store and a volume that nobody changes."""
    folder = tmp_path_factory.mktemp("made")
    make_raw(folder / "raw.zarr")
    make_store(folder / "runs", str(folder / "raw.zarr"))
    return folder


@pytest.fixture(scope="module")
def calm(made):
    """The output of a command that nothing has disturbed."""
    options = {"memory": SMALL, "progress": False}
    RunManager(FileStore(made / "runs")).apply("tiny", str(made / "raw.zarr"), str(made / "calm.zarr"), **options)
    return made / "calm.zarr"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def raw(made):
    return str(made / "raw.zarr")


@pytest.fixture
def apply(made, raw):
    """Apply the run to the volume, in small blocks."""

    def run(output="out.zarr", source=raw, **options):
        manager = RunManager(FileStore(made / "runs"))
        return manager.apply("tiny", str(source), output, progress=False, **{"memory": SMALL, **options})

    return run


@pytest.fixture
def start(made, raw):
    """Do the same in a process of its own."""
    started = []

    def run(output="out.zarr", **options):
        given = json.dumps({"source": raw, "output": output, "memory": SMALL, **options})
        command = [sys.executable, apply_parts.__file__, str(made / "runs"), given]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def in_memory(made, volume, iteration=1):
    from dacapo_hd.inference import load_network, make_predictor

    store = FileStore(made / "runs")
    run = RunManager(store).load("tiny")
    _, network, _ = load_network(run, store, iteration)
    return predict_in_memory(make_predictor(run, network), volume, volume.grid, (0.0, 255.0))


def test_small_blocks_give_what_memory_gives(made, raw, apply):
    assert [str(path) for path in apply()] == [
        "out.zarr/prediction",
        "out.zarr/segmentation/mito",
        "out.zarr/segmentation/pm",
    ]
    found = read_prediction(open_volume("out.zarr/prediction"))
    exact = in_memory(made, open_volume(raw))
    assert abs(found.data - exact.data).max() <= 2 / 510 + 1e-6
    assert not Path("out.zarr/.dacapo_hd").exists()


def test_outputs_say_where_they_come_from(apply, raw):
    apply(flips=True)
    attributes = open_volume("out.zarr/segmentation/mito").attributes
    kept = {key: attributes[key] for key in ("run", "iteration", "source", "flips", "segmenter")}
    assert kept == {
        "run": "tiny",
        "iteration": 1,
        "source": raw,
        "flips": True,
        "segmenter": "components(distance > -0.2, 6 neighbours)",
    }


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_output_is_a_pyramid(apply, zarr_format, made):
    for path in apply(zarr_format=zarr_format):
        levels = ArrayRef(str(path)).open_levels()
        assert [volume.grid.voxel_size_nm for volume in levels.values()] == [(8, 8, 8), (16, 16, 16)]
        fine, coarse = levels.values()
        assert coarse.read().any() or not fine.read().any()


def test_objects_are_listed_in_a_table(apply):
    apply()
    rows = Path("out.zarr/segmentation/mito.csv").read_text().splitlines()
    assert len(rows) - 1 == open_volume("out.zarr/segmentation/mito").read().max() > 1


@pytest.mark.parametrize("options", [{"memory": "4GB"}, {"memory": "520MB"}], ids=str)
def test_blocks_change_values_by_rounding_only(apply, calm, options):
    apply(**options)
    found, expected = (open_volume(f"{folder}/prediction").read().astype(int) for folder in ("out.zarr", calm))
    np.testing.assert_allclose(found, expected, atol=1)


def test_workers_change_nothing(apply, calm):
    apply(workers=2)
    assert files("out.zarr") == files(calm)


def test_a_mask_limits_prediction_and_segmentation(apply, calm, here):
    mask = np.zeros((5, 23, 28), np.uint8)
    mask[2:4, 5:15, 3:20] = 1
    coarse = Grid.from_nm(mask.shape, (32, 32, 32))
    create_volume("mask.zarr", coarse, np.uint8).write(coarse.roi, mask)
    apply(mask="mask.zarr")
    inside = mask.repeat(4, 0).repeat(4, 1).repeat(4, 2)[:20, :90, :110] > 0
    found, all_of_it = (open_volume(f"{folder}/prediction").read() for folder in ("out.zarr", calm))
    assert (found[:, ~inside] == 0).all() and all_of_it[:, ~inside].any()
    np.testing.assert_array_equal(found[:, inside], all_of_it[:, inside])
    assert (open_volume("out.zarr/segmentation/mito").read()[~inside] == 0).all()


def test_a_hole_of_the_mask_is_not_filled(apply):
    mask = np.ones((10, 45, 55), np.uint8)
    mask[5, 20, 20] = 0
    coarse = Grid.from_nm(mask.shape, (16, 16, 16))
    create_volume("mask.zarr", coarse, np.uint8).write(coarse.roi, mask)
    everything = "{type: ConnectedComponents, quantity: distance, threshold: -1.0, fill_holes: true}"
    apply(mask="mask.zarr", parameters=everything)
    outside = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2) == 0
    found = open_volume("out.zarr/segmentation/mito").read() > 0
    np.testing.assert_array_equal(found, ~outside)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_other_programs_read_what_is_written(zarr_format, apply):
    for path in apply(zarr_format=zarr_format):
        (multiscale,) = yaozarrs.open_group(path).ome_metadata().multiscales
        spatial = [axis for axis in multiscale.axes if axis.type == "space"]
        assert [(axis.name, axis.unit) for axis in spatial] == [(name, "nanometer") for name in "zyx"]
        assert multiscale.type == ("mean" if path.name == "prediction" else "mode")
        levels = ArrayRef(str(path)).open_levels().values()
        for dataset, size, level in zip(multiscale.datasets, (8.0, 16.0), levels, strict=True):
            scale, translation = dataset.coordinateTransformations
            assert list(scale.scale[-3:]) == [size] * 3
            # the centre of the first voxel
            assert list(translation.translation[-3:]) == [size / 2] * 3
            store = {"driver": "file", "path": str(path / dataset.path)}
            driver = {2: "zarr", 3: "zarr3"}[zarr_format]
            stored = tensorstore.open({"driver": driver, "kvstore": store}).result().read().result()
            np.testing.assert_array_equal(stored, level.read())


def test_empty_blocks_are_background_when_asked(apply, calm):
    apply(skip_empty=True)
    found, all_of_it = (open_volume(f"{folder}/prediction").read() for folder in ("out.zarr", calm))
    assert (found[:, -6:] == 0).all() and all_of_it[:, -6:].any()
    np.testing.assert_allclose(found[:, :-6].astype(int), all_of_it[:, :-6], atol=1)


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.002)


def done_blocks(record):
    path = Path("out.zarr/.dacapo_hd", record, "done")
    return np.fromfile(path, np.uint8).sum() if path.exists() else 0


STAGES = {
    "predict": lambda: done_blocks("predict") >= 3,
    "segment": lambda: Path("out.zarr/.dacapo_hd/segment/passes").exists(),
    "pyramids": lambda: Path("out.zarr/.dacapo_hd/pyramids").exists(),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_same_command_finishes_what_a_signal_has_interrupted(stage, number, start, apply, calm):
    process = start()
    wait_for(STAGES[stage], process)
    process.send_signal(number)
    process.wait(60)
    assert Path("out.zarr/.dacapo_hd/apply.json").exists(), "finished before the signal"
    before = done_blocks("predict")
    apply()
    assert files("out.zarr") == files(calm)
    assert before >= 3


def test_two_workers_finish_what_one_has_begun(start, apply, calm):
    process = start()
    wait_for(STAGES["predict"], process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    apply(workers=2, memory="4GB")
    assert files("out.zarr") == files(calm)


def workers_in(folder):
    listed = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "blockwise.worker" in line and str(folder) in line]


def test_a_killed_worker_changes_nothing(start, here, calm):
    process = start(workers=2)
    wait_for(lambda: workers_in(here), process)
    worker = workers_in(here)[0]
    wait_for(lambda: any(Path("out.zarr/.dacapo_hd/predict").glob("session-*/opened-*")), process)
    os.kill(worker, signal.SIGKILL)
    assert process.wait(300) == 0
    assert files("out.zarr") == files(calm)


@pytest.fixture
def unfinished(start):
    """An output in which some blocks are predicted."""
    process = start()
    wait_for(STAGES["predict"], process)
    process.kill()
    process.wait(60)


def test_a_changed_command_is_refused_on_an_unfinished_output(unfinished, apply):
    with pytest.raises(UserError) as raised:
        apply(roi="0:10,:,:", flips=True)
    assert str(raised.value) == (
        'out.zarr is not finished and was begun with other settings: roi was null, is "0:10,:,:", flips was false, is '
        "true; repeat the command that began it, or give --overwrite to begin anew"
    )
    apply(roi="0:10,:,:", flips=True, overwrite=True)
    assert open_volume("out.zarr/prediction").grid.shape_vx == (10, 90, 110)


def test_later_scores_do_not_change_what_was_begun(unfinished, made, apply, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(made / "runs", runs)
    store = FileStore(runs)
    import attrs

    rows = [attrs.evolve(row, value=5.0) for row in store.scores("tiny") if row.iteration == 2]
    store.write_scores("tiny", rows)
    manager = RunManager(store)
    assert manager.best("tiny").iteration == 2
    manager.apply("tiny", str(made / "raw.zarr"), "out.zarr", progress=False)
    assert open_volume("out.zarr/prediction").attributes["iteration"] == 1


def test_two_commands_cannot_write_to_one_output(apply):
    import filelock

    Path("out.zarr/.dacapo_hd").mkdir(parents=True)
    with filelock.FileLock("out.zarr/.dacapo_hd/lock"), pytest.raises(UserError) as raised:
        apply()
    assert str(raised.value) == "out.zarr: another process writes here; wait for it, or stop it"


def test_damaged_chunks_fail_their_blocks_and_the_rest_is_done(raw, apply, calm, tmp_path):
    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(raw, damaged)
    chunk = damaged / "s0" / "1" / "2" / "3"
    content = chunk.read_bytes()
    chunk.write_bytes(b"nonsense")
    with pytest.raises(BlocksFailedError) as raised:
        apply(source=damaged)
    first, *others = raised.value.problems
    assert raised.value.exit_code == 4
    assert first.endswith("the others are done; the same command tries these again")
    assert others and all("cannot read" in line and "traceback in" in line for line in others)
    assert not Path("out.zarr/segmentation").exists()
    chunk.write_bytes(content)
    apply(source=damaged)
    for part in ("prediction", "segmentation/mito"):
        ours, theirs = (open_volume(f"{folder}/{part}").read() for folder in ("out.zarr", calm))
        np.testing.assert_array_equal(ours, theirs)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(apply, capsys, here):
    assert apply(dry_run=True, workers=2, memory="510MB") == []
    lines = capsys.readouterr().out.splitlines()
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
    assert caplog.messages == [
        f"{section}: a single section, but the network of run 'tiny' sees 6 more on either side, which are copies of "
        "it here; expect less than in a volume"
    ]


def test_compute_may_be_a_file(apply, calm):
    Path("here.yaml").write_text("type: Local\nworkers: 3\n")
    apply(compute="here.yaml", workers=2)
    assert files("out.zarr") == files(calm)
