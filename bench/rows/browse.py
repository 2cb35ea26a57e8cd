"""A folder of a large snapshot, asked for on the page of the server and answered by the host's agent."""

import os
import re
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench import host, machine
from bench.figures import Row, Target
from bench.stage import BenchFailed, Server, environment, serving

PASSWORD = "bench-password"
PER_FOLDER = 1000
FOLDERS = 50
NAME = "report {:06}.txt"
JOB_SECONDS = 120
BACKUP_SECONDS = 900


def measure(directory: Path, *, files: int, folder_files: int, repetitions: int) -> Row:
    """Seconds until a folder's first page is here, beside plain `restic ls` of an equal folder, in turns."""
    row = Row(
        "browse",
        f"a folder of {folder_files:,} files in a snapshot of {files:,}, {repetitions} folders each way",
        "restic ls --json of such a folder, alone",
    )
    restic = shutil.which("restic")
    if restic is None:
        raise BenchFailed("restic is not installed (scripts/system-packages restic)")
    data, repository = directory / "files", directory / "repository"
    folders = _make_data(data, files=files, folder_files=folder_files, folders=2 * repetitions + 2)
    ours: list[float] = []
    bare: list[float] = []
    more: list[float] = []
    with serving(directory, hosts=0) as (server, _), host.connected(directory, server) as agent:
        snapshot = _prepare(server, agent, restic, repository, data)
        # one unmeasured pair: restic's cache is filled, code is loaded
        pairs = list(zip(folders[::2], folders[1::2], strict=True))
        size = 0
        memory: dict[str, float] = {}
        for number, (one, other) in enumerate(pairs):
            alone = _alone(restic, directory, agent, repository, snapshot, other)
            begun = time.monotonic()
            body = _page(server, agent, snapshot, one)
            through = time.monotonic() - begun
            _page(server, agent, snapshot, one, offset=200)
            if not number:
                memory = _memory(server, agent)
                continue
            size = len(body)
            ours.append(through)
            bare.append(alone)
            begun = time.monotonic()
            _page(server, agent, snapshot, one, offset=400)
            more.append(time.monotonic() - begun)
        after = _memory(server, agent)
    row.add("first answer", statistics.median(ours), "s", ceiling=statistics.median(bare))
    row.add("a further page of it", statistics.median(more), "s", ceiling=statistics.median(bare))
    row.add("bytes of the answer before gzip", size / 1000, "kB")
    flat = Target(1.1, "at most", "ratio")
    row.add("memory of the server afterwards", after["server"], "MB", ceiling=memory["server"], target=flat)
    row.add("memory of the agent afterwards", after["agent"], "MB", ceiling=memory["agent"], target=flat)
    row.notes.append(
        f"Through server and agent: {_listed(ours)} s; restic alone: {_listed(bare)} s. The ceiling of the memory is"
        " the same process after the first folder."
    )
    return row


def _make_data(data: Path, *, files: int, folder_files: int, folders: int) -> list[Path]:
    """The files, in folders of folders as people keep them, and the folders to look into."""
    looked_at = [data / f"look {number:02}" / "reports" for number in range(folders)]
    for place in looked_at:
        _fill(place, folder_files)
    left = max(0, files - folders * folder_files)
    for number in range(0, left, PER_FOLDER):
        folder = number // PER_FOLDER
        _fill(data / f"{folder // FOLDERS:02}" / f"{folder:04}", min(PER_FOLDER, left - number))
    return looked_at


def _fill(place: Path, files: int) -> None:
    """So many names; they share one file, since a million files would take minutes to make."""
    place.mkdir(parents=True)
    first = NAME.format(0)
    (place / first).write_text("as in every one of them\n")
    handle = os.open(place, os.O_RDONLY)
    try:
        for number in range(1, files):
            os.link(first, NAME.format(number), src_dir_fd=handle, dst_dir_fd=handle)
    finally:
        os.close(handle)


def _prepare(server: Server, agent: host.Agent, restic: str, repository: Path, data: Path) -> str:
    """Give the host its repository, back up beside it, and have the snapshot listed; returns its id."""
    known = server.ask("GET", f"/hosts/{agent.host_id}")
    for call, seconds in (
        (["init", "--quiet"], 60),
        (["backup", "--quiet", "--host", str(known["hostname"]), str(data)], BACKUP_SECONDS),
    ):
        subprocess.run(
            [restic, *call], env=_environment(repository, agent.root / "state" / "cache"),
            check=True, capture_output=True, timeout=seconds,
        )  # fmt: skip
    server.ask(
        "PUT",
        f"/hosts/{agent.host_id}/repository",
        {"name": "bench", "location": str(repository), "password": PASSWORD, "username": "", "secret": ""},
    )
    job: dict[str, Any] = {
        "job_id": server.ask("POST", f"/hosts/{agent.host_id}/jobs", {"kind": "snapshots"})["job_id"]
    }
    deadline = time.monotonic() + JOB_SECONDS
    while job.get("state") != "finished":
        if time.monotonic() > deadline:
            raise BenchFailed(f"the snapshots were not listed within {JOB_SECONDS} s: {job}")
        time.sleep(0.1)
        job = {"job_id": job["job_id"]} | server.ask("GET", f"/jobs/{job['job_id']}")
    listed = subprocess.run(
        [restic, "list", "snapshots", "--no-lock"], env=_environment(repository, agent.root / "state" / "cache"),
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return listed.stdout.split()[-1]


def _page(server: Server, agent: host.Agent, snapshot: str, folder: Path, *, offset: int = 0) -> bytes:
    asked = {"path": str(folder), "answer": "1"} | ({"from": str(offset)} if offset else {})
    body = server.get(f"/hosts/{agent.host_id}/snapshots/{snapshot}?{urlencode(asked)}").data
    name = NAME.format(offset)
    if (folder / name).exists() and name.encode() not in body:
        words = re.sub(r"<[^>]*>|\s+", " ", body.decode())
        raise BenchFailed(f"the page of {folder} does not show its files: {words[:3000]}")
    return body


def _alone(restic: str, directory: Path, agent: host.Agent, repository: Path, snapshot: str, folder: Path) -> float:
    """restic with what the agent would give it."""
    begun = time.monotonic()
    with open(directory / "restic.out", "wb") as out:
        subprocess.run(
            [restic, "ls", "--json", "--no-lock", snapshot, str(folder)],
            env=_environment(repository, agent.root / "state" / "cache"), check=True, stdout=out, timeout=JOB_SECONDS,
        )  # fmt: skip
    return time.monotonic() - begun


def _environment(repository: Path, cache: Path) -> dict[str, str]:
    return environment(
        RESTIC_REPOSITORY=str(repository), RESTIC_PASSWORD=PASSWORD, RESTIC_CACHE_DIR=str(cache),
        RESTIC_PROGRESS_FPS="1",
    )  # fmt: skip


def _memory(server: Server, agent: host.Agent) -> dict[str, float]:
    return {"server": machine.pss_mb(server.pids()), "agent": machine.pss_mb([agent.pid])}


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{one:.2f}" for one in seconds)
