"""Holding an assigner of one's own to the laws that every registered one keeps. Needs torch alone.

>>> from detassign.testing import check_assigner
>>> outcomes = check_assigner("atss+dual", seeds=range(2))
>>> [outcome.law for outcome in outcomes if not outcome.holds]
[]
"""

from ..assigners.laws import LAWS, Broken, Law, Outcome, check_assigner, specs_around

__all__ = ["LAWS", "Broken", "Law", "Outcome", "check_assigner", "specs_around"]
