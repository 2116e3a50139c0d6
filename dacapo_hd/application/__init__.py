"""Apply a trained run to a volume of any size: predict, segment, pyramids."""

from dacapo_hd.application.apply import apply_run

__all__ = ["apply_run"]
