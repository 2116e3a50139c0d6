"""The `view` command."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence

from dacapo_hd.arrays import ArgumentRef, ArrayRef, is_remote
from dacapo_hd.config import local_path
from dacapo_hd.errors import UserError
from dacapo_hd.run import Run
from dacapo_hd.viewing.layers import Layer, layers_of_paths
from dacapo_hd.viewing.runs import layers_of_run
from dacapo_hd.viewing.server import serve


def view(
    targets: Sequence[str],
    load_run: Callable[[str], Run],
    *,
    labels: Sequence[str] = (),
    crops: Sequence[str] = (),
    axes: str | None = None,
    voxel_size_nm: str | None = None,
    assumed_voxel_size_nm: str | None = None,
    offset_nm: tuple[float, ...] | None = None,
    channel: int | None = None,
    port: int = 0,
    open_browser: bool = True,
    write: Callable[[str], object] = print,
    until: threading.Event | None = None,
) -> None:
    """Serve runs (by name) and arrays (by path or URL) until Ctrl-C, or until `until` is set.

    A target that exists as a file or folder is a path. `labels` are paths of segmentations. `axes`, `voxel_size_nm` and
    `assumed_voxel_size_nm` say of all arrays what their files do not, as in ArrayRef. See `layers_of_run` for `crops`,
    `serve` for `port`, and both for what is raised.
    """
    if not targets and not labels:
        raise UserError("nothing to view; name runs or arrays")
    like = ArgumentRef(
        "-", voxel_size_nm, offset_nm, axes=axes, channel=channel, assumed_voxel_size_nm=assumed_voxel_size_nm
    )
    server = serve(_layers(targets, load_run, labels, crops, like), port)
    try:
        write(server.url)
        write(
            f"from another machine: ssh -L {server.port}:127.0.0.1:{server.port} {socket.gethostname()}, and open the "
            "same address; Ctrl-C ends it"
        )
        if open_browser and _has_screen():
            webbrowser.open(server.url)
        (until or threading.Event()).wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


def _layers(
    targets: Sequence[str],
    load_run: Callable[[str], Run],
    labels: Sequence[str],
    crops: Sequence[str],
    like: ArrayRef,
) -> list[Layer]:
    paths = [target for target in targets if is_remote(target) or local_path(target).exists() or "/" in target]
    names = [target for target in targets if target not in paths]
    shown = layers_of_paths(paths, labels, like) if paths or labels else []
    for name in names:
        shown += layers_of_run(load_run(name), crops)
    return shown


def _has_screen() -> bool:
    """Tell whether a browser would open in a window; in a terminal it would take it over."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))
