import pickle

import attrs
import numpy as np
import pytest

from dacapo_hd.config import ConfigError, structure, unstructure
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels import (
    ABSENT,
    PRESENT,
    UNKNOWN,
    ClassArrays,
    ClassScheme,
    InstanceArray,
    LabelSource,
    SemanticArray,
)

U, A, P = UNKNOWN, ABSENT, PRESENT


def row(*values, dtype=np.uint8):
    return np.array([[values]], dtype)


def read_row(source, scheme=None, width=None):
    """Read everything of a source with 4 nm voxels along x; returns {class: (codes, ids)}."""
    opened = source.open(None if width is None else Grid.from_nm((1, 1, width), (4, 4, 4)), scheme)
    grid = opened.grids[0] if width is None else Grid.from_nm((1, 1, width), (4, 4, 4))
    found = opened.read(grid.roi, grid)
    return {
        name: (one.code.ravel().tolist(), None if one.ids is None else one.ids.ravel().tolist())
        for name, one in found.items()
    }


def problems_of(work):
    with pytest.raises(UserError) as caught:
        work()
    return list(caught.value.problems)


def test_class_arrays_without_ids(store):
    arrays = {"mito": store("mito", row(0, 1, 255, 1)), "er": store("er", row(1, 1, 0, 0))}
    assert read_row(ClassArrays(arrays)) == {"mito": ([A, P, U, P], None), "er": ([P, P, A, A], None)}


def test_class_array_with_values_above_one_has_ids(store):
    source = ClassArrays({"mito": store("mito", row(0, 1, 7, 255, 300, dtype=np.uint16))})
    assert read_row(source) == {"mito": ([A, P, P, P, P], [0, 1, 7, 255, 300])}
    assert source.open(None).instance_classes == ("mito",)


@pytest.mark.parametrize(
    ("dtype", "encoding", "given", "expected"),
    [
        (np.uint8, None, None, [A, P, P, U]),
        (np.uint16, None, "none", [A, P, P, P]),
        (np.uint8, {"absent": 0, "present": 1, "unknown": 2}, 255, [A, P, P, U]),
        (np.uint8, None, (0, "none"), [U, P, P, P]),
        (np.uint8, None, (0, 255), [U, P, P, U]),
        (np.uint8, None, 65535, [A, P, P, U]),
        (np.uint8, None, -1, [A, P, P, P]),
    ],
)
def test_the_unknown_value(store, dtype, encoding, given, expected):
    attributes = {"encoding": encoding} if encoding else {}
    source = ClassArrays({"mito": store("mito", row(0, 1, 2, 255, dtype=dtype), **attributes)}, unknown=given)
    assert read_row(source)["mito"][0] == expected


def cellmap(encoding, **annotation):
    return {"cellmap": {"annotation": {"annotation_type": {"encoding": encoding, **annotation}, "class_name": "mito"}}}


@pytest.mark.parametrize("semantic", [True, False])
@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ({"absent": 0, "unknown": 255}, [A, P, U]),
        ({"unknown": 0, "present": 255}, [U, None, P]),
        ({"absent": 255, "unknown": 0}, [U, P, A]),
        ({"absent": 255, "unknown": 1}, [None, U, A]),
    ],
)
def test_the_encoding_of_cellmap(store, semantic, encoding, expected):
    values = [value for value, code in zip((0, 1, 255), expected, strict=True) if code is not None]
    array = store("mito", row(*values, dtype=np.uint16), **cellmap(encoding))
    source = ClassArrays({"mito": array}) if semantic else InstanceArray(array, "mito")
    assert read_row(source)["mito"][0] == [code for code in expected if code is not None]


def test_a_value_that_the_encoding_does_not_name_is_asked_about(store):
    array = store("mito", row(0, 1, 7), **cellmap({"absent": 0, "present": 1, "unknown": 255}))
    assert problems_of(lambda: ClassArrays({"mito": array}).open(None)) == [
        f"labels '{array.path}': hold 7, which their encoding does not name (absent 0, present 1); correct the "
        "encoding, or write `unknown: [255, 7]` where the labels are named"
    ]
    wrong = store("er", row(0, 1), **cellmap({"absent": "0"}))
    assert problems_of(lambda: ClassArrays({"er": wrong}).open(None)) == [
        f"labels '{wrong.path}/s0': their encoding says absent: '0'; it must be an integer"
    ]


def asked(value):
    return (
        f"hold {value}: is it 'unknown' or an id? write `unknown: {value}` where the labels are named, or "
        f"`unknown: none` if it is an id, or `absent: {value}`"
    )


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        *((dtype, (0, 1, np.iinfo(dtype).max)) for dtype in (np.uint16, np.uint32, np.uint64, np.int16, np.int64)),
        *((np.uint64, (7, 2**64 - n)) for n in (1, 2, 3)),
        *((dtype, (0, 3, 255)) for dtype in (np.uint16, np.int16, np.uint32, np.int64)),
        (np.uint32, (0, 200, 65535)),
        (np.uint64, (1, 2**32 - 1)),
        (np.uint16, (255, 255)),
        # the greatest value of an unsigned type is never an id without a word
        (np.uint16, (65534, 65535)),
    ],
)
def test_values_that_are_probably_no_ids_are_asked_about(store, dtype, values):
    array, last = store("mito", row(*values, dtype=dtype)), int(values[-1])
    for make in (
        lambda **more: ClassArrays({"mito": array}, **more),
        lambda **more: InstanceArray(array, "mito", **more),
    ):
        assert problems_of(lambda make=make: make().open(None)) == [f"labels '{array.path}': {asked(last)}"]
        if values[0] < last - 1:
            assert read_row(make(unknown=last))["mito"][0][-1] == U
            assert read_row(make(absent=last))["mito"][0][-1] == A
            assert read_row(make(unknown="none"))["mito"][0][-1] == P


@pytest.mark.parametrize(
    ("dtype", "values"),
    [(np.uint16, (1, 200, 255)), (np.uint32, (3, 255, 300)), (np.int8, (1, 100)), (np.uint64, (1, 2**63))],
)
def test_real_ids_raise_no_question(store, dtype, values):
    source = InstanceArray(store("mito", row(*values, dtype=dtype)), "mito")
    assert read_row(source)["mito"][0] == [P] * len(values)


def test_one_answer_does_not_silence_other_questions(store):
    array = store("mito", row(7, 2**64 - 3, 2**64 - 1, dtype=np.uint64))
    last, other = 2**64 - 1, 2**64 - 3
    assert problems_of(lambda: InstanceArray(array, "mito", unknown=last).open(None)) == [
        f"labels '{array.path}': hold {other}: is it 'unknown' or an id? write `unknown: [{last}, {other}]` where the "
        f"labels are named, or `unknown: [{last}, none]` if it is an id, or `absent: {other}`"
    ]
    assert read_row(InstanceArray(array, "mito", unknown=(last, other)))["mito"][0] == [P, U, U]
    assert read_row(InstanceArray(array, "mito", unknown=(last, "none")))["mito"][0] == [P, P, U]
    assert read_row(InstanceArray(array, "mito", unknown=last, absent=other))["mito"][0] == [P, A, U]


def test_what_is_said_to_be_absent_is_so_even_where_it_is_usually_unknown(store):
    source = ClassArrays({"mito": store("mito", row(0, 1, 255))}, absent=255)
    assert read_row(source)["mito"][0] == [A, P, A]
    coded = store("er", row(0, 1, 255), encoding={"absent": 0, "present": 1, "unknown": 255})
    assert read_row(ClassArrays({"er": coded}, absent=255))["er"][0] == [A, P, A]
    # a value for wider arrays beside this one changes nothing here
    both = {"a": store("a", row(0, 1, 255)), "b": store("b", row(0, 1, 65535, dtype=np.uint16))}
    assert [codes for codes, _ in read_row(ClassArrays(both, unknown=65535)).values()] == [[A, P, U], [A, P, U]]


def test_the_greatest_uint8_is_asked_about_only_as_an_instance(store):
    array = store("mito", row(0, 1, 255))
    assert read_row(ClassArrays({"mito": array}))["mito"][0] == [A, P, U]
    assert problems_of(lambda: InstanceArray(array, "mito").open(None)) == [f"labels '{array.path}': {asked(255)}"]


def test_the_same_question_about_many_classes_is_asked_once(store):
    arrays = {name: store(name, row(0, 1, 65535, dtype=np.uint16)) for name in ("mito", "er", "ecs")}
    assert problems_of(lambda: ClassArrays(arrays).open(None)) == [
        f"labels '{arrays['mito'].path}' and 2 more: {asked(65535)}"
    ]


def test_boolean_labels(store):
    assert read_row(ClassArrays({"mito": store("mito", row(0, 1, dtype=bool))})) == {"mito": ([A, P], None)}


def test_negative_labels_need_a_meaning(store):
    array = store("mito", row(0, -1, 3, dtype=np.int32))
    assert problems_of(lambda: read_row(InstanceArray(array, "mito"))) == [
        f"labels '{array.path}': hold the negative value -1; write `unknown: -1` where the labels are named if that "
        "marks unknown voxels"
    ]
    assert read_row(InstanceArray(array, "mito", unknown=-1)) == {"mito": ([A, U, P], [0, 0, 3])}


def test_instances_are_dense_even_in_uint8(store):
    assert read_row(InstanceArray(store("mito", row(0, 1, 254)), "mito")) == {"mito": ([A, P, P], [0, 1, 254])}


def test_large_ids_are_numbered_anew(store):
    big = 2**40
    source = InstanceArray(store("mito", row(0, big + 5, 7, big, big + 5, dtype=np.uint64)), "mito", unknown=big)
    assert read_row(source) == {"mito": ([A, P, P, U, P], [0, 2, 1, 0, 2])}


def test_ids_of_64_bit_arrays_are_kept_where_they_fit(store):
    source = InstanceArray(store("mito", row(0, 2**32 - 2, 9, dtype=np.int64)), "mito")
    assert read_row(source) == {"mito": ([A, P, P], [0, 2**32 - 2, 9])}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_semantic_array(store, dtype):
    source = SemanticArray(store("all", row(0, 1, 2, 3, 99, 100, dtype=dtype)), {"mito": 1, "er": (2, 3)}, unknown=100)
    assert read_row(source) == {"mito": ([A, P, A, A, U, U], None), "er": ([A, A, P, P, U, U], None)}


def test_semantic_values_of_64_bits_are_exact(store):
    data = row(2**64 - 1, 2**64 - 2, 2**53, 2**53 + 1, 0, dtype=np.uint64)
    source = SemanticArray(store("all", data), {"mito": 2**53 + 1, "er": (2**64 - 2, -1)}, absent=2**64 - 1)
    assert read_row(source) == {"mito": ([A, A, U, P, A], None), "er": ([A, P, U, A, A], None)}


def test_semantic_array_without_background(store):
    source = SemanticArray(store("all", row(0, 1, 2)), {"mito": 1, "er": 2}, background=False)
    assert read_row(source) == {"mito": ([U, P, A], None), "er": ([U, A, P], None)}


def test_a_listed_value_is_neither_background_nor_unknown(store):
    source = SemanticArray(store("all", row(0, 1, 255)), {"ecs": 0, "mito": 255})
    assert read_row(source) == {"ecs": ([P, U, A], None), "mito": ([A, U, P], None)}


def test_nested_classes_in_a_semantic_array(store):
    scheme = ClassScheme(
        {
            "er": ("er_mem", "ne"),
            "er_mem": (),
            "ne": ("ne_mem", "ne_lum"),
            "ne_mem": (),
            "ne_lum": (),
            "nuc": ("ne", "chrom"),
            "chrom": (),
        }
    )
    source = SemanticArray(store("all", row(1, 2, 3, 4)), {"er": 1, "ne": 2, "nuc": 3, "chrom": 4})
    codes = {name: code for name, (code, _) in read_row(source, scheme).items()}
    assert codes == {"er": [P, U, U, A], "ne": [A, P, A, A], "nuc": [U, U, P, U], "chrom": [A, A, A, P]}


def test_labels_on_a_finer_raw_grid_and_beyond_it(store):
    array = store("mito", row(0, 5, 255), voxel_size_nm=(4, 4, 8), offset_nm=(0, 0, 8))
    assert read_row(ClassArrays({"mito": array}), width=10)["mito"] == (
        [U, U, A, A, P, P, U, U, U, U],
        [0, 0, 0, 0, 5, 5, 0, 0, 0, 0],
    )


def test_labels_on_a_coarser_raw_grid(store):
    array = store("mito", row(3, 3, 5, 3, 0, 5, 0, 0, 7), voxel_size_nm=(4, 4, 1))
    assert read_row(InstanceArray(array, "mito"), width=3)["mito"] == ([P, A, U], [3, 0, 0])


def test_roi_outside_the_labels_has_no_annotation(store):
    opened = ClassArrays({"mito": store("mito", row(0, 1))}).open(None)
    grid = Grid.from_nm((1, 1, 4), (4, 4, 4), (0, 0, 400))
    assert opened.read(grid.roi, grid) == {}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (row(0, 1, dtype=np.float32), "dtype float32; labels must be integers: convert the array"),
        (np.zeros((2, 1, 1, 2), np.uint8), "has 2 channels; name one by `channel:` 0 to 1 at the array"),
    ],
)
def test_arrays_that_cannot_be_labels(store, data, problem):
    wrong = store("mito", data)
    for source in (ClassArrays({"mito": wrong}), InstanceArray(wrong, "mito"), SemanticArray(wrong, {"mito": 1})):
        assert problems_of(lambda source=source: source.open(None)) == [f"labels '{wrong.path}': {problem}"]


def test_a_channel_axis_of_length_one_is_no_obstacle(store):
    assert read_row(ClassArrays({"mito": store("mito", row(0, 1)[None])})) == {"mito": ([A, P], None)}


def test_a_stack_of_classes_is_named_channel_by_channel(store):
    stack = store("stack", np.stack([row(0, 1, 1), row(1, 0, 0)]))
    arrays = {"mito": attrs.evolve(stack, channel=0), "er": attrs.evolve(stack, channel=1)}
    assert read_row(ClassArrays(arrays)) == {"mito": ([A, P, P], None), "er": ([P, A, A], None)}
    wrong = ClassArrays({"mito": attrs.evolve(stack, channel=2)})
    assert problems_of(lambda: wrong.open(None)) == [
        f"{stack.path}/s0: has channels 0 to 1; correct or leave out channel: 2"
    ]


def test_all_arrays_of_a_source_are_looked_at(store):
    arrays = {
        "a": store("a", row(0.5, dtype=np.float64)),
        "b": store("b", row(1)),
        "c": store("c", row(1.5, dtype="f4")),
    }
    assert problems_of(lambda: ClassArrays(arrays).open(None)) == [
        f"labels '{arrays['a'].path}': dtype float64; labels must be integers: convert the array",
        f"labels '{arrays['c'].path}': dtype float32; labels must be integers: convert the array",
    ]


def test_unknown_value_that_is_a_class():
    data = {"type": "SemanticArray", "path": "a.zarr", "values": {"mito": 1, "er": [2, 255]}, "unknown": 255}
    with pytest.raises(ConfigError) as caught:
        structure(data, LabelSource)
    assert caught.value.problems == ("unknown: must not be a value of a class, got 255, which is 'er'",)


def test_open_labels_pickle(store):
    opened = InstanceArray(store("mito", row(0, 1, 2)), "mito").open(None)
    again, grid = pickle.loads(pickle.dumps(opened)), opened.grids[0]
    np.testing.assert_array_equal(again.read(grid.roi, grid)["mito"].ids, row(0, 1, 2))


@pytest.mark.parametrize(
    "data",
    [
        {"type": "ClassArrays", "arrays": {"mito": "a.zarr/mito", "er": {"path": "er", "offset_nm": [0, 0, 2.5]}}},
        {"type": "SemanticArray", "path": "a.zarr", "values": {"mito": 1, "er": [2, 3]}, "background": False},
        {"type": "InstanceArray", "path": "a.zarr", "class_name": "mito", "unknown": 9},
    ],
)
def test_sources_in_configuration(data):
    source = structure(data, LabelSource)
    assert source.classes() == (("mito",) if data["type"] == "InstanceArray" else ("mito", "er"))
    assert structure(unstructure(source), LabelSource) == source
