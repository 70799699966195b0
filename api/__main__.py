"""`python -m detassign`: the same as the `detassign` command."""

from detassign.cli import main

main()
