"""General settings: the server's name, how long a sign-in lasts, when backups are late, what new things begin with."""

import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta

from rm.domain.actors import Actor
from rm.domain.notices import PRODUCT
from rm.domain.staleness import USUAL, Expectations
from rm.errors import Invalid
from rm.events import EventBus
from rm.services import audit
from rm.services.source_group_forms import MODES
from rm.store import kept_settings, verdicts
from rm.store.database import changes

SETTING = "general"
RETENTIONS = ("everything", "short", "standard", "long")
MAX_NAME = 60
MIN_HOURS, MAX_HOURS = 1, 24 * 30
MIN_FACTOR, MAX_FACTOR = 1.1, 10.0
MIN_DAYS, MAX_DAYS = 1, 90
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


@dataclass(frozen=True)
class General:
    """What is set; `instance_name` is empty where the server needs no name of its own."""

    instance_name: str = ""
    session_hours: int = 12
    group_mode: str = "always_on"
    retention: str = "standard"
    schedule_at: str = "03:15"
    late_factor: float = USUAL.factor
    intermittent_days: int = USUAL.intermittent.days

    @property
    def shown_name(self) -> str:
        """What the header, the titles of pages and notifications call this server."""
        return self.instance_name or PRODUCT

    @property
    def session_lifetime(self) -> timedelta:
        return timedelta(hours=self.session_hours)

    @property
    def expectations(self) -> Expectations:
        """When a good backup counts no more."""
        return Expectations(self.late_factor, timedelta(days=self.intermittent_days))

    def checked(self) -> "General":
        """These settings; raises Invalid with what is wrong with each field."""
        wrong: dict[str, str] = {}
        if len(self.instance_name) > MAX_NAME or (self.instance_name and not self.instance_name.isprintable()):
            wrong["instance_name"] = f"At most {MAX_NAME} printable characters."
        if not MIN_HOURS <= self.session_hours <= MAX_HOURS:
            wrong["session_hours"] = f"Between {MIN_HOURS} and {MAX_HOURS} hours."
        if self.group_mode not in MODES:
            wrong["group_mode"] = "Choose one."
        if self.retention not in RETENTIONS:
            wrong["retention"] = "Choose one."
        if not _TIME.fullmatch(self.schedule_at):
            wrong["schedule_at"] = "Write a time such as 03:15."
        if not MIN_FACTOR <= self.late_factor <= MAX_FACTOR or round(self.late_factor, 2) != self.late_factor:
            wrong["late_factor"] = f"From {MIN_FACTOR:g} to {MAX_FACTOR:g}, with two decimals at most."
        if not MIN_DAYS <= self.intermittent_days <= MAX_DAYS:
            wrong["intermittent_days"] = f"Between {MIN_DAYS} and {MAX_DAYS} days."
        if wrong:
            raise Invalid(wrong)
        return self


def current() -> General:
    """What is set now."""
    known = {field.name for field in fields(General)}
    return General(**{name: value for name, value in kept_settings.get(SETTING, {}).items() if name in known})


def save(bus: EventBus, *, wanted: General, actor: Actor, now: datetime) -> None:
    """Change what is set, with effect at once; raises Invalid."""
    wanted.checked()
    with changes():
        before = current()
        if before == wanted:
            return
        kept_settings.put(SETTING, asdict(wanted))
        if before.expectations != wanted.expectations:
            verdicts.want_all_anew()
        old, new = asdict(before), asdict(wanted)
        changed = [name for name in new if old[name] != new[name]]
        audit.record(
            actor, "settings.changed", now=now, kind="settings", id=SETTING, name="general",
            before={name: old[name] for name in changed}, after={name: new[name] for name in changed},
        )  # fmt: skip
