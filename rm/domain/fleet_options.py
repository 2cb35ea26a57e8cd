"""What may be chosen for a fleet update, checked field by field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm.domain.update_timing import MOST_SOAK_SECONDS
from rm.errors import Invalid

PER_PLATFORM = "per_platform"
STRICT = "strict"
MAX_IN_FLIGHT = 500
MAX_WAVES = 20
MAX_HOSTS = 10_000
_PERCENT = re.compile(r"(100|[1-9]?[0-9])%")

NAMES = (
    "tags", "host_ids", "canaries", "waves", "max_in_flight", "soak_seconds", "failure_policy", "max_vanished",
    "server_host_id",
)  # fmt: skip


@dataclass(frozen=True)
class Share:
    """A number of hosts, or a percentage of them."""

    number: int
    is_percent: bool = False

    def of(self, total: int, *, round_up: bool) -> int:
        """How many of `total` hosts that is."""
        if not self.is_percent:
            return self.number
        exact = total * self.number
        return -(-exact // 100) if round_up else exact // 100

    @property
    def raw(self) -> int | str:
        return f"{self.number}%" if self.is_percent else self.number


@dataclass(frozen=True)
class Options:
    """How a fleet update goes; the defaults are the careful way: one at a time, halt at the first failure.

    `budget` is None for the strict policy. `canaries` is a number, PER_PLATFORM, or the ids of chosen hosts.
    """

    tags: tuple[str, ...] = ()
    host_ids: tuple[str, ...] = ()
    canaries: int | str | tuple[str, ...] = 0
    waves: tuple[Share, ...] = ()
    max_in_flight: int = 1
    soak_seconds: int = 60
    budget: Share | None = None
    max_vanished: int | None = None
    server_host_id: str = ""

    @property
    def is_strict(self) -> bool:
        return self.budget is None

    @property
    def frees_slot_at_hello(self) -> bool:
        """Whether the next host starts when the last said hello (waves), not only when it was committed."""
        return bool(self.waves) or self.max_in_flight > 1

    def as_json(self) -> dict[str, Any]:
        """These options as the API and the database write them."""
        return {
            "tags": list(self.tags),
            "host_ids": list(self.host_ids),
            "canaries": list(self.canaries) if isinstance(self.canaries, tuple) else self.canaries,
            "waves": [wave.raw for wave in self.waves],
            "max_in_flight": self.max_in_flight,
            "soak_seconds": self.soak_seconds,
            "failure_policy": STRICT if self.budget is None else {"budget": self.budget.raw},
            "max_vanished": self.max_vanished,
            "server_host_id": self.server_host_id,
        }


def parse_options(raw: Mapping[str, Any]) -> Options:
    """The options in a request or in the database; raises Invalid with a message for each field that does not fit."""
    problems: dict[str, str] = {}

    def read(name: str, default: Any, check: Any) -> Any:
        value = raw.get(name, default)
        if value is None:
            value = default
        try:
            return check(value)
        except ValueError as error:
            problems[name] = str(error)
            return check(default)

    found = Options(
        tags=read("tags", [], _texts("a list of tags", 50)),
        host_ids=read("host_ids", [], _texts("a list of host ids", MAX_HOSTS)),
        canaries=read("canaries", 0, _canaries),
        waves=read("waves", [], _waves),
        max_in_flight=read("max_in_flight", 1, _whole(1, MAX_IN_FLIGHT)),
        soak_seconds=read("soak_seconds", 60, _whole(0, MOST_SOAK_SECONDS)),
        budget=read("failure_policy", STRICT, _policy),
        max_vanished=None if raw.get("max_vanished") is None else read("max_vanished", 1, _whole(0, MAX_HOSTS)),
        server_host_id=read("server_host_id", "", _text),
    )
    if problems:
        raise Invalid(problems)
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 100:
        raise ValueError("Must be a text of at most 100 characters.")
    return value


def _texts(what: str, most: int) -> Any:
    def check(value: Any) -> tuple[str, ...]:
        fits = isinstance(value, list | tuple) and all(isinstance(one, str) and 0 < len(one) <= 100 for one in value)
        if not fits or len(value) > most:
            raise ValueError(f"Must be {what}, at most {most}.")
        return tuple(dict.fromkeys(value))

    return check


def _whole(least: int, most: int) -> Any:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"Must be a whole number from {least} to {most}.")
        return value

    return check


def _share(value: Any, least: int) -> Share | None:
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value)) and int(found[1]) >= least:
        return Share(int(found[1]), is_percent=True)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_HOSTS:
        return Share(value)
    return None


def _canaries(value: Any) -> int | str | tuple[str, ...]:
    if value == PER_PLATFORM:
        return PER_PLATFORM
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_HOSTS:
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, str) and one for one in value):
        return tuple(dict.fromkeys(value))
    raise ValueError(f'Must be a number of hosts, "{PER_PLATFORM}", or a list of host ids.')


def _waves(value: Any) -> tuple[Share, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_WAVES:
        raise ValueError(f"Must be a list of at most {MAX_WAVES} waves.")
    found = [_share(one, 1) for one in value]
    if any(one is None for one in found):
        raise ValueError('Each wave must be a number of hosts from 1 or a percentage such as "10%".')
    return tuple(one for one in found if one is not None)


def _policy(value: Any) -> Share | None:
    if value == STRICT:
        return None
    budget = _share(value["budget"], 0) if isinstance(value, dict) and set(value) == {"budget"} else None
    if budget is None:
        raise ValueError('Must be "strict" or {"budget": …} with a number of hosts or a percentage such as "10%".')
    return budget
