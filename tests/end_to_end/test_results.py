"""compare, best, plot and runs --filter as a user calls them."""

import csv
import io
import json
import shlex
import shutil

import attrs
import matplotlib.image
import pytest
import yaml

from dacapo_hd.arrays import ArrayRef
from dacapo_hd.cli.options import Place
from dacapo_hd.cli.results import _place_arguments
from dacapo_hd.stores import FileStore


@pytest.fixture
def trained(trained_folder, here):
    """The trained run `tiny` in the default store."""
    shutil.copytree(trained_folder, here / "runs")
    return FileStore(here / "runs")


@pytest.fixture
def repeated(trained):
    """Repetitions of `tiny` with other seeds, and another task with the same seeds, whose dice is higher by 0.25."""
    own, stats = trained.run("tiny"), trained.stats("tiny")
    scores = [row for row in trained.scores("tiny") if row.score in ("dice", "voi")]
    for group, more in (("tiny", 0.0), ("good", 0.25)):
        for seed in (0, 1, 2):
            name = f"{group}-s{seed}"
            if group == "tiny" and seed == 0:
                continue
            config = {**own.config, "name": name, "seed": seed}
            if group == "good":
                config["task"] = {**own.config["task"], "scale_nm": 80.0}
            group_hash = own.group_hash if group == "tiny" else "good"
            record = attrs.evolve(own, name=name, config=config, config_hash=name, group_hash=group_hash, seed=seed)
            trained.add_run(record)
            trained.append_stats(name, stats)
            rows = [
                attrs.evolve(row, run=name, seed=seed, config_hash=name, value=row.value / 2 + more + seed / 1000)
                for row in scores
            ]
            trained.write_scores(name, rows)
    return trained


def test_compare_takes_in_repetitions_and_says_what_differs(repeated, dacapo_hd):
    code, out, err = dacapo_hd("compare", "good-s1", "tiny-s1")
    assert (code, err) == (0, "")
    assert "dice: differences from good-s{0,1,2}" in out
    header = next(line for line in out.splitlines() if "dice ± sd" in line)
    assert "task.scale_nm" in header and " seed " not in header
    assert "tiny, tiny-s1, tiny-s2" in out


def test_compare_of_repetitions_alone_says_how_to_see_them_apart(repeated, dacapo_hd):
    code, out, err = dacapo_hd("compare", "good-s0", "good-s1")
    assert (code, err) == (0, "warning: the named runs differ by the seed alone; --each shows them one by one\n")
    assert "good-s{0,1,2}" in out and "differences" not in out


def test_compare_without_names_names_no_winner(repeated, dacapo_hd):
    code, out, _ = dacapo_hd("compare")
    assert code == 0
    assert "good-s{0,1,2}" in out and "differences" not in out


def test_compare_each_has_a_line_per_run(repeated, dacapo_hd):
    code, out, _ = dacapo_hd("compare", "--each", "tiny", "good-s0")
    assert code == 0
    lines = {line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")}
    assert lines == {"tiny", "good-s0"}


def test_compare_for_programs(repeated, dacapo_hd):
    code, out, err = dacapo_hd("compare", "tiny", "good-s0", "--json", "--per-class")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [group["name"] for group in found["groups"]] == ["good-s{0,1,2}", "tiny, tiny-s1, tiny-s2"]
    assert [pair["class"] for pair in found["differences"]] == [None, "mito", "pm"]
    code, out, _ = dacapo_hd("compare", "--csv", "--each")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(lines) == 6
    assert {line["config.task.scale_nm"] for line in lines} == {"40.0", "80.0"}
    code, _, err = dacapo_hd("compare", "--csv", "--json")
    assert (code, err) == (1, "error: --json and --csv: give one of the two\n")


def test_best_prints_a_command_that_runs_as_it_is(trained, dataset, dacapo_hd, here):
    code, out, err = dacapo_hd("best", "tiny")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "tiny by dice (higher is better)"
    assert "selection crops: " in lines[2] and "mean over 1 crop and 2 classes; chosen on these: optimistic" in lines[2]
    program, *arguments = shlex.split(lines[-1])
    assert (program, arguments[:4]) == ("dacapo-hd", ["apply", "tiny", f"{dataset}/validate/crop_0/raw", "tiny.zarr"])
    code, out, err = dacapo_hd(*arguments, "--quiet")
    assert code == 0, err
    assert f"iteration {arguments[arguments.index('--iteration') + 1]}, " in lines[1]
    assert ArrayRef(path="tiny.zarr/segmentation/mito").open().read().shape == (8, 96, 96)


def test_best_takes_paths_and_names_the_store(trained, dacapo_hd, here):
    (here / "runs").rename(here / "my runs")
    code, out, _ = dacapo_hd("best", "tiny", "a b.zarr/raw", "out.zarr", "--score", "voi", "--store", "my runs")
    command = shlex.split(out.splitlines()[-1])
    assert code == 0
    assert command[:5] == ["dacapo-hd", "apply", "tiny", "a b.zarr/raw", "out.zarr"]
    assert command[-2:] == ["--store", "my runs"]
    assert yaml.safe_load(command[command.index("--parameters") + 1])["type"]


def test_best_does_not_write_into_the_dataset(trained, dacapo_hd, here):
    for source, output in [("tiny.zarr/test/raw", "tiny_applied.zarr"), ("tiny.zarr2/raw", "tiny.zarr")]:
        code, out, _ = dacapo_hd("best", "tiny", source)
        assert code == 0
        assert shlex.split(out.splitlines()[-1])[3:5] == [source, output]


def test_a_password_is_not_in_the_command(capsys):
    assert _place_arguments(Place("mongodb://user:secret@host/em", "/weights")) == ["--weights", "/weights"]
    assert capsys.readouterr().err == (
        "warning: the command leaves out the store's address, which has a password or options; put it into "
        "DACAPO_HD_STORE\n"
    )
    assert _place_arguments(Place("mongodb://host/em")) == ["--store", "mongodb://host/em"]
    assert capsys.readouterr().err == ""


def test_best_says_when_the_checkpoint_is_gone(trained, dacapo_hd):
    code, out, _ = dacapo_hd("best", "tiny", "in.zarr")
    command = shlex.split(out.splitlines()[-1])
    chosen = int(command[command.index("--iteration") + 1])
    other = {3: 6, 6: 3}[chosen]
    trained.remove_checkpoints("tiny", [chosen])
    code, out, err = dacapo_hd("best", "tiny", "in.zarr")
    assert code == 0
    assert err.startswith(f"warning: run 'tiny': the checkpoint of iteration {chosen}, the best by dice (")
    assert err.endswith(f"), is gone; iteration {other} is the best of those that are left\n")
    assert f"--iteration {other} " in out
    trained.remove_checkpoints("tiny", [other])
    code, out, err = dacapo_hd("best", "tiny", "in.zarr")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "error: run 'tiny' has no checkpoint that was scored; train it with `dacapo-hd train tiny`"
    )


def test_best_of_a_run_without_scores(trained, dacapo_hd):
    trained.truncate("tiny", 0)
    code, out, err = dacapo_hd("best", "tiny")
    assert (code, out, err) == (1, "", "error: run 'tiny' has no dice yet; run `dacapo-hd validate tiny`\n")


@pytest.mark.parametrize("name", ["curves.png", "curves.svg"])
def test_plot_draws_groups(repeated, dacapo_hd, here, name):
    code, out, err = dacapo_hd("plot", "tiny", "good-s0", name)
    assert (code, out, err) == (0, f"{name}\n", "")
    if name.endswith("png"):
        assert matplotlib.image.imread(here / name).std() > 0
    else:
        assert (here / name).read_text().count("<path") > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.txt"], "a.txt: not a picture that can be written; end the name with .png, .pdf, .svg, .jpg"),
        (["nowhere/a.png"], "nowhere/a.png: there is no folder nowhere; make it first"),
        (["tony", "a.png"], "no run 'tony' in runs; did you mean 'tiny'?; `dacapo-hd runs` lists them"),
        (["a.png", "--score", "dise"], "unknown score 'dise'; did you mean 'dice'?"),
    ],
)
def test_plot_says_what_is_wrong(trained, dacapo_hd, arguments, message):
    assert dacapo_hd("plot", *arguments) == (1, "", f"error: {message}\n")


def test_runs_that_fulfil_a_condition_are_listed_with_the_scores_it_compares(repeated, dacapo_hd):
    code, out, err = dacapo_hd("runs", "--filter", "scale_nm=80 and voi>=0 and (seed=0 or name~s2) and iteration=6")
    assert (code, err) == (0, "")
    assert [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")] == ["good-s0", "good-s2"]
    assert "voi" in out and "dice" not in out and " bit" in out


def test_no_run_that_fulfils_a_condition(trained, dacapo_hd):
    assert dacapo_hd("runs", "--filter", "task=HotDistnce") == (
        0,
        "no run fulfils task=HotDistnce\nno run has task.type = HotDistnce; did you mean 'HotDistance'?\n",
        "",
    )


def test_a_condition_that_is_not_understood_is_pointed_at(trained, dacapo_hd):
    assert dacapo_hd("runs", "--filter", "seed=0 and dise>1") == (
        1,
        "",
        "error: --filter: unknown field 'dise'; did you mean 'dice'?\n  seed=0 and dise>1\n             ^\n",
    )
    code, _, err = dacapo_hd("runs", "--filter", "seed=0", "prune")
    assert (code, err) == (1, "error: --filter: only for the list, not for `runs prune`\n")
