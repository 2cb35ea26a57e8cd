"""What the ends of check, unlock and prune mean, in the words of old and new restics."""

import pytest

from agent import locks, restic_ends, upkeep
from agent.locks import Lock
from rm.shared import ids
from rm.shared.protocol import CommandRun


def order(kind: str, **parameters: object) -> CommandRun:
    return CommandRun(job_id=ids.new_ulid(), kind=kind, parameters=parameters)


OLD_403 = (
    "Remove(<index/ff3daf2c3f>) returned error, retrying after 552.330144ms: blob not removed, server response: 403"
    " Forbidden (403)\nunable to remove <index/ff3daf2c3f> from the repository\nFatal: blob not removed, server"
    " response: 403 Forbidden (403)"
)
NEW_403 = (
    "Remove(<index/0621c6728f>) failed: unexpected HTTP response (403): 403 Forbidden\n"
    "Fatal: unexpected HTTP response (403): 403 Forbidden"
)


@pytest.mark.parametrize("said", [OLD_403, NEW_403], ids=["restic 0.14", "restic 0.19"])
def test_a_refused_removal_is_append_only_and_says_what_to_do(said: str) -> None:
    meaning = restic_ends.meaning(1, error_text=said, kind="prune")

    assert (meaning.outcome, meaning.reason) == ("failed", "append_only")
    assert "maintenance credential" in meaning.message


def test_a_403_before_anything_was_removed_is_no_append_only() -> None:
    said = "Fatal: unable to open config file: unexpected HTTP response (403): 403 Forbidden"

    assert restic_ends.meaning(1, error_text=said, kind="prune").reason == "unreachable"
    assert restic_ends.meaning(1, error_text=NEW_403, kind="backup").reason == "unreachable"


def test_a_partial_result_is_a_warning_for_a_backup_only() -> None:
    assert restic_ends.meaning(3, error_text="").outcome == "warnings"
    assert restic_ends.meaning(3, error_text="could not remove one", kind="prune").outcome == "failed"


def test_errors_that_a_check_found_are_damage() -> None:
    meaning = restic_ends.meaning(1, error_text="error for tree 1\nFatal: repository contains errors", kind="check")

    assert (meaning.outcome, meaning.reason) == ("failed", "repository_damaged")


def test_a_check_reads_the_part_that_was_ordered_and_nothing_else_is_passed_on() -> None:
    assert upkeep.arguments(order("check")) == ["check"]
    assert upkeep.arguments(order("check", subset="1/10")) == ["check", "--read-data-subset=1/10"]
    with pytest.raises(ValueError, match="not a subset"):
        upkeep.arguments(order("check", subset="1/10 --repair"))


def test_unlock_never_removes_the_locks_of_the_living() -> None:
    assert upkeep.arguments(order("unlock")) == ["unlock"]


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("[0:12] 35.00%  7 / 20 packs", 0.35),
        ("[1:02:03] 0.50%  1 / 200 snapshots", 0.005),
        ("[0:00] 100.00%  4 / 4 packs processed", None),
        ("no errors were found", None),
    ],
)
def test_progress_lines_are_progress_and_not_log(line: str, share: float | None) -> None:
    found = upkeep.progress(line)

    assert (found and found["percent_done"]) == pytest.approx(share)


def test_unlock_says_what_it_removed_and_what_it_left() -> None:
    dead = Lock("a" * 64, "web1", 77, "2026-11-23T10:00:00", is_exclusive=True)
    alive = Lock("b" * 64, "db1", 12, "2026-11-23T11:59:00")

    text, figures = upkeep.describe_unlock([dead, alive], [alive])

    assert text.startswith("Removed 1 stale lock: exclusive lock aaaaaaaa of web1, process 77")
    assert "Still locked: lock bbbbbbbb of db1" in text
    assert figures == {"locks_removed": 1, "locks_left": 1}


def test_unlock_with_nothing_to_do_and_without_a_look_says_so() -> None:
    assert upkeep.describe_unlock([], [])[0] == "There was no lock to remove."
    assert "could not be seen" in upkeep.describe_unlock(None, None)[0]


@pytest.mark.parametrize("text", ["", "[]", '{"pid": "x"}', "{" * 5000, "null"])
def test_a_lock_that_cannot_be_read_keeps_its_id(text: str) -> None:
    assert locks.parse("c" * 64, text) == Lock("c" * 64)


def test_a_prune_tells_what_it_freed() -> None:
    out = "this removes:   0 blobs / 0 B\ntotal prune:    3 blobs / 2.861 MiB\nremaining:  5 blobs / 2.862 MiB"

    assert upkeep.describe_prune(out) == "The repository was pruned: 2.861 MiB freed, 2.862 MiB remain."
    assert upkeep.describe_prune("done") == "The repository was pruned."
