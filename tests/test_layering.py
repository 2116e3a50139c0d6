"""Imports go down the list of rooms only."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dacapo_hd"
ROOMS = [
    "errors",
    "geometry",
    "config",
    "blockwise",
    "arrays",
    "labels",
    "datasplits",
    "operations",
    "architectures",
    "segmentation",
    "evaluation",
    "tasks",
    "sampling",
    "prediction",
    "stitching",
    "stores",
    "provenance",
    "training",
    "run",
    "sweep",
    "inference",
    "starting",
    "examination",
    "session",
    "report",
    "phantom",
    "check",
    "conversion",
    "viewing",
    "application",
    "manager",
    "cli",
    "__main__",
]


def room_of(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported_rooms(path):
    """Find the rooms that a file imports when it runs; imports for type checking alone do not count."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dacapo_hd"):
            names = [node.module] if node.module != "dacapo_hd" else [f"dacapo_hd.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("dacapo_hd.")]
        else:
            continue
        yield from (name.split(".")[1] for name in names)


def test_every_file_is_in_a_room_of_the_list():
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"} <= set(ROOMS)


def test_imports_go_down_the_list():
    order = {room: place for place, room in enumerate(ROOMS)}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {imported}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if room_of(path) != "__init__"
        for imported in imported_rooms(path)
        if order[imported] > order[room_of(path)]
    ]
    assert not wrong
