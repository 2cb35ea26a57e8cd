"""The retention as it is chosen in a form: one of a few that fit most, or rules of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm.domain import retention as rules
from rm.domain.retention import Policy

OWN = "own"
FIELD = "retention_choice"
NAMES = (*rules.COUNTS, *rules.PERIODS)
COUNT_LABELS = (
    ("keep_last", "Newest"), ("keep_hourly", "Hourly"), ("keep_daily", "Daily"), ("keep_weekly", "Weekly"),
    ("keep_monthly", "Monthly"), ("keep_yearly", "Yearly"),
)  # fmt: skip
PERIOD_LABELS = (
    ("keep_within", "Everything of the last"), ("keep_within_hourly", "Hourly within"),
    ("keep_within_daily", "Daily within"), ("keep_within_weekly", "Weekly within"),
    ("keep_within_monthly", "Monthly within"), ("keep_within_yearly", "Yearly within"),
)  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """A retention with a name."""

    key: str
    name: str
    retention: dict[str, Any]

    @property
    def words(self) -> str:
        return words(self.retention)


PRESETS = (
    Preset("everything", "Keep everything", {}),
    Preset("short", "Short", {"keep_last": 3, "keep_daily": 7}),
    Preset("standard", "Standard", {"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12}),
    Preset("long", "Long", {"keep_daily": 14, "keep_weekly": 8, "keep_monthly": 24, "keep_yearly": 10}),
)
SUGGESTED = PRESETS[2]


def choice_of(retention: Mapping[str, Any]) -> str:
    """The key of the preset that this retention is; `own` if it is none."""
    said = rules.normal(dict(retention))
    return next((preset.key for preset in PRESETS if rules.normal(preset.retention) == said), OWN)


def texts_of(retention: Mapping[str, Any]) -> dict[str, str]:
    """What the fields of the form hold for this retention."""
    said = rules.normal(dict(retention))
    return {FIELD: choice_of(said)} | {name: str(said[name]) if name in said else "" for name in NAMES}


def resolved(texts: Mapping[str, str]) -> dict[str, str]:
    """The texts of a form in which the chosen preset, if one is chosen, stands in the fields of the rules."""
    preset = next((one for one in PRESETS if one.key == texts.get(FIELD)), None)
    if preset is None:
        return dict(texts)
    return dict(texts) | {name: str(preset.retention.get(name, "")) for name in NAMES}


def says_periods(texts: Mapping[str, str]) -> bool:
    """Whether a rule by age is among these texts."""
    return any(texts.get(name) for name in rules.PERIODS)


def words(retention: Mapping[str, Any]) -> str:
    """What is kept, in words: Keeps 7 daily, 4 weekly and 12 monthly. What is wrong with it, if it is no retention."""
    problem = rules.problem(dict(retention))
    return problem or rules.describe(Policy.of(dict(retention)))
