"""How a user names the axes of an array, and where the user says what a file does not."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from dacapo_hd.errors import UserError

AXES = "tczyx"
INSISTING = "!"


def parse_axes(value: str | Sequence[str]) -> str:
    """Return `zyx` for `zyx`, `z,y,x` and [z, y, x]; a `!` at the end stays. ValueError for anything else."""
    text = "".join(value) if not isinstance(value, str) else value
    names = "".join(text.replace(",", " ").split()).lower()
    bare = names.removesuffix(INSISTING)
    if not set(bare) <= set(AXES) or len(set(bare)) != len(bare) or not {"y", "x"} <= set(bare):
        raise ValueError(f"must name the stored axes in their order, such as zyx, czyx or zyxc, got {text!r}")
    return names


def listed_axes(names: Sequence[str | None]) -> str:
    """Write names as `z, y, x`; an axis without a name is `?`."""
    return ", ".join(name or "?" for name in names)


@attrs.frozen
class Advice:
    """How to say what a file does not, at the place where the user names the array."""

    voxel_size: str
    replace_voxel_size: str
    offset: str
    axes_form: str

    def axes(self, names: str) -> str:
        """Say how to name the axes."""
        return self.axes_form.format(names)

    def axes_insisted(self, ndim: int) -> str:
        """Say how to name so many axes against what the file says."""
        names = AXES[-ndim:] if ndim <= len(AXES) else AXES
        return f"{self.axes(names + INSISTING)} if its axes are {', '.join(names)}"


IN_CONFIG = Advice(
    "write `voxel_size_nm: [z, y, x]` at the array, or `assumed_voxel_size_nm: [z, y, x]` in the datasplit",
    "write `voxel_size_nm: [z, y, x]` at the array",
    "write `offset_nm: [z, y, x]` at the array",
    "write `axes: {}` at the array",
)
BY_OPTION = Advice(
    "give --assumed-voxel-size Z,Y,X in nm",
    "give --voxel-size Z,Y,X in nm",
    "give --offset Z,Y,X in nm",
    "give --axes {}",
)
IN_MASK = Advice(
    "give --mask '{path: ..., voxel_size_nm: [z, y, x]}'",
    "give --mask '{path: ..., voxel_size_nm: [z, y, x]}'",
    "give --mask '{path: ..., offset_nm: [z, y, x]}'",
    "give --mask '{{path: ..., axes: {}}}'",
)


@attrs.frozen
class AxisNaming:
    """The user's names of the stored axes, None where the file's count, and where the user can give them."""

    given: str | None = None
    advice: Advice = IN_CONFIG

    @property
    def insists(self) -> bool:
        """Whether the user's names count even where the file says others."""
        return self.given is not None and self.given.endswith(INSISTING)

    def resolve(self, label: str, said: Sequence[str | None], usual: Sequence[str]) -> tuple[str, ...]:
        """Return the name of each stored axis: the user's, else what the file says, else the usual one.

        Raises UserError where the user's names do not fit the number of axes or contradict the file.
        """
        if self.given is None:
            return self._merged(label, said, usual)
        names = tuple(self.given.removesuffix(INSISTING))
        if len(names) != len(said):
            raise UserError(
                f"{label}: has {len(said)} axes, but `{''.join(names)}` names {len(names)}; name each stored axis"
            )
        if not self.insists and any(one not in (None, name) for one, name in zip(said, names, strict=True)):
            raise UserError(
                f"{label}: its axes are ({listed_axes(said)}) by its metadata or format, but ({listed_axes(names)}) "
                f"were given; leave them out, or {self.advice.axes(''.join(names) + INSISTING)} if the file is wrong"
            )
        return names

    def _merged(self, label: str, said: Sequence[str | None], usual: Sequence[str]) -> tuple[str, ...]:
        names = tuple(one or other for one, other in zip(said, usual, strict=True))
        if len(set(usual)) != len(usual):
            raise UserError(
                f"{label}: cannot use its axes ({listed_axes(names)}); they must be (y, x), (z, y, x) or (c, z, y, x), "
                "in any order"
            )
        if len(set(names)) != len(names):
            left = [name for name in reversed(AXES) if name in usual and name not in said]
            whole = "".join(name or left.pop(0) for name in said)
            raise UserError(
                f"{label}: names only some of its axes ({listed_axes(said)}); {self.advice.axes(whole)}, in their order"
            )
        return names


USUAL = AxisNaming()
