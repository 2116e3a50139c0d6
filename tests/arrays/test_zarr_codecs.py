"""Metadata as other writers leave them: what changes no voxel passes, what cannot be decoded is named."""

import itertools
import json
import pickle
import shutil

import numcodecs
import numpy as np
import pytest
import tensorstore
from test_n5 import write_n5
from zarr_files import numbers, write_array

from dacapo_hd.arrays import open_volume
from dacapo_hd.errors import UserError

DATA = numbers(5, 7, 9)
SIZE = {"voxel_size": [8, 8, 8]}


def write_zarr_2(folder, data, encode=bytes, chunks=(3, 4, 9), separator=".", skip=(), drop=(), **metadata):
    """Write an array byte by byte; `skip` names chunks and `drop` keys of the metadata that are left out."""
    order = metadata.get("order", "C")
    document = {
        "zarr_format": 2, "shape": data.shape, "chunks": chunks, "dtype": data.dtype.str, "compressor": None,
        "fill_value": 0, "order": order, "filters": None, **metadata,
    }  # fmt: skip
    folder.mkdir(parents=True)
    kept = {key: value for key, value in document.items() if key not in drop}
    (folder / ".zarray").write_text(json.dumps(kept))
    (folder / ".zattrs").write_text(json.dumps(SIZE))
    for index in itertools.product(*(range(-(-n // c)) for n, c in zip(data.shape, chunks, strict=True))):
        part = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        whole = np.zeros(chunks, data.dtype)
        whole[tuple(slice(0, n) for n in part.shape)] = part
        file = folder / separator.join(map(str, index))
        if file.name not in skip:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode(whole.tobytes(order)))
    return folder


def change(folder, **members):
    """Replace members of the metadata of a Zarr 3 array; None leaves one out."""
    document = {**json.loads((folder / "zarr.json").read_text()), **members}
    (folder / "zarr.json").write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
    return folder


def problem(path):
    with pytest.raises(UserError) as error:
        open_volume(path)
    assert "\n" not in str(error.value)
    return str(error.value)


COMPRESSORS = [
    ({"id": "zstd", "level": 6, "checksum": False}, numcodecs.Zstd(6)),
    ({"id": "zstd", "level": 6, "checksum": True}, numcodecs.Zstd(6, checksum=True)),
    ({"id": "zstd", "level": 99, "nthreads": 4}, numcodecs.Zstd(19)),
    ({"id": "zstd"}, numcodecs.Zstd(-5)),
    ({"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "typesize": 2}, numcodecs.Blosc("zstd", 3, 2)),
    ({"id": "blosc", "cname": "lz4hc", "shuffle": "auto", "nthreads": 1}, numcodecs.Blosc("lz4hc", 5, 1)),
    ({"id": "blosc", "cname": "blosclz", "clevel": 12, "shuffle": -1}, numcodecs.Blosc("blosclz", 9, -1)),
    ({"id": "gzip", "level": -1, "mtime": 0}, numcodecs.GZip(6)),
    ({"id": "zlib", "level": -1}, numcodecs.Zlib(6)),
    ({"id": "bz2", "level": 0, "small": False}, numcodecs.BZ2(9)),
]  # fmt: skip


@pytest.mark.parametrize(("compressor", "codec"), COMPRESSORS, ids=lambda value: str(value))
def test_options_of_compressors_that_other_writers_know(tmp_path, compressor, codec):
    path = write_zarr_2(tmp_path / "a.zarr", DATA, codec.encode, compressor=compressor)
    volume = pickle.loads(pickle.dumps(open_volume(path)))
    np.testing.assert_array_equal(volume.read(), DATA)
    np.testing.assert_array_equal(volume.read(volume.grid.roi_of((2, 3, 4), (3, 4, 5))), DATA[2:, 3:7, 4:])


def test_what_is_written_can_be_decoded_by_what_the_metadata_say(tmp_path):
    codec = numcodecs.Zstd(6, checksum=True)
    path = write_zarr_2(tmp_path / "a.zarr", DATA, codec.encode, compressor=codec.get_config(), note="mine")
    metadata, volume = (path / ".zarray").read_bytes(), open_volume(path)
    volume.write(volume.grid.roi, DATA + 1)
    assert (path / ".zarray").read_bytes() == metadata
    first = np.frombuffer(codec.decode((path / "0.0.0").read_bytes()), DATA.dtype).reshape(3, 4, 9)
    np.testing.assert_array_equal(first, DATA[:3, :4] + 1)
    np.testing.assert_array_equal(open_volume(path).read(), DATA + 1)


@pytest.mark.parametrize(
    "layout",
    [
        {"note": 1, "attributes": {}, "_nczarr_array": {"storage": "chunked"}},
        {"filters": []},
        {"drop": ("compressor", "filters", "fill_value")},
        {"order": "F"},
        {"order": "F", "chunks": (2, 7, 4)},
        {"chunks": (64, 64, 64)},
        {"chunks": (1, 1, 9)},
        {"separator": "/", "dimension_separator": "/"},
        {"dimension_separator": "."},
        {"dimension_separator": None},
        {"separator": "/", "dimension_separator": None},
        {"separator": "/"},
        {"separator": "/", "skip": ("0",), "chunks": (5, 7, 9)},
        {"dtype": "uint16"},
        {"dtype": "=u2"},
        {"dtype": "u2"},
    ],
    ids=lambda layout: str(layout),
)
def test_layouts(tmp_path, layout):
    volume = open_volume(write_zarr_2(tmp_path / "a.zarr", DATA, **layout))
    missing = "skip" in layout
    np.testing.assert_array_equal(volume.read(), DATA * 0 if missing else DATA)
    assert volume.dtype == np.dtype("uint16")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["|b1", "|i1", "|u1", ">u2", "<i2", ">i4", "<u8", ">i8", "<f2", ">f4", "<f8"])
def test_dtypes_and_byte_orders(tmp_path, dtype, order):
    data = (numbers(4, 3, 2, 5) % 251).astype(dtype)
    codec = numcodecs.Blosc("lz4", 5, 1)
    config = {**codec.get_config(), "typesize": data.dtype.itemsize}
    path = write_zarr_2(
        tmp_path / "a.zarr", data, codec.encode, (4, 2, 2, 3), order=order, compressor=config,
        fill_value=data.dtype.type(0).item(),
    )  # fmt: skip
    volume = open_volume(path)
    assert (volume.dtype, volume.channels) == (data.dtype.newbyteorder("="), 4)
    np.testing.assert_array_equal(volume.read(), data)


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("|u1", "null", 0),
        ("|u1", '""', 0),
        ("|u1", "7", 7),
        ("|u1", "7.0", 7),
        ("|u1", '"7"', 7),
        ("|u1", "true", 1),
        ("<u8", "18446744073709551615", 2**64 - 1),
        (">i2", "-3", -3),
        ("|b1", "true", True),
        ("|b1", "1", True),
        ("|b1", "0", False),
        ("|b1", '""', False),
        ("<f4", "null", 0),
        ("<f4", '""', 0),
        ("<f4", '"NaN"', np.nan),
        (">f4", "NaN", np.nan),
        ("<f8", '"-Infinity"', -np.inf),
        ("<f8", "Infinity", np.inf),
        ("<f2", "1.5", 1.5),
        ("<f4", '"1.5"', 1.5),
    ],
)
def test_fill_values(tmp_path, dtype, value, expected):
    data = np.ones((5, 7, 9), dtype)
    path = write_zarr_2(tmp_path / "a.zarr", data, skip=("1.0.0",), fill_value="HERE")
    (path / ".zarray").write_text((path / ".zarray").read_text().replace('"HERE"', value))
    data[3:, :4] = expected
    np.testing.assert_array_equal(open_volume(path).read(), data)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("|u1", "NaN"), ("|u1", -1), ("|u1", 256), ("|u1", 0.5), ("|u1", [1]), ("<u8", 2**64), ("|b1", 2), ("<f4", "x")],
)
def test_a_fill_value_that_the_dtype_does_not_have(tmp_path, dtype, value):
    path = write_zarr_2(tmp_path / "a.zarr", np.zeros((5, 7, 9), dtype), fill_value=value)
    message = problem(path)
    assert message.startswith(f"{path} (Zarr 2 array of shape (5, 7, 9)): cannot open: ")
    if dtype == "<f4":
        assert '"fill_value"' in message
    else:
        name = np.dtype(dtype).name
        assert message.endswith(f"its fill_value ({value!r}) is no {name}; correct it in the metadata")


@pytest.mark.parametrize("codec", ["lzma", "lz4", "imagecodecs_jpeg2k", "vlen-utf8", "n5_wrapper"])
def test_a_compressor_of_zarr_2_that_is_not_known(tmp_path, codec):
    path = write_zarr_2(tmp_path / "a.zarr", DATA, compressor={"id": codec, "level": 1})
    assert problem(path) == (
        f"{path} (Zarr 2 array of shape (5, 7, 9)): cannot open: its codec {codec!r} is not known here; rewrite the "
        "array with one such as blosc or zstd, for example by zarr-python"
    )


def test_filters_are_named(tmp_path):
    delta, scaled = numcodecs.Delta("<u2").get_config(), {"id": "fixedscaleoffset", "scale": 10, "offset": 0}
    for number, (filters, names) in enumerate((([delta], "delta"), ([delta, scaled], "delta, fixedscaleoffset"))):
        path = write_zarr_2(tmp_path / f"{number}.zarr", DATA, filters=filters)
        assert problem(path) == (
            f"{path} (Zarr 2 array of shape (5, 7, 9)): cannot open: its filters ({names}) are not known here; rewrite "
            "the array without filters, for example by zarr-python"
        )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"drop": ("chunks",)}, '"chunks"'),
        ({"drop": ("order",)}, '"order"'),
        ({"drop": ("dtype",)}, "its metadata are damaged: KeyError('dtype')"),
        ({"dtype": "|O"}, 'Unsupported zarr dtype: "|O"'),
        ({"dtype": "<M8[ns]"}, 'Unsupported zarr dtype: "<M8[ns]"'),
        ({"dimension_separator": "_"}, '"dimension_separator"'),
        ({"compressor": {"level": 1}}, "its metadata are damaged: KeyError('id')"),
        ({"compressor": "zstd"}, "its metadata are damaged: TypeError("),
    ],
)
def test_metadata_of_zarr_2_that_make_no_sense(tmp_path, metadata, message):
    path = write_zarr_2(tmp_path / "a.zarr", DATA, **metadata)
    found = problem(path)
    assert found.startswith(f"{path} (Zarr 2 array of shape (5, 7, 9)): cannot open: ")
    assert message in found


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def codec(name, **configuration):
    return {"name": name, "configuration": configuration}


def write_zarr_3(folder, codecs):
    metadata = {"shape": DATA.shape, "codecs": codecs, "chunk_grid": codec("regular", chunk_shape=[4, 4, 8])}
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}, "metadata": metadata}
    tensorstore.open({**spec, "create": True}, dtype=DATA.dtype).result()[...] = DATA
    return change(folder, attributes=SIZE)


BLOSC = codec("blosc", cname="zstd", clevel=1, shuffle="shuffle", typesize=2)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (codec("zstd", level=3), codec("zstd", level=3, checksum=True, nthreads=2)),
        (codec("zstd", level=3), codec("numcodecs.zstd", level=3)),
        (codec("zstd", level=3), {"name": "zstd"}),
        (BLOSC, codec("blosc", cname="zstd", clevel=1, shuffle="shuffle")),
        (BLOSC, codec("numcodecs.blosc", cname="zstd", clevel=1, shuffle=1)),
        (codec("gzip", level=3), codec("numcodecs.gzip", level=-1)),
        (codec("crc32c"), "crc32c"),
    ],
    ids=lambda value: str(value),
)  # fmt: skip
@pytest.mark.parametrize("sharded", [False, True])
def test_codecs_of_zarr_3_that_others_write_otherwise(tmp_path, written, read, sharded):
    def codecs(one):
        inner = [BYTES, one]
        index = [BYTES, {"name": "crc32c", "configuration": None}]
        return (
            [codec("sharding_indexed", chunk_shape=[2, 4, 4], codecs=inner, index_codecs=index)] if sharded else inner
        )

    path = tmp_path / "a.zarr"
    write_zarr_3(path, json.loads(json.dumps(codecs(written)).replace(', "configuration": null', "")))
    change(path, codecs=codecs(read))
    np.testing.assert_array_equal(open_volume(path).read(), DATA)


def test_members_of_zarr_3_metadata_that_say_nothing_of_the_voxels(tmp_path):
    path = write_array(tmp_path / "a.zarr", DATA, SIZE, 3)
    change(
        path, consolidated_metadata=None, dimension_names=None, storage_transformers=[], data_type={"name": "uint16"},
        chunk_key_encoding="default", fill_value=None, note={"must_understand": False},
    )  # fmt: skip
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read(), DATA)
    shutil.rmtree(path / "c")
    np.testing.assert_array_equal(open_volume(path).read(), DATA * 0)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"note": 1}, 'Unsupported metadata field "note" is not marked {"must_understand": false}'),
        ({"codecs": []}, "array -> bytes codec must be specified"),
        ({"codecs": [{"name": "bytes"}]}, '"endian"'),
        ({"codecs": ...}, "its metadata are damaged: KeyError('codecs')"),
        ({"chunk_grid": codec("rectilinear", chunk_shapes=[[5], [7], [9]])}, "rectilinear"),
        ({"chunk_key_encoding": ...}, '"chunk_key_encoding"'),
        ({"fill_value": "NaN"}, "its fill_value ('NaN') is no uint16; correct it in the metadata"),
        ({"data_type": "string", "fill_value": ""}, "string data type is not one of the supported data types"),
    ],
)
def test_metadata_of_zarr_3_that_make_no_sense(tmp_path, members, message):
    path = change(write_array(tmp_path / "a.zarr", DATA, SIZE, 3), **members)
    found = problem(path)
    assert found.startswith(f"{path} (Zarr 3 array of shape (5, 7, 9)): cannot open: ")
    assert message in found


@pytest.mark.parametrize("name", ["numcodecs.delta", "numcodecs.lzma", "zfp", "vlen-utf8"])
@pytest.mark.parametrize("sharded", [False, True])
def test_a_codec_of_zarr_3_that_is_not_known(tmp_path, name, sharded):
    codecs = [BYTES, codec(name)]
    if sharded:
        codecs = [codec("sharding_indexed", chunk_shape=[1, 1, 1], codecs=codecs, index_codecs=[BYTES])]
    path = change(write_array(tmp_path / "a.zarr", DATA, SIZE, 3), codecs=codecs)
    assert problem(path) == (
        f"{path} (Zarr 3 array of shape (5, 7, 9)): cannot open: its codec {name!r} is not known here; rewrite the "
        "array with one such as blosc or zstd, for example by zarr-python"
    )


@pytest.mark.parametrize(
    "compression",
    [
        {"type": "blosc", "cname": "zstd", "clevel": 6, "shuffle": 1, "blocksize": 0, "nthreads": 4},
        {"type": "blosc", "cname": "lz4", "shuffle": -1},
        {"type": "zstd", "level": 3, "nbWorkers": 0},
        {"type": "gzip", "useZlib": True, "level": -1, "strategy": 0},
        {"type": "gzip", "useZlib": False, "level": -1},
        {"type": "bzip2", "blockSize": 0},
        {"type": "xz", "preset": -1},
        {"type": "raw", "level": 1},
        "gzip",
    ],
    ids=lambda value: str(value),
)
def test_compressions_of_n5_that_others_write_otherwise(tmp_path, compression):
    known = {"type": compression} if isinstance(compression, str) else compression
    plain = {key: value for key, value in known.items() if key in ("type", "useZlib", "cname")}
    plain.update({"clevel": 6, "shuffle": 1} if known["type"] == "blosc" else {})
    path = tmp_path / "a.n5/raw"
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(path)}}
    metadata = {"blockSize": [3] * 3, "compression": plain}
    array = tensorstore.open({**spec, "metadata": metadata, "create": True}, dtype=DATA.dtype, shape=DATA.shape[::-1])
    array.result()[...] = DATA.T
    document = json.loads((path / "attributes.json").read_text())
    document.update(compression=compression, resolution=[8, 8, 8])
    (path / "attributes.json").write_text(json.dumps(document))
    np.testing.assert_array_equal(open_volume(path).read(), DATA)


def test_metadata_that_are_gone(tmp_path):
    paths = {
        ".zarray": write_zarr_2(tmp_path / "a.zarr", DATA),
        "zarr.json": write_array(tmp_path / "b", DATA, SIZE, 3),
    }
    paths["attributes.json"] = write_n5(tmp_path / "c.n5", DATA, {"resolution": [8, 8, 8]})
    for name, path in paths.items():
        sent = pickle.dumps(open_volume(path))
        (path / name).unlink()
        with pytest.raises(UserError) as error:
            pickle.loads(sent).read()
        assert str(error.value) == f"{path}: cannot read: No such file or directory: {path}/{name}"
