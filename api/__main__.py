"""`python -m detassign`: the same as the `detassign` command."""

from .cli import main

main()
