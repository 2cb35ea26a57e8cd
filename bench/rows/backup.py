"""The same data backed up by restic alone and through server and agent."""

import json
import os
import random
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import host
from bench.figures import Row, Target
from bench.stage import BenchFailed, Server, environment, serving

PASSWORD = "bench-password"
FILES_PER_DIRECTORY = 250
SMALL_BYTES = 4_000
JOB_SECONDS = 120
SEED = 8


@dataclass(frozen=True)
class Run:
    """One backup: from the order, or the start of the program, to the end; and what restic itself says it took."""

    whole: float
    within: float


def measure(directory: Path, *, megabytes: int, small_files: int, repetitions: int) -> Row:
    """Seconds from the order to the end, beside restic alone with the same arguments on an equally new repository."""
    row = Row(
        "backup",
        f"first backup of {megabytes} MB of random bytes and {small_files:,} small files, {repetitions} times each way",
        "restic alone with the same data, arguments and kind of repository, in turns",
    )
    restic = shutil.which("restic")
    if restic is None:
        raise BenchFailed("restic is not installed (scripts/system-packages restic)")
    data = directory / "files"
    _make_data(data, megabytes=megabytes, small_files=small_files)
    empty, repository = directory / "empty", directory / "repository"
    _make_empty(restic, empty)
    ours: list[Run] = []
    bare: list[Run] = []
    with serving(directory, hosts=0) as (server, _), host.connected(directory, server) as agent:
        group = _prepare(server, agent, repository, data)
        # one unmeasured pair: files come into the page cache, code is loaded
        for number in range(repetitions + 1):
            _renew(empty, repository, [agent.root / "state" / "cache", directory / "cache"])
            alone = _alone(restic, directory, repository, data)
            _renew(empty, repository, [agent.root / "state" / "cache", directory / "cache"])
            through = _through(server, agent, group)
            if number:
                bare.append(alone)
                ours.append(through)
    target = Target(1.02, "at most", "ratio")
    value, best = (statistics.median(run.whole for run in runs) for runs in (ours, bare))
    row.add("order to end", value, "s", ceiling=best, target=target)
    within, best_within = (statistics.median(run.within for run in runs) for runs in (ours, bare))
    row.add("the backup by restic's own clock", within, "s", ceiling=best_within, target=target)
    spread = max(run.whole for run in bare) - min(run.whole for run in bare)
    row.add("spread of restic alone", spread / best * 100, "% of its median")
    row.notes.append(f"Through the agent: {_listed(ours)} s; restic alone: {_listed(bare)} s.")
    return row


def _make_data(data: Path, *, megabytes: int, small_files: int) -> None:
    data.mkdir()
    with open(data / "large.bin", "wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    chance = random.Random(SEED)
    for number in range(small_files):
        place = data / f"{number // FILES_PER_DIRECTORY:03}"
        place.mkdir(exist_ok=True)
        (place / f"{number}.txt").write_bytes(chance.randbytes(SMALL_BYTES))


def _prepare(server: Server, agent: host.Agent, repository: Path, data: Path) -> str:
    """Give the host its repository and what to back up; returns the source group."""
    where = f"/hosts/{agent.host_id}"
    server.ask(
        "PUT",
        f"{where}/repository",
        {"name": "bench", "location": str(repository), "password": PASSWORD, "username": "", "secret": ""},
    )
    group: str = server.ask("POST", f"{where}/source-groups", {"name": "files", "includes": [str(data)]})["id"]
    return group


def _make_empty(restic: str, empty: Path) -> None:
    """A new repository, of which every run gets a copy: the server refuses one with another id at the same place."""
    subprocess.run(
        [restic, "init", "--quiet", "--no-cache"],
        env=environment(RESTIC_REPOSITORY=str(empty), RESTIC_PASSWORD=PASSWORD),
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def _renew(empty: Path, repository: Path, caches: list[Path]) -> None:
    for place in [repository, *caches]:
        shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(empty, repository)
    os.sync()


def _alone(restic: str, directory: Path, repository: Path, data: Path) -> Run:
    """restic with what the agent would give it."""
    includes = directory / "includes"
    includes.write_bytes(bytes(data) + b"\0")
    begun = time.monotonic()
    with open(directory / "restic.out", "wb") as out:
        subprocess.run(
            [restic, "backup", "--json", "--tag", "files", "--host", "bench", "--files-from-raw", str(includes)],
            env=environment(
                RESTIC_REPOSITORY=str(repository), RESTIC_PASSWORD=PASSWORD,
                RESTIC_CACHE_DIR=str(directory / "cache"), RESTIC_PROGRESS_FPS="1",
            ),
            check=True, stdout=out, stderr=subprocess.STDOUT, timeout=JOB_SECONDS,
        )  # fmt: skip
    seconds = time.monotonic() - begun
    summary = json.loads((directory / "restic.out").read_text().splitlines()[-1])
    return Run(seconds, summary["total_duration"])


def _through(server: Server, agent: host.Agent, group: str) -> Run:
    """The same by order, timed by the server's and the host's clock, which are one here."""
    ordered = server.ask("POST", f"/hosts/{agent.host_id}/jobs", {"kind": "backup", "source_group_id": group})
    deadline = time.monotonic() + JOB_SECONDS
    job: dict[str, Any] = {}
    while job.get("state") != "finished":
        if time.monotonic() > deadline:
            raise BenchFailed(f"the backup did not end within {JOB_SECONDS} s: {job}")
        # seldom, so that asking takes nothing away from restic
        time.sleep(0.5)
        job = server.ask("GET", f"/jobs/{ordered['job_id']}")
    if job["outcome"] != "succeeded":
        raise BenchFailed(f"the backup ended as {job['outcome']}: {job['message']}")
    return Run(_instant(job["finished_at"]) - _instant(job["created_at"]), job["summary"]["total_duration"])


def _instant(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _listed(runs: list[Run]) -> str:
    return ", ".join(f"{run.whole:.2f}" for run in runs)
