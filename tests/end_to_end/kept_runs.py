"""A store of either kind for tests of commands on stored runs."""

from dacapo_hd.stores import open_store

REFUSED = "run 'tiny' is being trained by "


class Kept:
    """One store and how the command line names it."""

    def __init__(self, address, weights=None):
        self.address, self.weights = str(address), weights

    @property
    def options(self):
        return ["--store", self.address, *(["--weights", str(self.weights)] if self.weights else [])]

    def open(self):
        return open_store(self.address, self.weights)

    def names(self):
        return [record.name for record in self.open().runs()]

    def iterations(self, name="tiny"):
        return [row.iteration for row in self.open().checkpoints(name)]

    def files(self, name="tiny"):
        return sorted(path.name for path in self.open().checkpoint_folder(name).iterdir())
