"""The base of everything that a configuration can name by `type:`."""

from __future__ import annotations

from typing import Any, ClassVar

# Metadata of a field that a class got after configurations of it were stored: it is written only where it differs
# from its default, so that their hashes and their JSON stay as they were.
ADDED_LATER: dict[str, Any] = {"dacapo_hd_added_later": True}


class Component:
    """A configurable part; the root class of each family sets `kind`, the word that error messages use."""

    kind: ClassVar[str] = ""
