"""`python -m detassign.cli`: the same as the `detassign` command."""

from . import main

main()
