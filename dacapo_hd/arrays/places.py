"""Where the files of an array lie: in a local folder (a `Path`), or below a URL (a `RemotePath`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from dacapo_hd.arrays.backend import reason, tensorstore
from dacapo_hd.config import local_path
from dacapo_hd.errors import UserError, suggestion

SCHEMES = ("http", "https", "s3", "gs")
ANSWER_SECONDS = 60.0
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_AWS_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@attrs.frozen
class RemotePath:
    """A folder on a server; has those parts of the interface of `Path` that arrays need.

    `root` is `scheme://host` or `scheme://bucket`, `parts` the folders below it; `query` is sent with every request.
    """

    root: str
    parts: tuple[str, ...] = ()
    query: str = ""

    @classmethod
    def parse(cls, url: str) -> RemotePath:
        """UserError for a URL without a host or bucket."""
        split = urlsplit(url)
        if not split.netloc:
            raise UserError(f"cannot open {url}: it has no {'host' if split.scheme.startswith('http') else 'bucket'}")
        path = unquote(split.path) if split.scheme.startswith("http") else split.path
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return cls(f"{split.scheme.lower()}://{split.netloc}", tuple(parts), split.query)

    def __str__(self) -> str:
        return "/".join((self.root, *self.parts))

    def __truediv__(self, name: str) -> RemotePath:
        return attrs.evolve(self, parts=(*self.parts, *(part for part in name.split("/") if part)))

    @property
    def name(self) -> str:
        return self.parts[-1] if self.parts else ""

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        return tuple(attrs.evolve(self, parts=self.parts[:n]) for n in range(len(self.parts) - 1, -1, -1))

    def relative_to(self, other: RemotePath) -> str:
        return "/".join(self.parts[len(other.parts) :])


Place = Path | RemotePath


def parse_place(text: str) -> Place:
    """Read a path or a URL; UserError for a scheme that is not one of SCHEMES."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return local_path(text)
    if scheme[1].lower() not in SCHEMES:
        raise UserError(
            f"cannot open {text}: unknown scheme {scheme[1]!r}; it must be one of {', '.join(SCHEMES)}"
            f"{suggestion(scheme[1], SCHEMES)}"
        )
    return RemotePath.parse(text)


def is_remote(text: str) -> bool:
    """Tell whether a text is a URL."""
    return _SCHEME.match(text) is not None


def kvstore(place: Place) -> dict[str, Any]:
    """Return the specification of tensorstore's key-value store for a folder; ValueError for one it cannot name."""
    if isinstance(place, Path):
        if "\\" in str(place):
            raise ValueError(r"there is a \ in its path; rename the folder, or link to it by another name")
        return {"driver": "file", "path": f"{place}/"}
    scheme, _, host = place.root.partition("://")
    path = "".join(f"{part}/" for part in place.parts)
    if scheme == "gs":
        return {"driver": "gcs", "bucket": host, "path": path}
    if scheme == "s3":
        return {"driver": "s3", "bucket": host, "path": path, **_s3_options()}
    query = f"?{place.query}" if place.query else ""
    return {"driver": "http", "base_url": f"{place.root}{query}", "path": f"/{path}"}


def _s3_options() -> dict[str, Any]:
    """Credentials, region and server, named by the environment variables that all programs for S3 use."""
    environ = os.environ
    options: dict[str, Any] = {"aws_credentials": _aws_credentials()}
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        options["endpoint"] = endpoint.rstrip("/")
        region = region or "us-east-1"
    if region:
        options["aws_region"] = region
    return options


def _aws_credentials() -> dict[str, str]:
    """Choose where tensorstore looks for credentials; where there are none, requests are anonymous."""
    environ = os.environ
    if environ.get("AWS_ACCESS_KEY_ID"):
        return {"type": "environment"}
    files = (environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), "~/.aws/config")
    in_files = any(Path(file).expanduser().is_file() for file in files)
    if in_files or any(environ.get(name) for name in _AWS_ROLES) or _on_ec2():
        # tensorstore reads the files only for a profile that it is given
        return {"type": "default", "profile": environ.get("AWS_PROFILE", "default")}
    return {"type": "anonymous"}


def _on_ec2() -> bool:
    """Tell whether the machine may have the credentials of an instance role; asking for them elsewhere takes long."""
    vendor = Path("/sys/devices/virtual/dmi/id/sys_vendor")
    return vendor.is_file() and vendor.read_text(errors="replace").startswith("Amazon EC2")


def local_folder(output: str | Path) -> Path:
    """Return the folder into which something is to be written; UserError for a URL."""
    if is_remote(str(output)):
        raise UserError(f"cannot write to {output}: only folders can be written; give one, and upload it afterwards")
    # as it was given, for what is printed, but where `..` may lead elsewhere than it seems
    return local_path(output) if ".." in Path(output).parts else Path(output).expanduser()


def retries(patient: bool) -> dict[str, Any]:
    """Return the context in which tensorstore repeats failed requests: patiently for data, else as for a first look."""
    attempts, longest_seconds = (8, 10) if patient else (3, 1)
    policy = {"max_retries": attempts, "initial_delay": "200ms", "max_delay": f"{longest_seconds}s"}
    return {f"{driver}_request_retries": policy for driver in ("http", "s3", "gcs")}


def read_files(
    place: Place, names: Iterable[str], refused_is_missing: bool = False, patient: bool = False
) -> dict[str, bytes]:
    """Return the contents of those of the named files that exist in a folder.

    Servers may refuse what does not exist, such as buckets that may be read but not listed; `refused_is_missing`
    believes that. `patient` repeats failed requests as often as for data. Raises PermissionError for a local folder
    that may not be read, UserError for a server that gives none of the files and fails for some.
    """
    if isinstance(place, Path):
        return {name: (place / name).read_bytes() for name in names if (place / name).is_file()}
    found: dict[str, bytes] = {}
    problem = None
    for name, content in _fetched(place, names, patient):
        if isinstance(content, bytes):
            found[name] = content
        elif not (refused_is_missing and is_refusal(content)):
            problem = problem or content
    if problem is not None and not found:
        raise UserError(f"cannot open {place}: {_explained(place, problem)}") from problem
    return found


def _fetched(place: RemotePath, names: Iterable[str], patient: bool) -> Iterator[tuple[str, bytes | Exception]]:
    ts = tensorstore()
    try:
        store = ts.KvStore.open({**kvstore(place), "context": retries(patient)}).result(timeout=ANSWER_SECONDS)
    except (ValueError, OSError) as error:
        raise UserError(f"cannot open {place}: {_explained(place, error)}") from error
    for name, future in {name: store.read(name) for name in names}.items():
        try:
            answer = future.result(timeout=ANSWER_SECONDS)
        except (ValueError, OSError) as error:
            yield name, error
        else:
            if answer.state == "value":
                yield name, answer.value


def is_refusal(error: Exception) -> bool:
    """Tell whether a server has answered that access is denied."""
    return _http_code(error) in ("401", "403")


def _http_code(error: Exception) -> str | None:
    found = re.search(r"(?:HTTP code |http_response_code=')(\d+)", str(error))
    return None if found is None else found[1]


def _explained(place: RemotePath, error: Exception) -> str:
    text = str(error)
    if isinstance(error, TimeoutError):
        return f"the server does not answer within {ANSWER_SECONDS:g} s"
    if "CURL error" in text:
        return f"the server cannot be reached ({reason(error).rpartition(': ')[2]}); check the address"
    code = _http_code(error)
    if code is None:
        return reason(error)
    if not is_refusal(error):
        return f"the server answers HTTP {code}"
    advice = {
        "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, if it is not public",
        "gs": "set GOOGLE_APPLICATION_CREDENTIALS if it is not public",
    }
    default = "check the address and your permissions"
    return f"access denied (HTTP {code}); {advice.get(place.root.partition(':')[0], default)}"
