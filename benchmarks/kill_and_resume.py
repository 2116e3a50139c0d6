"""Kill a training again and again, start it again each time, and compare the end with an undisturbed training.

    python benchmarks/kill_and_resume.py --kills 200
    python benchmarks/kill_and_resume.py --kills 50 --workers 2 --store mongodb://127.0.0.1:27017/kills

Each training is a process of its own that runs the command `train`, and marks in a shared file what it is doing, so
that kills can be aimed at every phase and are counted where they hit. When a training has come to its end, its weights,
optimiser and random states, statistics and scores must be those of the undisturbed one, bit by bit; then the next
training begins. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from marked_training import PHASES, Marks, Training, forked, fresh

REPEATED = ("statistics", "checkpoint", "pruning", "validation", "scores")
BLOWS = ("SIGKILL", "SIGKILL to the group", "SIGTERM", "SIGTERM to the group")
BLOW_WEIGHTS = (60, 15, 15, 10)
PATIENCE_SECONDS = 300.0
START_UP_SECONDS = 4.0
RUN = {
    "task": {"type": "HotDistance", "classes": ["mito", "pm"], "scale_nm": 40, "distance_axes": "yx"},
    "architecture": {
        "type": "UNet",
        "dims": 2,
        "input_shape_vx": [1, 48, 48],
        "num_fmaps": 4,
        "padding": "same",
        "downsample_factors": [[1, 2, 2]],
    },
    "trainer": {
        "batch_size": 2,
        "learning_rate": 0.01,
        "validation_interval": 10,
        "checkpoint_interval": 4,
        # 0.6 s: at other iterations each time, which must not matter
        "checkpoint_minutes": 0.01,
    },
}


@attrs.define
class Report:
    """What was done and what went wrong."""

    hits: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    trainings: int = 0
    starts: int = 0
    problems: list[str] = attrs.field(factory=list)

    @property
    def kills(self) -> int:
        return sum(self.hits.values())


class Stress:
    """The stress test in a folder, with the store at an address."""

    def __init__(
        self,
        folder: Path,
        address: str,
        weights: str | None = None,
        workers: int = 0,
        iterations: int = 40,
        seed: int = 0,
        fork: bool = False,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        from dacapo_hd.stores import open_store

        self.folder, self.address, self.weights, self.fork, self.tell = folder, address, weights, fork, tell
        self.trainer = {**RUN["trainer"], "workers": workers, "iterations": iterations}
        self.random = random.Random(seed)
        self.store = open_store(address, weights)
        self.marks = Marks(folder / "marks")
        self.report = Report()

    def run(self, kills: int) -> Report:
        """Kill so often; returns what happened."""
        self.write_data()
        self.write_run("undisturbed")
        process = self.start("undisturbed")
        self.finish("undisturbed", process)
        usual = {phase: self.marks.mean_seconds(phase) for phase in PHASES}
        self.tell("usual seconds: " + ", ".join(f"{phase} {seconds:.3f}" for phase, seconds in usual.items()))
        while self.report.kills < kills and not self.report.problems:
            self.report.trainings += 1
            name = f"killed-{self.report.trainings}"
            self.write_run(name)
            self.kill_until_done(name, kills, usual)
            # after another problem it has not come to its end
            self.report.problems += [] if self.report.problems else self.differences(name)
            self.tell(f"{name} is done: {self.report.kills} kills, {len(self.report.problems)} problems")
        return self.report

    def write_data(self) -> None:
        """Make the phantom that all trainings share."""
        from dacapo_hd.phantom.options import write_phantoms

        crops = ["train", "train/every=4", "validate"]
        write_phantoms(self.folder / "phantom.zarr", (8, 96, 96), (8.0, 8.0, 8.0), seed=6, crops=crops)

    def write_run(self, name: str) -> None:
        """Write the run file of a name."""
        data = str(self.folder / "phantom.zarr")
        run = {**RUN, "name": name, "datasplit": {"type": "Folder", "path": data}, "trainer": self.trainer}
        (self.folder / f"{name}.yaml").write_text(json.dumps(run))

    def start(self, name: str) -> Training:
        """Start the training, in a process group of its own."""
        self.report.starts += 1
        self.marks.reset()
        # another file: helpers of the process before may still be writing to theirs
        (self.folder / "stderr").unlink(missing_ok=True)
        place = ["--store", self.address, *(["--weights", self.weights] if self.weights else [])]
        arguments = ["train", f"{name}.yaml", "--quiet", *place]
        return (forked if self.fork else fresh)(self.folder, arguments)

    def finish(self, name: str, process: Training) -> None:
        """Let a training come to its end."""
        code = process.wait(PATIENCE_SECONDS)
        if code != 0:
            self.report.problems.append(f"{name}: exit code {code}: {self.errors()}")

    def errors(self) -> str:
        path = self.folder / "stderr"
        return path.read_text() if path.exists() else ""

    def kill_until_done(self, name: str, kills: int, usual: dict[str, float]) -> None:
        """Start a training and kill it until it is done, or there are kills enough."""
        newest = 0
        while not self.report.problems:
            process = self.start(name)
            if self.report.kills == kills:
                self.finish(name, process)
                return
            if not self.wait_for_moment(process, usual):
                self.finish(name, process)
                return
            self.strike(name, process)
            newest = self.require_progress(name, newest)

    def wait_for_moment(self, process: Training, usual: dict[str, float]) -> bool:
        """Wait for a random moment of a random phase; False if the training ended before it came."""
        phase = self.random.choice(PHASES[:-1])
        times = self.random.randint(1, 3) if phase in REPEATED else int(phase != "start-up")
        fraction = self.random.uniform(0, 1.2)
        while self.marks.count(phase) < times:
            if process.poll() is not None:
                return False
            time.sleep(0.0005)
        # the rest of start-up is opening the data
        start_up = 0.2 if self.fork else START_UP_SECONDS
        usually = {**usual, "steps": usual["steps"] / 2, "start-up": start_up}
        time.sleep(fraction * usually[phase])
        return process.poll() is None

    def strike(self, name: str, process: Training) -> None:
        """End the process in one of several ways, and see how it ends."""
        (blow,) = self.random.choices(BLOWS, BLOW_WEIGHTS)
        number = signal.Signals[blow.split()[0]]
        phase = self.marks.phase
        with suppress(ProcessLookupError):
            # at the very beginning it may have no group of its own yet
            grouped = "group" in blow and os.getpgid(process.pid) == process.pid
            os.killpg(process.pid, number) if grouped else os.kill(process.pid, number)
        code = process.wait(PATIENCE_SECONDS)
        if code == 0:
            return
        # a signal that kills leaves the mark where it was
        self.report.hits[self.marks.phase if number == signal.SIGKILL else phase, blow] += 1
        if number == signal.SIGTERM:
            self.require_clean_stop(name, phase, code)

    def require_clean_stop(self, name: str, phase: str, code: int) -> None:
        """Report a SIGTERM that lost something or made noise."""
        errors = self.errors()
        said = [line for line in errors.splitlines() if "before its first checkpoint" not in line]
        # before the training begins there is nothing to save
        allowed = (143, -signal.SIGTERM) if phase == "start-up" else (143,)
        if code not in allowed or (code == 143 and len(said) != 1):
            self.report.problems.append(f"{name}: SIGTERM in {phase}: exit code {code}: {errors}")
        stats = self.store.stats(name) if self.is_stored(name) else []
        reached = max((row.iteration for row in stats), default=0)
        if code == 143 and phase not in ("start-up", "resume") and self.newest(name) != reached:
            self.report.problems.append(f"{name}: SIGTERM in {phase}: statistics up to {reached}, {self.newest(name)=}")

    def require_progress(self, name: str, before: int) -> int:
        """Report a checkpoint that was there and is not any more."""
        newest = self.newest(name)
        if newest < before:
            self.report.problems.append(f"{name}: the newest checkpoint was {before} and is {newest}")
        return newest

    def newest(self, name: str) -> int:
        from dacapo_hd.training.checkpoint import Checkpoints

        found = Checkpoints(self.store, name).load_latest() if self.is_stored(name) else None
        return found[0] if found else 0

    def is_stored(self, name: str) -> bool:
        return name in {record.name for record in self.store.runs()}

    def differences(self, name: str) -> list[str]:
        """Compare the end of a training with that of the undisturbed one."""
        found = [f"{name}: {where}" for where in _differences(self.content("undisturbed"), self.content(name), "")]
        files = {path.name for path in self.store.checkpoint_folder(name).iterdir()}
        listed = {f"{row.iteration:08d}.pt" for row in self.store.checkpoints(name)}
        leftover = {file for file in files - listed if not file.endswith(".pt")}
        if listed - files or leftover:
            found.append(f"{name}: {sorted(listed)} are listed, {sorted(files)} are there")
        return found

    def content(self, name: str) -> dict[str, Any]:
        """Return all that must be equal."""
        from dacapo_hd.evaluation.selection import best
        from dacapo_hd.training.checkpoint import Checkpoints

        checkpoints, scores = Checkpoints(self.store, name), self.store.scores(name)
        chosen = best(scores, "dice")
        last = checkpoints.load(self.trainer["iterations"])
        return {
            "weights": {key: value for key, value in last.items() if key != "seconds"},
            "best": chosen and [chosen.iteration, checkpoints.load(chosen.iteration)["network"]],
            "statistics": [[row.iteration, row.name, row.value] for row in self.store.stats(name)],
            "scores": sorted(repr(attrs.evolve(row, run="")) for row in scores),
        }


def _differences(first: Any, second: Any, where: str) -> Iterator[str]:
    """Compare nested values and tensors bit by bit."""
    import torch

    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for key in first:
            yield from _differences(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _differences(one, other, f"{where}/{index}")
    elif isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        if first.dtype != second.dtype or not torch.equal(first, second):
            yield f"{where}: the tensors differ"
    elif first != second:
        yield f"{where}: {first!r:.200} != {second!r:.200}"


def print_report(report: Report, seconds: float) -> None:
    """Print a table of hits, and the same as one line of JSON."""
    print(f"{'phase':<12}" + "".join(f"{blow:>22}" for blow in BLOWS))
    for phase in PHASES:
        print(f"{phase:<12}" + "".join(f"{report.hits[phase, blow]:>22}" for blow in BLOWS))
    for problem in report.problems:
        print(f"problem: {problem}")
    hits = {phase: {blow: report.hits[phase, blow] for blow in BLOWS} for phase in PHASES}
    numbers = {"kills": report.kills, "trainings": report.trainings, "starts": report.starts}
    print(json.dumps({**numbers, "seconds": round(seconds), "problems": report.problems, "hits": hits}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=0, help="data workers of the training")
    parser.add_argument("--iterations", type=int, default=40, help="of each training")
    parser.add_argument("--store", help="address of the store; a temporary folder if absent")
    parser.add_argument("--fork", action="store_true", help="fork trainings from a process that has imported it all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which to kill")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dacapo_hd_kills_") as name:
        folder = Path(name)
        address, weights = (options.store, str(folder / "weights")) if options.store else (str(folder / "runs"), None)
        tell = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
        stress = Stress(folder, address, weights, options.workers, options.iterations, options.seed, options.fork, tell)
        report = stress.run(options.kills)
    print_report(report, time.monotonic() - start)
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
