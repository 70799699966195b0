"""The laws that every assigner keeps, found by name in `LAWS`; ``detassign.testing`` is where users find them."""

from . import copies, invariance, numbers, unusual  # noqa: F401 - they declare the laws
from .check import Outcome, check_assigner, left_out, specs_around, try_laws
from .law import LAWS, Broken, Law

__all__ = ["LAWS", "Broken", "Law", "Outcome", "check_assigner", "left_out", "specs_around", "try_laws"]
