"""The folder into which a command writes, and what it remembers until all is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import filelock

from dacapo_hd.arrays import open_volume
from dacapo_hd.errors import UserError

HIDDEN = ".dacapo_hd"
PARTS = ("prediction", "segmentation")


@attrs.frozen
class Output:
    """`OUTPUT`, with the hidden folder of a command that is not finished."""

    folder: Path

    @property
    def hidden(self) -> Path:
        return self.folder / HIDDEN

    @property
    def prediction(self) -> Path:
        return self.folder / "prediction"

    def begun(self, request: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
        """Return what an unfinished command of the same settings has decided, None to begin.

        Raises UserError for an unfinished command of other settings and for an output that exists, unless `overwrite`.
        """
        if overwrite:
            return None
        try:
            found = json.loads((self.hidden / "apply.json").read_text())
        except FileNotFoundError:
            found = None
        except ValueError:
            raise UserError(f"{self.hidden / 'apply.json'} is damaged; give --overwrite to begin anew") from None
        if found is None:
            for part in PARTS:
                if (self.folder / part).exists():
                    raise UserError(f"{self.folder / part} exists; give --overwrite to replace it")
            return None
        begun = found["request"]
        different = [key for key in {**begun, **request} if begun.get(key) != request.get(key)]
        if different:
            shown = ", ".join(
                f"{key} was {json.dumps(begun.get(key))}, is {json.dumps(request.get(key))}" for key in different
            )
            raise UserError(
                f"{self.folder} is not finished and was begun with other settings: {shown}; repeat the command that "
                "began it, or give --overwrite to begin anew"
            )
        decided: dict[str, Any] = found["decided"]
        return decided

    def lock(self) -> filelock.BaseFileLock:
        """Claim the folder; UserError when another process has it."""
        self.hidden.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.hidden / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{self.folder}: another process writes here; wait for it, or stop it") from None
        return lock

    def begin(self, request: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
        """Forget what was there before, and remember what is done now.

        Arrays that no `apply` has written stay: somebody may keep ground truth beside them.
        """
        for entry in self.hidden.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()
        for folder in (self.folder / "segmentation").glob("*/"):
            try:
                ours = "segmenter" in open_volume(str(folder)).attributes
            except UserError:
                continue
            if ours:
                shutil.rmtree(folder)
                folder.with_name(f"{folder.name}.csv").unlink(missing_ok=True)
        part = self.hidden / "apply.part"
        part.write_text(json.dumps({"request": dict(request), "decided": dict(decided)}, indent=1))
        part.replace(self.hidden / "apply.json")

    def finish(self) -> None:
        """Remove what only an unfinished command needs."""
        shutil.rmtree(self.hidden)
