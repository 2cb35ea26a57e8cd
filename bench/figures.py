"""What a row comes to: figures beside their ceilings, judged against the targets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """A limit for the value itself, or for its ratio to the ceiling."""

    limit: float
    kind: Literal["at most", "at least"] = "at most"
    of: Literal["value", "ratio"] = "value"


@dataclass(frozen=True)
class Figure:
    """One measured number, the same number at the ceiling, and what it was meant to be."""

    name: str
    value: float
    unit: str
    ceiling: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.ceiling if self.ceiling else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target holds; None where there is no target, or nothing to compare with."""
        measured = self._measured()
        if self.target is None or measured is None:
            return None
        return measured <= self.target.limit if self.target.kind == "at most" else measured >= self.target.limit

    @property
    def verdict(self) -> str:
        """ "met", or "missed by 12%"; empty where there is no target."""
        is_met, measured = self.is_met, self._measured()
        if is_met is None or measured is None or self.target is None:
            return ""
        if is_met:
            return "met"
        return f"missed by {abs(measured / self.target.limit - 1):.0%}"

    @property
    def target_text(self) -> str:
        if self.target is None:
            return ""
        sign = "≤" if self.target.kind == "at most" else "≥"
        if self.target.of == "ratio":
            return f"{sign} {self.target.limit:g} of the ceiling"
        return f"{sign} {self.target.limit:g} {self.unit}"

    def _measured(self) -> float | None:
        return self.ratio if self.target is not None and self.target.of == "ratio" else self.value

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "ceiling": None if self.ceiling is None else round(self.ceiling, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "target": self.target_text,
            "verdict": self.verdict,
        }


@dataclass
class Row:
    """What one row of the benchmark found."""

    name: str
    title: str
    ceiling: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, name: str, value: float, unit: str, *, ceiling: float | None = None, target: Target | None = None
    ) -> None:
        self.figures.append(Figure(name, value, unit, ceiling, target))

    def as_json(self) -> dict[str, Any]:
        return {
            "row": self.name,
            "title": self.title,
            "ceiling": self.ceiling,
            "figures": [figure.as_json() for figure in self.figures],
            "notes": self.notes,
        }


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed (nearest rank); raises ValueError for no values."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99."""
    return {"p50": quantile(values, 0.5), "p95": quantile(values, 0.95), "p99": quantile(values, 0.99)}


def number(value: float) -> str:
    """A figure for people: three digits that count, thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
