"""Stores against a model made of dicts and lists, over random sequences of operations."""

import tempfile
import uuid

import attrs
import pymongo
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from store_rows import by_text, checkpoint, record, score, stat

from dacapo_hd.errors import UserError
from dacapo_hd.stores import open_store

NAMES = st.sampled_from(["a", "a-2", "b.c"])
ITERATIONS = st.integers(0, 6)
VALUES = st.floats() | st.integers(-(2**60), 2**60)
STATS = st.lists(st.builds(stat, ITERATIONS, VALUES, st.sampled_from(["loss", "lr$.x"])), max_size=6)
SCORES = st.lists(st.builds(score, ITERATIONS, st.sampled_from(["a", "$b.c", ""]), VALUES), max_size=6)


class StoreMachine(RuleBasedStateMachine):
    """What each operation does to a store, and to the model: name -> record, statistics, scores, checkpoints."""

    def new_place(self):
        raise NotImplementedError

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.place = self.new_place()
        self.store, self.model = open_store(*self.place), {}

    def teardown(self):
        self.folder.cleanup()

    def attempt(self, name, operation, known=True):
        """Do an operation that fails for an unknown run, or for a known one; tells whether it was done."""
        if (name in self.model) == known:
            operation()
            return True
        with pytest.raises(UserError):
            operation()
        return False

    @rule(name=NAMES, seed=st.integers(0, 1))
    def add(self, name, seed):
        new = record(name, seed=seed)
        if name in self.model and self.model[name][0].config_hash != new.config_hash:
            with pytest.raises(UserError):
                self.store.add_run(new)
            return
        self.store.add_run(new)
        self.model.setdefault(name, (new, [], [], {}))

    @rule(name=NAMES, rows=STATS)
    def append(self, name, rows):
        # as training does: ever later, or the same iteration
        last = max((row.iteration for row in self.model[name][1]), default=0) if name in self.model else 0
        rows = sorted(
            (attrs.evolve(row, iteration=last + row.iteration) for row in rows), key=lambda row: row.iteration
        )
        if self.attempt(name, lambda: self.store.append_stats(name, rows)):
            self.model[name][1].extend(rows)

    @rule(name=NAMES, rows=SCORES)
    def validate(self, name, rows):
        rows = [attrs.evolve(row, run=name) for row in rows]
        if self.attempt(name, lambda: self.store.write_scores(name, rows)):
            replaced = {(row.iteration, row.crop) for row in rows}
            scores = self.model[name][2]
            scores[:] = [row for row in scores if (row.iteration, row.crop) not in replaced] + rows

    @rule(name=NAMES, iteration=ITERATIONS, digit=st.sampled_from("01"))
    def save(self, name, iteration, digit):
        if self.attempt(name, lambda: self.store.add_checkpoint(name, checkpoint(iteration, digit))):
            self.model[name][3][iteration] = checkpoint(iteration, digit)

    @rule(name=NAMES, iterations=st.sets(ITERATIONS))
    def prune(self, name, iterations):
        if self.attempt(name, lambda: self.store.remove_checkpoints(name, iterations)):
            for iteration in iterations:
                self.model[name][3].pop(iteration, None)

    @rule(name=NAMES, iteration=ITERATIONS)
    def resume(self, name, iteration):
        if self.attempt(name, lambda: self.store.truncate(name, iteration)):
            _, stats, scores, checkpoints = self.model[name]
            stats[:] = [row for row in stats if row.iteration <= iteration]
            scores[:] = [row for row in scores if row.iteration <= iteration]
            for later in [other for other in checkpoints if other > iteration]:
                del checkpoints[later]

    @rule(name=NAMES, new=NAMES)
    def rename(self, name, new):
        if name not in self.model or new in self.model:
            with pytest.raises(UserError):
                self.store.rename_run(name, record(new))
            return
        old, stats, scores, checkpoints = self.model.pop(name)
        renamed = attrs.evolve(old, name=new, archived="now")
        self.store.rename_run(name, renamed)
        self.model[new] = (renamed, stats, [attrs.evolve(row, run=new) for row in scores], checkpoints)

    @rule(name=NAMES)
    def remove(self, name):
        if self.attempt(name, lambda: self.store.remove_run(name)):
            del self.model[name]

    @rule()
    def open_again(self):
        self.store = open_store(*self.place)

    @invariant()
    def the_store_has_what_the_model_has(self):
        assert self.store.names() == tuple(sorted(self.model))
        assert self.store.runs() == tuple(self.model[name][0] for name in sorted(self.model))
        for name, (_, stats, scores, checkpoints) in self.model.items():
            assert list(map(repr, self.store.stats(name))) == list(map(repr, stats))
            assert by_text(self.store.scores(name)) == by_text(scores)
            first = [row for row in scores if (row.iteration, row.score) == (1, "dice")]
            assert by_text(self.store.scores(name, iteration=1, score="dice")) == by_text(first)
            assert self.store.checkpoints(name) == [checkpoints[iteration] for iteration in sorted(checkpoints)]
            assert self.store.newest_iteration(name) == max((row.iteration for row in stats), default=0)


LIMITS = settings(max_examples=15, stateful_step_count=20, deadline=None, derandomize=True)


def test_a_file_store_does_what_the_model_does():
    class Machine(StoreMachine):
        def new_place(self):
            return f"{self.folder.name}/runs", None

    run_state_machine_as_test(Machine, settings=LIMITS)


def test_a_mongodb_store_does_what_the_model_does(mongodb_server):
    class Machine(StoreMachine):
        def new_place(self):
            self.database = f"dacapo_hd_test_{uuid.uuid4().hex[:12]}"
            return f"{mongodb_server}/{self.database}", f"{self.folder.name}/weights"

        def teardown(self):
            super().teardown()
            with pymongo.MongoClient(mongodb_server) as client:
                client.drop_database(self.database)

    run_state_machine_as_test(Machine, settings=LIMITS)
