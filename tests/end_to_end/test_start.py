"""A run that starts with another's weights, on the command line."""

import shutil

import pytest
import torch

from dacapo_hd.stores import FileStore
from dacapo_hd.sweep import load_runs
from dacapo_hd.training.checkpoint import Checkpoints


@pytest.fixture
def other(here, trained_folder):
    """A store with the trained run `tiny`."""
    shutil.copytree(trained_folder, here / "runs")
    return FileStore("runs")


@pytest.fixture
def second(config):
    """A run that changes nothing after it started: its learning rate is next to 0."""
    config["trainer"] |= {"iterations": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    return {**config, "name": "second", "start": {"run": "tiny", "iteration": 4}}


def parameters(store, name, iteration):
    saved = Checkpoints(store, name).load(iteration)["network"]
    return {name: tensor for name, tensor in saved.items() if "running" not in name and "tracked" not in name}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_begins_with_the_weights_and_says_so(dacapo_hd, write, second, other):
    code, _, err = dacapo_hd("train", write(second))
    assert code == 0
    assert "second: starts from iteration 0; starts with the weights of 'tiny' at iteration 4: " in err
    count = len(other.stats("tiny")) and len(Checkpoints(other, "tiny").load(4)["network"])
    assert f"{count + 2 * 3} of {count + 2 * 3} weights loaded" in err
    assert_equal(parameters(other, "second", 1), parameters(other, "tiny", 4))


def test_best_goes_by_the_other_runs_score(dacapo_hd, write, second, other):
    from dacapo_hd.manager import RunManager

    second["start"]["iteration"] = "best"
    code, _, err = dacapo_hd("train", write(second))
    best = RunManager(other).best("tiny").iteration
    assert code == 0
    assert f"'tiny' at iteration {best}: " in err
    assert_equal(parameters(other, "second", 1), parameters(other, "tiny", best))


def test_a_run_goes_on_from_its_own_checkpoint(dacapo_hd, write, second, other):
    second["trainer"]["learning_rate"] = 0.01
    assert dacapo_hd("train", write(second))[0] == 0
    before = parameters(other, "second", 1)
    # the other run is not needed any more
    assert dacapo_hd("runs", "rm", "tiny", "--yes")[0] == 0
    code, _, err = dacapo_hd("train", "second")
    assert code == 0
    assert "starts with" not in err
    assert_equal(parameters(other, "second", 1), before)


def test_part_of_the_weights(dacapo_hd, write, second, other):
    second["task"] = {"type": "OneHot", "classes": ["pm", "mito"]}
    code, _, err = dacapo_hd("train", write(second))
    assert code == 1
    assert "start: the weights of run 'tiny' do not fit" in err
    assert "second" not in other.names()
    second["start"]["load"] = "matching"
    code, _, err = dacapo_hd("train", write(second))
    assert code == 0
    assert "not used: head.project.weight[distance/mito], head.project.weight[distance/pm]" in err
    theirs, own = parameters(other, "tiny", 4), parameters(other, "second", 1)
    # its rows: one_hot of mito and pm, distance of mito and pm
    assert torch.equal(own["head.project.weight"], theirs["head.project.weight"][[1, 0]])


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ({"run": "tinny"}, "error: start: no run 'tinny' in runs; did you mean 'tiny'?; `dacapo-hd runs` lists them"),
        ({"run": "tiny", "iteration": 77}, "no checkpoint of iteration 77; there are: 1, 2, 3, 4, 5, 6"),
        ({"run": "tiny", "score": "dyce"}, "unknown score 'dyce'"),
        ({"run": "second"}, "start: must name another run, got 'second' in the run of that name"),
    ],
)
def test_what_there_is_not_is_named_before_anything_is_written(dacapo_hd, write, second, other, start, problem):
    code, _, err = dacapo_hd("train", write({**second, "start": start}))
    assert code == 1
    assert problem in err
    assert other.names() == ("tiny",)


def test_a_start_belongs_to_the_config(write, second):
    (without,) = load_runs(write({key: value for key, value in second.items() if key != "start"}))
    (with_start,) = load_runs(write(second))
    assert without.config_hash != with_start.config_hash
    (first,) = load_runs(write({**second, "seed": 1, "start": {"run": "pre-s{seed}"}}))
    (other,) = load_runs(write({**second, "seed": 2, "start": {"run": "pre-s{seed}"}}))
    # seeds of one experiment
    assert first.group_hash == other.group_hash
    assert (first.start.run_for(1), other.start.run_for(2)) == ("pre-s1", "pre-s2")


def test_sweeps_vary_what_runs_start_from(write, second):
    lists = {"tasks": [second["task"]], "architectures": [second["architecture"]], "trainers": [second["trainer"]]}
    starts = [{"run": "few-s{seed}"}, {"label": "many", "run": "much-s{seed}", "iteration": "latest"}]
    runs = load_runs(
        write({"name": "fine", **lists, "datasplits": [second["datasplit"]], "starts": starts, "seeds": [0, 1]})
    )
    found = [(run.name, run.start.run_for(run.seed)) for run in runs]
    assert found == [
        ("fine-few_s-s0", "few-s0"),
        ("fine-few_s-s1", "few-s1"),
        ("fine-many-s0", "much-s0"),
        ("fine-many-s1", "much-s1"),
    ]


@pytest.fixture
def masks(config):
    """A run that learns masks."""
    config["architecture"] |= {"dims": 3, "input_shape_vx": [8, 24, 24], "normalization": "batch"}
    config["trainer"] |= {"iterations": 2, "batch_size": 1, "learning_rate": 0.01}
    task = {"type": "LatentMasks", "classes": ["mito"], "offsets": [[-1, 0, 0], [0, -1, 0]]}
    return {**config, "name": "masks", "task": {**task, "branches": [{"window_vx": [3, 3, 3]}]}}


@pytest.fixture
def frozen(masks):
    """A run that learns affinities from the latent map of `masks`."""
    task = {**masks["task"], "latents": "frozen", "predict": ["latent_affinity"]}
    return {**masks, "name": "frozen", "task": task, "start": {"run": "masks", "iteration": 2, "load": "matching"}}


def test_a_second_stage_on_frozen_latents(dacapo_hd, write, masks, frozen, here):
    assert dacapo_hd("train", write(masks), "--quiet")[0] == 0
    code, _, err = dacapo_hd("train", write(frozen))
    assert code == 0
    assert "; random: head.second_stage.latent_affinity.0.weight, " in err
    assert "latent_affinity" in err
    assert "masks_1" not in err
    store = FileStore("runs")
    first, second = (Checkpoints(store, name).load(2)["network"] for name in ("masks", "frozen"))
    # the statistics of normalisation too
    assert any("running_mean" in name for name in first)
    assert_equal(first, {name: second[name] for name in first})
    start = Checkpoints(store, "frozen").load(2)["network"].keys() - first.keys()
    assert start
    assert all(name.startswith("head.second_stage.") for name in start)
    losses = {row.name for row in store.stats("frozen")}
    assert losses == {"loss/latent_affinity", "learning_rate"}
    code, out, _ = dacapo_hd("validate", "frozen", "--iteration", "2")
    assert code == 0
    assert "(latent_affinity > 0.5" in out


def test_frozen_latents_must_come_from_somewhere(dacapo_hd, write, masks, frozen, here):
    assert dacapo_hd("train", write(masks), "--quiet")[0] == 0
    without = {name: value for name, value in frozen.items() if name != "start"}
    code, _, err = dacapo_hd("train", write(without))
    assert code == 1
    assert "`start` must name a run that has learnt what the task takes as frozen\n" in err
    frozen["task"]["branches"] = [{"window_vx": [3, 3, 3]}, {"window_vx": [3, 3, 5]}]
    code, _, err = dacapo_hd("train", write(frozen))
    assert code == 1
    assert (
        "start: run 'masks' has no weights for what the task takes as frozen: head.project.masks_2.weight, "
        "head.project.masks_2.bias, head.decoders.masks_2.0.weight, head.decoders.masks_2.0.bias, "
        "head.decoders.masks_2.2.weight, head.decoders.masks_2.2.bias; give both runs the same architecture, and the "
        "same branches and channels"
    ) in err
    assert FileStore("runs").names() == ("masks",)
