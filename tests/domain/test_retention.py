"""What a retention keeps, in our words and by restic's own judgement."""

import hashlib
import json
import random
import subprocess
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rm.domain import retention
from rm.domain.retention import Policy, Taken
from rm.shared.schedule import Timing
from tests.agent import quick_key
from tests.restserver import tools

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
BERLIN = ZoneInfo("Europe/Berlin")
PASSWORD = "tiny"
SETS = 10
POLICIES = 40


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keep_weakly": 4}, "keep_weakly is no rule of a retention"),
        ({"keep_daily": -1}, "keep_daily is a whole number from 0 to 10,000"),
        ({"keep_daily": 10_001}, "keep_daily is a whole number from 0 to 10,000"),
        ({"keep_daily": True}, "keep_daily is a whole number"),
        ({"keep_daily": "7"}, "keep_daily is a whole number"),
        ({"keep_daily": 7.5}, "keep_daily is a whole number"),
        ({"keep_within": "30"}, "keep_within is a time such as 30d"),
        ({"keep_within": "-30d"}, "keep_within is a time such as 30d"),
        ({"keep_within": "0d"}, "keep_within is a time such as 30d"),
        ({"keep_within": 30}, "keep_within is a time such as 30d"),
        ({"keep_within_daily": "1d1y"}, "keep_within_daily is a time such as 30d"),
        ({"keep_within_daily": "999999y"}, "keep_within_daily is at most 100 years"),
        ({"keep_within": "٣d"}, "keep_within is a time such as 30d"),
        ({"keep_daily": 0, "keep_within": ""}, "This would keep nothing"),
    ],
)
def test_a_retention_that_means_nothing_good_is_refused_with_a_sentence(given: dict[str, Any], said: str) -> None:
    assert said in str(retention.problem(given))
    with pytest.raises(ValueError, match=r".+"):
        Policy.of(given)


def test_no_retention_at_all_is_allowed_and_keeps_everything() -> None:
    policy = Policy.of({})

    assert retention.problem({}) is None
    assert policy.is_empty
    assert retention.describe(policy) == "Keeps every snapshot."
    assert retention.apply(policy, [Taken("a", NOW)], now=NOW).removed == ()


def test_zeros_and_blanks_are_rules_that_were_left_out() -> None:
    policy = Policy.of({"keep_last": 0, "keep_daily": 7, "keep_within": "", "keep_yearly": None})

    assert policy == Policy(counts=(("keep_daily", 7),))


def test_a_policy_is_told_in_words() -> None:
    policy = Policy.of({"keep_last": 3, "keep_daily": 7, "keep_within": "1m", "keep_within_weekly": "1y6m"})

    assert retention.describe(policy) == (
        "Keeps the last 3, 7 daily, everything of the last 1 month and weekly ones of the last 1 year 6 months."
    )


@pytest.mark.parametrize(
    ("given", "gap", "said"),
    [
        ({"keep_hourly": 24}, timedelta(days=1), "keeps 24 hourly, but the schedule runs once a day"),
        ({"keep_daily": 7}, timedelta(days=7), "keeps 7 daily, but the schedule runs once a week"),
        ({"keep_within_hourly": "2d"}, timedelta(hours=6), "keeps hourly ones, but the schedule runs every 6 hours"),
        ({"keep_within": "12h"}, timedelta(days=1), "keeps everything of the last 12 hours, but the schedule runs"),
        ({"keep_last": 9, "keep_daily": 7}, timedelta(days=1), None),
        ({"keep_hourly": 24}, timedelta(hours=1), None),
        ({}, timedelta(days=30), None),
    ],
)  # fmt: skip
def test_what_no_schedule_can_satisfy_is_pointed_out(given: dict[str, Any], gap: timedelta, said: str | None) -> None:
    found = retention.unsatisfiable(given, gap)

    assert found is None if said is None else str(found).startswith(said)


def test_nights_without_runs_do_not_make_hourly_snapshots_impossible() -> None:
    by_day = [Timing(cron="0 8-18 * * 1-5")]
    once = [Timing(cron="15 3 * * *")]

    assert retention.unsatisfiable_by({"keep_hourly": 24}, by_day, now=NOW, zone=BERLIN) is None
    assert retention.unsatisfiable_by({"keep_hourly": 24}, once, now=NOW, zone=BERLIN) is not None
    assert retention.unsatisfiable_by({"keep_hourly": 24}, [], now=NOW, zone=BERLIN) is None


def test_days_are_counted_by_the_clock_that_recorded_them() -> None:
    late_evening = Taken("evening", datetime(2026, 6, 1, 22, 30, tzinfo=timezone.utc), 120)
    morning = Taken("morning", datetime(2026, 6, 2, 6, 0, tzinfo=timezone.utc), 120)
    before = Taken("before", datetime(2026, 6, 1, 6, 0, tzinfo=timezone.utc), 120)
    oldest = Taken("oldest", datetime(2026, 5, 31, 6, 0, tzinfo=timezone.utc), 120)

    answer = retention.apply(Policy.of({"keep_daily": 2}), [late_evening, morning, before, oldest], now=NOW)

    assert [kept.id for kept in answer.kept] == ["morning", "before"]
    assert answer.removed == ("evening", "oldest")


def test_within_counts_from_the_newest_snapshot_not_from_today() -> None:
    taken = [Taken(str(day), NOW - timedelta(days=400 + day), 0) for day in range(10)]

    answer = retention.apply(Policy.of({"keep_within": "3d"}), taken, now=NOW)

    assert [kept.id for kept in answer.kept] == ["0", "1", "2"]
    assert answer.kept[0].reasons == ("within 3d",)


# ---- against restic itself ----


@dataclass
class Store:
    """A repository whose snapshots were written straight into it, and the restic that judges them."""

    program: str
    version: tuple[int, int]
    environment: dict[str, str]
    taken: dict[str, list[Taken]]

    def judged(self, given: dict[str, Any]) -> dict[str, tuple[dict[str, set[str]], set[str]]]:
        """For each host what restic keeps, with its reasons, and what it would remove."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in retention.normal(given).items()]
        done = subprocess.run(
            [self.program, "forget", "--dry-run", "--json", "--group-by", "host", *options],
            env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = {}
        for group in json.loads(done.stdout):
            reasons = [set(reason["matches"]) for reason in group["reasons"]]
            kept = {one["id"]: why for one, why in zip(group["keep"], reasons, strict=True)}
            found[group["host"]] = (kept, {one["id"] for one in group["remove"] or []})
        return found


@pytest.fixture(scope="module", params=["installed", "newer"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    program = tools.program(request.param)
    base = tmp_path_factory.mktemp("retention")
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(base), "TZ": "Europe/Berlin", "RESTIC_PASSWORD": PASSWORD,
        "RESTIC_REPOSITORY": str(base / "repository"), "RESTIC_CACHE_DIR": str(base / "cache"),
    }  # fmt: skip
    subprocess.run([program, "init"], env=environment, check=True, capture_output=True)
    quick_key.cheapen(base / "repository", PASSWORD)
    chance = random.Random(f"snapshots for {request.param}")
    taken = {f"host{number}": write(base / "repository", f"host{number}", times(chance)) for number in range(SETS)}
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    major, minor = said.split()[1].split(".")[:2]
    return Store(program, (int(major), int(minor)), environment, taken)


def times(chance: random.Random) -> list[datetime]:
    """When a host may have backed up: every day, hour or now and then, in one zone or several, over changed clocks."""
    step = chance.choice([timedelta(hours=1), timedelta(hours=5), timedelta(days=1), timedelta(days=6)])
    zones = chance.choice([[BERLIN], [BERLIN, timezone.utc], [ZoneInfo("Pacific/Auckland"), ZoneInfo("Asia/Kolkata")]])
    end = datetime(2026, chance.choice([1, 3, 4, 10, 11]), chance.randint(1, 28), 23, 59, 7, tzinfo=timezone.utc)
    found = set()
    at = end if chance.random() < 0.8 else datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=3)
    for _ in range(chance.choice([1, 5, 60, 60])):
        found.add(at.astimezone(chance.choice(zones)))
        at -= step * chance.choice([1, 1, 1, 1, 2, 9]) + timedelta(seconds=chance.choice([0, 0, 1, 1799]))
    return sorted(found)


def write(repository: Path, host: str, times: list[datetime]) -> list[Taken]:
    """Snapshots as restic writes them, but without a run of restic for each."""
    [path] = (repository / "keys").iterdir()
    key = json.loads(path.read_bytes())
    master = json.loads(quick_key._open(quick_key._derive(key, PASSWORD), b64decode(key["data"])))
    secret = b"".join(b64decode(part) for part in (master["encrypt"], master["mac"]["k"], master["mac"]["r"]))
    written = []
    for at in times:
        body = {"time": at.isoformat(), "tree": "ab" * 32, "paths": ["/etc"], "hostname": host, "username": "root"}
        data = quick_key._seal(secret, json.dumps(body).encode())
        name = hashlib.sha256(data).hexdigest()
        (repository / "snapshots" / name).write_bytes(data)
        offset = at.utcoffset() or timedelta(0)
        written.append(Taken(name, at.astimezone(timezone.utc), int(offset.total_seconds() // 60)))
    return written


def policies() -> list[dict[str, Any]]:
    chance = random.Random("policies")
    found: list[dict[str, Any]] = [{name: 1} for name in retention.COUNTS]
    found += [{name: "3m1d"} for name in retention.PERIODS]
    while len(found) < POLICIES:
        given: dict[str, Any] = {
            name: chance.choice([1, 2, 5, 24, 400])
            for name in chance.sample(retention.COUNTS, chance.choice([0, 1, 1, 2, 4]))
        }
        given |= {
            name: chance.choice(["1h", "30h", "1d", "30d", "1m", "7m15d", "1y", "2y3m4d5h"])
            for name in chance.sample(retention.PERIODS, chance.choice([0, 0, 1, 2]))
        }
        if given:
            found.append(given)
    return found


@pytest.mark.restic
def test_restic_keeps_and_removes_exactly_what_we_say(store: Store) -> None:
    for given in policies():
        judged = store.judged(given)

        now = datetime.now(timezone.utc)
        for host, taken in store.taken.items():
            answer = retention.apply(Policy.of(given), taken, now=now, zone=BERLIN, restic=store.version)
            kept, removed = judged[host]
            assert {one.id: set(one.reasons) for one in answer.kept} == kept, (given, host)
            assert set(answer.removed) == removed, (given, host)
