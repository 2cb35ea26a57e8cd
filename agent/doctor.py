"""`rm-agent doctor`: one check per line, and for each that is not ok how to mend it."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from agent import config as configuration
from agent import status
from agent.config import Config, Paths
from agent.errors import ConfigurationError
from agent.health import CLOCK_SECONDS, LOW_BYTES
from agent.hooks import Hooks
from agent.http import Answer, Refused, Transport, Unreachable
from agent.platform import linux
from agent.schedules.stored import StoredSchedules
from agent.secrets import Secrets, SecretsFile
from agent.tool import ToolFinder
from agent.update import local
from rm.shared.words import counted


@dataclass(frozen=True)
class Check:
    """One finding: ok, warning or failed."""

    name: str
    state: str
    text: str

    def line(self) -> str:
        return f"{self.state:8} {self.name}: {self.text}"


def examine(paths: Paths) -> Iterator[Check]:
    """All checks, as far as each has what it needs."""
    try:
        config = configuration.load(paths)
    except ConfigurationError as error:
        yield Check("configuration", "failed", str(error))
        return
    yield Check("configuration", "ok", str(paths.config_file))
    secrets = None
    try:
        secrets = SecretsFile(paths).load()
    except ConfigurationError as error:
        yield Check("enrolment", "failed", str(error))
    else:
        yield Check("enrolment", "ok", f"host {secrets.host_id} at {secrets.server}")
        yield _permissions(paths)
    yield from _server(config, secrets, status.read(paths))
    tool = ToolFinder(paths, config).find()
    yield Check("restic", "failed" if tool.problem else "ok", tool.problem or f"{tool.path} {tool.version_text}")
    yield _schedules(StoredSchedules(paths.state))
    yield from _hooks(Hooks(paths, config, shell_of=lambda group: ("", "")))
    yield _space(paths)
    yield _guard(paths)
    yield from _updates(local.look(paths))


def _permissions(paths: Paths) -> Check:
    mode = stat.S_IMODE(paths.secrets_file.stat().st_mode)
    if mode & 0o077:
        return Check("secrets file", "failed", f"other users can read it; run: chmod 600 {paths.secrets_file}")
    return Check("secrets file", "ok", f"{paths.secrets_file} is {mode:04o}")


def _server(config: Config, secrets: Secrets | None, running: status.Status | None) -> Iterator[Check]:
    try:
        transport = Transport(config)
        answer = transport.request("GET", "/healthz", timeout_seconds=10)
    except (Unreachable, ConfigurationError) as error:
        yield Check("server", "failed", str(error))
        return
    if answer.status == 200:
        yield Check("server", "ok", f"{config.server} answers")
    else:
        text = f"{config.server}/healthz answers HTTP {answer.status}; look at the server's log, or check the URL"
        yield Check("server", "warning", text)
    yield _clock(answer)
    if secrets is None:
        return
    if running and status.is_running(running) and running.connected_since:
        yield Check("credential", "ok", f"the running agent is connected since {running.connected_since}")
        return
    yield _credential(transport, secrets)


def _credential(transport: Transport, secrets: Secrets) -> Check:
    try:
        transport.open_websocket("/ws/agent", token=secrets.credential, timeout_seconds=10).shutdown()
    except Refused as refused:
        if refused.answer.error_code == "credential_refused":
            return Check("credential", "failed", "the server does not accept it; enrol again from the host's page")
        return Check(
            "credential",
            "failed",
            f"the WebSocket is answered with HTTP {refused.answer.status}; does a proxy block it?",
        )
    except Unreachable as error:
        return Check("credential", "failed", str(error))
    return Check("credential", "ok", "the server accepts it")


def _clock(answer: Answer) -> Check:
    try:
        server_time = parsedate_to_datetime(answer.headers["date"])
        offset = (server_time - datetime.now(timezone.utc)).total_seconds()
    except (KeyError, ValueError, TypeError):
        return Check("clock", "warning", "the server did not tell the time")
    if abs(offset) > CLOCK_SECONDS:
        return Check("clock", "warning", f"{abs(offset):.0f} s from the server's; check this host's time service")
    return Check("clock", "ok", f"within {max(1, abs(offset)):.0f} s of the server's")


def _schedules(stored: StoredSchedules) -> Check:
    if stored.problem:
        return Check("schedules", "failed", stored.problem)
    found = stored.load()
    if found is None:
        return Check("schedules", "ok", "the server has sent none yet")
    wanted = found.wanted
    planned = counted(sum(schedule.is_enabled for schedule in wanted.schedules), "enabled schedule")
    text = f"version {wanted.version}: {planned}, {counted(len(wanted.groups), 'source group')}"
    mode = stat.S_IMODE(stored.hooks_file.stat().st_mode) if stored.hooks_file.exists() else 0o600
    if mode & 0o077:
        return Check("schedules", "failed", f"other users can read the hooks; run: chmod 600 {stored.hooks_file}")
    return Check("schedules", "ok", text)


def _hooks(hooks: Hooks) -> Iterator[Check]:
    words = {"local": "only executables of this host", "server": "the server's shell text too", "off": "none"}
    problem = hooks.directory_problem()
    text = f"policy {hooks.policy} ({words[hooks.policy]}), directory {hooks.directory}"
    yield Check("hooks", "warning" if problem else "ok", f"{text}; it {problem}" if problem else text)
    for hook in hooks.look():
        yield Check("hook", "warning" if hook.problem else "ok", f"{hook.name} {hook.problem or 'is usable'}")


def _space(paths: Paths) -> Check:
    try:
        free = linux.free_bytes(paths.state)
    except OSError as error:
        return Check("disk", "failed", f"{paths.state} cannot be looked at: {error.strerror}")
    state = "ok" if free >= LOW_BYTES else "warning"
    return Check("disk", state, f"{free // 1024 // 1024} MiB free in {paths.state}")


def _guard(paths: Paths) -> Check:
    version = os.environ.get("RM_GUARD_VERSION")
    guard = paths.program.with_name("rm-agent-guard")
    if version or guard.exists():
        return Check("guard", "ok", f"version {version}" if version else str(guard))
    return Check("guard", "warning", "not installed; run: install.sh --repair")


def _updates(found: local.Facts) -> Iterator[Check]:
    if found.trouble:
        yield Check("updates", "failed", " ".join(found.trouble))
        return
    if not found.root_keys:
        text = "no root key is pinned, so no update is taken; enrol again from the host's page"
        yield Check("updates", "warning", text)
        return
    lowest = f", lowest taken {found.floor.version} ({found.floor.seq})" if found.floor else ""
    text = f"release {found.version} ({found.seq}){lowest}; root keys {', '.join(found.root_keys)}"
    yield Check("updates", "ok", text)
    if found.is_pinned:
        yield Check("updates", "warning", "pinned: no update is taken; to end that: rm-agent unpin")
    if found.trial:
        yield Check("updates", "warning", f"a release is on trial (attempt {found.trial.attempt})")
    for name in found.bad:
        yield Check("updates", "warning", f"{name} was put back here; to allow it again: rm-agent forget-bad {name}")
