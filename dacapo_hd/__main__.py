"""`python -m dacapo_hd` is `dacapo-hd`."""

from dacapo_hd.cli import main

main()
