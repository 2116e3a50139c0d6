"""Slurm and LSF, with stand-ins for their commands that run jobs on this machine."""

import signal
import stat
import sys
import textwrap

import numpy as np
import pytest
from drive import GRID
from test_block_interruption import make_run, processes, wait_for

from dacapo_hd.blockwise import BlocksFailedError, Compute, Lsf, Slurm, run_blocks
from dacapo_hd.config import ConfigError, structure
from dacapo_hd.errors import UserError

__all__ = ["make_run"]

# A job has a session of its own, as on a cluster: it is no child of the command that submits it.
JOB = """
    #!{python}
    import os, pathlib, subprocess, sys
    folder = pathlib.Path({folder!r})
    with (folder / "calls").open("a") as calls:
        calls.write(repr([{name!r}, *sys.argv[1:]]) + "\\n")
    refusal = folder / "refuse"
    if refusal.exists() and len((folder / "calls").read_text().splitlines()) > int(refusal.read_text()):
        sys.exit({refusal!r})
    def option(name):
        return next(a.removeprefix(name) for a in sys.argv if a.startswith(name)) if name.endswith("=") else \\
            sys.argv[sys.argv.index(name) + 1]
    command, log = {command}, {log}
    job = subprocess.Popen(["bash", "-c", command], stdout=open(log, "w"), stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL, start_new_session=True)
    print({submitted!r} % job.pid, flush=True)
    sys.exit(job.wait() % 256)
"""
CANCEL = """
    #!{python}
    import os, signal, sys
    with open({folder!r} + "/calls", "a") as calls:
        calls.write(repr([{name!r}, *sys.argv[1:]]) + "\\n")
    os.killpg(int(sys.argv[1]), signal.SIGTERM)
"""
SLURM = {
    "command": 'option("--wrap=")',
    "log": 'option("--output=")',
    "submitted": "%d;cluster",
    "refusal": "sbatch: error: Batch job submission failed: Invalid partition name specified",
}
LSF = {
    "command": "sys.argv[-1]",
    "log": 'option("-oo")',
    "submitted": "Job <%d> is submitted to queue <normal>.\n<<Waiting for dispatch ...>>",
    "refusal": "normal: No such queue. Job not submitted.",
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder of stand-ins at the head of PATH; `calls` in it lists what was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_ins = {"sbatch": (JOB, SLURM), "bsub": (JOB, LSF), "scancel": (CANCEL, {}), "bkill": (CANCEL, {})}
    for name, (script, values) in stand_ins.items():
        path = folder / name
        text = textwrap.dedent(script).strip().format(python=sys.executable, folder=str(folder), name=name, **values)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def calls(cluster):
    path = cluster / "calls"
    return [eval(line) for line in path.read_text().splitlines()] if path.exists() else []


each_cluster = pytest.mark.parametrize("kind", [Slurm, Lsf], ids=["slurm", "lsf"])
SUBMIT, CANCELS = {Slurm: "sbatch", Lsf: "bsub"}, {Slurm: "scancel", Lsf: "bkill"}


@each_cluster
def test_jobs_do_the_blocks(kind, cluster, make_work, tmp_path):
    work = make_work()
    run_blocks(work, GRID, tmp_path / "record", kind(workers=2))
    np.testing.assert_array_equal(work.result(), work.expected())
    assert calls(cluster)[0][0] == SUBMIT[kind]


def test_slurm_is_asked_for_what_the_config_says(cluster, make_work, tmp_path):
    compute = structure(
        {
            "type": "Slurm",
            "workers": 1,
            "queue": "gpu",
            "memory_gb": 16,
            "time_hours": 1.5,
            "cpus": 4,
            "gpus": 1,
            "options": ["--account=em lab"],
            "command": "export WHERE=job && {worker}",
            "host": "127.0.0.1",
        },
        Compute,
    )
    work = make_work()
    run_blocks(work, GRID, tmp_path / "record", compute)
    log = tmp_path / "record" / "logs" / "worker-0.log"
    called = calls(cluster)[0]
    assert called[:-1] == [
        *["sbatch", "--wait", "--parsable", "--job-name=dacapo_hd_0", f"--output={log}", "--ntasks=1"],
        *["--open-mode=truncate", "--partition=gpu", "--mem=16384M", "--time=90", "--cpus-per-task=4", "--gpus=1"],
        "--account=em lab",
    ]
    assert called[-1].startswith(f"--wrap=export WHERE=job && {sys.executable} -m dacapo_hd.blockwise.worker ")
    np.testing.assert_array_equal(work.result(), work.expected())


def test_lsf_is_asked_for_what_the_config_says(cluster, make_work, tmp_path):
    options = {"queue": "gpu", "memory_gb": 16, "time_hours": 1.5, "cpus": 4, "gpus": 1, "options": ("-P", "em")}
    work = make_work()
    run_blocks(work, GRID, tmp_path / "record", Lsf(workers=1, host="127.0.0.1", **options))
    log = str(tmp_path / "record" / "logs" / "worker-0.log")
    assert calls(cluster)[0][:-1] == [
        *["bsub", "-K", "-J", "dacapo_hd_0", "-oo", log, "-q", "gpu", "-M", "16384MB", "-R", "rusage[mem=16384MB]"],
        *["-W", "90", "-n", "4", "-R", "span[hosts=1]", "-gpu", "num=1", "-P", "em"],
    ]


@each_cluster
def test_a_job_that_dies_is_replaced(kind, cluster, make_work, tmp_path):
    work = make_work(faults={3: ("kill", 1), 12: ("exit", 1)})
    run_blocks(work, GRID, tmp_path / "record", kind(workers=2))
    np.testing.assert_array_equal(work.result(), work.expected())
    assert len(calls(cluster)) >= 3


@each_cluster
def test_a_queue_that_refuses_is_quoted(kind, cluster, make_work, tmp_path):
    (cluster / "refuse").write_text("0")
    work = make_work()
    with pytest.raises(UserError) as raised:
        run_blocks(work, GRID, tmp_path / "record", kind(workers=2))
    text = {Slurm: SLURM, Lsf: LSF}[kind]["refusal"]
    assert str(raised.value) == f"{SUBMIT[kind]} refused the job (exit code 1): {text}"
    assert not work.lines("opened")


def test_a_queue_that_refuses_some_jobs_leaves_the_others_working(cluster, make_work, tmp_path, capfd):
    (cluster / "refuse").write_text("1")
    work = make_work(seconds=0.02)
    run_blocks(work, GRID, tmp_path / "record", Slurm(workers=3), progress=True)
    np.testing.assert_array_equal(work.result(), work.expected())
    assert "Invalid partition name specified; goes on with 1 workers" in capfd.readouterr().err


def test_without_the_commands_of_the_cluster_nothing_starts(make_work, tmp_path):
    with pytest.raises(UserError) as raised:
        run_blocks(make_work(), GRID, tmp_path / "record", Lsf(workers=2))
    assert str(raised.value) == "bsub is not a command of this machine; start this where jobs are submitted"


@each_cluster
def test_an_interrupted_run_cancels_its_jobs(kind, cluster, make_run, make_work, tmp_path):
    work = make_work(seconds=0.1)
    process = make_run(work, f"{kind.__name__}(workers=2)", seconds=0.1)
    wait_for(lambda: len(work.lines("opened")) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    called = calls(cluster)
    assert [call[0] for call in called].count(CANCELS[kind]) == 2
    wait_for(lambda: not processes(str(tmp_path / "record")))
    run_blocks(work, GRID, tmp_path / "record")
    np.testing.assert_array_equal(work.result(), work.expected())


@each_cluster
def test_failing_blocks_of_jobs_are_listed(kind, cluster, make_work, tmp_path):
    work = make_work(faults={3: ("raise", 99)})
    with pytest.raises(BlocksFailedError, match="1 of 45 blocks failed") as raised:
        run_blocks(work, GRID, tmp_path / "record", kind(workers=2))
    assert "ValueError: this block is odd" in raised.value.problems[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 0}, "compute.workers: must be > 0, got 0"),
        ({}, "compute.workers: missing"),
        (
            {"workers": 1, "command": "run it"},
            "compute.command: must contain {worker}, which stands for the worker's command, got 'run it'",
        ),
        ({"workers": 1, "memory_gb": -1}, "compute.memory_gb: must be > 0, got -1.0"),
    ],
)
def test_mistakes_in_the_config_are_named(given, message):
    with pytest.raises(ConfigError) as raised:
        structure({"type": "Slurm", **given}, Compute, source="compute")
    assert message.split(": ", 1)[1] in str(raised.value)
