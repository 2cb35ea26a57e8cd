"""A schedule as texts of a form, with simple choices for what most want, and back."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from rm.errors import Invalid
from rm.services.schedules import ScheduleForm, problems

WHEN = (
    ("daily", "Every day", "At a time of the host's clock."),
    ("weekdays", "On weekdays", "Monday to Friday."),
    ("weekly", "Once a week", "On one day."),
    ("every", "While the host is on", "Every so often, counted from the last run: for laptops."),
    ("cron", "Cron expression", "Anything else."),
)  # fmt: skip
DAYS = (
    ("1", "Monday"), ("2", "Tuesday"), ("3", "Wednesday"), ("4", "Thursday"), ("5", "Friday"), ("6", "Saturday"),
    ("0", "Sunday"),
)  # fmt: skip
UNITS = (("60", "hours"), ("1", "minutes"), ("1440", "days"))
NEW = {
    "name": "nightly", "when": "daily", "at": "03:15", "day": "0", "every": "6", "unit": "60", "cron": "15 3 * * *",
    "jitter": "30", "is_enabled": "yes",
}  # fmt: skip

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::00)?", re.ASCII)
_DAILY = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* (\*|1-5|[0-7])", re.ASCII)
_MINUTES = re.compile(r"\d{1,5}(?:\.\d{1,6})?", re.ASCII)


class Typed(Protocol):
    """What a browser sent, of which one field may come several times."""

    def get(self, name: str, default: str = "", /) -> str: ...

    def getlist(self, name: str, /) -> Sequence[str]: ...

    def __contains__(self, name: object, /) -> bool: ...


def texts_of(form: ScheduleForm) -> dict[str, str]:
    """What the fields hold for this schedule, but for its groups."""
    texts = NEW | {"name": form.name, "jitter": f"{form.jitter_seconds / 60:g}" if form.jitter_seconds else "0"}
    del texts["is_enabled"]
    texts |= {"is_enabled": "yes"} if form.is_enabled else {}
    if not form.cron:
        size = next(size for size in (1440, 60, 1) if form.every_minutes % size == 0)
        return texts | {"when": "every", "every": str(form.every_minutes // size), "unit": str(size)}
    texts["cron"] = form.cron
    found = _DAILY.fullmatch(form.cron)
    if found is None or int(found[1]) > 59 or int(found[2]) > 23:
        return texts | {"when": "cron"}
    texts["at"] = f"{int(found[2]):02}:{int(found[1]):02}"
    if found[3] in ("*", "1-5"):
        return texts | {"when": "daily" if found[3] == "*" else "weekdays"}
    return texts | {"when": "weekly", "day": str(int(found[3]) % 7)}


def typed(texts: Typed) -> ScheduleForm:
    """The schedule that was typed; raises Invalid for a field that is no time or number."""
    wrong: dict[str, str] = {}
    cron, minutes, when = "", 0, texts.get("when", "cron")
    if when in ("daily", "weekdays", "weekly"):
        at = _TIME.fullmatch(texts.get("at", "").strip())
        if at is None:
            wrong["at"] = "Write a time such as 03:15."
        day = texts.get("day", "") if when == "weekly" else {"daily": "*", "weekdays": "1-5"}[when]
        if when == "weekly" and day not in dict(DAYS):
            wrong["day"] = "Choose a day."
        cron = f"{int(at[2])} {int(at[1])} * * {day}" if at is not None else ""
    elif when == "every":
        text, unit = texts.get("every", "").strip(), texts.get("unit", "60")
        if not (text.isascii() and text.isdigit() and len(text) <= 6) or unit not in dict(UNITS):
            wrong["every"] = "Write a whole number, and choose minutes, hours or days."
        else:
            minutes = int(text) * int(unit)
    else:
        cron = texts.get("cron", "")
    jitter = texts.get("jitter", "").strip() or "0"
    if not _MINUTES.fullmatch(jitter):
        wrong["jitter"] = "Write a number of minutes."
    if wrong:
        raise Invalid(wrong)
    return ScheduleForm(
        name=texts.get("name", ""), cron=cron, every_minutes=minutes, jitter_seconds=round(float(jitter) * 60),
        is_enabled="is_enabled" in texts, groups=list(texts.getlist("groups")),
    )  # fmt: skip


def checked(texts: Typed) -> ScheduleForm:
    """The schedule that was typed, sound whatever the host; raises Invalid."""
    form = typed(texts)
    wrong = problems(form)
    if wrong:
        raise Invalid(wrong)
    return form


def named(fields: Mapping[str, str], texts: Typed) -> dict[str, str]:
    """What the service says of its fields, by the fields of the form."""
    names = {"every_minutes": "every", "jitter_seconds": "jitter"}
    if texts.get("when", "cron") not in ("cron", "every"):
        names["cron"] = "at"
    return {names.get(name, name): problem for name, problem in fields.items()}
