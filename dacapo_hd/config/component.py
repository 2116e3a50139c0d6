"""The base of everything that a configuration can name by `type:`."""

from __future__ import annotations

from typing import ClassVar


class Component:
    """A configurable part; the root class of each family sets `kind`, the word that error messages use."""

    kind: ClassVar[str] = ""
