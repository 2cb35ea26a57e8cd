"""Hooks around a backup: which may run, what they get, and what becomes of a job whose hook misbehaves."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agent import config as configuration
from agent import doctor
from agent.config import Paths
from agent.hooks import Hooks
from agent.platform import linux
from rm.shared.protocol import CommandCancel, CommandRun, JobFinished, SourceGroupSpec
from tests.agent.conftest import Rig, until

pytestmark = pytest.mark.timeout(400)

SUMMARY = json.dumps({"message_type": "summary", "files_new": 1, "data_added": 5, "snapshot_id": "a" * 64})
BACKED_UP = f"[ $1 = backup ] || exit 1; echo backup >> $TMPDIR/order; echo '{SUMMARY}'"


def hook(rig: Rig, name: str, body: str, *, mode: int = 0o755) -> Path:
    """An executable in the host's hooks.d."""
    path = rig.paths.hooks / name
    rig.paths.hooks.mkdir(exist_ok=True)
    rig.paths.hooks.chmod(0o755)
    path.write_text(f"#!/bin/sh\norder={rig.paths.temporary}/order\n{body}\n")
    path.chmod(mode)
    return path


def backup(rig: Rig, **fields: Any) -> CommandRun:
    return rig.order(group=SourceGroupSpec(name="documents", **fields))


def finished(rig: Rig, order: CommandRun) -> JobFinished:
    if rig.agent is None:
        rig.start()
    rig.server.connected().send(order)
    found: JobFinished = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    return found


def happened(rig: Rig) -> list[str]:
    path = rig.paths.temporary / "order"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(autouse=True)
def quick_hooks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.hook_run.POLL_SECONDS", 0.03)
    rig.fake_restic(BACKED_UP)


# ---- what runs, and what it is told -----------------------------------------------------------------


def test_the_hooks_run_before_and_after_the_backup_and_know_the_job(rig: Rig) -> None:
    hook(rig, "dump", 'echo "pre $RM_JOB_ID $RM_JOB_KIND $RM_SOURCE_GROUP [$RM_JOB_STATUS]" >> $order; echo dumped')
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order; env; echo tidied')
    order = backup(rig, pre_hook="dump", post_hook="tidy")

    result = finished(rig, order)

    assert (result.outcome, result.reason) == ("succeeded", "")
    assert happened(rig) == [f"pre {order.job_id} backup documents []", "backup", "post succeeded"]
    log = rig.server.log(order.job_id)
    assert "dumped" in log
    assert log.index("dumped") < log.index("tidied") < len(log) - 1
    secrets = [rig.password, rig.server.credential, "RESTIC_"]
    assert not any(secret in line for secret in secrets for line in log)


def test_hello_names_the_usable_hooks_and_the_policy(rig: Rig) -> None:
    hook(rig, "dump", "true")
    hook(rig, "open-to-all", "true", mode=0o777)
    rig.start()

    hello = rig.server.wait_for("hello").payload

    assert (hello.hooks, hello.hooks_policy) == (["dump"], "local")
    assert {"hooks", "forget", "time_box"} <= set(hello.features)


def test_a_failing_hook_before_the_backup_forbids_it_and_the_one_after_still_runs(rig: Rig) -> None:
    hook(rig, "dump", "echo no disk >&2; exit 3")
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order')
    order = backup(rig, pre_hook="dump", post_hook="tidy")

    result = finished(rig, order)

    assert (result.outcome, result.reason, result.exit_code) == ("failed", "pre_hook_failed", None)
    assert "exit code 3" in result.message
    assert happened(rig) == ["post failed"]
    assert "no disk" in rig.server.log(order.job_id)


def test_a_failing_hook_after_the_backup_turns_success_into_warnings(rig: Rig) -> None:
    hook(rig, "tidy", "exit 1")

    result = finished(rig, backup(rig, post_hook="tidy"))

    assert (result.outcome, result.reason) == ("warnings", "post_hook_failed")
    assert result.message.startswith("Snapshot aaaaaaaa was saved")
    assert result.summary["snapshot_id"] == "a" * 64


def test_a_failed_backup_stays_failed_whatever_the_hook_after_it_does(rig: Rig) -> None:
    rig.fake_restic("echo 'Fatal: wrong password or no key found' >&2; exit 1")
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order; exit 1')

    result = finished(rig, backup(rig, post_hook="tidy"))

    assert (result.outcome, result.reason) == ("failed", "wrong_password")
    assert happened(rig) == ["post failed"]


# ---- what may not run -------------------------------------------------------------------------------


def test_a_hook_that_is_not_there_forbids_the_backup(rig: Rig) -> None:
    result = finished(rig, backup(rig, pre_hook="dump"))

    assert (result.outcome, result.reason) == ("failed", "pre_hook_failed")
    assert "there is no 'dump'" in result.message
    assert happened(rig) == []


@pytest.mark.parametrize("name", ["../agent.toml", "/bin/true", "..", "a/b"])
def test_a_name_never_leads_out_of_the_directory(rig: Rig, name: str) -> None:
    hook(rig, "dump", "true")

    assert finished(rig, backup(rig, pre_hook=name)).reason == "pre_hook_failed"


def test_the_doctor_says_which_hooks_are_usable_and_why_others_are_not(rig: Rig, tmp_path: Path) -> None:
    hook(rig, "dump", "true")
    hook(rig, "open", "true", mode=0o757)
    hook(rig, "text", "true", mode=0o644)
    (tmp_path / "elsewhere").write_text("#!/bin/sh\n")
    (tmp_path / "elsewhere").chmod(0o755)
    (rig.paths.hooks / "link").symlink_to(tmp_path / "elsewhere")
    (rig.paths.hooks / "inner").symlink_to("dump")
    (rig.paths.hooks / "folder").mkdir()
    (rig.paths.hooks / "folder" / "deep").symlink_to(tmp_path / "elsewhere")
    (rig.paths.hooks / "folder" / "true").write_text("#!/bin/sh\n")
    (rig.paths.hooks / "folder" / "true").chmod(0o755)
    (rig.paths.hooks / "deep").symlink_to("folder/true")

    found = {check.text.split()[0]: check for check in doctor.examine(rig.paths) if check.name == "hook"}

    assert {name: check.state for name, check in found.items()} == {
        "dump": "ok", "inner": "ok", "open": "warning", "text": "warning", "link": "warning",
        "folder": "warning", "deep": "warning",
    }  # fmt: skip
    assert "chmod go-w" in found["open"].text
    assert "chmod +x" in found["text"].text
    assert "leads out" in found["link"].text and "into a folder" in found["deep"].text


def test_nothing_in_a_directory_that_others_can_write_is_run(rig: Rig) -> None:
    hook(rig, "dump", "true")
    rig.paths.hooks.chmod(0o777)

    result = finished(rig, backup(rig, pre_hook="dump"))

    assert (result.reason, "can be written by others" in result.message) == ("pre_hook_failed", True)


def test_hooks_of_an_installed_agent_must_belong_to_root(tmp_path: Path) -> None:
    directory = tmp_path / "hooks.d"
    directory.mkdir()
    (directory / "dump").write_text("#!/bin/sh\n")
    (directory / "dump").chmod(0o755)
    if os.getuid() == 0:
        os.chown(directory / "dump", 65534, 65534)
    paths = Paths(config_file=tmp_path / "agent.toml", state=tmp_path, restore=tmp_path, bin=None)

    [found] = Hooks(paths, configuration.Config(server="https://x"), shell_of=lambda _: ("", "")).look()

    assert "does not belong to root" in found.problem


@pytest.mark.parametrize("policy", ["local", "off"])
def test_shell_text_of_the_server_runs_only_where_the_host_allows_it(rig: Rig, policy: str) -> None:
    rig.enrol(settings={"hooks": policy})

    result = finished(rig, backup(rig, pre_shell="echo hacked >> /dev/null"))

    assert (result.outcome, result.reason) == ("failed", "pre_hook_failed")
    assert 'hooks = "server"' in result.message
    assert happened(rig) == []


def test_a_host_that_runs_no_hooks_says_so_and_names_none(rig: Rig) -> None:
    rig.enrol(settings={"hooks": "off"})
    hook(rig, "dump", "true")

    result = finished(rig, backup(rig, pre_hook="dump"))

    assert 'hooks = "off"' in result.message
    assert rig.server.all("hello")[0].payload.hooks == []


def test_shell_text_of_the_server_runs_where_it_is_allowed_and_leaves_no_trace(rig: Rig) -> None:
    rig.enrol(settings={"hooks": "server"})
    text = f"secret=hunter2-is-long\necho pre >> {rig.paths.temporary}/order\ntr '\\0' ' ' < /proc/$$/cmdline\n"
    order = backup(rig, pre_shell=text, post_shell=f"echo post $RM_JOB_STATUS >> {rig.paths.temporary}/order")

    result = finished(rig, order)

    assert result.outcome == "succeeded"
    assert happened(rig) == ["pre", "backup", "post succeeded"]
    assert not any("hunter2" in line for line in rig.server.log(order.job_id))
    rig.stop()
    left = [path for path in rig.paths.jobs.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert left == []


def test_a_group_that_the_schedules_do_not_hold_any_more_is_not_backed_up_without_its_shell_text(rig: Rig) -> None:
    rig.enrol(settings={"hooks": "server"})

    result = finished(rig, backup(rig))

    assert (result.outcome, result.reason) == ("failed", "pre_hook_failed")
    assert "'documents' is not in the schedules that this host keeps" in result.message
    assert happened(rig) == []


# ---- what misbehaves --------------------------------------------------------------------------------


def test_a_hook_that_hangs_is_ended_with_all_that_it_started(rig: Rig) -> None:
    rig.grace_seconds = 0.5
    hook(rig, "hang", "trap '' TERM; sleep 300 & echo $! > $order.child; echo hangs; wait; wait; sleep 300")
    order = backup(rig, pre_hook="hang", hook_seconds=3)

    result = finished(rig, order)

    assert (result.outcome, result.reason) == ("failed", "pre_hook_failed")
    assert "did not end within 3 s" in result.message
    child = int(Path(f"{rig.paths.temporary}/order.child").read_text())
    until(lambda: linux.start_time(child) is None)


def test_a_hook_that_prints_a_gigabyte_fills_neither_log_nor_disk(rig: Rig) -> None:
    hook(rig, "loud", "head -c 1000000000 /dev/zero | tr '\\0' 'x' | fold -w 999; echo last words")
    order = backup(rig, pre_hook="loud")
    sizes: list[int] = []
    rig.start()
    rig.server.connected().send(order)

    def has_ended() -> bool:
        sizes.extend(path.stat().st_size for path in rig.paths.jobs.rglob("pre/out"))
        return bool(rig.server.all("job.finished", job_id=order.job_id))

    until(has_ended, seconds=240)

    lines = [line for m in rig.server.all("job.log", job_id=order.job_id) for line in m.payload.lines]
    assert rig.server.all("job.finished")[0].payload.outcome == "succeeded"
    assert max(sizes, default=0) <= 256 * 1024
    assert sum(len(line.text) for line in lines) < 300_000
    [cut] = [line for line in lines if line.stream == "cut"]
    assert "MiB" in cut.text


def test_a_hook_that_prints_a_million_lines_is_cut(rig: Rig) -> None:
    hook(rig, "loud", "yes | head -n 1000000")
    order = backup(rig, pre_hook="loud")

    result = finished(rig, order)

    assert result.outcome == "succeeded"
    assert len(rig.server.log(order.job_id)) < 2100


def test_a_hook_that_kills_its_parent_is_ended_and_forbids_the_backup(rig: Rig) -> None:
    hook(rig, "killer", "echo $$ > $order.pid; kill -KILL $PPID; sleep 300")
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order')

    result = finished(rig, backup(rig, pre_hook="killer", post_hook="tidy"))

    assert (result.outcome, result.reason) == ("failed", "pre_hook_failed")
    assert "is not known" in result.message
    until(lambda: linux.start_time(int(Path(f"{rig.paths.temporary}/order.pid").read_text())) is None)
    assert happened(rig) == ["post failed"]


def test_a_hook_that_signals_its_whole_group_hits_only_itself(rig: Rig) -> None:
    hook(rig, "rough", "kill -TERM 0; sleep 300")

    result = finished(rig, backup(rig, pre_hook="rough"))

    assert (result.reason, "SIGTERM" in result.message) == ("pre_hook_failed", True)


def test_a_hook_that_leaves_a_daemon_behind_holds_nobody_up(rig: Rig) -> None:
    hook(rig, "daemon", "(setsid sleep 300 & echo $! > $order.child); (sleep 301 & echo $! > $order.other); echo left")
    order = backup(rig, pre_hook="daemon", hook_seconds=3600)

    result = finished(rig, order)

    assert result.outcome == "succeeded"
    assert "left" in rig.server.log(order.job_id)
    for name in ("child", "other"):
        os.kill(int(Path(f"{rig.paths.temporary}/order.{name}").read_text()), signal.SIGKILL)


def test_a_hook_that_closes_its_output_is_waited_for(rig: Rig) -> None:
    hook(rig, "quiet", "exec >&- 2>&-; sleep 0.5; echo done >> $order")

    result = finished(rig, backup(rig, pre_hook="quiet"))

    assert result.outcome == "succeeded"
    assert happened(rig) == ["done", "backup"]


def test_a_file_that_is_no_program_says_so(rig: Rig) -> None:
    path = hook(rig, "odd", "")
    path.write_bytes(b"\x7fELF nothing")
    order = backup(rig, pre_hook="odd")

    result = finished(rig, order)

    assert (result.reason, "could not be started" in result.message) == ("pre_hook_failed", True)
    assert any("cannot be started" in line for line in rig.server.log(order.job_id))


# ---- cancel, stop, crash ----------------------------------------------------------------------------


def test_a_cancel_ends_the_hook_before_and_the_hook_after_still_runs(rig: Rig) -> None:
    hook(rig, "slow", "echo begun; sleep 300")
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order')
    order = backup(rig, pre_hook="slow", post_hook="tidy")
    rig.start()
    rig.server.connected().send(order)
    rig.server.wait(lambda s: "begun" in s.log(order.job_id))

    rig.server.connections[0].send(CommandCancel(job_id=order.job_id))
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason) == ("cancelled", "cancelled")
    assert happened(rig) == ["post cancelled"]


def test_the_phase_tells_that_a_hook_runs(rig: Rig) -> None:
    hook(rig, "slow", "until [ -e $order.go ]; do sleep 0.05; done")
    order = backup(rig, pre_hook="slow")
    rig.start()
    rig.server.connected().send(order)

    rig.server.wait_for("job.progress", job_id=order.job_id, phase="pre_hook")
    Path(f"{rig.paths.temporary}/order.go").touch()

    assert rig.server.wait_for("job.finished", job_id=order.job_id).payload.outcome == "succeeded"


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_a_hook_outlives_the_agent_and_is_taken_up_again_without_a_second_run(rig: Rig, phase: str) -> None:
    hook(rig, "slow", f"echo {phase} >> $order; echo begun; until [ -e $order.go ]; do sleep 0.05; done; echo gone on")
    hooks = {f"{phase}_hook": "slow"}
    order = backup(rig, **hooks)
    child = rig.spawn()
    rig.server.connected().send(order)
    rig.server.wait(lambda s: "begun" in s.log(order.job_id))
    child.kill()
    child.wait()
    Path(f"{rig.paths.temporary}/order.go").touch()

    rig.start()
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason) == ("succeeded", "")
    assert sorted(happened(rig)) == sorted([phase, "backup"])
    assert [line for line in rig.server.log(order.job_id) if line in ("begun", "gone on")] == ["begun", "gone on"]


def test_the_hook_after_runs_when_the_agent_and_restic_were_killed_during_the_backup(rig: Rig) -> None:
    rig.fake_restic(f"[ $1 = backup ] || exit 1; echo $$ > $TMPDIR/restic; echo at work; sleep 300; echo '{SUMMARY}'")
    hook(rig, "dump", "echo pre >> $order")
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order')
    order = backup(rig, pre_hook="dump", post_hook="tidy")
    child = rig.spawn()
    rig.server.connected().send(order)
    rig.server.wait(lambda s: "at work" in s.log(order.job_id))
    child.kill()
    child.wait()
    os.kill(int((rig.paths.temporary / "restic").read_text()), signal.SIGKILL)

    rig.start()
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason) == ("failed", "restic_killed")
    assert happened(rig) == ["pre", "post failed"]


def test_the_hook_after_runs_again_when_a_power_cut_took_its_end(rig: Rig) -> None:
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order; [ -e $order.again ] || sleep 300')
    order = backup(rig, post_hook="tidy")
    child = rig.spawn()
    rig.server.connected().send(order)
    until(lambda: happened(rig) == ["backup", "post succeeded"])
    child.kill()
    child.wait()
    directory = rig.paths.jobs / order.job_id / "post"
    pid = until(lambda: (directory / "pid").exists() and (directory / "pid").read_text().split())
    os.kill(int(pid[2]), signal.SIGKILL)
    os.killpg(int(pid[0]), signal.SIGKILL)
    Path(f"{rig.paths.temporary}/order.again").touch()

    rig.start()
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason) == ("succeeded", "")
    assert happened(rig) == ["backup", "post succeeded", "post succeeded"]


def test_the_hook_after_the_backup_runs_though_the_agent_itself_failed_on_the_job(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook(rig, "dump", "echo pre >> $order")
    hook(rig, "tidy", 'echo "post $RM_JOB_STATUS" >> $order')

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("agent.following.Follower._take_in", fail)
    result = finished(rig, backup(rig, pre_hook="dump", post_hook="tidy"))

    assert (result.outcome, result.reason) == ("failed", "agent_error")
    assert [line for line in happened(rig) if line != "backup"] == ["pre", "post failed"]
