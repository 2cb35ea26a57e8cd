"""Puts together what updates need, in one place for the running agent and for commands beside it."""

import os
from typing import Any

from agent import release_info
from agent.config import Config, Paths
from agent.platform import linux
from agent.platform.replace import Disk
from agent.release_info import Release
from agent.update.journal import UpdateJournal
from agent.update.kit import Kit
from agent.update.preflight import Host
from agent.update.records import GuardFiles
from agent.update.swap import Places
from agent.update.trust import FloorFile, Marks, TrustFile


def kit(*, paths: Paths, config: Config, release: Release, **parts: Any) -> Kit:
    """Everything that lies in the agent's directories, and the parts of a running agent."""
    disk = Disk()
    return Kit(
        paths=paths,
        root=str(paths.bin.parent) if paths.bin else None,
        config=config,
        release=release,
        host=Host(
            program=paths.program,
            artifact=release_info.artifact_path(),
            state=paths.state,
            init=linux.init_system(),
            server=config.server,
            guard_version=os.environ.get("RM_GUARD_VERSION", ""),
            has_own_root=paths.bin is not None,
        ),
        places=Places(paths.program),
        files=GuardFiles(paths.update, disk),
        journal=UpdateJournal(paths.update / "update.json", disk).load(),
        trust_file=TrustFile(paths.update, disk),
        floor_file=FloorFile(paths.update, disk),
        marks=Marks(paths.update, disk),
        disk=disk,
        **parts,
    )
