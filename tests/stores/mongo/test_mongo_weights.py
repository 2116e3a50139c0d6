"""Where the weights of a MongoDB store are."""

from __future__ import annotations

import pymongo
import pytest
from bson import ObjectId
from store_rows import fill, record

from dacapo_hd.errors import UserError
from dacapo_hd.stores import open_store


class TestWeights:
    def test_their_folder_is_recorded_at_first_and_used_from_anywhere(self, mongodb, tmp_path, monkeypatch):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        first = open_store(mongodb)
        assert first.checkpoint_folder("run") == tmp_path / "weights" / "run"
        first.add_run(record())
        monkeypatch.chdir(tmp_path / "elsewhere")
        second = open_store(mongodb)
        assert second.checkpoint_folder("run") == tmp_path / "weights" / "run"
        second.add_run(record("other"))
        assert second.checkpoint_folder("other") == tmp_path / "weights" / "other"

    def test_a_relative_folder_is_recorded_as_an_absolute_one(self, mongodb, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        open_store(mongodb, "my/weights").add_run(record())
        assert open_store(mongodb).checkpoint_folder("run") == tmp_path / "my" / "weights" / "run"

    def test_a_folder_that_is_not_on_this_machine_is_asked_for(self, store, mongodb, tmp_path):
        fill(store)
        (tmp_path / "weights").rename(tmp_path / "mounted")
        here = open_store(mongodb)
        assert len(here.stats("run")) == len(here.scores("run")) == 2
        for use in (
            lambda: here.checkpoint_folder("run"),
            lambda: here.remove_run("run"),
            lambda: here.add_run(record("other")),
        ):
            with pytest.raises(UserError) as error:
                use()
            assert str(error.value) == (
                f"{store}: its weights lie in {tmp_path}/weights, which is not on this machine; give their folder with "
                "--weights"
            )
        assert here.names() == ("run",)
        there = open_store(mongodb, tmp_path / "mounted")
        assert (there.checkpoint_folder("run") / "00000002.pt").read_bytes() == b"weights"

    def test_databases_that_share_a_folder_do_not_share_weights(self, store, mongodb_server, tmp_path):
        other = open_store(f"{mongodb_server}/dacapo_hd_test_{ObjectId()}", tmp_path / "weights")
        try:
            other.add_run(record())
            fill(store)
            assert other.checkpoint_folder("run") == tmp_path / "weights" / "run-2"
            other.remove_run("run")
            assert (store.checkpoint_folder("run") / "00000002.pt").exists()
        finally:
            with pymongo.MongoClient(mongodb_server) as client:
                client.drop_database(other.connection.address.database)

    def test_a_folder_that_cannot_be_made_is_an_error_with_the_way_out(self, mongodb, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(UserError) as error:
            open_store(mongodb, tmp_path / "file" / "weights").add_run(record())
        assert str(error.value) == (
            f"cannot make {tmp_path}/file/weights: Not a directory; give another folder with --weights"
        )
        store = open_store(mongodb, tmp_path / "weights")
        assert store.names() == ()
        store.add_run(record())
