"""`rm-release build`: the agent's zipapp, and the manifest that says what it is."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import tomllib

from agent import release_info
from agent.packaging import build as zipapp
from release_tool import files
from release_tool.errors import ToolError
from release_tool.keys import TREE, KeyDirectory
from rm.shared import instants, release

NAME = "rm-agent"
MANIFEST = "manifest.json"
# The oldest guard that keeps the promises this agent relies on; raise it together with the guard's file protocol.
GUARD_MIN = 2
EXPIRES_AFTER = timedelta(days=365)


@dataclass(frozen=True)
class Plan:
    """What is to be built; `key_id` names the release key that is going to sign it."""

    version: str
    seq: int
    released_at: datetime
    key_id: str
    expires_after: timedelta = EXPIRES_AFTER
    min_from_seq: int = 0
    guard_min: int = GUARD_MIN
    yanked: tuple[int, ...] = field(default=())


def default_version() -> str:
    """The version that pyproject.toml names."""
    return str(tomllib.loads((TREE / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def next_seq(keys: KeyDirectory) -> int:
    """One more than was ever signed with these keys, and than agents carry that came out of the tree itself."""
    return max(keys.last_signed().seq, release_info.SEQ) + 1


def build(output: Path, plan: Plan, *, wheels_in: Path) -> release.Manifest:
    """Write the agent and its unsigned manifest into the directory; raises ToolError.

    What an earlier release left there goes first: a signature must never lie beside bytes that it was not made for.
    """
    wheels = zipapp.fetch_wheels(TREE / "requirements" / "agent.txt", wheels_in)
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.minisig"):
        old.unlink()
    digest = zipapp.build(output / NAME, wheels=wheels, version=plan.version, seq=plan.seq)
    size = (output / NAME).stat().st_size
    data = manifest_bytes(plan, artifact={"name": NAME, "size": size, "sha256": digest})
    try:
        found = release.parse_manifest(data)
    except release.ReleaseError as error:
        raise ToolError(str(error)) from error
    files.replace(output / MANIFEST, data, mode=0o644)
    return found


def manifest_bytes(plan: Plan, *, artifact: dict[str, str | int]) -> bytes:
    """The manifest as it is going to be signed; the same plan and artifact give the same bytes."""
    body = {
        "product": release.PRODUCT,
        "schema": release.SCHEMA,
        "channel": release.CHANNELS[0],
        "seq": plan.seq,
        "version": plan.version,
        "released_at": instants.to_text(plan.released_at),
        "expires_at": instants.to_text(plan.released_at + plan.expires_after),
        "min_from_seq": plan.min_from_seq,
        "guard_min": plan.guard_min,
        "key_id": plan.key_id,
        "yanked": sorted(set(plan.yanked)),
        "artifacts": [{"os": "any", "arch": "any"} | artifact],
    }
    return json.dumps(body, indent=2).encode() + b"\n"


def sha256_of(path: Path) -> str:
    """The hash of a file; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
