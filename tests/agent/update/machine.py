"""A host whose real agent runs under the real guard, and a server that hands out releases."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from agent import config as configuration
from agent.config import Paths
from agent.packaging import build
from agent.secrets import Secrets, SecretsFile
from agent.update.trust import TrustFile
from rm.shared import ids, instants
from rm.shared.protocol import CommandRollback, CommandUpdate, Message
from tests.agent.conftest import ROOT, until
from tests.agent.server_double import ServerDouble
from tests.signing import ROOTS, SignedRelease, signed_release

GUARD = ROOT / "agent" / "guard" / "rm-agent-guard"
# A good release has time to start on a busy machine; a test that waits for the end of a trial says so.
TIMERS = {
    "revert_seconds": 40,
    "unreachable_seconds": 8,
    "soak_seconds": 1,
    "drain_seconds": 45,
    "download_seconds": 45,
}
QUICK_REVERT = TIMERS | {"revert_seconds": 6}
# Fifteen of these without a sign of life are a hang.
TICK = "1"


def real_now() -> datetime:
    return datetime.now(timezone.utc)


class Workshop:
    """Builds agents once: real ones, and ones with a fault that shows only when they run."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._wheels = build.fetch_wheels(ROOT / "requirements" / "agent.txt", ROOT / "build" / "agent-wheels")
        self._made: dict[tuple[int, str], Path] = {}

    def agent(self, seq: int, fault: str = "") -> Path:
        """The agent of a release; `fault` is Python that runs before all else of `rm-agent run`."""
        key = (seq, fault)
        if key not in self._made:
            path = self._place / f"agent-{len(self._made)}"
            build.build(path, wheels=self._wheels, version=f"0.{seq}.0", seq=seq)
            if fault:
                _spoil(path, fault)
            self._made[key] = path
        return self._made[key]

    def release(self, seq: int, fault: str = "", *, artifact: bytes | None = None, **changed: Any) -> SignedRelease:
        """The same, signed."""
        found = self.agent(seq, fault).read_bytes() if artifact is None else artifact
        return signed_release(seq=seq, version=f"0.{seq}.0", artifact=found, now=real_now(), **changed)


def _spoil(path: Path, fault: str) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    lines = "".join(f"    {line}\n" for line in fault.splitlines())
    members["__main__.py"] = f"import sys\nif sys.argv[-1] == 'run':\n{lines}\n".encode() + members["__main__.py"]
    with open(path, "wb") as file:
        file.write(build.SHEBANG)
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    path.chmod(0o755)


class UpdateServer(ServerDouble):
    """Also hands out keyset, manifests and artifacts, with Range, and notes what it was asked for."""

    def __init__(self) -> None:
        self.releases: list[SignedRelease] = []
        self.asked: list[tuple[str, str]] = []
        self.tampers: dict[str, Callable[[bytes], bytes]] = {}
        self.answers: list[Any] = []
        self.chunk_delay: Callable[[int], None] | None = None
        self.handshakes: Any = None
        super().__init__()

    def offer(self, release: SignedRelease) -> SignedRelease:
        self.releases.append(release)
        return release

    def _routes(self, app: Flask) -> None:
        super()._routes(app)

        @app.before_request
        def before() -> Any:
            if request.path == "/ws/agent" and self.handshakes is not None:
                return self.handshakes
            if request.path.startswith("/agent/") and self.answers:
                return self.answers.pop(0)
            return None

        def named() -> SignedRelease:
            wanted = request.args.get("sha256")
            return next(r for r in reversed(self.releases) if wanted in (None, r.manifest_sha256))

        def give(what: str, data: bytes) -> Response:
            self.asked.append((request.path, request.headers.get("Range", "")))
            return Response(self.tampers.get(what, lambda found: found)(data))

        @app.get("/agent/keyset")
        def keyset() -> Response:
            return give("keyset", self.releases[-1].keyset)

        @app.get("/agent/keyset.minisig")
        def keyset_signature() -> Response:
            return give("keyset.minisig", self.releases[-1].keyset_signature.encode())

        @app.get("/agent/release")
        def manifest() -> Response:
            return give("manifest", named().manifest)

        @app.get("/agent/release.minisig")
        def manifest_signature() -> Response:
            return give("manifest.minisig", named().manifest_signature.encode())

        @app.get("/agent/artifact/<sha256>")
        def artifact(sha256: str) -> Response:
            self.asked.append((request.path, request.headers.get("Range", "")))
            data = next(r.artifact for r in self.releases if r.artifact_sha256 == sha256)
            data = self.tampers.get("artifact", lambda found: found)(data)
            start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
            first = int(start[1]) if start else 0
            headers = {"ETag": f'"{sha256}"', "Content-Length": str(len(data) - first)}
            if start:
                headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return Response(self._pieces(data[first:]), status=206 if start else 200, headers=headers)

    def _pieces(self, data: bytes) -> Any:
        for at in range(0, len(data), 256 * 1024):
            if self.chunk_delay:
                self.chunk_delay(at)
            yield data[at : at + 256 * 1024]

    def results(self, attempt_id: str) -> list[Message]:
        return self.all("update.result", attempt_id=attempt_id)

    def outcome(self, attempt_id: str, seconds: float = 50.0) -> tuple[str, str, str]:
        """How the attempt ended: outcome, phase and reason."""
        found = self.wait(lambda s: s.results(attempt_id), seconds)[0].payload
        return found.outcome, found.phase, found.reason

    def phases(self, attempt_id: str) -> list[str]:
        """The phases that were told, each once, in order."""
        return list(dict.fromkeys(m.payload.phase for m in self.all("update.progress", attempt_id=attempt_id)))

    def hello_of(self, seq: int, seconds: float = 50.0, *, after: int = 0) -> Message:
        """The first hello of that release behind so many hellos."""
        found: list[Message] = self.wait(
            lambda s: [m for m in s.all("hello")[after:] if m.payload.agent_seq == seq], seconds
        )
        return found[0]


@dataclass
class Machine:
    """The files of one host below one directory."""

    root: Path
    server: UpdateServer
    workshop: Workshop
    tick: str = TICK
    environ: dict[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    epoch: int = 0
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths.of(str(self.root))

    @property
    def program(self) -> Path:
        return self.root / "bin" / "rm-agent"

    @property
    def update(self) -> Path:
        return self.root / "state" / "update"

    def make(self, seq: int = 1, *, fault: str = "", trust: bool = True) -> "Machine":
        """An enrolled host with that release, which is not started yet."""
        self.program.parent.mkdir(parents=True)
        shutil.copy(self.workshop.agent(seq, fault), self.program)
        restic = self.program.with_name("restic")
        restic.write_text('#!/bin/sh\n[ "$1" = version ] && echo "restic 0.14.0 compiled" && exit 0\nexit 1\n')
        restic.chmod(0o755)
        self.paths.make()
        configuration.write_settings(self.paths, {"server": self.server.url})
        SecretsFile(self.paths).save(
            Secrets(server=self.server.url, host_id="host-1", credential=self.server.credential, config_version=1)
        )
        if trust:
            TrustFile(self.update).pin({"root_keys": ROOTS, "keyset_version": 1})
        return self

    def start(self, *before: str) -> "subprocess.Popen[bytes]":
        """Start the guard, which starts the agent; `before` are words in front of the command."""
        command = [
            *before,
            "sh",
            str(GUARD),
            "--root",
            str(self.root),
            "run",
            "--",
            *self.wrapper,
            *self.agent_command("run"),
        ]
        with open(self.root / "log", "ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command,
                    env=os.environ | {"RM_GUARD_TICK": self.tick} | self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        return self.processes[-1]

    def agent_command(self, *arguments: str, program: Path | None = None) -> list[str]:
        return [sys.executable, "-I", str(program or self.program), "--root", str(self.root), *arguments]

    def say(self, *arguments: str, program: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command of the agent beside it."""
        return subprocess.run(
            self.agent_command(*arguments, program=program), capture_output=True, text=True, timeout=60, check=False
        )

    def stop(self) -> None:
        """End the guard by an ordered stop."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                process.wait(40)

    def crash(self) -> None:
        """As a power cut ends everything, but for what the disk forgets."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def order(self, release: SignedRelease, **changed: Any) -> CommandUpdate:
        """An order for a release; not sent yet."""
        self.epoch += 1
        known: dict[str, Any] = {
            "attempt_id": ids.new_ulid(),
            "epoch": self.epoch,
            "keyset_version": 1,
            "manifest_sha256": release.manifest_sha256,
            "artifact_sha256": release.artifact_sha256,
            "version": release.facts["version"],
            "seq": release.facts["seq"],
            "not_after": instants.to_text(real_now() + timedelta(hours=1)),
            "timers": TIMERS,
        }
        return CommandUpdate(**(known | changed))

    def rollback_order(self, to_sha256: str, **changed: Any) -> CommandRollback:
        self.epoch += 1
        known: dict[str, Any] = {
            "attempt_id": ids.new_ulid(),
            "epoch": self.epoch,
            "to_sha256": to_sha256,
            "not_after": instants.to_text(real_now() + timedelta(hours=1)),
            "timers": TIMERS,
        }
        return CommandRollback(**(known | changed))

    def send(self, order: Any) -> str:
        """Send an order over the newest connection."""
        self.server.connected()
        self.server.connections[-1].send(order)
        return str(order.attempt_id)

    def live(self) -> str:
        return hashlib.sha256(self.program.read_bytes()).hexdigest()

    def left(self) -> set[str]:
        """What lies beside the program."""
        return {path.name for path in self.program.parent.iterdir()} - {"rm-agent", "restic"}

    def is_over(self) -> bool:
        """Whether no trial lasts."""
        return not (self.update / "trial").exists()

    def said(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def agent_pid(self) -> int:
        """The process of the agent that runs, or runs next."""
        return int(until(self._agent_pid))

    def _agent_pid(self) -> int:
        found = subprocess.run(
            ["pgrep", "-f", f"{re.escape(str(self.program))} --root {re.escape(str(self.root))} run$"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        pids = [int(line) for line in found.stdout.split()]
        for pid in pids:
            # One that pgrep has seen may have ended since.
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("python"):
                    return pid
        return 0

    def close(self) -> None:
        self.crash()


def wait_until_over(machine: Machine, seconds: float = 40.0) -> None:
    until(machine.is_over, seconds)
