"""Addresses of stores: folders, or MongoDB databases whose user names and passwords never leave this file in words."""

from __future__ import annotations

import re
from urllib.parse import unquote

import attrs

from dacapo_hd.errors import UserError

DEFAULT_DATABASE = "dacapo_hd"

_SCHEME = re.compile(r"mongodb(\+srv)?://", re.IGNORECASE)
# also a password with blanks in it, of an address that is quoted before it was read
_CREDENTIALS = r"\S*@|[^\s/]*:[^\s/]*[^\s/:]\s.*@(?=\S)"
_IN_TEXT = re.compile(rf"(mongodb(?:\+srv)?://)(?:{_CREDENTIALS})?([^\s?]*)(?:\?\S*)?", re.IGNORECASE)
_ENCODED = re.compile(r"(?:[^%\s/?#\[\]@:]|%[0-9A-Fa-f]{2})*")
_SECRET_OPTIONS = ("authmechanismproperties", "password")


@attrs.frozen
class MongoAddress:
    """A MongoDB database: `uri` is for the client alone, `label` for people."""

    uri: str = attrs.field(repr=False)
    database: str
    label: str

    def __str__(self) -> str:
        return self.label


def is_mongodb(address: str) -> bool:
    """Tell MongoDB addresses from folders."""
    return bool(_SCHEME.match(address))


def without_credentials(text: str) -> str:
    """Strip user, password and options from every MongoDB address in a text."""
    return _IN_TEXT.sub(r"\1\2", text)


def parse_mongodb(address: str) -> MongoAddress:
    """Read `mongodb://[USER:PASSWORD@]HOST[:PORT][,...][/DATABASE][?OPTIONS]`; UserErrors do not quote it."""
    scheme = _SCHEME.match(address)
    if scheme is None:
        raise UserError(f"{without_credentials(address)}: not a MongoDB address; it begins with mongodb://")
    authority, slash, path = address[scheme.end() :].partition("/")
    if not slash:
        authority, question, options = authority.partition("?")
        path = question + options
    credentials, at, hosts = authority.rpartition("@")
    name, _, options = path.partition("?")
    shown = f"{scheme.group().lower()}{hosts}"
    if re.search(r"\s", address) or "@" in path or not all(map(_ENCODED.fullmatch, credentials.split(":", 1))):
        host = re.split(r"[/?\s]", address[scheme.end() :].rpartition("@")[2])[0]
        raise UserError(
            f"{scheme.group().lower()}{host}: a character in the user name, password or options must be "
            "percent-encoded (@ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25, a space as %20)"
        )
    if at and ":" not in credentials and "authmechanism" not in options.lower():
        raise UserError(f"{shown}: a user name without a password; write mongodb://USER:PASSWORD@HOST/DATABASE")
    database = unquote(name) or DEFAULT_DATABASE
    if not re.fullmatch(r"[^\x00/\\. \"$*<>:|?]{1,63}", database):
        raise UserError(
            f"{shown}: {database!r} cannot name a database; use up to 63 letters, digits, '-' and '_' after the host"
        )
    _check_options(address, shown, options)
    # without a database in the address the server would look for the user in `admin`: that stays as it is
    return MongoAddress(_SCHEME.sub(scheme.group().lower(), address), database, f"{shown}/{database}")


def _check_options(address: str, shown: str, options: str) -> None:
    """Let pymongo judge hosts, ports and options, whose own words could quote a password."""
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    # looking up the hosts of mongodb+srv is the client's part
    plain = _SCHEME.sub("mongodb://", address)
    try:
        parse_uri(plain, validate=True, warn=False)
    except (PyMongoError, ValueError) as error:
        words = re.split(r"\.? (?:Hint:|Refer to docstring)", str(error))[0].rstrip(".")
        secret = any(option in options.lower() for option in _SECRET_OPTIONS)
        reason = "one of its options is not valid" if secret else words
        raise UserError(f"{shown}: cannot be read as an address ({reason})") from None
