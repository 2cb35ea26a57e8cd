"""The course of a soak: the fleet at work, what is done to it and when, and a look at it every few seconds."""

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from bench import seed
from bench.stage import COOKIE, BenchFailed, Load, Server, environment, until
from demo.releases import Releases
from soak.samples import Sample, look
from soak.truth import Account, Journal, KnownJob, compare

Json = dict[str, Any]
TABS = "tabs"
OPEN_UPDATE = ("planned", "running", "cancelling")
SETTLE_SECONDS = 300.0


@dataclass(frozen=True)
class Plan:
    """How much, how long, how often."""

    minutes: float = 15
    agents: int = 1000
    browsers: int = 20
    processes: int = 4
    sample_seconds: float = 5
    order_seconds: float = 1
    fire_seconds: float = 240
    beat_seconds: float = 30
    step_seconds: float = 2
    dial_seconds: float = 3

    def pace(self) -> Json:
        wanted = ("fire_seconds", "beat_seconds", "step_seconds", "dial_seconds")
        return {key: value for key, value in asdict(self).items() if key in wanted}


@dataclass
class Course:
    """A soak that runs, and what was seen of it."""

    plan: Plan
    directory: Path
    server: Server
    fleet: list[seed.SeededHost]
    release: Path
    releases: Releases
    samples: list[Sample] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    orders: int = 0
    refused_orders: int = 0
    failed_pages: int = 0
    updated: int = 0
    update_ended: str = ""
    _loads: dict[str, Load] = field(default_factory=dict)
    _life: int = 1
    _begun: float = field(default_factory=time.monotonic)
    _fleet_update: str = ""

    def run(self) -> Account:
        """All of it; the comparison with what the load's side knows."""
        try:
            self._start_loads()
            self._play()
            self._wind_up()
        finally:
            for load in self._loads.values():
                load.stop()
        return compare(self.server.data_dir / "restic-manager.db", self._known())

    # ---- the course ----

    def _play(self) -> None:
        seconds = self.plan.minutes * 60
        shares: list[tuple[float, str, Callable[[], None]]] = [
            (0.10, "server stopped with SIGTERM, started", self._restart),
            (0.18, "server killed (-9), started", self._kill_server),
            (0.25, "a load process killed (-9), started", self._kill_load),
            (0.32, "server and a load process killed (-9)", self._kill_both),
            (0.50, "fleet update begins", self._update_fleet),
            (0.72, "a fifth of the sockets dropped", self._drop),
            (0.82, "a load process killed (-9), started", self._kill_load),
        ]
        due = [(share * seconds, words, action) for share, words, action in shares]
        next_sample, next_order = 0.0, 0.0
        # On a slow machine it lasts longer: whatever is to be done to the fleet is done.
        while (at := self._at()) < seconds or due:
            if due and at >= due[0][0]:
                _, words, action = due.pop(0)
                self._say(words)
                self.events.append((self._at(), words))
                action()
            if at >= next_order:
                next_order = at + self.plan.order_seconds
                self._order()
            if at >= next_sample:
                next_sample = at + self.plan.sample_seconds
                self._sample()
            time.sleep(max(0.0, min(next_sample, next_order) - self._at()))

    def _wind_up(self) -> None:
        self._say("winding up: no new jobs, what is open is reported")
        for load in self._loads.values():
            load.ask("wind_up")
        with suppress(BenchFailed):
            until(self._is_settled, seconds=SETTLE_SECONDS, what="every host has reported all", pause=1)
        self._sample()
        if self._fleet_update:
            self.update_ended = self.server.ask("GET", f"/fleet-updates/{self._fleet_update}")["state"]
            self.updated = self._count("SELECT count(*) FROM hosts WHERE agent_seq = 2")

    def _is_settled(self) -> bool:
        if not self.samples or self._at() - self.samples[-1].at >= self.plan.sample_seconds:
            self._sample()
        found = [load.ask("idle") for load in self._loads.values()]
        if any(one["idle"] < one["of"] for one in found):
            return False
        return self._count("SELECT count(*) FROM jobs WHERE state <> 'finished'") == 0 and not self._update_is_open()

    def _update_is_open(self) -> bool:
        if not self._fleet_update:
            return False
        return self.server.ask("GET", f"/fleet-updates/{self._fleet_update}")["state"] in OPEN_UPDATE

    # ---- what is done to it ----

    def _restart(self) -> None:
        self.server.stop()
        self._begin_life()

    def _kill_server(self) -> None:
        self.server.kill()
        self._begin_life()

    def _begin_life(self) -> None:
        self._life += 1
        self.server.start()

    def _kill_load(self) -> None:
        name = random.choice([name for name in self._loads if name != TABS])
        self._loads[name].kill()
        self._loads[name].stop()
        self._start_load(name)

    def _kill_both(self) -> None:
        self.server.kill()
        self._kill_load()
        self._begin_life()

    def _drop(self) -> None:
        for load in self._loads.values():
            load.ask("drop", share=0.2)

    def _update_fleet(self) -> None:
        self.releases.import_into(self.server.data_dir, self.release, "--promote")
        waves = max(10, self.plan.agents // 10)
        options = {
            "waves": [waves] * 10, "max_in_flight": 50, "soak_seconds": 0, "failure_policy": {"budget": "20%"}
        }  # fmt: skip
        self._fleet_update = self.server.ask("POST", "/fleet-updates", options)["id"]

    def _order(self) -> None:
        host = random.choice(self.fleet[1:])
        group = self._groups[host.host_id]
        try:
            self.server.ask("POST", f"/hosts/{host.host_id}/jobs", {"kind": "backup", "source_group_id": group})
            self.orders += 1
        except (BenchFailed, urllib3.exceptions.HTTPError):
            self.refused_orders += 1

    # ---- the load's side ----

    def _start_loads(self) -> None:
        with closing(sqlite3.connect(self.server.data_dir / "restic-manager.db", timeout=30)) as database:
            self._groups = dict(database.execute("SELECT host_id, id FROM source_groups"))
        workers = self.fleet[1:]
        self._shares = {str(n): workers[n :: self.plan.processes] for n in range(self.plan.processes)}
        for name in [TABS, *self._shares]:
            self._start_load(name)

    def _start_load(self, name: str) -> None:
        program = "soak.browsers" if name == TABS else "soak.agents"
        load = self._loads[name] = Load(self.directory, command=(program, str(self._journal(name))))
        common: Json = {"url": self.server.socket_url, "pace": self.plan.pace()}
        if name == TABS:
            load.ask(
                "begin", pilot=self.fleet[0].as_json(), port=self.server.port, cookie=COOKIE,
                browsers=self.plan.browsers, **common,
            )  # fmt: skip
        else:
            load.ask("begin", agents=[host.as_json() for host in self._shares[name]], **common)

    def _journal(self, name: str) -> Path:
        return self.directory / f"journal-{name}"

    def _known(self) -> list[KnownJob]:
        return [job for name in [TABS, *self._shares] for job in _read(self._journal(name)).jobs.values()]

    # ---- looking ----

    def _sample(self) -> None:
        sample = Sample(at=self._at(), life=self._life, **look(self.server.pids(), self.server.data_dir))
        for name, load in self._loads.items():
            found = load.ask("sample")
            if name == TABS:
                sample.pages, sample.lags = found["pages"], found["lags"]
                self.failed_pages += found["failed"]
            else:
                sample.acks += [ms for took in found["ms"].values() for ms in took]
        self.samples.append(sample)

    def _count(self, query: str) -> int:
        with closing(sqlite3.connect(self.server.data_dir / "restic-manager.db", timeout=30)) as database:
            return int(database.execute(query).fetchone()[0])

    def _at(self) -> float:
        return time.monotonic() - self._begun

    def _say(self, words: str) -> None:
        print(f"  {int(self._at()) // 60}:{int(self._at()) % 60:02}  {words}", flush=True)


def _read(file: Path) -> Journal:
    journal = Journal(file)
    journal.close()
    return journal


def prepare(directory: Path, plan: Plan) -> tuple[Server, list[seed.SeededHost], Releases, Path]:
    """A server on a seeded fleet that has not begun to count, and the release that the fleet will be updated to."""
    server = Server(directory)
    fleet = seed.seed(server.data_dir, hosts=plan.agents + 1, history=True)
    with closing(sqlite3.connect(server.data_dir / "restic-manager.db")) as database, database:
        # The history is somebody else's: from here on every end of a backup is one that the load's side knows.
        database.execute("UPDATE hosts SET last_backup_id = NULL, last_good_at = NULL")
        database.execute("DELETE FROM jobs")
        database.execute("DELETE FROM backup_days")
    releases = Releases(directory / "releases", environment=environment)
    return server, fleet, releases, releases.make("0.2.0", 2)
