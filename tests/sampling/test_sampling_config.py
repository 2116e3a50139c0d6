import subprocess
import sys

import pytest

from dacapo_hd.config import ConfigError, structure, unstructure
from dacapo_hd.sampling import Defects, Elastic, Gamma, Mirror, Rotate, Sampling, Scale, Transpose


def test_config_round_trip():
    augments = (Mirror(axes=("y", "x")), Transpose(), Rotate(), Scale(), Elastic(), Gamma(range=(0.5, 2.0)), Defects())
    sampling = Sampling(locations="balanced", min_known=0.1, augments=augments)
    assert structure(unstructure(sampling), Sampling) == sampling


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"min_known": 2}, "min_known: must be between 0 and 1, got 2"),
        ({"augments": [{"type": "Mirorr"}]}, "augments.0.type: unknown augment 'Mirorr'; did you mean 'Mirror'?"),
        ({"augments": [{"type": "Scale", "low": 2, "high": 1}]}, "low must not exceed high, got 2"),
        ({"augments": [{"type": "Noise", "sigma": [1, 0]}]}, "must be two numbers in rising order, got (1"),
        ({"augments": [{"type": "Gamma", "range": [0, 1]}]}, "must be > 0, got 0"),
    ],
)
def test_config_errors(data, message):
    with pytest.raises(ConfigError) as caught:
        structure(data, Sampling)
    assert message in str(caught.value)


def test_config_needs_no_heavy_imports():
    code = (
        "import sys, dacapo_hd.sampling; from dacapo_hd.config import structure; "
        "structure({'augments': [{'type': 'Elastic'}]}, dacapo_hd.sampling.Sampling); "
        "print([m for m in ('torch', 'gunpowder', 'numba', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
