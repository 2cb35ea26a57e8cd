"""The small file in which a running agent says how it is, and the reading of it."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from agent import durable
from agent.config import Paths
from agent.platform import linux
from rm.shared.words import counted


@dataclass
class Status:
    """How a running agent is."""

    pid: int
    started: str
    version: str
    server: str
    restic_version: str | None = None
    connected_since: str | None = None
    trouble: str | None = None
    next_attempt_at: str | None = None
    running_job: str | None = None
    outbox_reports: int = 0
    outbox_bytes: int = 0
    schedule_version: int = 0
    schedules: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    written_at: str = ""


def write(paths: Paths, status: Status) -> None:
    """Replace the status file; a disk that refuses is no trouble for the agent."""
    try:
        durable.write_quick(paths.status_file, json.dumps(asdict(status), indent=1).encode(), mode=0o644)
    except OSError:
        return


def read(paths: Paths) -> Status | None:
    """What the agent wrote last, None without a usable file."""
    try:
        raw: dict[str, Any] = json.loads(paths.status_file.read_bytes())
        return Status(**raw)
    except (OSError, ValueError, TypeError):
        return None


def is_running(status: Status) -> bool:
    """Whether the process that wrote the status still lives."""
    return linux.start_time(status.pid) == status.started


def describe(status: Status | None) -> list[str]:
    """The status as lines for people."""
    if status is None:
        return ["The agent is not running and has not run here before."]
    if not is_running(status):
        return [f"The agent is not running. It was last seen at {status.written_at}.", f"Server: {status.server}"]
    connected = f"connected since {status.connected_since}" if status.connected_since else "not connected"
    lines = [
        f"The agent runs (pid {status.pid}, version {status.version}).",
        f"Server: {status.server}, {connected}",
        f"restic: {status.restic_version or 'not found'}",
        f"Job: {status.running_job or 'none'}",
        f"Outbox: {counted(status.outbox_reports, 'report')}, {counted(status.outbox_bytes, 'byte')}",
    ]
    if status.schedule_version:
        lines.append(f"Schedules: version {status.schedule_version}")
    lines += status.schedules
    if status.trouble and not status.connected_since:
        lines.append(f"Trouble: {status.trouble}")
    if status.next_attempt_at and not status.connected_since:
        lines.append(f"Next attempt: {status.next_attempt_at}")
    return lines + [f"Problem: {problem}" for problem in status.problems]
