"""A release on trial, on a clock of its own: when it commits, when it asks to be put back, what it tells the guard."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.http import Answer, Refused
from agent.link import Ending, judge_close, judge_refusal
from agent.session import CredentialRenewed, SessionEnded
from agent.update.journal import Attempt
from agent.update.records import GuardFiles, Trial
from agent.update.timers import Timers
from agent.update.trial import OnTrial
from agent.watchdog import LOOK_SECONDS

ATTEMPT = "01JD00000000000000000000AA"
TO = "b" * 64
CUT_OFF = Ending("lost", "The name cannot be resolved.")


@dataclass
class Bench:
    """What a trial sees and does."""

    directory: Path
    now: float = 1000.0
    red: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    was_red: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = GuardFiles(self.directory)
        self.files.arm(Trial(ATTEMPT, "a" * 64, TO, 60, 600))
        self.trial = self.make()

    def make(self) -> OnTrial:
        return OnTrial(
            trial=Trial(ATTEMPT, "a" * 64, TO, 60, 600),
            attempt=Attempt(attempt_id=ATTEMPT, was_red=self.was_red),
            timers=Timers(),
            files=self.files,
            red=lambda: self.red,
            commit=lambda: self.done.append("commit"),
            give_up=lambda code, text: self.done.append(code),
            monotonic=lambda: self.now,
        )

    def told(self, name: str) -> str | None:
        path = self.directory / name
        return path.read_text().strip() if path.exists() else None

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.trial.look()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.trial.stop_was_ordered()


def test_a_release_that_is_well_for_the_soak_commits(bench: Bench) -> None:
    bench.trial.welcomed()
    assert bench.told("hello") == ""
    bench.trial.heard()

    bench.after(59)
    assert bench.done == []
    bench.after(1)

    assert (bench.done, bench.told("committed")) == (["commit"], TO)


def test_without_a_heartbeat_that_came_back_nothing_is_committed(bench: Bench) -> None:
    bench.trial.welcomed()

    bench.after(600)

    assert bench.done == []


def test_a_connection_that_broke_must_stand_again_before_the_commit(bench: Bench) -> None:
    bench.trial.welcomed()
    bench.trial.heard()
    bench.trial.ended(CUT_OFF)
    bench.after(61)
    assert bench.done == []

    bench.trial.welcomed()
    bench.trial.heard()
    bench.after(0)

    assert bench.done == ["commit"]


def test_a_new_fault_that_lasts_asks_for_the_earlier_release(bench: Bench) -> None:
    bench.trial.welcomed()
    bench.red = ["restic"]

    bench.after(1)
    bench.after(19)
    assert bench.done == []
    bench.after(1)

    assert (bench.done, bench.told("ask_revert")) == (["unhealthy_restic"], "health")


def test_a_fault_that_passes_is_none(bench: Bench) -> None:
    bench.trial.welcomed()
    bench.trial.heard()
    bench.red = ["restic"]
    bench.after(19)
    bench.red = []
    bench.after(10)
    bench.red = ["restic"]
    bench.after(10)
    bench.red = []

    bench.after(60)

    assert bench.done == ["commit"]


def test_what_was_wrong_before_is_not_charged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, was_red=["restic"], red=["restic"])
    bench.trial.welcomed()
    bench.trial.heard()

    bench.after(60)

    assert bench.done == ["commit"]


REFUSED = {
    "close 4426": (judge_close(SessionEnded("x", code=4426)), "release"),
    "hello_invalid": (judge_close(SessionEnded("x", error_code="hello_invalid")), "release"),
    "protocol_too_old by HTTP":
        (judge_refusal(Refused(Answer(400, {}, {"error": {"code": "protocol_too_old"}}))), "release"),
    "close 4403": (judge_close(SessionEnded("x", code=4403)), "credential"),
    "our 401": (judge_refusal(Refused(Answer(401, {}, {"error": {"code": "credential_refused"}}))), "credential"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_a_release_that_is_refused_asks_for_the_earlier_one_at_once(bench: Bench, how: str) -> None:
    ending, word = REFUSED[how]

    bench.trial.ended(ending)

    assert (bench.done, bench.told("ask_revert"), bench.told("limit_s")) == ([word], word, None)


CUT = {
    "no connection": CUT_OFF,
    **{f"close {code}": judge_close(SessionEnded("x", code=code)) for code in (0, 1000, 1011, 1012, 1013, 4400, 4409)},
    **{
        f"HTTP {status}": judge_refusal(Refused(Answer(status, {}, {})))
        for status in (302, 401, 403, 404, 426, 502, 503)
    },
}


@pytest.mark.parametrize("how", CUT)
def test_a_release_that_is_merely_cut_off_gets_more_time_once(bench: Bench, how: str) -> None:
    bench.trial.ended(CUT[how])

    assert (bench.done, bench.told("ask_revert"), bench.told("limit_s")) == ([], None, "900")
    (bench.directory / "limit_s").write_text("901\n")
    bench.trial.ended(CUT[how])
    assert bench.told("limit_s") == "901"


def test_a_connection_that_the_agent_itself_renews_is_not_cut_off(bench: Bench) -> None:
    bench.trial.ended(judge_close(CredentialRenewed("new")))

    assert bench.told("limit_s") is None


def test_an_ordered_stop_is_told_and_one_after_the_commit_is_not(bench: Bench) -> None:
    bench.trial.stop_was_ordered()
    assert bench.told("stop_ordered") == ""

    (bench.directory / "stop_ordered").unlink()
    bench.trial.welcomed()
    bench.trial.heard()
    bench.after(60)
    bench.trial.stop_was_ordered()

    assert bench.told("stop_ordered") is None


def test_the_hosts_deadline_comes_before_the_servers() -> None:
    usual = Timers()

    # The server's 90 and 95 seconds begin at the same moment; see updates.md.
    assert LOOK_SECONDS <= 30 < usual.revert_seconds < 75 < 90 < 95
    assert usual.revert_seconds < usual.commit_seconds == 600
    assert usual.soak_seconds + usual.revert_seconds < usual.commit_seconds


@pytest.mark.parametrize(
    ("raw", "revert"),
    [({}, 60), ({"revert_seconds": 10}, 10), ({"revert_seconds": 9.2}, 10), ({"revert_seconds": "x"}, 60),
     ({"revert_seconds": True}, 60), ({"revert_seconds": -5}, 1), ({"revert_seconds": 10**9}, 3600),
     ({"revert_seconds": float("nan")}, 60)],
)  # fmt: skip
def test_timers_of_an_order_are_whole_and_bounded(raw: dict[str, object], revert: int) -> None:
    assert Timers.of(raw).revert_seconds == revert


def test_a_long_soak_has_the_time_it_needs() -> None:
    timers = Timers.of({"soak_seconds": 3600})

    assert timers.commit_seconds > 3600
