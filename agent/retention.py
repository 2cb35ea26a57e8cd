"""Which snapshots a `forget` keeps: the policy checked once more, the call, and what it did; runs nothing."""

import json
import re
from dataclasses import dataclass
from typing import Any

from rm.shared.protocol import CommandRun
from rm.shared.retention import COUNTS, MOST, PERIODS
from rm.shared.words import counted

TOLD = 200

_PERIOD = re.compile(r"(?=.)(?:\d{1,6}y)?(?:\d{1,6}m)?(?:\d{1,6}d)?(?:\d{1,6}h)?", re.ASCII)


def arguments(order: CommandRun) -> list[str]:
    """The call that forgets snapshots of one host and one tag; raises ValueError for a policy that is none."""
    tag = order.source_group.replace(",", "_")
    if not order.hostname or not tag:
        raise ValueError("a forget needs the host and the source group whose snapshots it is about")
    found = ["forget", "--json", "--host", order.hostname, "--tag", tag, "--group-by", "host"]
    return found + options(order.parameters.get("retention"))


def options(policy: Any) -> list[str]:
    """The policy as restic's options; raises ValueError for one that is empty, unknown or out of bounds."""
    if not isinstance(policy, dict):
        raise ValueError("no retention was given")
    unknown = sorted(set(policy) - {*COUNTS, *PERIODS})
    if unknown:
        raise ValueError(f"the retention holds what this agent does not know: {str(unknown[0])[:40]!r}")
    found = []
    for name in COUNTS:
        count = policy.get(name, 0)
        if type(count) is not int or not 0 <= count <= MOST:
            raise ValueError(f"{name} must be a whole number from 0 to {MOST}")
        if count:
            found.append(f"--{name.replace('_', '-')}={count}")
    for name in PERIODS:
        period = policy.get(name, "")
        if not isinstance(period, str) or (period and not _PERIOD.fullmatch(period)):
            raise ValueError(f"{name} must be a duration such as 30d or 1y6m")
        if period and any(int(number) for number in re.findall(r"\d+", period)):
            found.append(f"--{name.replace('_', '-')}={period}")
    if not found:
        raise ValueError("the retention is empty: it would keep nothing")
    return found


@dataclass(frozen=True)
class Forgotten:
    """What a forget removed and kept."""

    removed: list[str]
    kept: int

    @property
    def summary(self) -> dict[str, Any]:
        return {"removed": len(self.removed), "kept": self.kept}

    @property
    def text(self) -> str:
        if not self.removed:
            return f"Nothing was to be removed: {counted(self.kept, 'snapshot')} kept."
        return f"{counted(len(self.removed), 'snapshot')} removed, {self.kept:,} kept."

    def lines(self) -> list[str]:
        """What the log says of it."""
        told = [f"removed snapshot {one}" for one in self.removed[:TOLD]]
        return told + ([f"… and {len(self.removed) - TOLD:,} more"] if len(self.removed) > TOLD else [])


def parse(text: str) -> Forgotten | None:
    """What `restic forget --json` printed, None when it is not that; nothing at all: no snapshot was found."""
    removed: list[str] = []
    kept = 0
    try:
        for line in text.splitlines():
            groups = json.loads(line) if line.startswith("[") else []
            for group in groups:
                removed += [f"{str(one['id'])[:8]} of {str(one['time'])[:19]}" for one in group.get("remove") or []]
                kept += len(group.get("keep") or [])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Forgotten(removed, kept)
