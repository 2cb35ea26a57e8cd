"""The verbs that people type: run, status, doctor, version."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.agent.conftest import ROOT, Rig, until


def agent(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", "--root", str(rig.base), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip


def test_a_second_agent_on_the_same_root_is_refused(rig: Rig) -> None:
    rig.start()
    rig.server.connected()

    second = agent(rig, "run")

    assert (second.returncode, "Another agent already runs" in second.stderr) == (78, True)


def test_an_ordered_stop_ends_with_0_in_good_order(rig: Rig) -> None:
    child = rig.spawn()
    rig.server.connected()

    child.send_signal(signal.SIGTERM)

    assert child.wait(40) == 0
    assert rig.server.connections[0].closed.wait(40)


def test_status_tells_of_a_running_agent_and_of_one_that_is_gone(rig: Rig) -> None:
    rig.fake_restic("exit 1")
    never = agent(rig, "status")
    child = rig.spawn()
    rig.server.connected()
    until(lambda: json.loads(agent(rig, "status", "--json").stdout).get("connected_since"))
    alive = agent(rig, "status")
    child.kill()
    child.wait()
    gone = agent(rig, "status")

    assert (never.returncode, "has not run here before" in never.stdout) == (1, True)
    assert (alive.returncode, "connected since" in alive.stdout) == (0, True)
    assert "restic: 0." in alive.stdout
    assert (gone.returncode, "not running" in gone.stdout) == (1, True)


def test_doctor_finds_all_well_and_says_how_to_mend_what_is_not(rig: Rig) -> None:
    rig.fake_restic("exit 1")
    well = agent(rig, "doctor")
    rig.server.refuses = True
    rig.paths.secrets_file.chmod(0o644)
    config = rig.paths.config_file
    config.write_text(config.read_text() + 'restic = "/nowhere/restic"\n')
    ill = agent(rig, "doctor")

    lines = {line.split()[1].rstrip(":"): line for line in ill.stdout.splitlines()}
    assert well.returncode == 0, well.stdout
    assert [line.split()[0] for line in well.stdout.splitlines() if line.split()[1] not in ("guard:", "updates:")] == [
        "ok"
    ] * 10
    assert ill.returncode == 1
    assert "chmod 600" in lines["secrets"]
    assert "enrol again" in lines["credential"]
    assert "apt install restic" in lines["restic"]


def test_doctor_says_how_to_begin_on_a_host_that_is_not_enrolled(bare_rig: Rig) -> None:
    done = agent(bare_rig, "doctor")

    assert (done.returncode, "rm-agent enroll --server URL" in done.stdout) == (1, True)


def test_an_idle_agent_uses_almost_no_processor_time(rig: Rig) -> None:
    rig.server.heartbeat_seconds = 1
    child = rig.spawn()
    rig.server.connected()
    rig.server.wait_for("heartbeat")
    before = _ticks(child.pid)

    rig.server.wait(lambda s: len(s.all("heartbeat")) == 4)

    assert _ticks(child.pid) - before <= os.sysconf("SC_CLK_TCK") * 0.1


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])
