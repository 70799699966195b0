"""What a check of a data set found: single findings, each one sentence, and the report that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["DataWarning", "Finding", "Report", "finding", "refuse"]

Severity = Literal["error", "warning", "info"]
_EXAMPLES = 3  # enough to find the fault, few enough for one line


@dataclass(frozen=True)
class Finding:
    """One kind of fault or remark in one file.

    An "error" makes training or evaluation fail or lie, a "warning" names data that is changed or left out when
    loaded, an "info" is worth knowing. `count` tells how often it occurs, `examples` where first.
    """

    severity: Severity
    code: str
    where: str
    sentence: str
    count: int = 1
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        often = f"{self.count}, such as {', '.join(self.examples)}" if self.examples else ""
        return f"{self.where}: {self.sentence}" + (f" ({often})" if often else "")


class DataWarning(UserWarning):
    """Of data that is changed or left out when it is loaded."""


def finding(severity: Severity, code: str, where: str, sentence: str, cases: Sequence[str]) -> list[Finding]:
    """A list with one finding about all `cases`, or an empty list when there are none."""
    return [Finding(severity, code, where, sentence, len(cases), tuple(cases[:_EXAMPLES]))] if cases else []


def refuse(findings: Iterable[Finding]) -> None:
    """Raise ValueError with the first error among findings, if there is one."""
    for found in findings:
        if found.severity == "error":
            raise ValueError(f"data: {found}; see 'detassign data check'")


@dataclass(frozen=True)
class Report:
    """All findings about a data set, and statistics of each split that could be read."""

    name: str
    findings: tuple[Finding, ...] = ()
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that forbid training."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings about data that is changed or left out."""
        return self._of("warning")

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """Findings worth knowing."""
        return self._of("info")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        findings = [asdict(found) | {"examples": list(found.examples)} for found in self.findings]
        return {"name": self.name, "findings": findings, "statistics": self.statistics}

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.severity == severity)
