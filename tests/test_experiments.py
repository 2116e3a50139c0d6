"""Every run and study file of `experiments/` loads; scripts make the data that some of them need, and tables."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from store_rows import record, score

from dacapo_hd.datasplits import Folder
from dacapo_hd.datasplits.base import PARTS
from dacapo_hd.phantom import write_scheme
from dacapo_hd.stores import FileStore
from dacapo_hd.sweep import load_runs

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
FILES = sorted([*EXPERIMENTS.glob("runs/*.yaml"), *EXPERIMENTS.glob("studies/*.yaml"), EXPERIMENTS / "demo/sweep.yaml"])


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """What `hippocampus_slices.py` makes of ten small volumes, the last half of each of them empty."""
    folder = tmp_path_factory.mktemp("hippocampus")
    rng, arrays = np.random.default_rng(0), {}
    for number in range(10):
        shape = (36 - number, 47 + number, 6)
        labels = np.zeros(shape, np.uint8)
        labels[8:22, 10:30, :3] = 1 + number % 2
        arrays |= {f"img_{number:03}": rng.integers(0, 255, shape, np.uint8), f"lab_{number:03}": labels}
    np.savez(folder / "volumes.npz", **arrays)
    command = [EXPERIMENTS / "hippocampus_slices.py", folder / "volumes.npz", folder / "slices.zarr"]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return folder / "slices.zarr"


def write_nuclei(path: Path) -> None:
    """Write what `dsb2018_nuclei.py` reads: 13 small images with two nuclei each, of different brightness."""
    arrays = {}
    for number in range(13):
        ids = np.zeros((30, 34 + number), np.uint16)
        ids[3:9, 3:9], ids[15:25, 12:30] = 4, 9
        arrays[f"img_{number:02}"] = (10 + (number + 1) * (ids > 0)).astype(np.uint8)
        arrays[f"lab_{number:02}"] = ids
    np.savez(path, **arrays)


def import_nuclei(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    write_nuclei(folder / "images.npz")
    script = EXPERIMENTS / "dsb2018_nuclei.py"
    command = [sys.executable, str(script), str(folder / "images.npz"), str(folder / "dsb2018.zarr"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_loads(file, monkeypatch, tmp_path, slices):
    monkeypatch.setenv("DACAPO_HD_DATA", "/somewhere")
    monkeypatch.setenv("HIPPOCAMPUS_SLICES", str(slices))
    monkeypatch.setenv("DSB2018_NUCLEI", str(tmp_path / "dsb2018.zarr"))
    if file.parent.name == "demo":
        # the demo makes its data, the scheme among them, in the project's folder before it loads its sweep
        shutil.copytree(EXPERIMENTS, tmp_path / "experiments")
        file = tmp_path / "experiments" / "demo" / file.name
        write_scheme(tmp_path / "demo" / "data.zarr")
    if "embeddings" in file.stem:
        assert import_nuclei(tmp_path, "--validate", "2").returncode == 0
    runs = load_runs(file)
    assert len({run.name for run in runs}) == len(runs) > 0
    assert all(run.datasplit.crops("train") for run in runs if file.parent.name != "demo")


def test_slices_of_the_hippocampus_are_split_by_volume(slices):
    masks, sizes = (Folder(path=str(slices / kind)) for kind in ("masks", "sizes"))
    opened = {part: masks.open(part, ("hippocampus",)) for part in PARTS}
    # three sections of each volume have an object
    assert {part: len(crops) for part, crops in opened.items()} == {"train": 21, "validate": 3, "test": 6}
    assert {crop.label_grid.shape_vx for crops in opened.values() for crop in crops} == {(1, 48, 32)}
    for crop in opened["train"]:
        present = crop.read_labels(crop.label_grid.roi).present
        # 14 x 20 pixels, both classes in one
        assert present.sum() == 14 * 20
    sized = sizes.open("train", ("hippocampus",))
    assert [dict(crop.annotations) for crop in sized] == [{"object_size_vx": 14}] * 21
    assert not any(crop.labelled for crop in sized)
    for one, other in zip(opened["train"], sized, strict=True):
        assert (one.read_raw(one.label_grid.roi) == other.read_raw(other.label_grid.roi)).all()
    assert all(crop.labelled for part in ("validate", "test") for crop in sizes.open(part, ("hippocampus",)))


def test_an_unset_variable_is_named(monkeypatch):
    from dacapo_hd.errors import UserError

    monkeypatch.delenv("DACAPO_HD_DATA", raising=False)
    with pytest.raises(UserError, match="DACAPO_HD_DATA"):
        load_runs(EXPERIMENTS / "runs" / "epfl_hot_distance.yaml")


def test_nuclei_are_split_and_stretched(tmp_path, monkeypatch):
    from dacapo_hd.config import load
    from dacapo_hd.datasplits import Datasplit

    monkeypatch.setenv("DSB2018_NUCLEI", str(tmp_path / "dsb2018.zarr"))
    made = import_nuclei(tmp_path, "--validate", "3")
    assert made.stdout == "train: 8 images, 16 nuclei\nvalidate: 3 images, 6 nuclei\ntest: 2 images, 4 nuclei\n"
    split = load(EXPERIMENTS / "datasplits" / "dsb2018.yaml", Datasplit)
    names = {part: [crop.name for crop in split.crops(part)] for part in ("train", "validate", "test")}
    assert names["test"] == ["00", "10"]
    assert sorted(name for part in names.values() for name in part) == [f"{number:02}" for number in range(13)]
    for crop in split.open("validate", ["nucleus"]):
        raw, labels = crop.read_raw(crop.raw_grid.roi), crop.read_labels(crop.label_grid.roi)
        assert set(np.unique(labels.instances["nucleus"])) == {0, 4, 9}
        assert labels.known.all()
        assert set(np.unique(raw[0][labels.present[0]])) == {1}
        assert set(np.unique(raw[0][labels.absent[0]])) == {-1}
    again = import_nuclei(tmp_path)
    assert again.returncode == 2
    assert "dsb2018.zarr exists; remove it, or choose another folder" in again.stderr


@pytest.fixture
def run_script(monkeypatch):
    """Run a script of `experiments/` in this process."""

    def run(name: str, *arguments: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXPERIMENTS / name), run_name="__main__")

    return run


def store_scores(folder: Path, **values: tuple[int, float]) -> Path:
    """Store runs with a seed and a score each."""
    store = FileStore(folder)
    for name, (seed, value) in values.items():
        store.add_run(record(name, seed=seed))
        store.write_scores(name, [attrs.evolve(score(run=name, value=value), seed=seed)])
    return folder


def test_only_runs_that_differ_by_their_seed_share_a_row(tmp_path, run_script, capsys):
    runs = {
        "unet-s1": (1, 0.7),
        "unet-s0": (0, 0.5),
        "unet-small": (0, 0.2),
        "unet-sharp": (0, 0.4),
        "unet-s": (0, 0.1),
    }
    run_script("segmenter_table.py", store_scores(tmp_path / "runs", **runs), "--score", "dice")
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| run | segmenter | dice |"
    assert sorted(rows) == [
        "| unet | T() | 0.600 ± 0.141 (0.500, 0.700) |",
        "| unet-s | T() | 0.100 |",
        "| unet-sharp | T() | 0.400 |",
        "| unet-small | T() | 0.200 |",
    ]


@pytest.mark.parametrize("other", ["unet-s0", "unet"])
def test_two_runs_of_one_row_and_seed_are_refused(tmp_path, run_script, other):
    old = store_scores(tmp_path / "old", **{"unet-s0": (0, 0.5)})
    new = store_scores(tmp_path / "new", **{other: (0, 0.7)})
    with pytest.raises(SystemExit) as stop:
        run_script("segmenter_table.py", old, new, "--score", "dice")
    # a text is printed on stderr, and the exit code is 1
    assert stop.value.code == (
        f"error: run 'unet-s0' of {old} and run {other!r} of {new} would share the row 'unet', both with seed 0; "
        "leave out one of them"
    )


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("segmenter_table.py", ["--score", "dise"], "unknown score 'dise'; did you mean 'dice'?"),
        (
            "score_segmenters.py",
            ["--score", "dise", "--segmenter", "{type: AngularClustering}"],
            "unknown score 'dise'; did you mean 'dice'?",
        ),
        (
            "score_segmenters.py",
            ["--score", "dice", "--segmenter", "{type: Treshold}"],
            "--segmenter: type: unknown segmenter 'Treshold'; did you mean 'Threshold'?",
        ),
        (
            "score_segmenters.py",
            ["--score", "dice", "--segmenter", "{type: Threshold"],
            "--segmenter: line 1, column 17: not YAML: expected ',' or '}', but got '<stream end>'",
        ),
        (
            "score_segmenters.py",
            ["--score", "dice", "--segmenter", "{type: AngularClustering}"],
            "STORE: there is no folder nowhere; give another one, or train a run, which makes it",
        ),
        (
            "segmenter_table.py",
            ["--score", "dice"],
            "STORE: there is no folder nowhere; give another one, or train a run, which makes it",
        ),
    ],
)
def test_mistakes_end_in_one_line(run_script, capsys, script, options, message):
    with pytest.raises(SystemExit) as stop:
        run_script(script, "nowhere", *options)
    assert stop.value.code == f"error: {message}"
    assert capsys.readouterr().out == ""
