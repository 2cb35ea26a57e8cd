"""How a source group's options reach restic, and what a backup notices about what it found."""

import json
import os
from pathlib import Path

import pytest

from agent import config as configuration
from agent import restic
from agent.usual import Size, Usual
from rm.shared import ids
from rm.shared.protocol import CommandRun, JobFinished, SourceGroupSpec
from tests.agent.conftest import Rig, until
from tests.restserver import tools

pytestmark = pytest.mark.timeout(400)


def order(**group: object) -> CommandRun:
    spec = SourceGroupSpec(name="documents", **group)  # type: ignore[arg-type]
    return CommandRun(
        job_id=ids.new_ulid(), kind="backup", source_group="documents", includes=["/etc"], hostname="web1", group=spec
    )


def arguments(found: CommandRun, version: tuple[int, ...] = (0, 14)) -> list[str]:
    step = restic.step(found, directory="/d", hostname="h")
    return [*step.arguments, *restic.retry_lock(found, version)]


def test_the_options_of_a_group_become_options_of_restic() -> None:
    found = arguments(order(one_file_system=True, exclude_caches=True, tags=["daily", "a,b", "documents", " "]))

    assert found[:2] == ["backup", "--json"]
    assert [found[i + 1] for i, word in enumerate(found) if word == "--tag"] == ["documents", "daily", "a_b"]
    assert {"--one-file-system", "--exclude-caches"} <= set(found)


def test_without_a_group_the_call_is_as_ever() -> None:
    bare = CommandRun(job_id=ids.new_ulid(), kind="backup", source_group="documents", includes=["/etc"])

    assert arguments(bare) == [
        "backup",
        "--json",
        "--tag",
        "documents",
        "--host",
        "h",
        "--files-from-raw",
        "/d/includes",
    ]


@pytest.mark.parametrize(
    ("version", "seconds", "told"),
    [((0, 14, 0), 7200, []), ((0, 16, 0), 7200, ["--retry-lock=60s"]), ((0, 19, 1), 5, ["--retry-lock=5s"]),
     ((0, 19, 1), 0, [])],
)  # fmt: skip
def test_only_a_restic_that_can_is_told_to_wait_for_a_lock_itself(
    version: tuple[int, ...], seconds: int, told: list[str]
) -> None:
    assert restic.retry_lock(order(lock_wait_seconds=seconds), version) == told


@pytest.mark.parametrize(
    ("own", "wanted", "used"),
    [(0, 0, []), (0, 300, ["300"]), (200, 0, ["200"]), (200, 300, ["200"]), (200, 50, ["50"])],
)
def test_the_limits_of_the_hosts_owner_are_never_exceeded(rig: Rig, own: int, wanted: int, used: list[str]) -> None:
    config = rig.paths.config_file
    config.write_text(config.read_text() + f"[limits]\nupload_kib_per_second = {own}\n")
    rig.fake_restic("exit 1")
    agent = rig.start()
    repository = agent.jobs._around.repositories.open("repo-1")

    assert repository.limits(upload=wanted) == [f"--limit-upload={limit}" for limit in used]
    assert configuration.load(rig.paths).limits.upload_kib_per_second == own


# ---- the usual files --------------------------------------------------------------------------------


def judged(usual: Usual, files: list[int], *, is_good: bool = True, **fields: object) -> list[str]:
    return [
        usual.judge(
            CommandRun(job_id=ids.new_ulid(), kind="backup", repository_id="r", source_group="g", **fields),  # type: ignore[arg-type]
            Size(count, count * 1000),
            is_good=is_good,
        )
        for count in files
    ]


def test_fewer_than_half_of_the_usual_files_is_a_warning_with_figures(tmp_path: Path) -> None:
    usual = Usual(tmp_path / "usual.json")

    assert judged(usual, [100, 120, 90, 5000, 110, 55]) == [""] * 6
    [text] = judged(Usual(tmp_path / "usual.json"), [40])

    assert text.startswith("Only 40 files (39.1 KiB) were found where usually 110 (107.4 KiB) are: an empty mount?")


def test_few_files_prove_nothing(tmp_path: Path) -> None:
    assert judged(Usual(tmp_path / "usual.json"), [9, 9, 0]) == ["", "", ""]


def test_a_shrunken_run_never_counts_as_usual_before_it_came_seven_times(tmp_path: Path) -> None:
    texts = judged(Usual(tmp_path / "usual.json"), [100, *[10] * 8])

    assert [bool(text) for text in texts] == [False, *[True] * 7, False]
    assert "from now on it counts as usual" in texts[7]


def test_an_empty_mount_is_never_usual(tmp_path: Path) -> None:
    assert all(judged(Usual(tmp_path / "usual.json"), [100, *[0] * 30])[1:])


def test_changed_includes_begin_anew(tmp_path: Path) -> None:
    usual = Usual(tmp_path / "usual.json")
    judged(usual, [100])

    assert judged(usual, [10], includes=["/srv"]) == [""]


def test_judging_a_run_again_after_a_crash_gives_the_same(tmp_path: Path) -> None:
    usual = Usual(tmp_path / "usual.json")
    judged(usual, [100])
    same = CommandRun(job_id=ids.new_ulid(), kind="backup", repository_id="r", source_group="g")

    texts = [usual.judge(same, Size(3, 5), is_good=True) for _ in range(9)]

    assert len(set(texts)) == 1
    assert "from now on" not in texts[0]


@pytest.mark.parametrize("body", ["", "[]", '{"r g": 3}', '{"r g": {"scope": "x", "runs": "no"}}'])
def test_a_damaged_memory_warns_of_nothing(tmp_path: Path, body: str) -> None:
    (tmp_path / "usual.json").write_text(body)

    assert judged(Usual(tmp_path / "usual.json"), [5]) == [""]


# ---- with real restics ------------------------------------------------------------------------------


@pytest.fixture(params=["installed", "newer"])
def program(request: pytest.FixtureRequest, rig: Rig) -> str:
    found = tools.program(request.param)
    rig.use(found)
    return found


def finished(rig: Rig, found: CommandRun) -> JobFinished:
    if rig.agent is None:
        rig.start()
    rig.server.connected().send(found)
    result: JobFinished = rig.server.wait_for("job.finished", 90, job_id=found.job_id).payload
    return result


@pytest.mark.restic
def test_a_real_restic_takes_all_options(rig: Rig, repository: Path, program: str) -> None:
    cache = rig.base / "source" / "cache"
    cache.mkdir()
    (cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (cache / "heavy").write_text("not to be saved")
    group = SourceGroupSpec(
        name="documents", one_file_system=True, exclude_caches=True, tags=["daily"], upload_kib_per_second=100_000,
        download_kib_per_second=100_000,
    )  # fmt: skip

    result = finished(rig, rig.order(group=group))
    [snapshot] = json.loads(rig.restic("snapshots", "--json").stdout)
    listed = rig.restic("ls", snapshot["id"]).stdout.decode()

    assert result.outcome == "succeeded", result
    assert snapshot["tags"] == ["documents", "daily"]
    assert "CACHEDIR.TAG" in listed
    assert "heavy" not in listed


@pytest.mark.restic
def test_a_mount_that_is_empty_today_is_a_warning(rig: Rig, repository: Path, program: str) -> None:
    files = [rig.base / "source" / f"file{number}" for number in range(20)]
    for path in files:
        path.write_text("something")
    first = finished(rig, rig.order())
    for path in files:
        path.unlink()

    second = finished(rig, rig.order())

    assert (first.outcome, second.outcome, second.reason) == ("succeeded", "warnings", "fewer_files")
    assert "Only 1 file (" in second.message
    assert "usually 21" in second.message
    assert second.summary["snapshot_id"]


@pytest.mark.restic
def test_a_repository_is_measured_once_a_day_after_a_backup(rig: Rig, repository: Path, program: str) -> None:
    (rig.base / "source" / "big").write_bytes(os.urandom(100_000))
    finished(rig, rig.order())
    sizes = until(lambda: [m.payload.total_bytes for m in rig.server.all("repository.stats") if m.payload.total_bytes])
    finished(rig, rig.order())
    finished(rig, rig.order("prune"))
    again = until(lambda: len(_measured(rig)) == 2 and _measured(rig))

    assert 100_000 < sizes[0] < 200_000
    assert len(again) == 2


def _measured(rig: Rig) -> list[int]:
    return [m.payload.total_bytes for m in rig.server.all("repository.stats") if m.payload.total_bytes]


@pytest.mark.restic
def test_a_run_that_no_server_ordered_stops_too_when_another_repository_is_there(
    rig: Rig, repository: Path, empty_repository: Path, program: str
) -> None:
    """The order carries no id, as that of a run which the agent fires itself."""
    first = finished(rig, rig.order())
    other = rig.base / "other"
    environment = rig.environment() | {"RESTIC_REPOSITORY": str(other)}
    assert os.spawnvpe(os.P_WAIT, rig.program, [rig.program, "init", "-q"], environment) == 0
    repository.rename(rig.base / "taken away")
    other.rename(rig.location)

    second = finished(rig, rig.order())
    new = json.loads(rig.restic("cat", "config").stdout)["id"]
    accepted = finished(rig, rig.order(parameters={"restic_repository_id": new}))
    third = finished(rig, rig.order())

    assert first.outcome == "succeeded"
    assert (second.outcome, second.reason) == ("failed", "repository_changed")
    assert new[:10] in second.message
    assert any(m.payload.restic_repository_id == new for m in rig.server.all("repository.stats"))
    assert (accepted.outcome, third.outcome) == ("succeeded", "succeeded")
