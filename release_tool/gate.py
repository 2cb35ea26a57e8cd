"""The gate before the signature: an agent is signed only after hosts went to it, back from it, and on to the next."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

from agent.packaging import build as zipapp
from release_tool import files
from release_tool.errors import ToolError
from release_tool.keys import TREE

RECORD = TREE / "build" / "gate.json"
LEGS = "previous → this → back, this → next"
MOST_KEPT = 50
# The one member that differs between two builds of the same sources.
_NAMED = "agent/_build.json"


def pass_through(*, now: datetime, wheels_in: Path) -> str:
    """Run the gate with this tree's agent and remember that it passed; gives its contents' hash, raises ToolError."""
    found = contents_of_tree(wheels_in)
    if found in passed():
        return found
    if play([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gate"]) != 0:
        raise ToolError(f"The gate did not let this agent pass ({LEGS}); what failed is above. It is not signed.")
    if contents_of_tree(wheels_in) != found:
        raise ToolError("The agent's sources changed while the gate ran. Run it again.")
    kept = [*_records(), {"contents": found, "legs": LEGS, "passed_at": f"{now:%Y-%m-%dT%H:%M:%SZ}"}]
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    files.replace(RECORD, json.dumps(kept[-MOST_KEPT:], indent=2).encode() + b"\n", mode=0o644)
    return found


def play(command: Sequence[str]) -> int:
    """Run the tests; their exit code. Whoever stops this stops them first, for they end the hosts that they started.

    Raises ToolError when it was stopped.
    """
    stopped = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        process.send_signal(signal.SIGINT)

    # a session of its own: Ctrl-C must reach the tests once, through us, and not break their tidying up
    process = subprocess.Popen(command, cwd=TREE, env=os.environ | {"RM_REQUIRE": "all"}, start_new_session=True)
    usual = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = process.wait()
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if stopped:
        raise ToolError("The gate was stopped before its end; nothing is remembered. Run it again.")
    return code


def passed() -> frozenset[str]:
    """The hashes of the contents of agents that passed here."""
    return frozenset(one["contents"] for one in _records())


def contents_of_tree(wheels_in: Path) -> str:
    """The hash of what this tree's agent holds, whatever version and sequence it is called."""
    wheels = zipapp.fetch_wheels(TREE / "requirements" / "agent.txt", wheels_in)
    with tempfile.TemporaryDirectory() as place:
        artifact = Path(place) / "rm-agent"
        zipapp.build(artifact, wheels=wheels, version="0", seq=0)
        return contents_of(artifact)


def contents_of(artifact: Path) -> str:
    """The hash of what an agent holds without the version and sequence that it is called; raises ToolError."""
    found = hashlib.sha256()
    try:
        with zipfile.ZipFile(artifact) as archive:
            for name in sorted(archive.namelist()):
                if name != _NAMED:
                    data = archive.read(name)
                    found.update(f"{name}\0{len(data)}\0".encode() + data)
    except (OSError, zipfile.BadZipFile) as error:
        raise ToolError(f"{artifact} is no agent: {error}") from error
    return found.hexdigest()


def _records() -> list[dict[str, str]]:
    try:
        found = json.loads(RECORD.read_text("utf-8"))
        return [one for one in found if isinstance(one.get("contents"), str)]
    except (OSError, ValueError, TypeError, AttributeError):
        return []
