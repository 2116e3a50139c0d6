"""How much memory there is for the processes of a job."""

import pytest

from dacapo_hd.blockwise import memory


@pytest.mark.parametrize(("text", "limit"), [("1000000\n", 1_000_000), ("max\n", None), (None, None)])
def test_a_control_group_limits_what_may_be_used(text, limit, tmp_path, monkeypatch):
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(memory, "GROUP_LIMIT", tmp_path / "memory.max")
    assert memory.physical_bytes() > 2**20
    assert memory.usable_bytes() == (limit or memory.physical_bytes())
