"""A report of runs: one HTML file that needs nothing else."""

from dacapo_hd.report.page.report import Options, require_writable, write_report

__all__ = ["Options", "require_writable", "write_report"]
