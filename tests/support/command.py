"""The command line, called in this process."""

import pytest

from detassign.cli import main

__all__ = ["run"]


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code
