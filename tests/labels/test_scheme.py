import pickle

import pytest

from dacapo_hd.config import structure, unstructure
from dacapo_hd.errors import UserError
from dacapo_hd.labels import ClassScheme

CELL = {
    "mito": ["mito_mem", "mito_lum"],
    "mito_mem": [],
    "mito_lum": [],
    "er": ["er_mem", "ne"],
    "er_mem": [],
    "ne": ["ne_mem", "ne_lum"],
    "ne_mem": [],
    "ne_lum": [],
    "nuc": ["ne", "chrom"],
    "chrom": [],
    "cell": ["mito", "er", "nuc"],
    "ecs": [],
}


def problems_of(work):
    with pytest.raises(UserError) as caught:
        work()
    return list(caught.value.problems)


def test_atoms_of_nested_and_overlapping_composites():
    scheme = ClassScheme(CELL)
    assert scheme.atoms("ecs") == {"ecs"}
    assert scheme.atoms("er") == {"er_mem", "ne_mem", "ne_lum"}
    assert scheme.atoms("cell") == {"mito_mem", "mito_lum", "er_mem", "ne_mem", "ne_lum", "chrom"}


@pytest.mark.parametrize(
    ("a", "b", "exclusive"),
    [("mito", "er", True), ("er", "nuc", False), ("cell", "ecs", True), ("mito", "mito", False), ("ne", "er", False)],
)
def test_composites_exclude_each_other_only_if_they_share_no_atom(a, b, exclusive):
    scheme = ClassScheme(CELL)
    assert scheme.exclusive(a, b) is exclusive
    assert scheme.exclusive(b, a) is exclusive


def test_unknown_class_is_suggested():
    assert problems_of(lambda: ClassScheme(CELL).atoms("mitos")) == [
        "class 'mitos' is not in the scheme; did you mean 'mito'?"
    ]


def test_unknown_parts_are_named_all_at_once():
    assert problems_of(lambda: ClassScheme({"mito": ["mito_men", "xyz"], "mito_mem": []})) == [
        "class 'mito' has the unknown part 'mito_men'; did you mean 'mito_mem'?",
        "class 'mito' has the unknown part 'xyz'",
    ]


def test_cycles_are_named():
    scheme = {"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": [], "e": ["e"]}
    assert problems_of(lambda: ClassScheme(scheme)) == [
        "class 'b' contains itself: b -> c -> b",
        "class 'e' contains itself: e -> e",
    ]


def test_csv_has_forward_references_empty_parts_and_no_final_newline(tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text('ecs,1,""\nmito,50,"3, 4"\nmito_mem,3,""\n\nmito_lum,4\ncell,60,"50,99"\nlast,99,""')
    scheme = ClassScheme.from_file(str(file))
    assert dict(scheme.classes) == {
        "ecs": (),
        "mito": ("mito_mem", "mito_lum"),
        "mito_mem": (),
        "mito_lum": (),
        "cell": ("mito", "last"),
        "last": (),
    }


def test_csv_may_have_a_header(tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text('name,id,parts\necs,1,""\n')
    assert list(ClassScheme.from_file(str(file)).classes) == ["ecs"]


def test_csv_problems_come_with_their_lines(tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text('ecs,1,""\npm,two,""\necs,3,""\ngolgi,1,""\nmito,50,"3,4"\n')
    assert problems_of(lambda: ClassScheme.from_file(str(file))) == [
        f"{file}: line 2: must be name, id, \"ids of the parts\", got 'pm,two,'",
        f"{file}: line 3: the name 'ecs' or the id 3 occurs twice",
        f"{file}: line 4: the name 'golgi' or the id 1 occurs twice",
        f"{file}: line 5: class 'mito' has the unknown part id 3",
        f"{file}: line 5: class 'mito' has the unknown part id 4",
    ]


def test_yaml_file_through_an_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SCHEMES", str(tmp_path))
    (tmp_path / "mito.yaml").write_text("classes:\n  mito: [mito_mem]\n  mito_mem:\n")
    scheme = structure("${MY_SCHEMES}/mito.yaml", ClassScheme)
    assert dict(scheme.classes) == {"mito": ("mito_mem",), "mito_mem": ()}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mito: [a]", "must hold `classes:`, a mapping from the name of a class to the list of its parts"),
        ("classes: {mito: a}", "classes.mito: must be a list of class names, got 'a'"),
        ("classes: {mito: [a], a: [mito]}", "class 'mito' contains itself: mito -> a -> mito"),
    ],
)
def test_wrong_yaml_files(tmp_path, text, problem):
    file = tmp_path / "scheme.yaml"
    file.write_text(text)
    assert problems_of(lambda: ClassScheme.from_file(str(file))) == [f"{file}: {problem}"]


def test_file_that_is_not_yaml_or_does_not_exist(tmp_path):
    file = tmp_path / "scheme.yaml"
    file.write_text("classes: [")
    assert problems_of(lambda: ClassScheme.from_file(str(file)))[0].startswith(f"{file}: not a YAML file: ")
    missing = tmp_path / "none.csv"
    assert problems_of(lambda: ClassScheme.from_file(str(missing))) == [f"class scheme '{missing}': no such file"]


def test_round_trips_through_configuration_and_pickle():
    scheme = ClassScheme(CELL)
    assert scheme.exclusive("mito", "er")
    assert structure(unstructure(scheme), ClassScheme) == scheme
    assert pickle.loads(pickle.dumps(scheme)).atoms("er") == scheme.atoms("er")
