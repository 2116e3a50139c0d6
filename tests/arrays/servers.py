"""Real servers on the loopback interface: files over HTTP, the JSON interface of Google Cloud Storage, and S3."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

CODES = {"forbidden": 403, "broken": 500}


class FileHandler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with a log of what was asked for; a path that names an error of CODES gets it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.requests.append(self.path)
        code = next((code for word, code in CODES.items() if word in self.path), None)
        if code is not None:
            return self.send_error(code)
        return super().do_GET()


class BucketHandler(FileHandler):
    """As `/BUCKET/OBJECT` of S3 where nobody may list the bucket: what is not there gets the answer `server.refusal`.

    `server.answers` are those for paths with other ends; "" is the end of all.
    """

    def do_GET(self):
        self.server.requests.append(self.path)
        file = Path(self.translate_path(self.path))
        usual = None if file.is_file() else self.server.refusal
        code = next((code for end, code in self.server.answers.items() if self.path.endswith(end)), usual)
        if code is not None:
            return self.send_error(code)
        content = file.read_bytes()
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "bytes=0-")).groups()
        begin, end = (int(first), int(last or len(content)) + 1) if first else (len(content) - int(last), len(content))
        part = content[begin:end]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"1"')
        self.send_header("x-goog-generation", "1")
        self.end_headers()
        self.wfile.write(part)


class CloudHandler(FileHandler):
    """`/storage/v1/b/BUCKET/o/OBJECT?alt=media` is the file OBJECT in the folder BUCKET."""

    def translate_path(self, path):
        bucket, _, name = unquote(urlsplit(path).path).removeprefix("/storage/v1/b/").partition("/o/")
        return str(Path(self.directory) / bucket / name)


class CloudBucketHandler(CloudHandler, BucketHandler):
    """The same of a bucket that nobody may list."""


@contextmanager
def serving(folder, handler=FileHandler):
    """Yield a server of a folder; `url` is its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    server.requests, server.refusal, server.answers = [], 403, {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving_s3():
    """Yield the address of moto's S3 server, a process of its own."""
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            address = None
            deadline = time.monotonic() + 60
            while address is None:
                line = process.stderr.readline()
                if not line or time.monotonic() > deadline:
                    raise RuntimeError("moto's server does not start")
                if "Running on " in line:
                    address = line.split("Running on ")[1].split()[0]
            # what it logs later must not fill the pipe
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield address
        finally:
            process.kill()


def upload(client, bucket, folder, prefix, public=False):
    """Store the files of a folder as the objects `prefix/...`."""
    access = {"ACL": "public-read"} if public else {}
    for file in Path(folder).rglob("*"):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}"
            client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes(), **access)
