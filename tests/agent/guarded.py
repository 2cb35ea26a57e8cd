"""A host's program and trial as the guard finds them, and the guard under each shell of this machine."""

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.agent.conftest import ROOT, until

GUARD = ROOT / "agent" / "guard" / "rm-agent-guard"
SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]
EARLIER = b"#!/bin/sh\nexec sleep 60 # the earlier release\n"
LATER = b"#!/bin/sh\nexec sleep 60 # the later release\n"
ATTEMPT = "01JD00000000000000000000AA"


# As the guard counts: so many ticks without a sign of life are a hang.
HANG_TICKS = 15


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


FROM, TO = sha256(EARLIER), sha256(LATER)


# The guard finds this in the place of `sleep`: as long as a tick it lasts until the test ends it, otherwise as usual.
HELD_SLEEP = """#!/bin/sh
cd {place} || exit
[ "$1" = {tick} ] || {{ echo "$1" >>others; exec {sleep} "$1"; }}
echo >>asked
number=$(wc -l <asked)
while read -r allowed <allowed && [ "$allowed" -lt "$number" ]; do
    kill -0 $PPID 2>/dev/null || exit
    {sleep} 0.01
done
"""


@dataclass
class Clock:
    """A guard's ticks in the hand of the test: none passes by itself, however busy the machine is."""

    place: Path
    tick: str = "0.5"

    def make(self) -> "Clock":
        self.place.mkdir()
        (self.place / "asked").touch()
        (self.place / "others").touch()
        self._allow(0)
        sleep, program = shutil.which("sleep"), self.place / "sleep"
        assert sleep
        program.write_text(HELD_SLEEP.format(place=shlex.quote(str(self.place)), tick=self.tick, sleep=sleep))
        program.chmod(0o755)
        return self

    @property
    def environ(self) -> dict[str, str]:
        """What the guard must be started with."""
        return {"PATH": f"{self.place}:{os.environ['PATH']}", "RM_GUARD_TICK": self.tick}

    def let_pass(self, ticks: int, *, is_last: bool = False) -> None:
        """Let so many ticks pass, and wait until the guard waits for the next one, if it will."""
        asked = until(self._asked)
        self._allow(asked + ticks - 1)
        if not is_last:
            until(lambda: self._asked() >= asked + ticks)

    def other_sleeps(self) -> list[str]:
        """For how long the guard slept when it was not until the next tick."""
        return (self.place / "others").read_text().split()

    def _asked(self) -> int:
        return len((self.place / "asked").read_text().splitlines())

    def _allow(self, number: int) -> None:
        new = self.place / "allowed.new"
        new.write_text(f"{number}\n")
        new.rename(self.place / "allowed")


@dataclass
class Guarded:
    """The files below one directory; `arm` and `swap` are what the agent does before it ends with 75."""

    root: Path
    shell: str
    earlier: bytes = EARLIER
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    clocks: int = 0

    @property
    def program(self) -> Path:
        return self.root / "bin" / "rm-agent"

    @property
    def old(self) -> Path:
        return self.root / "bin" / "rm-agent.old"

    @property
    def update(self) -> Path:
        return self.root / "state" / "update"

    def make(self) -> "Guarded":
        self.program.parent.mkdir(parents=True)
        self.update.mkdir(parents=True, mode=0o700)
        self.program.write_bytes(self.earlier)
        self.program.chmod(0o755)
        return self

    def arm(
        self,
        *,
        limit_s: int = 60,
        commit_s: int = 600,
        boots: int = 0,
        attempt: str = ATTEMPT,
        later: bytes = LATER,
    ) -> None:
        limits = (f"limit_s={limit_s}", f"commit_s={commit_s}")
        lines = (f"attempt={attempt}", f"from={sha256(self.earlier)}", f"to={sha256(later)}", f"boots={boots}", *limits)
        self.tell("trial", "".join(f"{line}\n" for line in lines))

    def swap(self, later: bytes = LATER) -> None:
        self.old.unlink(missing_ok=True)
        self.old.hardlink_to(self.program)
        new = self.program.with_name("rm-agent.new")
        new.write_bytes(later)
        new.chmod(0o755)
        new.replace(self.program)

    def tell(self, name: str, text: str = "") -> None:
        (self.update / name).write_text(text)

    def boots(self) -> str:
        return self.facts("trial")["boots"]

    def facts(self, name: str) -> dict[str, str]:
        """The lines of a file, empty where there is none."""
        path = self.update / name
        return dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}

    def left(self) -> set[str]:
        """All that is in the directory of the trial."""
        return {path.relative_to(self.update).as_posix() for path in self.update.rglob("*") if not path.is_dir()}

    def clock(self, tick: str = "0.5") -> Clock:
        """A clock for the next guard that is started."""
        self.clocks += 1
        return Clock(self.root / f"clock {self.clocks}", tick).make()

    def command(self, *arguments: str) -> list[str]:
        start = ["busybox", "sh"] if self.shell == "busybox" else [self.shell]
        return [*start, str(GUARD), "--root", str(self.root), *arguments]

    def check(self) -> str:
        """Run `check` as before a start; what it says."""
        done = subprocess.run(self.command("check"), capture_output=True, text=True, timeout=40, check=False)
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr

    def watch(self, **environ: str) -> "subprocess.Popen[bytes]":
        return self._start(self.command("watch"), environ)

    def run(self, **environ: str) -> "subprocess.Popen[bytes]":
        return self._start(self.command("run", "--", str(self.program), "run"), environ)

    def _start(self, command: list[str], environ: dict[str, str]) -> "subprocess.Popen[bytes]":
        with open(self.root / "guard.log", "ab") as log:
            self.started.append(subprocess.Popen(command, env=os.environ | environ, stderr=log, start_new_session=True))
        return self.started[-1]

    def close(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def said(self) -> str:
        return (self.root / "guard.log").read_text()

    def ticks(self) -> int:
        path = self.update / "ticks"
        found = re.match(r"\d+", path.read_text()) if path.exists() else None
        return int(found[0]) if found else 0

    def reverted(self, reason: str, *, bad: int) -> dict[str, str]:
        """What `reverted` says after a revert for this reason."""
        return {"attempt": ATTEMPT, "from": FROM, "to": TO, "reason": reason, "bad": str(bad)}
