"""Holding an assigner of one's own to the laws that every registered one keeps. Needs torch alone."""

from ..assigners.laws import LAWS, Broken, Law, Outcome, check_assigner, left_out, specs_around

__all__ = ["LAWS", "Broken", "Law", "Outcome", "check_assigner", "left_out", "specs_around"]
