"""The set on the disk: whole or not at all, its shell texts apart, damage told and never written over in silence."""

import dataclasses
import json
import stat
from datetime import datetime, timezone
from pathlib import Path

import pytest

from agent import durable
from agent.schedules.record import Entry, Record, RecordFile, Run
from agent.schedules.stored import SetRefused, StoredSchedules
from rm.shared.protocol import RunsSkipped, ScheduleSet, ScheduleSpec, SourceGroupSpec

AT = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)


def a_set(version: int = 4, shell: str = "mysqldump --password=hunter2") -> ScheduleSet:
    return ScheduleSet(
        version=version,
        groups=[
            SourceGroupSpec(name="home", includes=["/home"], pre_shell=shell, hook_seconds=7),
            SourceGroupSpec(name="mail", post_hook="start-mail"),
        ],
        schedules=[ScheduleSpec(id="s", cron="15 3 * * *", jitter_seconds=60, source_groups=["home", "mail"])],
    )


def test_a_set_comes_back_without_its_shell_texts_which_are_in_a_file_of_their_own(tmp_path: Path) -> None:
    StoredSchedules(tmp_path).save(a_set(), at=AT)

    found = StoredSchedules(tmp_path)
    stored = found.load()
    assert stored and stored.applied_at == AT and found.version == 4 and found.problem == ""
    bare = [dataclasses.replace(group, pre_shell="", post_shell="") for group in a_set().groups]
    assert stored.wanted == dataclasses.replace(a_set(), groups=bare)
    assert found.shell_of("home") == ("mysqldump --password=hunter2", "")
    assert found.shell_of("mail") == ("", "")
    assert found.shell_of("unknown") is None
    assert found.group("mail") == a_set().groups[1] and found.group("unknown") is None


def test_both_files_are_the_agents_own_and_only_one_holds_the_secret(tmp_path: Path) -> None:
    StoredSchedules(tmp_path).save(a_set(), at=AT)

    for path in (tmp_path / "schedules.json", tmp_path / "hooks.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "hunter2" not in (tmp_path / "schedules.json").read_text()
    assert "hunter2" in (tmp_path / "hooks.json").read_text()


def test_a_new_set_replaces_the_old_one_with_its_shell_texts(tmp_path: Path) -> None:
    stored = StoredSchedules(tmp_path)
    stored.save(a_set(), at=AT)
    stored.save(a_set(version=5, shell=""), at=AT)

    assert (stored.version, stored.shell_of("home")) == (5, ("", ""))
    assert "hunter2" not in (tmp_path / "hooks.json").read_text()


@pytest.mark.parametrize("file", ["schedules.json", "hooks.json"])
@pytest.mark.parametrize("damage", [b"", b"{", b'{"format": 9}', b"[]", b"\xff\xfe", None])
def test_a_damaged_file_is_a_problem_left_as_it_is_until_the_server_sends_the_set_again(
    tmp_path: Path, file: str, damage: bytes | None
) -> None:
    StoredSchedules(tmp_path).save(a_set(), at=AT)
    if damage is None:
        damage = (tmp_path / file).read_bytes()[:-40]
    (tmp_path / file).write_bytes(damage)
    found = StoredSchedules(tmp_path)

    assert (found.load(), found.version) == (None, 0)
    assert "damaged" in found.problem and "schedules.json" in found.problem
    assert (tmp_path / file).read_bytes() == damage
    found.save(a_set(), at=AT)
    assert (found.version, found.problem) == (4, "")


def test_a_set_whose_shell_texts_are_gone_does_not_run_without_them(tmp_path: Path) -> None:
    StoredSchedules(tmp_path).save(a_set(), at=AT)
    (tmp_path / "hooks.json").unlink()

    assert StoredSchedules(tmp_path).version == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schedules": [ScheduleSpec(id="s", cron="61 * * * *", source_groups=["home"])]}, "61 .* cannot run here"),
        ({"schedules": [ScheduleSpec(id="s", cron="* * * * *", source_groups=["home"])]}, "less than 5 minutes"),
        ({"schedules": [ScheduleSpec(id="s", source_groups=["home"])]}, "one of the two"),
        ({"schedules": [ScheduleSpec(id="s", every_minutes=60)] * 2}, "Two schedules"),
        ({"groups": [SourceGroupSpec(name="home")] * 2}, "no name of its own"),
    ],
)
def test_a_set_that_cannot_run_is_refused_and_the_one_before_stays(
    tmp_path: Path, change: dict[str, list[object]], says: str
) -> None:
    stored = StoredSchedules(tmp_path)
    stored.save(a_set(), at=AT)

    with pytest.raises(SetRefused, match=says):
        stored.save(dataclasses.replace(a_set(version=5), **change), at=AT)  # type: ignore[arg-type]

    assert StoredSchedules(tmp_path).version == 4


@pytest.mark.parametrize("writes", [0, 1])
def test_a_crash_between_the_two_files_leaves_the_set_before_and_its_version(
    tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    StoredSchedules(tmp_path).save(a_set(), at=AT)
    write, left = durable.write, [writes]

    def dying(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        write(path, data, mode=mode)

    monkeypatch.setattr("agent.durable.write", dying)
    with pytest.raises(OSError, match="No space"):
        StoredSchedules(tmp_path).save(a_set(version=5, shell="another"), at=AT)

    found = StoredSchedules(tmp_path)
    assert (found.version, found.problem) == (4, "")
    assert found.shell_of("home")[0] in ("mysqldump --password=hunter2", "another")


def test_the_record_of_runs_comes_back_as_it_was(tmp_path: Path) -> None:
    run = Run(
        schedule_id="s", group="höme", due_at=AT, job_id="j", stage="planned", start_at=AT, since=AT, why_late="late"
    )
    skipped = RunsSkipped(
        source_group="höme",
        schedule_id="s",
        due_from="2026-11-21T02:15:00.000000Z",
        due_to="2026-11-22T02:15:00.000000Z",
        count=2,
        reason="asleep",
    )
    record = Record(
        entries={("s", "höme"): Entry(timing="15 3 * * *", handled=AT, era=1, before=AT)},
        runs={"höme": run},
        untold=(skipped,),
        batch="b",
    )

    RecordFile(tmp_path).save(record)

    assert RecordFile(tmp_path).load() == record


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format": 9}', b'{"format": 1, "entries": [[1]]}', b"[]"])
def test_a_damaged_record_is_set_aside_and_told(tmp_path: Path, damage: bytes) -> None:
    file = RecordFile(tmp_path)
    file.path.write_bytes(damage)

    assert file.load() is None

    assert "damaged" in file.problem
    [aside] = tmp_path.glob("schedule-runs.json.corrupt-*")
    assert aside.read_bytes() == damage and aside.name in file.problem


def test_what_the_files_hold_is_read_again_when_another_process_has_written_them(tmp_path: Path) -> None:
    reader = StoredSchedules(tmp_path)
    assert reader.version == 0

    StoredSchedules(tmp_path).save(a_set(), at=AT)

    assert reader.version == 4
    raw = json.loads((tmp_path / "schedules.json").read_text())
    assert raw["format"] == 1 and raw["with_shell"] == ["home"]
