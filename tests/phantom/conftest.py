import pytest

from dacapo_hd.phantom import Phantom, PhantomVolume, make


@pytest.fixture(scope="session")
def volume() -> PhantomVolume:
    """One phantom that is large enough to show every class."""
    return make(Phantom((40, 144, 144), seed=2))
