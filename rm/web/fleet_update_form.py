"""The form that says how a fleet update is to go: from a query to options and back."""

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from rm.domain.fleet_options import PER_PLATFORM, STRICT, Options, Share, parse_options
from rm.errors import Invalid

TEXT_LIMIT = 2000
DEFAULTS = {
    "tags": "", "canaries": "0", "waves": "", "max_in_flight": "1", "soak_seconds": "60", "policy": STRICT,
    "budget": "1", "max_vanished": "",
}  # fmt: skip
CANARIES = (("0", "None"), ("1", "One host"), (PER_PLATFORM, "One of each platform"))


@dataclass(frozen=True)
class Form:
    """What the form shows, the options that it means, and what does not fit."""

    values: dict[str, str]
    host_ids: tuple[str, ...]
    options: Options
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def canary_choices(self) -> list[tuple[str, str]]:
        """What can be chosen, and what was asked for besides."""
        asked = self.values["canaries"]
        known = dict(CANARIES)
        more = [] if asked in known or not asked.isdecimal() else [(asked, f"{asked} hosts")]
        return [*CANARIES, *more]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The same as hidden fields of another form."""
        chosen = [(name, value) for name, value in self.values.items() if value != DEFAULTS[name]]
        return chosen + [("host_ids", host_id) for host_id in self.host_ids]

    @property
    def is_narrowed(self) -> bool:
        return bool(self.values["tags"] or self.host_ids)

    def with_errors(self, fields: dict[str, str]) -> "Form":
        """The same form, saying what else does not fit."""
        return replace(self, fields=self.fields | _plain(fields))

    def url(self, path: str, **changes: Any) -> str:
        """The address of the plan with some of it changed."""
        found = [(name, value) for name, value in self.pairs if name not in changes]
        found += [(name, str(value)) for name, value in changes.items() if value not in ("", None)]
        return f"{path}?{urlencode(found)}" if found else path


def read(args: MultiDict[str, str]) -> Form:
    """The form as it was sent; what does not fit keeps its default and says why."""
    values = {name: args.get(name, default).strip()[:TEXT_LIMIT] for name, default in DEFAULTS.items()}
    host_ids = tuple(dict.fromkeys(one[:26] for one in args.getlist("host_ids")))
    raw = _raw(values, host_ids)
    try:
        return Form(values, host_ids, parse_options(raw))
    except Invalid as error:
        fits = {name: value for name, value in raw.items() if name not in error.fields}
        named = {{"failure_policy": "budget"}.get(name, name): said for name, said in error.fields.items()}
        return Form(values, host_ids, parse_options(fits), _plain(named))


def from_options(options: Options) -> Form:
    """The form that means these options."""
    canaries, budget = options.canaries, options.budget
    values = DEFAULTS | {
        "tags": ", ".join(options.tags), "waves": wave_text(options.waves),
        "canaries": str(len(canaries) if isinstance(canaries, tuple) else canaries),
        "max_in_flight": str(options.max_in_flight), "soak_seconds": str(options.soak_seconds),
        "policy": STRICT if budget is None else "budget",
        "budget": DEFAULTS["budget"] if budget is None else str(budget.raw),
        "max_vanished": "" if options.max_vanished is None else str(options.max_vanished),
    }  # fmt: skip
    return Form(values, options.host_ids, options)


def wave_text(waves: tuple[Share, ...]) -> str:
    """Waves as the form takes them: "10%, 50%"."""
    return ", ".join(str(wave.raw) for wave in waves)


def _raw(values: dict[str, str], host_ids: tuple[str, ...]) -> dict[str, Any]:
    return {
        "tags": [tag.strip() for tag in values["tags"].split(",") if tag.strip()],
        "host_ids": list(host_ids),
        "canaries": _number(values["canaries"]),
        "waves": [_number(one) for one in values["waves"].replace(",", " ").split()],
        "max_in_flight": _number(values["max_in_flight"]),
        "soak_seconds": _number(values["soak_seconds"]),
        "failure_policy": STRICT if values["policy"] != "budget" else {"budget": _number(values["budget"])},
        "max_vanished": _number(values["max_vanished"]) if values["max_vanished"] else None,
    }


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 10 else text


def _plain(fields: dict[str, str]) -> dict[str, str]:
    # the rules speak JSON; a form has no lists and no quotes
    words = {
        "waves": "Numbers or percentages, such as 1, 10%, 50%, separated by commas.",
        "budget": "A number of hosts, or a percentage such as 5%.",
        "canaries": "Choose one of the list.",
    }
    return {name: words.get(name, said) for name, said in fields.items()}
