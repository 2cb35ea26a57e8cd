"""How restic is called and understood, without running it."""

import dataclasses
import json
import signal

import pytest

from agent import restic, restic_ends, restic_output, snapshots
from agent.redact import Redactor, location_secrets
from rm.shared import protocol
from rm.shared.protocol import CommandRun, RepositoryConfig, Snapshot

ORDER = CommandRun(
    job_id="01ARZ3NDEKTSV4RRFFQ69G5FAV",
    kind="backup",
    source_group="a,b",
    includes=["/x", "-y\nz"],
    excludes=["*.tmp", "#odd", " $HOME "],
)


def repository(location: str, username: str = "u s", secret: str = "p/w@") -> RepositoryConfig:
    return RepositoryConfig(id="r", location=location, password="pw", username=username, secret=secret)


def test_a_backup_names_its_files_in_files_and_never_on_the_command_line() -> None:
    step = restic.step(ORDER, directory="/jobs/1", hostname="web1")

    assert step.arguments == [
        "backup", "--json", "--tag", "a_b", "--host", "web1", "--files-from-raw", "/jobs/1/includes",
        "--exclude-file", "/jobs/1/excludes",
    ]  # fmt: skip
    assert step.files["includes"] == b"/x\0-y\nz\0"
    assert step.files["excludes"] == b"*.tmp\n[#]odd\n?$$HOME?\n"


@pytest.mark.parametrize(
    ("location", "shown", "variables"),
    [
        ("rest:https://h:8000/p", "rest:https://u%20s:p%2Fw%40@h:8000/p", {}),
        ("rest:https://old:one@h/p", "rest:https://u%20s:p%2Fw%40@h/p", {}),
        ("s3:https://h/b", "s3:https://h/b", {"AWS_ACCESS_KEY_ID": "u s", "AWS_SECRET_ACCESS_KEY": "p/w@"}),
        ("b2:b:p", "b2:b:p", {"B2_ACCOUNT_ID": "u s", "B2_ACCOUNT_KEY": "p/w@"}),
        ("azure:c:/", "azure:c:/", {"AZURE_ACCOUNT_NAME": "u s", "AZURE_ACCOUNT_KEY": "p/w@"}),
        ("/srv/r", "/srv/r", {}),
    ],
)
def test_user_and_secret_reach_each_backend_through_the_environment(
    location: str, shown: str, variables: dict[str, str]
) -> None:
    assert restic.backend(repository(location)) == (shown, variables)


def test_a_location_without_user_and_secret_stays_as_it_is() -> None:
    assert restic.backend(repository("rest:https://a:b@h/", "", "")) == ("rest:https://a:b@h/", {})
    assert location_secrets("rest:https://a:b%40c@h/") == ["b%40c", "b@c"]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("restic 0.14.0 compiled with go1.19", (0, 14, 0)),
        ("restic 0.18.1-dev", (0, 18, 1)),
        ("rustic 1", None),
        ("", None),
    ],
)
def test_versions_are_read_from_what_restic_prints(text: str, version: tuple[int, ...] | None) -> None:
    assert restic.parse_version(text) == version


@pytest.mark.parametrize(
    ("kind", "said", "reason"),
    [
        (
            "init",
            "Fatal: create repository at /srv/b failed: mkdir /srv/b: read-only file system",
            "not_writable",
        ),
        (
            "init",
            "Fatal: create repository at /srv/b failed: mkdir /srv/b: permission denied",
            "not_writable",
        ),
        (
            "backup",
            "Fatal: unable to create lock in backend: open /srv/b/locks/1: read-only file system",
            "not_writable",
        ),
        ("backup", "Fatal: unable to create lock in backend: repository is already locked", "locked"),
        ("backup", "Fatal: lstat /root/x: permission denied", "restic_failed"),
    ],
)
def test_a_directory_that_the_unit_does_not_let_the_agent_write_is_told_with_what_helps(kind, said, reason) -> None:
    found = restic_ends.meaning(1, error_text=said, kind=kind)

    assert found.reason == reason
    assert ("--writable" in found.message) == (reason == "not_writable")


def test_exit_codes_of_new_restic_and_texts_of_old_restic_mean_the_same() -> None:
    assert restic_ends.meaning(12, error_text="").reason == "wrong_password"
    assert restic_ends.meaning(1, error_text="Fatal: wrong password or no key found").reason == "wrong_password"
    assert (
        restic_ends.meaning(1, error_text="unable to open config file: dial tcp: connection refused").reason
        == "unreachable"
    )
    assert (
        restic_ends.meaning(1, error_text="Is there a repository at the following location?").reason == "no_repository"
    )
    assert (
        restic_ends.meaning(128 + signal.SIGKILL, error_text="wrong password or no key found").reason == "restic_killed"
    )
    assert restic_ends.meaning(0, error_text="wrong password or no key found").outcome == "succeeded"


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"message_type": 3}', "{" * 5000, '{"a":1}', ""])
def test_a_line_that_is_no_message_is_none(text: str) -> None:
    assert restic_output.parse_line(text) is None


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[1]", '[{"id": "x"}]', '[{"id": "x", "time": "yesterday"}]'])
def test_what_is_no_list_of_snapshots_is_none(text: str) -> None:
    assert restic_output.parse_snapshots(text) is None


def test_snapshots_of_old_and_new_restic_are_read() -> None:
    old = {"id": "a", "time": "2026-11-23T10:33:38.442804378+01:00", "paths": ["/x"], "hostname": "h", "tags": None}
    new = old | {"time": "2026-11-23T10:33:38Z", "summary": {"data_added": 5, "total_bytes_processed": 7}}

    found = restic_output.parse_snapshots(json.dumps([old, new]))

    assert found is not None
    assert (found[0].time, found[0].data_added, found[0].tags) == ("2026-11-23T09:33:38.442804Z", None, [])
    assert (found[1].data_added, found[1].total_bytes, found[1].total_files) == (5, 7, None)
    assert [one.utc_offset_minutes for one in found] == [60, 0]
    assert restic_output.utc_offset("2026-11-23T01:33:38-09:30") == -570
    assert restic_output.parse_snapshots("null") == []


def test_a_long_list_is_cut_into_parts_that_fit_into_frames() -> None:
    one = Snapshot(id="a", time="2026-01-01T00:00:00.000000Z", paths=["/é" * 2000] * 64)
    items = [dataclasses.replace(one, id=f"{n}", paths=one.paths if n < 5 else ["/"]) for n in range(450)]

    parts = snapshots.reports(repository_id="r", snapshots=items)

    assert [s.id for part in parts for s in part.items] == [f"{n}" for n in range(450)]
    assert [part.part for part in parts] == list(range(len(parts)))
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert {part.total for part in parts} == {450}
    assert all(len(protocol.encode(part)) <= protocol.MAX_FRAME_BYTES for part in parts)
    assert all(len(part.items) <= 200 for part in parts)
    assert snapshots.reports(repository_id="r", snapshots=[])[0].is_last


def test_secrets_are_hidden_in_every_form_and_short_ones_do_not_blot_out_the_text() -> None:
    redactor = Redactor(['p@s"s/w', "p@s", "a", ""])

    shown = redactor.text('x p@s"s/w p%40s%22s%2Fw p%40s%22s/w p@s\\"s/w banana')

    assert shown == "x *** *** *** *** banana"
