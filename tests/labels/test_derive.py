import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.errors import UserError
from dacapo_hd.labels import ABSENT, PRESENT, UNKNOWN, ClassScheme, derive
from dacapo_hd.labels.derive import contradictory, merge

SCHEME = ClassScheme(
    {
        "mito": ("mem", "lum"),
        "mem": (),
        "lum": (),
        "er": ("er_mem", "ne"),
        "er_mem": (),
        "ne": ("ne_mem", "ne_lum"),
        "ne_mem": (),
        "ne_lum": (),
        "nuc": ("ne", "chrom"),
        "chrom": (),
        "ecs": (),
    }
)
NAMES = tuple(SCHEME.classes)
U, A, P = UNKNOWN, ABSENT, PRESENT


def at_one_voxel(annotated, targets=NAMES, scheme=SCHEME):
    codes = {name: np.full((1, 1, 1), code, np.uint8) for name, code in annotated.items()}
    return dict(zip(targets, derive(scheme, codes, targets)[:, 0, 0, 0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("annotated", "derived"),
    [
        # nothing said, nothing known
        ({"mito": U}, {"mito": U, "mem": U, "ecs": U}),
        # a class that is present rules out what shares no atom with it, and says nothing of its parts
        ({"mito": P}, {"mito": P, "mem": U, "lum": U, "er": A, "ne": A, "nuc": A, "ecs": A}),
        # a part that is present makes all present that contain it, and the other parts absent
        ({"mem": P}, {"mem": P, "mito": P, "lum": A, "ecs": A}),
        ({"ne_mem": P}, {"ne": P, "er": P, "nuc": P, "er_mem": A, "ne_lum": A, "chrom": A, "mito": A}),
        # absent: all the parts, and nothing else
        ({"mito": A}, {"mito": A, "mem": A, "lum": A, "ecs": U, "er": U}),
        ({"mem": A}, {"mem": A, "mito": U, "lum": U}),
        ({"mem": A, "lum": A}, {"mito": A, "ecs": U}),
        # elimination
        ({"mito": P, "mem": A}, {"mito": P, "mem": A, "lum": P}),
        ({"er": P, "nuc": A}, {"er_mem": P, "ne": A, "chrom": A}),
        # overlapping composites leave what they share
        ({"er": P, "nuc": P}, {"ne": P, "ne_mem": U, "ne_lum": U, "er_mem": A, "chrom": A}),
        # contradictions: what is said to be present wins, with all that contains it
        ({"mito": A, "mem": P}, {"mito": P, "mem": P, "lum": A, "er": A}),
        ({"mito": P, "mem": A, "lum": A}, {"mito": P, "mem": A, "lum": A, "ecs": A}),
        ({"mem": P, "ecs": P}, {"mem": P, "mito": P, "ecs": P, "lum": A, "er": A}),
        ({"mito": P, "mem": A, "ecs": P}, {"mito": P, "lum": P, "mem": A, "ecs": P, "ne": A}),
    ],
)
def test_truth_table(annotated, derived):
    found = at_one_voxel(annotated)
    assert {name: found[name] for name in derived} == derived


def possible_worlds(scheme, annotated):
    """All atoms (or none, or something the scheme lacks) that the annotation of one voxel leaves possible."""
    atoms = sorted({atom for name in scheme.classes for atom in scheme.atoms(name)})
    fits = {
        P: lambda name, world: world in scheme.atoms(name),
        A: lambda name, world: world not in scheme.atoms(name),
        U: lambda name, world: True,
    }
    return [w for w in [*atoms, None] if all(fits[code](name, w) for name, code in annotated.items())]


def brute_force(scheme, annotated, target):
    """Derive one class at one voxel by trying every world; a contradiction as the documentation words it."""
    atoms = scheme.atoms(target)
    worlds = possible_worlds(scheme, annotated)
    if worlds:
        inside = [world in atoms for world in worlds]
        return P if all(inside) else U if any(inside) else A
    excluded = set().union(*(scheme.atoms(name) for name, code in annotated.items() if code == A))
    for name, code in annotated.items():
        left = scheme.atoms(name) - excluded or scheme.atoms(name)
        if code == P and left <= atoms:
            return P
    return A


def test_every_annotation_of_three_classes_against_all_possible_worlds():
    for names in [("mito", "mem", "er"), ("er", "nuc", "ne"), ("lum", "nuc", "ecs"), ("er", "er_mem", "ne_lum")]:
        combinations = list(itertools.product((U, A, P), repeat=3))
        columns = np.array(combinations, np.uint8).T.reshape(3, 3, 3, 3)
        found = derive(SCHEME, dict(zip(names, columns, strict=True)), NAMES).reshape(len(NAMES), -1)
        for codes, at_voxel in zip(combinations, found.T, strict=True):
            annotated = dict(zip(names, codes, strict=True))
            assert at_voxel.tolist() == [brute_force(SCHEME, annotated, name) for name in NAMES], annotated


@st.composite
def schemes(draw):
    """Up to nine classes; each may contain some of those before it."""
    count = draw(st.integers(1, 9))
    parts = [draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True)) if n else [] for n in range(count)]
    return ClassScheme({f"c{n}": tuple(f"c{part}" for part in mine) for n, mine in enumerate(parts)})


@st.composite
def annotations(draw):
    scheme = draw(schemes())
    names = draw(st.lists(st.sampled_from(list(scheme.classes)), min_size=1, unique=True))
    codes = {
        name: np.array(draw(st.lists(st.sampled_from((U, A, P)), min_size=6, max_size=6)), np.uint8).reshape(1, 2, 3)
        for name in names
    }
    return scheme, codes


@settings(deadline=None, derandomize=True, max_examples=80)
@given(annotations())
def test_equals_the_brute_force(given_annotation):
    scheme, codes = given_annotation
    targets = tuple(scheme.classes)
    found = derive(scheme, codes, targets)
    for voxel in np.ndindex(1, 2, 3):
        here = {name: int(code[voxel]) for name, code in codes.items()}
        assert [int(found[(n, *voxel)]) for n in range(len(targets))] == [brute_force(scheme, here, t) for t in targets]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(annotations())
def test_never_both_and_what_is_annotated_present_is_present(given_annotation):
    scheme, codes = given_annotation
    found = derive(scheme, codes, tuple(codes))
    assert found.dtype == np.uint8
    assert np.isin(found, (U, A, P)).all()
    for code, derived in zip(codes.values(), found, strict=True):
        assert (derived[code == P] == P).all()
        assert (derived[code == A] != U).all()


@settings(deadline=None, derandomize=True, max_examples=80)
@given(annotations(), st.integers(0, 2**32 - 1))
def test_more_annotation_never_makes_known_unknown(given_annotation, seed):
    scheme, codes = given_annotation
    random = np.random.default_rng(seed)
    targets = tuple(scheme.classes)
    more = {name: random.integers(0, 3, (1, 2, 3)).astype(np.uint8) for name in targets}
    more |= {name: np.where(code == U, more[name], code) for name, code in codes.items()}
    before, after = derive(scheme, codes, targets), derive(scheme, more, targets)
    assert (after[before != U] != U).all()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(annotations(), st.randoms(use_true_random=False))
def test_the_order_of_classes_does_not_matter(given_annotation, random):
    scheme, codes = given_annotation
    targets = list(scheme.classes)
    expected = dict(zip(targets, derive(scheme, codes, targets), strict=True))
    shuffled = [list(scheme.classes.items()), list(codes.items()), list(targets)]
    for entries in shuffled:
        random.shuffle(entries)
    found = derive(ClassScheme(dict(shuffled[0])), dict(shuffled[1]), shuffled[2])
    for name, code in zip(shuffled[2], found, strict=True):
        np.testing.assert_array_equal(code, expected[name])


def test_more_combinations_than_the_table_of_keys_holds():
    names = [f"c{n}" for n in range(14)]
    scheme = ClassScheme({**dict.fromkeys(names, ()), "all": tuple(names)})
    random = np.random.default_rng(0)
    codes = {name: random.integers(0, 3, (4, 5, 6)).astype(np.uint8) for name in names}
    found = derive(scheme, codes, [*names, "all"])
    for voxel in np.ndindex(4, 5, 6):
        here = {name: int(code[voxel]) for name, code in codes.items()}
        for target, code in zip([*names, "all"], found, strict=True):
            assert code[voxel] == brute_force(scheme, here, target)


def test_class_that_the_scheme_lacks():
    with pytest.raises(UserError, match=r"^class 'mitos' is not in the scheme; did you mean 'mito'\?$"):
        at_one_voxel({"mito": P}, targets=("mitos",))


def test_several_annotations_of_one_class():
    codes = np.array(list(itertools.product((U, A, P), repeat=2)), np.uint8).T
    assert merge(codes).tolist() == [U, A, P, A, A, P, P, P, P]


def test_an_overlapping_scheme_derives_nothing_for_other_classes():
    scheme = ClassScheme.of_atoms(["cell", "mito"], overlapping=True)
    annotated = {"cell": np.array([[[PRESENT, PRESENT, ABSENT]]], np.uint8)}
    known = derive(scheme, annotated, ["mito", "cell"])
    assert known[0].ravel().tolist() == [UNKNOWN] * 3
    assert np.array_equal(known[1], annotated["cell"])
    assert not scheme.exclusive("cell", "mito")


def test_contradictions_are_found_where_the_scheme_rules_the_annotation_out():
    scheme = ClassScheme({"mito": ("mem", "lum"), "mem": (), "lum": (), "er": ()})
    annotated = {
        "mito": np.array([[[PRESENT, PRESENT, ABSENT, UNKNOWN, PRESENT]]], np.uint8),
        "er": np.array([[[PRESENT, ABSENT, UNKNOWN, PRESENT, UNKNOWN]]], np.uint8),
        "mem": np.array([[[UNKNOWN, ABSENT, PRESENT, UNKNOWN, PRESENT]]], np.uint8),
    }
    assert contradictory(scheme, annotated).ravel().tolist() == [True, False, True, False, False]
    overlapping = ClassScheme.of_atoms(["mito", "er", "mem"], overlapping=True)
    assert not contradictory(overlapping, annotated).any()
