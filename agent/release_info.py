"""Which release this is: version, sequence number, and the hash of the artifact that runs."""

import hashlib
import json
import pkgutil
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from rm.shared.protocol import PROTOCOL_VERSION

VERSION = "0.1.0"
SEQ = 1


@dataclass(frozen=True)
class Release:
    """What `rm-agent version` tells."""

    version: str
    seq: int
    sha256: str | None
    protocol_version: int
    python: str


def artifact_path() -> Path | None:
    """The zipapp that runs, or None in a source tree."""
    spec = sys.modules[__name__].__spec__
    archive = getattr(spec.loader, "archive", None) if spec else None
    return Path(archive) if archive else None


def _built() -> tuple[str, int]:
    try:
        data = pkgutil.get_data("agent", "_build.json")
    except OSError:
        return VERSION, SEQ
    if data is None:
        return VERSION, SEQ
    facts = json.loads(data)
    return str(facts["version"]), int(facts["seq"])


def read() -> Release:
    """The facts of the running agent; the hash is null unless it runs from a zipapp."""
    path = artifact_path()
    version, seq = _built()
    return Release(
        version=version,
        seq=seq,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest() if path else None,
        protocol_version=PROTOCOL_VERSION,
        python=platform.python_version(),
    )
