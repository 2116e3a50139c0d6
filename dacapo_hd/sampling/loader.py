"""Batches from worker processes, the same whatever their number."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.util import Finalize, get_temp_dir
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from dacapo_hd.errors import UserError
from dacapo_hd.sampling.sampling import Sampling

if TYPE_CHECKING:
    from torch import Tensor

    from dacapo_hd.architectures.base import Architecture
    from dacapo_hd.datasplits import OpenCrop
    from dacapo_hd.sampling.pipeline import SamplePipeline
    from dacapo_hd.sampling.recipe import Recipe
    from dacapo_hd.tasks.base import Task


_SIGNALS = {signal.SIGTERM, signal.SIGINT}
SECONDS_TO_END = 5.0


@attrs.frozen(eq=False)
class Batch:
    """Raw float32 (b, c, z, y, x), and per target its value (b, v, z, y, x) and weight (b, w, z, y, x), float32."""

    raw: Tensor
    targets: dict[str, tuple[Tensor, Tensor]]


class WorkerError(RuntimeError):
    """A data worker raised, with its traceback as text, or died."""


def make_loader(
    crops: Sequence[OpenCrop],
    task: Task,
    architecture: Architecture,
    sampling: Sampling,
    batch_size: int,
    seed: int,
    workers: int,
    first_batch: int = 0,
) -> BatchLoader:
    """Return endless batches from number `first_batch` on; batch n depends on (seed, n) alone.

    With `workers` = 0 they are made in this process. UserError when the crops do not suit.
    """
    from dacapo_hd.sampling.recipe import Recipe

    return load_batches(Recipe.of(crops, task, architecture, sampling, seed), batch_size, workers, first_batch)


def load_batches(recipe: Recipe, batch_size: int, workers: int, first_batch: int = 0) -> BatchLoader:
    """Do the same for a recipe that is made already."""
    return BatchLoader(BatchSource(recipe, batch_size), workers, recipe.sampling.prefetch, first_batch)


class BatchLoader:
    """An iterator over batches that owns worker processes; use it in a `with` block or call `close`."""

    def __init__(self, source: BatchSource, workers: int, prefetch: int, first_batch: int) -> None:
        self._source = source
        self._numbers = itertools.count(first_batch)
        self._workers: Any = _start(source, workers, prefetch, self._numbers) if workers else None
        # also if nobody closes: the end of the process waits for its workers, which no SIGTERM reaches
        self._kill = Finalize(self, _kill, (self._workers,), exitpriority=1) if workers else None
        self._closed = False

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """Return the next batch; UserError or WorkerError, after which the loader is closed, when one fails."""
        if self._closed:
            raise StopIteration
        try:
            made = self._source[next(self._numbers)] if self._workers is None else self._receive()
        except BaseException:
            self.close()
            raise
        if isinstance(made, Failure):
            self.close()
            made.throw()
        return made

    def _receive(self) -> Batch | Failure:
        try:
            self._find_dead()
            return next(self._workers)
        except WorkerError:
            raise
        except Exception as error:
            # a connection breaks a moment before the end of its process is known
            wait([worker.sentinel for worker in self._workers._workers], SECONDS_TO_END)
            self._find_dead()
            raise WorkerError(f"no batch came from the data workers: {error}") from error

    def _find_dead(self) -> None:
        for worker in self._workers._workers:
            if not worker.is_alive():
                raise WorkerError(
                    f"data worker {worker.pid} died (exit code {worker.exitcode}); on -9 the machine "
                    "was probably out of memory: use fewer workers or smaller batches"
                )

    def close(self) -> None:
        """Stop the workers at once, also if one is stuck; safe to call twice."""
        self._closed = True
        self._workers = None
        if self._kill is not None:
            self._kill()

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@attrs.frozen
class Failure:
    """What went wrong in a worker, as text: exceptions may hold what cannot be sent."""

    problems: tuple[str, ...] | None
    trace: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        text = "".join(traceback.format_exception(error))
        return cls(error.problems if isinstance(error, UserError) else None, text)

    def throw(self) -> NoReturn:
        """Raise UserError for what the user can mend, else WorkerError with the worker's traceback."""
        worker = WorkerError(f"a data worker failed:\n{self.trace}")
        if self.problems is None:
            raise worker
        raise UserError(*self.problems) from worker


class BatchSource:
    """Makes batches by number; picklable, builds its pipeline once per process."""

    def __init__(self, recipe: Recipe, batch_size: int) -> None:
        self._recipe = recipe
        self._batch_size = batch_size
        self._pipeline: SamplePipeline | None = None

    def __getitem__(self, number: int) -> Batch | Failure:
        try:
            return self._batch(number)
        except Exception as error:
            return Failure.of(error)

    def _batch(self, number: int) -> Batch:
        import numpy as np
        import torch

        from dacapo_hd.sampling.pipeline import SamplePipeline

        if self._pipeline is None:
            self._pipeline = SamplePipeline(self._recipe)
        first = number * self._batch_size
        samples = [self._pipeline.sample(first + k) for k in range(self._batch_size)]
        targets = {}
        for name in samples[0].targets:
            made = [sample.targets[name] for sample in samples]
            value = torch.from_numpy(np.stack([target.value for target in made]))
            targets[name] = (value, torch.from_numpy(np.stack([target.weight for target in made])))
        return Batch(torch.from_numpy(np.stack([sample.raw for sample in samples])), targets)


def _start(source: BatchSource, workers: int, prefetch: int, numbers: Iterator[int]) -> Any:
    import torch
    from torch.utils.data import DataLoader

    # not fork: a copy of this process may hold locks of threads that it does not have
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["dacapo_hd.sampling.pipeline"])
    loader: Any = DataLoader(
        source,  # type: ignore[arg-type]
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=prefetch,
        multiprocessing_context=context,
        worker_init_fn=_prepare_worker,
        collate_fn=_unchanged,
        # its own generator: otherwise it draws from torch's global one, and training with workers differs from without
        generator=torch.Generator(),
    )
    # made here, it is this process that removes it: workers are killed
    get_temp_dir()
    with _signals_wait():
        return iter(loader)


def _kill(workers: Any) -> None:
    """End worker processes that have nothing to lose: half a batch in memory."""
    from torch._C import _remove_worker_pids

    if workers._worker_pids_set:
        # otherwise their death is an error
        _remove_worker_pids(id(workers))
        workers._worker_pids_set = False
    for worker in workers._workers:
        worker.kill()
    workers._shutdown_workers()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold SIGTERM and Ctrl-C back.

    Processes started inside never see them: a terminal and Slurm send them to the whole process group, but it is the
    trainer that reacts, and still wants batches until it is done.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(number: int) -> None:
    import importlib.util

    import torch

    if hasattr(signal, "pthread_sigmask"):
        # again: the server that forks the workers may be older than the mask
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # the thread that sends tensors reports here when the trainer has gone away while it was receiving one
    sys.excepthook = _report_unless_disconnected
    # a killed trainer cannot stop its workers, and the server that started them lives as long as they do
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    if importlib.util.find_spec("dask") is not None:
        import dask

        dask.config.set(scheduler="synchronous")


def _report_unless_disconnected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _unchanged(batch: Any) -> Any:
    return batch
