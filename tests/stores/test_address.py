"""Addresses of stores, and what is never said of them."""

import pytest

from dacapo_hd.errors import UserError
from dacapo_hd.stores import FileStore, open_store
from dacapo_hd.stores.address import is_mongodb, parse_mongodb, without_credentials

UNREADABLE = "cannot be read as an address"
ENCODE = (
    "a character in the user name, password or options must be percent-encoded (@ as %40, : as %3A, / as %2F, "
    "? as %3F, # as %23, % as %25, a space as %20)"
)


@pytest.mark.parametrize(
    ("address", "label", "database"),
    [
        ("mongodb://host", "mongodb://host/dacapo_hd", "dacapo_hd"),
        ("mongodb://host/", "mongodb://host/dacapo_hd", "dacapo_hd"),
        ("mongodb://host?tls=true", "mongodb://host/dacapo_hd", "dacapo_hd"),
        ("mongodb://host:27018/em", "mongodb://host:27018/em", "em"),
        ("mongodb://[::1]:27018/em", "mongodb://[::1]:27018/em", "em"),
        ("mongodb://a,b:27018/em?replicaSet=r", "mongodb://a,b:27018/em", "em"),
        ("mongodb://me:s3cret@host/em?authSource=admin", "mongodb://host/em", "em"),
        ("mongodb://me:s3cr%40t%2F@host/em", "mongodb://host/em", "em"),
        ("MongoDB://me:s3cret@host/em", "mongodb://host/em", "em"),
        ("mongodb+srv://me:s3cret@cluster.lab.org/em", "mongodb+srv://cluster.lab.org/em", "em"),
        ("mongodb://me:s3cret@host/em?tlsCertificateKeyFilePassword=s3cret", "mongodb://host/em", "em"),
    ],
)
def test_an_address_is_shown_without_user_password_and_options(address, label, database):
    found = parse_mongodb(address)
    assert (str(found), found.database) == (label, database)
    assert "s3cr" not in repr(found)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mongodb://me:s3cr@et@host/em", ENCODE),
        ("mongodb://me:s3cr/et@host/em", ENCODE),
        ("mongodb://me:s3cr:et@host/em", ENCODE),
        ("mongodb://me:s3cr?et@host/em", ENCODE),
        ("mongodb://me:s3cr#et@host/em", ENCODE),
        ("mongodb://me:s3cr%et@host/em", ENCODE),
        ("mongodb://me:s3cr et@host/em", ENCODE),
        ("mongodb://me:12/s3cr?w=1@host/em", ENCODE),
        ("mongodb://me@host/em", "a user name without a password; write mongodb://USER:PASSWORD@HOST/DATABASE"),
        ("mongodb://host/em?tls=maybe", f"{UNREADABLE} (The value of tls must be 'true' or 'false')"),
        ("mongodb://host/em?replicaSet", f"{UNREADABLE} (MongoDB URI options are key=value pairs)"),
        ("mongodb://me:x@host/em?authMechanismProperties=s3cr:y", f"{UNREADABLE} (one of its options is not valid)"),
        (
            "mongodb://me:s3cr@host/a.b",
            "'a.b' cannot name a database; use up to 63 letters, digits, '-' and '_' after the host",
        ),
    ],
)
def test_a_wrong_address_is_an_error_that_does_not_quote_the_password(address, message):
    with pytest.raises(UserError) as error:
        open_store(address)
    assert str(error.value) == f"mongodb://host: {message}"
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ("", "Must provide at least one hostname or IP"),
        ("host:99999", "Port must be an integer between 0 and 65535"),
        ("host:port", "Port contains non-digit characters"),
    ],
)
def test_a_wrong_host_is_named(hosts, reason):
    with pytest.raises(UserError) as error:
        open_store(f"mongodb://{hosts}")
    assert str(error.value) == f"mongodb://{hosts}: {UNREADABLE} ({reason})"


def test_a_misspelt_option_is_named():
    with pytest.raises(UserError, match=rf"^mongodb://host: {UNREADABLE} \(Unknown option.*\breplicaset\b"):
        open_store("mongodb://me:s3cret@host/em?replicaset_=r")


@pytest.mark.parametrize(
    "address", ["postgres://me:s3cret@host/em", "mongo://me:s3cret@host", "s3://bucket/runs", "mongodb:/host"]
)
def test_other_kinds_of_stores_are_refused(address):
    scheme = address.partition("/")[0] + "/"
    with pytest.raises(UserError) as error:
        open_store(address)
    assert str(error.value) == (
        f"no store has an address that begins with {scheme}; give a folder or mongodb://HOST/DATABASE"
    )


def test_a_folder_is_a_file_store_and_has_no_other_folder_of_weights(tmp_path):
    assert open_store(tmp_path / "runs") == FileStore(tmp_path / "runs")
    assert not is_mongodb(str(tmp_path))
    with pytest.raises(UserError) as error:
        open_store("runs", weights="weights")
    assert str(error.value) == "--weights is for stores in MongoDB; the weights of runs lie in that folder"


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("no address", "no address"),
        ("a@b and http://x@y", "a@b and http://x@y"),
        ("at mongodb://host/em: no answer", "at mongodb://host/em: no answer"),
        ("at mongodb://me:s3cret@host/em?authSource=admin now", "at mongodb://host/em now"),
        ("mongodb://me:s3@cr/et@host/em", "mongodb://host/em"),
        ("No such command 'mongodb://me:s3 c r/et@host/em'", "No such command 'mongodb://host/em'"),
        ("mongodb://host:1/em: weights in /data/a@b: none", "mongodb://host:1/em: weights in /data/a@b: none"),
        (f"mongodb://host:1: {ENCODE}", f"mongodb://host:1: {ENCODE}"),
        ("copy mongodb://a:b@c/d mongodb+srv://e:f@g/h", "copy mongodb://c/d mongodb+srv://g/h"),
        ("'mongodb://me:s3cret@host/em'", "'mongodb://host/em'"),
        ("DACAPO_HD_STORE=MONGODB://me:s3cret@host", "DACAPO_HD_STORE=MONGODB://host"),
    ],
)
def test_credentials_are_stripped_from_any_text(text, stripped):
    assert without_credentials(text) == stripped
