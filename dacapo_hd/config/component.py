"""The base of everything that a configuration can name by `type:`."""

from __future__ import annotations

from typing import Any, ClassVar

# Metadata of a field that a class got after configurations of it were stored: it is written only where it differs
# from its default, so that their hashes and their JSON stay as they were.
ADDED_LATER: dict[str, Any] = {"dacapo_hd_added_later": True}

# Metadata of the field that keeps the folder at which the class's field `path` begins if it is relative: that of the
# file that names it. It says where the data lie on one machine, so that it is stored, but is no part of an identity.
NAMING_FOLDER: dict[str, Any] = {**ADDED_LATER, "dacapo_hd_naming_folder": True}


class Component:
    """A configurable part; the root class of each family sets `kind`, the word that error messages use."""

    kind: ClassVar[str] = ""
