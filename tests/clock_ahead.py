"""An agent whose clocks are ahead by what a file says, so that nobody has to wait for a due time or for a night."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path

# A machine that shares this one's kernel has booted when its first process was started, as one with its own kernel has.
_CODE = """
import sys
if sys.orig_argv[-1] == 'run':
    try:
        from agent.schedules import firing, waking
    except ImportError:
        pass
    else:
        import dataclasses, datetime, os, pathlib

        _moment = waking.Clocks.moment
        _booted = int(pathlib.Path('/proc/1/stat').read_text().rpartition(') ')[2].split()[19])

        def _moment_ahead(self):
            try:
                ahead, slept = map(float, pathlib.Path({file}).read_text().split())
            except (OSError, ValueError):
                ahead, slept = 0.0, 0.0
            found = _moment(self)
            return dataclasses.replace(
                found,
                boot_id=str(_booted),
                wall=found.wall + datetime.timedelta(seconds=ahead),
                boottime=found.boottime + slept - _booted / os.sysconf('SC_CLK_TCK'),
            )

        waking.Clocks.moment = _moment_ahead
        firing.LOOK_SECONDS = 1.0
"""


def code(file: str) -> str:
    """What makes an agent read its clocks so, when it is done before all else; `file` is a Python expression."""
    return _CODE.replace("{file}", file)


@dataclass
class ClockAhead:
    """The clocks of one host, by the file that its agent reads."""

    file: Path
    ahead: timedelta = timedelta()
    slept: timedelta = timedelta()
    # A minute ago, so that nothing comes due for an hour unless a test wants it.
    due_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc) - timedelta(minutes=1))

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + self.ahead

    def cron(self, zone: tzinfo) -> str:
        """Each hour, by a clock of that zone."""
        return f"{self.due_at.astimezone(zone).minute} * * * *"

    def next_due(self) -> datetime:
        """When that is the next time."""
        found = self.now().replace(minute=self.due_at.minute, second=0, microsecond=0)
        return found if found > self.now() else found + timedelta(hours=1)

    def sleep_until(self, moment: datetime) -> None:
        """As for a host that sleeps: one of its clocks stands still meanwhile."""
        passed = max(moment - self.now(), timedelta())
        self.ahead += passed
        self.slept += passed
        self._write()

    def be_off_until(self, moment: datetime) -> None:
        """As for a host without power: the clock that counts from the boot begins anew."""
        self.ahead += max(moment - self.now(), timedelta())
        self.slept = timedelta()
        self._write()

    def _write(self) -> None:
        # In one step, since the agent may read at any time.
        new = self.file.with_name(f".{self.file.name}.new")
        new.write_text(f"{self.ahead.total_seconds()} {self.slept.total_seconds()}\n")
        new.replace(self.file)
