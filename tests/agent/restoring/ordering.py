"""Restores as they are ordered, and what came back."""

import json
import os
import shutil

from rm.shared.protocol import CommandRun, JobFinished
from tests.agent.conftest import Rig

JOB_SECONDS = 400.0


def snapshot(rig: Rig) -> str:
    """The id of a new snapshot of the source."""
    done = rig.restic("backup", "--json", str(rig.base / "source"))
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])


def order(rig: Rig, snapshot_id: str, *paths: str, target: str = "", in_place: bool = False) -> CommandRun:
    return rig.order(
        "restore",
        parameters={"snapshot_id": snapshot_id, "paths": list(paths), "target": target, "in_place": in_place},
    )


def run(rig: Rig, ordered: CommandRun) -> JobFinished:
    """What the agent reports of the job."""
    if rig.agent is None:
        rig.start()
    rig.server.connected().send(ordered)
    finished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id)
    result: JobFinished = finished.payload
    return result


def held_back(rig: Rig, command: str) -> None:
    """Put a script in the place of restic that does something else for `restore`."""
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    real = shutil.which(rig.program)
    path.write_text(f'#!/bin/sh\nREAL={real}\nif [ "$1" = restore ]; then {command}; fi\nexec $REAL "$@"\n')
    path.chmod(0o755)


def big(rig: Rig, mib: int) -> None:
    with open(rig.base / "source" / "big", "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1024 * 1024))


def run_again(rig: Rig, ordered: CommandRun) -> JobFinished:
    """The same for an agent that was started a second time."""
    rig.start()
    rig.server.connected(2).send(ordered)
    result: JobFinished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id).payload
    return result
