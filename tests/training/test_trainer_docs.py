"""The table of the trainer's fields in docs/configuration.md."""

import re
from pathlib import Path

import attrs
import yaml

from dacapo_hd.config import unstructure
from dacapo_hd.training.trainer import Trainer

DOCS = Path(__file__).parents[2] / "docs"


def test_every_field_of_the_trainer_is_listed_with_its_default():
    page = (DOCS / "configuration.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\| ", page, re.MULTILINE))
    defaults = {name: value for name, value in unstructure(Trainer()).items() if name != "type"}
    assert listed.keys() == defaults.keys()
    for name, text in listed.items():
        assert yaml.safe_load(text) == defaults[name] or isinstance(defaults[name], dict), name


def test_the_retention_of_the_page_on_reliability_has_all_fields():
    (text,) = re.findall(r"```yaml\n(trainer:.*?)```", (DOCS / "reliability.md").read_text(), re.DOTALL)
    retention = yaml.safe_load(text)["trainer"]["retention"]
    assert retention.keys() == {field.name for field in attrs.fields(type(Trainer().retention))}
