"""Show arrays, predictions, segmentations and the crops of a run in Neuroglancer."""

from dacapo_hd.viewing.layers import Layer, layers_of_paths
from dacapo_hd.viewing.runs import layers_of_run
from dacapo_hd.viewing.server import Server, serve
from dacapo_hd.viewing.view import view

__all__ = ["Layer", "Server", "layers_of_paths", "layers_of_run", "serve", "view"]
