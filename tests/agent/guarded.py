"""A host's program and trial as the guard finds them, and the guard under each shell of this machine."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.agent.conftest import ROOT

GUARD = ROOT / "agent" / "guard" / "rm-agent-guard"
SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]
EARLIER = b"#!/bin/sh\nexec sleep 60 # the earlier release\n"
LATER = b"#!/bin/sh\nexec sleep 60 # the later release\n"
ATTEMPT = "01JD00000000000000000000AA"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


FROM, TO = sha256(EARLIER), sha256(LATER)


@dataclass
class Guarded:
    """The files below one directory; `arm` and `swap` are what the agent does before it ends with 75."""

    root: Path
    shell: str
    earlier: bytes = EARLIER
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

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

    def command(self, *arguments: str) -> list[str]:
        start = ["busybox", "sh"] if self.shell == "busybox" else [self.shell]
        return [*start, str(GUARD), "--root", str(self.root), *arguments]

    def check(self) -> str:
        """Run `check` as before a start; what it says."""
        done = subprocess.run(self.command("check"), capture_output=True, text=True, timeout=20, check=False)
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
