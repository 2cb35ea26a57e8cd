"""`rm-agent-guard check`: which agent starts, decided by the files alone, under each shell that is here."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.guarded import ATTEMPT, EARLIER, FROM, GUARD, LATER, SHELLS, TO, Guarded
from tests.stopwatch import Stopwatch


@pytest.fixture(params=SHELLS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Guarded:
    return Guarded(tmp_path / "a host", request.param).make()


@pytest.fixture
def trial(host: Guarded) -> Guarded:
    """A host on which the update has just been swapped in."""
    host.arm()
    host.swap()
    return host


def test_without_a_trial_nothing_is_touched(host: Guarded) -> None:
    (host.update / "bad").mkdir()
    host.tell(f"bad/{TO}")

    assert host.check() == ""

    assert (host.program.read_bytes(), host.left()) == (EARLIER, {f"bad/{TO}"})


def test_on_a_host_that_never_updated_it_leaves_nothing_and_does_not_fail(tmp_path: Path) -> None:
    host = Guarded(tmp_path, SHELLS[0])

    assert host.check() == ""

    assert list(tmp_path.iterdir()) == []


def test_power_lost_before_the_rename_ends_the_trial_and_the_earlier_agent_starts(host: Guarded) -> None:
    host.arm()
    host.old.hardlink_to(host.program)

    host.check()

    assert (host.program.read_bytes(), host.left()) == (EARLIER, set())


def test_power_lost_between_the_rename_and_the_first_start_lets_the_update_start(trial: Guarded) -> None:
    trial.check()

    assert (trial.program.read_bytes(), trial.boots(), trial.left()) == (LATER, "1", {"trial"})


def test_three_starts_are_counted_and_the_fourth_is_the_earlier_agents(trial: Guarded) -> None:
    counted = []
    for _ in range(3):
        trial.check()
        counted.append((trial.program.read_bytes(), trial.boots()))

    trial.check()

    assert counted == [(LATER, "1"), (LATER, "2"), (LATER, "3")]
    assert trial.program.read_bytes() == EARLIER
    assert os.access(trial.program, os.X_OK)
    assert trial.facts("reverted") == trial.reverted("boots", bad=1)
    assert trial.left() == {"reverted", f"bad/{TO}"}
    assert trial.old.read_bytes() == EARLIER


def test_after_a_revert_it_never_flips_again(trial: Guarded) -> None:
    trial.tell("ask_revert", "release\n")

    for _ in range(6):
        trial.check()

    assert trial.program.read_bytes() == EARLIER
    assert trial.facts("reverted") == trial.reverted("asked", bad=1)


def test_starts_go_on_being_counted_after_the_hello(trial: Guarded) -> None:
    trial.tell("hello", "yes")

    for _ in range(4):
        trial.check()

    assert (trial.program.read_bytes(), trial.facts("reverted")["reason"]) == (EARLIER, "boots")


def test_the_start_after_an_ordered_stop_is_not_counted(trial: Guarded) -> None:
    for _ in range(3):
        trial.check()

    trial.tell("stop_ordered", "yes")
    trial.check()

    assert (trial.program.read_bytes(), trial.boots(), trial.left()) == (LATER, "3", {"trial"})
    trial.check()
    assert trial.program.read_bytes() == EARLIER


@pytest.mark.parametrize(
    ("asked", "reason", "bad"),
    [("release", "asked", 1), ("health\n", "asked", 1), ("credential", "credential", 0), ("", "asked", 0)],
)
def test_an_agent_that_asks_for_it_is_reverted(trial: Guarded, asked: str, reason: str, bad: int) -> None:
    trial.check()
    trial.tell("ask_revert", asked)
    trial.tell("stop_ordered", "yes")

    said = trial.check()

    assert (trial.program.read_bytes(), ATTEMPT in said) == (EARLIER, True)
    assert trial.facts("reverted") == trial.reverted(reason, bad=bad)
    assert trial.left() == {"reverted"} | ({f"bad/{TO}"} if bad else set())


@pytest.mark.parametrize("word", [ATTEMPT, ""])
def test_a_trial_that_has_expired_is_reverted(trial: Guarded, word: str) -> None:
    trial.tell("expired", word)

    trial.check()

    assert trial.program.read_bytes() == EARLIER
    assert trial.facts("reverted") == trial.reverted("expired", bad=1)
    assert (trial.update / "bad" / TO).read_bytes() == b""


def test_a_trial_without_a_server_is_reverted_and_the_release_is_not_charged(trial: Guarded) -> None:
    trial.tell("expired", ATTEMPT)
    trial.tell("limit_s", "900")

    trial.check()

    assert trial.program.read_bytes() == EARLIER
    assert trial.facts("reverted") == trial.reverted("unreachable", bad=0)
    assert trial.left() == {"reverted"}


def test_the_expiry_of_another_attempt_ends_no_trial(trial: Guarded) -> None:
    trial.tell("expired", "01JD00000000000000000000ZZ")

    trial.check()

    assert (trial.program.read_bytes(), trial.boots()) == (LATER, "1")


def test_a_commit_that_was_cut_off_is_finished(trial: Guarded) -> None:
    trial.check()
    for name in ("hello", "ticks", "limit_s", "stop_ordered"):
        trial.tell(name, "1")
    trial.tell("committed", f"{TO}\n")

    trial.check()

    assert (trial.program.read_bytes(), trial.left()) == (LATER, set())


def test_what_an_earlier_attempt_committed_does_not_commit_this_one(trial: Guarded) -> None:
    trial.tell("committed", FROM)

    trial.check()

    assert (trial.program.read_bytes(), trial.boots()) == (LATER, "1")


def test_a_counter_that_cannot_be_written_reverts_and_the_release_is_not_charged(trial: Guarded) -> None:
    (trial.update / ".check.new").mkdir()

    trial.check()

    assert (trial.program.read_bytes(), trial.left()) == (EARLIER, set())


def test_a_stop_that_cannot_be_forgotten_reverts(trial: Guarded) -> None:
    (trial.update / "stop_ordered").mkdir()

    trial.check()

    assert (trial.program.read_bytes(), trial.facts("reverted")) == (EARLIER, trial.reverted("counter", bad=0))


def test_a_full_disk_reverts(host: Guarded) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a disk of its own")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(host.update)], check=True)
    try:
        host.arm()
        host.swap()
        fill(host.update / "other data")

        host.check()

        assert (host.program.read_bytes(), "trial" in host.left()) == (EARLIER, False)
    finally:
        subprocess.run(["umount", str(host.update)], check=True)


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize("damage", [b"torn", None], ids=["torn", "missing"])
def test_a_live_file_that_is_neither_is_replaced_and_the_release_is_not_charged(
    trial: Guarded, damage: bytes | None
) -> None:
    trial.program.unlink()
    if damage is not None:
        trial.program.write_bytes(damage)

    trial.check()

    assert trial.program.read_bytes() == EARLIER
    assert os.access(trial.program, os.X_OK)
    assert trial.facts("reverted") == trial.reverted("damaged", bad=0)
    assert trial.left() == {"reverted"}


def test_a_trial_that_can_be_read_again_goes_on_where_it_was(trial: Guarded) -> None:
    armed = (trial.update / "trial").read_text()
    trial.tell("trial", "\0garbage")

    trial.check()

    assert (trial.program.read_bytes(), trial.left()) == (LATER, {"trial", "unreadable"})
    trial.tell("trial", armed)
    for _ in range(4):
        trial.check()
    assert trial.program.read_bytes() == EARLIER
    assert trial.facts("reverted") == trial.reverted("boots", bad=1)
    assert trial.left() == {"reverted", f"bad/{TO}"}


@pytest.mark.parametrize("text", ["\0garbage", "", "attempt=X\nfrom=\nto=\n"])
def test_a_trial_that_can_never_be_read_ends_with_the_earlier_agent(trial: Guarded, text: str) -> None:
    trial.tell("trial", text)
    started = []
    for _ in range(3):
        trial.check()
        started.append(trial.program.read_bytes())

    trial.check()

    assert started == [LATER] * 3
    assert trial.program.read_bytes() == EARLIER
    assert {name: trial.facts("reverted")[name] for name in ("attempt", "reason", "bad")} == {
        "attempt": "unreadable", "reason": "unreadable", "bad": "0",
    }  # fmt: skip
    assert trial.left() == {"reverted"}


@pytest.mark.parametrize("name", ["expired", "ask_revert"])
def test_a_trial_that_cannot_be_read_is_reverted_at_once_where_that_was_asked_for(trial: Guarded, name: str) -> None:
    trial.tell("trial", "\0garbage")
    trial.tell(name, "release")

    trial.check()

    assert (trial.program.read_bytes(), trial.left()) == (EARLIER, {"reverted"})


def test_a_trial_that_cannot_be_read_and_whose_count_cannot_be_kept_is_reverted(trial: Guarded) -> None:
    trial.tell("trial", "\0garbage")
    (trial.update / ".check.new").mkdir()

    trial.check()

    assert trial.program.read_bytes() == EARLIER


def test_a_commit_counts_although_the_trial_cannot_be_read(trial: Guarded) -> None:
    trial.tell("trial", "\0garbage")
    trial.tell("committed", f"{TO}\n")

    trial.check()

    assert (trial.program.read_bytes(), trial.left()) == (LATER, set())


@pytest.mark.parametrize(("old", "reason"), [(None, "no_old"), (b"another", "old_wrong_hash")])
def test_without_an_earlier_agent_to_put_back_it_says_so_and_the_update_starts(
    trial: Guarded, old: bytes | None, reason: str
) -> None:
    trial.old.unlink()
    if old is not None:
        trial.old.write_bytes(old)
    trial.tell("ask_revert", "health")

    trial.check()

    assert trial.program.read_bytes() == LATER
    assert trial.facts("revert_failed") == {"attempt": ATTEMPT, "from": FROM, "to": TO, "reason": reason}
    assert trial.left() == {"revert_failed", f"bad/{TO}"}


def test_a_rename_that_fails_says_so_and_is_tried_again_at_the_next_start(trial: Guarded) -> None:
    blocked = trial.program.with_name("rm-agent.back")
    blocked.mkdir()
    (blocked / "x").touch()
    trial.tell("ask_revert", "release")

    trial.check()

    assert (trial.program.read_bytes(), trial.facts("revert_failed")["reason"]) == (LATER, "rename")
    shutil.rmtree(blocked)
    trial.check()
    assert (trial.program.read_bytes(), trial.facts("reverted")) == (EARLIER, trial.reverted("asked", bad=1))
    assert trial.left() == {"reverted", f"bad/{TO}"}


def test_an_earlier_agent_that_cannot_be_read_now_is_put_back_at_the_next_start(
    trial: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = os.environ["PATH"]
    place = trial.root / "path"
    place.mkdir()
    (place / "sha256sum").write_text("#!/bin/sh\nexit 1\n")
    (place / "sha256sum").chmod(0o755)
    trial.tell("ask_revert", "release")
    monkeypatch.setenv("PATH", f"{place}:{usual}")

    trial.check()

    assert (trial.program.read_bytes(), trial.facts("revert_failed")["reason"]) == (LATER, "old_unreadable")
    monkeypatch.setenv("PATH", usual)
    trial.check()
    assert (trial.program.read_bytes(), "trial" in trial.left()) == (EARLIER, False)


def test_power_lost_after_the_program_was_put_back_keeps_the_reason(trial: Guarded) -> None:
    facts = trial.reverted("expired", bad=1)
    trial.tell("reverting", "".join(f"{name}={value}\n" for name, value in facts.items()))
    trial.program.write_bytes(EARLIER)

    trial.check()

    assert (trial.facts("reverted"), trial.left()) == (facts, {"reverted"})


def test_power_lost_before_the_program_was_put_back_reverts_again(trial: Guarded) -> None:
    trial.tell("ask_revert", "credential")
    trial.tell("reverting", "attempt=")

    trial.check()

    assert trial.program.read_bytes() == EARLIER
    assert (trial.facts("reverted"), trial.left()) == (trial.reverted("credential", bad=0), {"reverted"})


def test_a_revert_that_was_given_up_leaves_no_word_behind(trial: Guarded) -> None:
    trial.tell("reverting", "attempt=")

    trial.check()

    assert (trial.program.read_bytes(), trial.left()) == (LATER, {"trial"})


def test_the_program_can_be_put_back_where_links_are_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ln").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "ln").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    trial = Guarded(tmp_path / "a host", SHELLS[0]).make()
    trial.arm()
    trial.swap()
    trial.tell("ask_revert", "release")

    trial.check()

    assert trial.program.read_bytes() == EARLIER
    assert trial.program.stat().st_ino != trial.old.stat().st_ino
    assert os.access(trial.program, os.X_OK)


def test_lines_of_the_trial_that_it_does_not_know_are_kept(trial: Guarded) -> None:
    with open(trial.update / "trial", "a") as file:
        file.write("armed_by=a later agent = here\n")

    trial.check()

    assert (trial.facts("trial")["armed_by"], trial.boots()) == ("a later agent = here", "1")


def test_counting_a_start_takes_little_time(trial: Guarded) -> None:
    stopwatch = Stopwatch()

    for _ in range(3):
        trial.check()

    milliseconds = stopwatch.seconds / 3 * 1000
    sys.stdout.write(f"a counted start under {trial.shell}: {milliseconds:.0f} ms\n")
    assert milliseconds < 2000


def test_the_guard_needs_nothing_but_a_shell_and_coreutils() -> None:
    text = GUARD.read_text()

    assert text.startswith("#!/bin/sh\n")
    for foreign in ("python", "json", "curl", "jq ", "awk", "[[", "local "):
        assert foreign not in text.replace("rm-agent", ""), foreign


def test_each_step_of_a_revert_is_on_the_disk_before_the_next(trial: Guarded, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    trial.tell("ask_revert", "release")
    calls = "trace=rename,renameat,renameat2,fsync,unlink,unlinkat"

    trace = ["strace", "-f", "-y", "-qq", "-e", calls, "-o", str(tmp_path / "trace")]
    subprocess.run([*trace, *trial.command("check")], check=True, capture_output=True)

    done = steps((tmp_path / "trace").read_text())
    wanted = [
        "fsync .check.new", f"rename {TO}", "fsync bad",
        "fsync .check.new", "rename reverting", "fsync update",
        "rename rm-agent", "fsync bin",
        "rename reverted", "fsync update",
        "unlink trial", "fsync update",
    ]  # fmt: skip
    rest = iter(done)
    assert all(step in rest for step in wanted), done


def steps(trace: str) -> list[str]:
    """What was done to the files, in order, each as a word and a name."""
    found = []
    for line in trace.splitlines():
        call = re.match(r"\d+ +(fsync|rename|unlink)\w*\((.*)\) += 0", line)
        if call:
            names = re.findall(r'"([^"]+)"', call[2]) or re.findall(r"<([^>]+)>", call[2])
            found.append(f"{call[1]} {Path(names[-1]).name}")
    return found
