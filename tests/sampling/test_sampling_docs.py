"""docs/sampling.md tells what there is."""

import re
from pathlib import Path

import attrs
import numpy as np
import pytest
import yaml

from dacapo_hd import sampling
from dacapo_hd.config import structure
from dacapo_hd.sampling import Augment, IntensityAugment, Sampling

PAGE = (Path(__file__).parents[2] / "docs" / "sampling.md").read_text()
AUGMENTS = [
    cls for cls in vars(sampling).values() if isinstance(cls, type) and issubclass(cls, Augment) and attrs.has(cls)
]


def test_the_example_loads():
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    made = structure(example["sampling"], Sampling)
    assert made.locations == "balanced" and len(made.augments) == 7


@pytest.mark.parametrize("cls", [Sampling, *AUGMENTS])
def test_every_field_is_told(cls):
    start = PAGE.index("| field |") if cls is Sampling else PAGE.index(f"| `{cls.__name__}` |")
    table = PAGE[start : PAGE.index("\n\n", start)]
    for field in attrs.fields(cls):
        assert field.name == "probability" or f"`{field.name}`" in table


def test_an_augmentation_from_elsewhere():
    code = re.search(r"```python\n(@attrs.frozen.*?)```", PAGE, re.DOTALL)[1]
    names = {"attrs": attrs, "IntensityAugment": IntensityAugment}
    exec(code, names)
    raw = np.ones((1, 2, 2, 2), np.float32)
    assert (names["Invert"]().apply(raw, np.random.default_rng(0)) == -1).all()
