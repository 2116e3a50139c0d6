"""Segmentation of volumes larger than memory: block by block, then stitched."""

from dacapo_hd.stitching.segment import segment_volume

__all__ = ["segment_volume"]
