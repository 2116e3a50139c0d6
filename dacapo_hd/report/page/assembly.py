"""The document, styles and scripts put into one HTML file."""

from __future__ import annotations

import html
from importlib import resources

STYLES = ("page.css",)
SCRIPTS = ("elements.js", "tables.js", "charts.js", "heat.js", "segments.js", "slices.js", "provenance.js", "main.js")


def render(title: str, document: str) -> str:
    """Put a title and a JSON document into the page; everything that the page needs is inside."""
    parts = {
        "title": html.escape(title),
        "style": "\n".join(_read(name) for name in STYLES),
        "data": document,
        "script": "\n".join(_read(name) for name in SCRIPTS),
    }
    # one pass, because what is put in may look like a place itself
    pieces = _read("page.html").split("@@")
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _read(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
