"""Arrays on servers: the same voxels and coordinates as on disk, and errors of one line."""

import json
import pickle
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from servers import BucketHandler, CloudBucketHandler, CloudHandler, serving, serving_s3, upload
from test_n5 import write_n5
from zarr_files import multiscale, numbers, scale, write_array, write_group

from dacapo_hd.arrays import ArrayRef, create_volume, open_volume
from dacapo_hd.arrays.nodes import DOCUMENTS
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid

DATA = numbers(4, 5, 6)
GRID = Grid.from_nm((4, 5, 6), (4.6, 9.8, 9.8), (2.5, -3.3, 0))
KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with an array of each format."""
    folder = tmp_path_factory.mktemp("files")
    for zarr_format in (2, 3):
        volume = create_volume(folder / f"zarr{zarr_format}.zarr/a b", GRID, DATA.dtype, zarr_format=zarr_format)
        volume.write(GRID.roi, DATA)
    write_n5(folder / "n5.n5/a b", DATA, {"transform": {
        "axes": ["z", "y", "x"], "scale": [4.6, 9.8, 9.8], "translate": [4.8, 1.6, 4.9], "units": ["nm"] * 3
    }})  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def server(files):
    with serving(files) as server:
        yield server


@pytest.fixture(scope="module")
def s3(files):
    import boto3

    with serving_s3() as address:
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **KEYS)
        client.create_bucket(Bucket="public-bucket")
        client.create_bucket(Bucket="private-bucket")
        for folder in files.iterdir():
            upload(client, "public-bucket", folder, f"data/{folder.name}", public=True)
            upload(client, "private-bucket", folder, folder.name)
        yield address


@pytest.fixture
def aws(s3, monkeypatch, tmp_path):
    """The environment of a user without credentials whose S3 is the local one."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    return monkeypatch


ARRAYS = ["zarr2.zarr/a b", "zarr2.zarr/a b/s0", "zarr3.zarr/a b", "zarr3.zarr/a b/s0", "n5.n5/a b"]


def check(url):
    volume = open_volume(url)
    assert (volume.grid, volume.path.startswith(url), volume.channels) == (GRID, True, None)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(), DATA)
    roi = GRID.roi_of((1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(volume.read(roi), DATA[1:3, 2:5, 3:4])


def problem(url, **fields):
    with pytest.raises(UserError) as error:
        ArrayRef(url, **fields).open()
    return str(error.value)


@pytest.mark.parametrize("path", ARRAYS)
def test_over_http(server, path):
    check(f"{server.url}/{path}")


def test_what_is_cached_is_asked_for_once(server):
    volume = open_volume(f"{server.url}/zarr2.zarr/a b")
    chunks = {}
    for name, opened in (("cached", volume.cached(10**6)), ("not", volume)):
        before = len(server.requests)
        for _ in range(3):
            np.testing.assert_array_equal(opened.read(), DATA)
        chunks[name] = [path for path in server.requests[before:] if path.endswith("s0/0/0/0")]
    assert {name: len(found) for name, found in chunks.items()} == {"cached": 1, "not": 3}


def test_a_sent_volume_caches_as_well(server):
    volume = pickle.loads(pickle.dumps(open_volume(f"{server.url}/zarr3.zarr/a b").cached(10**6)))
    before = len(server.requests)
    for _ in range(3):
        np.testing.assert_array_equal(volume.read(), DATA)
    assert len([path for path in server.requests[before:] if "/c/" in path]) == 1


def test_escaped_addresses_and_queries(server):
    volume = open_volume(f"{server.url}/zarr2.zarr/a%20b/?token=7")
    np.testing.assert_array_equal(volume.read(), DATA)
    assert all(request.endswith("?token=7") for request in server.requests[-3:])


@pytest.mark.parametrize("path", ARRAYS)
def test_on_s3_without_credentials(aws, path):
    check(f"s3://public-bucket/data/{path}")


@pytest.mark.parametrize("path", ARRAYS)
def test_on_s3_with_credentials(aws, path):
    aws.setenv("AWS_ACCESS_KEY_ID", "key")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    check(f"s3://private-bucket/{path}")


def test_s3_can_be_written(aws, s3):
    import boto3

    aws.setenv("AWS_ACCESS_KEY_ID", "key")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    volume = open_volume("s3://private-bucket/zarr3.zarr/a b")
    volume.write(GRID.roi, DATA + 1)
    np.testing.assert_array_equal(open_volume("s3://private-bucket/zarr3.zarr/a b").read(), DATA + 1)
    volume.write(GRID.roi, DATA)
    listed = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **KEYS).list_objects_v2(
        Bucket="private-bucket"
    )
    assert "zarr3.zarr/a b/s0/c/0/0/0" in {entry["Key"] for entry in listed["Contents"]}


SUMS = """
    import sys
    from dacapo_hd.arrays import open_volume

    for path in sys.argv[1:]:
        volume = open_volume(path)
        print(volume.grid, int(volume.read().astype(int).sum()))
"""


def sums_read_elsewhere(paths, environment, home):
    """Read arrays in a process of its own: services and credentials are looked up once in a process."""
    command = [sys.executable, "-c", textwrap.dedent(SUMS), *paths]
    environment = {"PATH": "/usr/bin", "HOME": str(home), **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.parametrize(
    ("file", "section", "environment"),
    [
        ("credentials", "default", {}),
        ("credentials", "lab", {"AWS_PROFILE": "lab"}),
        ("config", "profile lab", {"AWS_PROFILE": "lab"}),
    ],
)
def test_on_s3_with_credentials_in_files(s3, tmp_path, file, section, environment):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / file).write_text(f"[{section}]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    paths = ["s3://private-bucket/zarr3.zarr/a b", "s3://private-bucket/n5.n5/a b"]
    found = sums_read_elsewhere(paths, {"AWS_ENDPOINT_URL": s3, **environment}, tmp_path)
    assert found == f"{GRID} {DATA.sum()}\n" * 2


def test_on_google_cloud(tmp_path, files):
    (tmp_path / "my-bucket").symlink_to(files)
    with serving(tmp_path, CloudHandler) as server:
        environment = {"TENSORSTORE_GCS_HTTP_URL": server.url}
        found = sums_read_elsewhere([f"gs://my-bucket/{path}" for path in ARRAYS], environment, tmp_path)
    assert found == f"{GRID} {DATA.sum()}\n" * len(ARRAYS)


def test_a_level_is_chosen_by_voxel_size(server, files):
    group = write_group(files / "levels.zarr", multiscale({"s0": [scale(4, 4, 4)], "s1": [scale(8, 8, 8)]}))
    for name in ("s0", "s1"):
        write_array(group / name, DATA)
    url = f"{server.url}/levels.zarr"
    assert ArrayRef(url).open((8, 8, 8)).grid.voxel_size_nm == (8, 8, 8)
    assert problem(url, level="s2") == (
        f"{url} (Zarr 2 group): no level 's2'; levels: s0 [4, 4, 4] nm, s1 [8, 8, 8] nm"
    )


def test_missing_arrays_are_looked_for_in_what_groups_list(server, files):
    url = f"{server.url}/listing.zarr"
    group = write_group(files / "listing.zarr")
    write_array(group / "raw", DATA)
    documents = ".zarray, .zgroup, .zattrs, attributes.json"
    assert problem(f"{url}/rwa") == (
        f"no array at {url}/rwa: the nearest group, {url}, is there, but does not list what it contains"
    )
    metadata = {"zarr_consolidated_format": 1, "metadata": {".zgroup": {}, "raw/.zarray": {}, "raw/.zattrs": {}}}
    (group / ".zmetadata").write_text(json.dumps(metadata))
    assert problem(f"{url}/rwa") == (
        f"no array at {url}/rwa: the nearest group, {url}, contains raw; did you mean 'raw'?"
    )
    assert problem(url) == f"{url} (Zarr 2 group): has no OME multiscales; name one of the arrays in it: raw"
    third = {"metadata": {"em": {"node_type": "group"}, "em/raw": {"node_type": "array"}}}
    document = {"zarr_format": 3, "node_type": "group", "attributes": {}, "consolidated_metadata": third}
    (files / "third.zarr").mkdir()
    (files / "third.zarr/zarr.json").write_text(json.dumps(document))
    assert problem(f"{server.url}/third.zarr/em/rwa") == (
        f"no array at {server.url}/third.zarr/em/rwa: the nearest group, {server.url}/third.zarr, contains em/raw; "
        "did you mean 'em/raw'?"
    )
    assert problem(f"{server.url}/nowhere/raw") == (
        f"no array at {server.url}/nowhere/raw: neither there nor above it is any of zarr.json, {documents}"
    )


def test_servers_that_refuse(server, aws):
    assert problem(f"{server.url}/forbidden/a.zarr") == (
        f"cannot open {server.url}/forbidden/a.zarr: access denied (HTTP 403); check the address and your permissions"
    )
    assert problem("s3://private-bucket/zarr2.zarr/a b") == (
        "cannot open s3://private-bucket/zarr2.zarr/a b: access denied (HTTP 403); set AWS_PROFILE, or "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, if it is not public"
    )
    assert problem("s3://no-such-bucket/a.zarr").startswith("no array at s3://no-such-bucket/a.zarr: ")
    assert problem(f"{server.url}/broken/a.zarr") == (
        f"cannot open {server.url}/broken/a.zarr: the server answers HTTP 500"
    )


# the file of a chunk that is left out, its box, and what is read in its place
SPARSE = {
    "zarr2": ("0/1/0", np.s_[..., :2, 3:, :4], 7),
    "channels": ("0/1/0/1", np.s_[..., 2:, :3, 4:], 7),
    "zarr3": ("c/1/0/1", np.s_[..., 2:, :3, 4:], 7),
    "sharded": ("c/0/0/0", np.s_[..., :2, :4, :4], 7),
    "n5": ("1/1/0", np.s_[..., :3, 3:, 3:], 0),
}


def write_sparse(folder, name):
    """Write an array without one of its chunks, and no group above its pyramid; return its voxels."""
    channels = 2 if name == "channels" else None
    data = numbers(*([channels] if channels else []), *GRID.shape_vx)
    if name == "n5":
        write_n5(folder / "n5/s0", data, {"resolution": [9.8, 9.8, 4.6], "offset": [0, -3.3, 2.5]})
    else:
        layout = {"chunk_shape_vx": (2, 3, 4), "zarr_format": 3 if name in ("zarr3", "sharded") else 2}
        if name == "sharded":
            layout.update(chunk_shape_vx=(1, 2, 2), shard_shape_vx=(2, 4, 4))
        create_volume(folder / name, GRID, data.dtype, channels, **layout).write(GRID.roi, data)
        document = folder / name / "s0" / ("zarr.json" if layout["zarr_format"] == 3 else ".zarray")
        document.write_text(json.dumps({**json.loads(document.read_text()), "fill_value": 7}))
    file, box, value = SPARSE[name]
    (folder / name / "s0" / file).unlink()
    data[box] = value
    return data


def check_sparse(url, data):
    for volume in (open_volume(f"{url}/s0"), *([] if url.endswith("n5") else [open_volume(url)])):
        assert volume.grid == GRID
        for one in (pickle.loads(pickle.dumps(volume)), volume.cached(10**6)):
            np.testing.assert_array_equal(one.read(), data)
            for begin, shape in (((1, 1, 1), (3, 4, 5)), ((0, 4, 3), (1, 1, 3)), ((0, 0, 0), (1, 1, 1))):
                box = (..., *(slice(b, b + n) for b, n in zip(begin, shape, strict=True)))
                np.testing.assert_array_equal(one.read(GRID.roi_of(begin, shape)), data[box])


@pytest.mark.parametrize("refusal", [403, 401])
@pytest.mark.parametrize("name", SPARSE)
def test_servers_that_refuse_what_is_not_there(tmp_path, name, refusal):
    data = write_sparse(tmp_path / "site", name)
    with serving(tmp_path, BucketHandler) as server:
        server.refusal = refusal
        check_sparse(f"{server.url}/site/{name}", data)


@pytest.mark.parametrize("name", SPARSE)
def test_buckets_of_s3_that_may_not_be_listed(aws, tmp_path, name):
    data = write_sparse(tmp_path / "bucket", name)
    with serving(tmp_path, BucketHandler) as server:
        aws.setenv("AWS_ENDPOINT_URL", server.url)
        check_sparse(f"s3://bucket/{name}", data)


def test_buckets_of_google_that_may_not_be_listed(tmp_path):
    sums = [write_sparse(tmp_path / "bucket", name).sum() for name in SPARSE]
    with serving(tmp_path, CloudBucketHandler) as server:
        paths = [f"gs://bucket/{name}/s0" for name in SPARSE]
        found = sums_read_elsewhere(paths, {"TENSORSTORE_GCS_HTTP_URL": server.url}, tmp_path)
    assert found == "".join(f"{GRID} {total}\n" for total in sums)


def test_what_is_asked_of_a_server(tmp_path):
    write_sparse(tmp_path, "zarr2")
    with serving(tmp_path, BucketHandler) as server:
        volume = open_volume(f"{server.url}/zarr2/s0")
        assert server.requests.count("/zarr2/s0/.zarray") == 2
        # a chunk that is there, and one that is not: it, the metadata, and it again
        for begin, count in (((0, 0, 0), 1), ((0, 3, 0), 3)):
            server.requests.clear()
            volume.read(GRID.roi_of(begin, (1, 1, 1)))
            assert len(server.requests) == count


def test_an_array_that_is_refused_itself(tmp_path):
    write_sparse(tmp_path, "zarr2")
    advice = "access denied (HTTP 403); check the address and your permissions"
    with serving(tmp_path, BucketHandler) as server:
        url = f"{server.url}/zarr2"
        volume = open_volume(f"{url}/s0")
        assert problem(f"{url}/nothing") == f"cannot open {url}/nothing: {advice}"
        server.answers = {"": 403}
        assert problem(f"{url}/s0") == f"cannot open {url}/s0: {advice}"
        with pytest.raises(UserError) as error:
            volume.read()
    message = str(error.value)
    assert message.startswith(f"{url}/s0: cannot read: PERMISSION_DENIED: Error reading {url}/s0/")
    assert "\n" not in message


def test_a_chunk_that_fails_otherwise_is_an_error(tmp_path):
    write_sparse(tmp_path, "zarr2")
    with serving(tmp_path, BucketHandler) as server:
        volume = open_volume(f"{server.url}/zarr2")
        server.answers = {"s0/1/1/1": 400}
        with pytest.raises(UserError, match=r"cannot read: .*zarr2/s0/1/1/1: Bad Request"):
            volume.read()


def test_an_array_without_a_group_on_a_server_that_refuses_what_is_not_there(tmp_path, zarr_format):
    path = write_array(tmp_path / "a.zarr/em/raw", DATA, {"voxel_size": [8, 8, 8]}, zarr_format)
    bare = write_array(tmp_path / "a.zarr/em/bare", DATA, None, zarr_format)
    with serving(tmp_path, BucketHandler) as server:
        volume = open_volume(f"{server.url}/a.zarr/em/raw")
        assert volume.grid == open_volume(path).grid
        np.testing.assert_array_equal(volume.read(), DATA)
        url = f"{server.url}/a.zarr/em/{bare.name}"
        assert problem(url).startswith(f"{url} (Zarr {zarr_format} array of shape (4, 5, 6)): has no voxel size")


def test_groups_on_servers_that_refuse_what_is_not_there(tmp_path):
    group = write_group(tmp_path / "bare.zarr")
    shared = {"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}, "scales": [[1, 1, 1], [2, 2, 1]]}
    for name in ("s0", "s1"):
        write_n5(tmp_path / "a.n5/em" / name, DATA)
    (tmp_path / "a.n5/em/attributes.json").write_text(json.dumps(shared))
    with serving(tmp_path, BucketHandler) as server:
        levels = ArrayRef(f"{server.url}/a.n5/em").open_levels()
        sizes = {name: volume.grid.voxel_size_nm for name, volume in levels.items()}
        assert sizes == {"s0": (40, 4, 4), "s1": (40, 8, 8)}
        assert open_volume(f"{server.url}/a.n5/em/s1").grid == levels["s1"].grid
        url = f"{server.url}/{group.name}"
        assert problem(url) == f"{url} (Zarr 2 group): has no OME multiscales; it contains no arrays"


def test_what_is_above_a_missing_array_may_be_refused(tmp_path):
    with serving(tmp_path, BucketHandler) as server:
        server.answers = {f"nothing/{name}": 404 for name in DOCUMENTS}
        url = f"{server.url}/a.zarr/nothing"
        assert problem(url).startswith(f"no array at {url}: neither there nor above it is any of zarr.json, ")


def test_unreachable_servers(aws):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for url in (f"{address}/a.zarr", "s3://bucket/a.zarr"):
            aws.setenv("AWS_ENDPOINT_URL", address)
            message = problem(url)
            assert message.startswith(f"cannot open {url}: the server cannot be reached (")
            assert message.endswith("); check the address")
            assert "\n" not in message


def test_an_answer_that_is_no_metadata(server, files):
    (files / "page.zarr").mkdir()
    (files / "page.zarr/zarr.json").write_text("<html>")
    assert problem(f"{server.url}/page.zarr").startswith(
        f"{server.url}/page.zarr/zarr.json: the metadata is not JSON: "
    )


def test_a_damaged_chunk_and_a_failing_server_while_reading(server, files):
    volume = create_volume(files / "damaged.zarr", GRID, DATA.dtype)
    volume.write(GRID.roi, DATA)
    (files / "damaged.zarr/s0/0/0/0").write_bytes(b"damaged")
    with pytest.raises(UserError) as error:
        open_volume(f"{server.url}/damaged.zarr").read()
    assert str(error.value).startswith(f"{server.url}/damaged.zarr/s0: cannot read: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ftp://host/a.zarr", "cannot open {}: unknown scheme 'ftp'; it must be one of http, https, s3, gs"),
        ("htps://host/a.zarr", "cannot open {}: unknown scheme 'htps'; it must be one of http, https, s3, gs; "
         "did you mean 'https'?"),
        ("s3:///a.zarr", "cannot open {}: it has no bucket"),
        ("https:///a.zarr", "cannot open {}: it has no host"),
    ],
)  # fmt: skip
def test_addresses_that_make_no_sense(path, message):
    assert problem(path) == message.format(path)


@pytest.mark.parametrize("path", ["zarr3.zarr/../zarr2.zarr/./a b", "../zarr2.zarr/a%20b", "zarr2.zarr/x/%2E%2E/a b/"])
def test_addresses_that_go_up(server, path):
    volume = open_volume(f"{server.url}/{path}")
    assert volume.path == f"{server.url}/zarr2.zarr/a b/s0"
    np.testing.assert_array_equal(volume.read(), DATA)


def test_single_files_are_not_read_over_a_network(server):
    url = f"{server.url}/a.h5/volumes/raw"
    assert problem(url) == (f"cannot open {url}: only Zarr and N5 are read over a network; download {server.url}/a.h5")
