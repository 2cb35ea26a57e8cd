"""The one file: the same bytes each time, and it runs in isolation."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from agent.packaging import build
from agent.schedules.stored import StoredSchedules
from rm.shared.protocol import ScheduleSet, ScheduleSpec, SourceGroupSpec
from tests.agent.conftest import ROOT, Rig


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("zipapp") / "rm-agent"
    wheels = build.fetch_wheels(ROOT / "requirements" / "agent.txt", ROOT / "build" / "agent-wheels")
    build.build(output, wheels=wheels, version="9.9.9", seq=42)
    return output


def run(zipapp: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(zipapp), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        cwd="/",
    )


def test_two_builds_have_the_same_bytes(zipapp: Path, tmp_path: Path) -> None:
    wheels = build.fetch_wheels(ROOT / "requirements" / "agent.txt", ROOT / "build" / "agent-wheels")

    again = build.build(tmp_path / "again", wheels=list(reversed(wheels)), version="9.9.9", seq=42)

    assert again == hashlib.sha256(zipapp.read_bytes()).hexdigest()


def test_builds_in_places_unlike_each_other_have_one_sha256(tmp_path: Path) -> None:
    """Umask, locale, time zone, hash seed, directory, file times and modes: none may show."""
    digests = set()
    for name, umask, moment, settings in (
        ("first", 0o022, 1_000_000_000, {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"}),
        ("the second one", 0o077, 1_700_000_000, {"PYTHONHASHSEED": "4242", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"}),
    ):
        tree = tmp_path / name / "tree"
        for part in ("agent", "rm/shared"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "rm" / "__init__.py", tree / "rm" / "__init__.py")
        shutil.copytree(ROOT / "requirements", tree / "requirements")
        for path in tree.rglob("*.py"):
            path.chmod(0o666 & ~umask)
            os.utime(path, (moment, moment))
        command = [sys.executable, "-m", "agent.packaging.build", "--output=rm-agent", "--version=9.9.9", "--seq=42"]
        command.append(f"--wheels={ROOT / 'build' / 'agent-wheels'}")
        subprocess.run(command, cwd=tree, env={**os.environ, **settings}, umask=umask, check=True, timeout=50)
        digests.add(hashlib.sha256((tree / "rm-agent").read_bytes()).hexdigest())

    assert len(digests) == 1


def test_it_tells_its_release_and_its_own_hash(zipapp: Path) -> None:
    done = run(zipapp, "version", "--json")

    found = json.loads(done.stdout)
    assert (found["version"], found["seq"], found["protocol_version"]) == ("9.9.9", 42, 1)
    assert found["sha256"] == hashlib.sha256(zipapp.read_bytes()).hexdigest()


def test_it_holds_no_server_code_and_no_native_code(zipapp: Path) -> None:
    names = zipfile.ZipFile(zipapp).namelist()

    assert not [name for name in names if name.endswith((".so", ".pyd", ".pyc"))]
    assert {name.split("/")[1] for name in names if name.startswith("rm/")} == {"__init__.py", "shared"}
    assert zipapp.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert zipapp.stat().st_mode & 0o111


def test_its_selftest_passes_on_an_enrolled_host_and_changes_nothing(zipapp: Path, rig: Rig) -> None:
    before = {path: path.stat().st_mtime_ns for path in rig.paths.state.rglob("*")}

    done = run(zipapp, "--root", str(rig.base), "selftest", "--json")

    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["release"]["seq"]) == (0, True, 42), found
    assert found["checks"]["server"] == "ok"
    assert {path: path.stat().st_mtime_ns for path in rig.paths.state.rglob("*")} == before


def test_a_session_with_a_job_imports_nothing_more(zipapp: Path, rig: Rig) -> None:
    rig.fake_restic('echo \'{"message_type": "status", "percent_done": 0.5}\'; echo oops >&2; exit 1')
    script = f"""
import sys, threading
sys.path.insert(0, {str(zipapp)!r})
from agent import config, running
from agent.config import Paths
paths = Paths.of({str(rig.base)!r})
agent = running.RunningAgent(paths, config.load(paths))
before = set(sys.modules)
def wait():
    sys.stdin.readline()
    agent.stop()
threading.Thread(target=wait, daemon=True).start()
agent.run()
print(sorted(set(sys.modules) - before))
"""
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait_for("job.finished", job_id=order.job_id)
    rig.server.connections[0].cut()
    rig.server.connected(2)

    out, _ = child.communicate("stop\n", timeout=45)

    assert (child.returncode, out.strip()) == (0, "[]")


def test_it_keeps_schedules_with_what_it_carries_and_imports_nothing_more_for_them(zipapp: Path, rig: Rig) -> None:
    rig.fake_restic("echo oops >&2; exit 1")
    script = f"""
import sys, threading
sys.path.insert(0, {str(zipapp)!r})
from agent import config, running
from agent.config import Paths
paths = Paths.of({str(rig.base)!r})
agent = running.RunningAgent(paths, config.load(paths))
before = set(sys.modules)
def wait():
    sys.stdin.readline()
    agent.stop()
threading.Thread(target=wait, daemon=True).start()
agent.run()
import cronsim
print(sorted(set(sys.modules) - before), cronsim.__file__.startswith({str(zipapp)!r}))
"""
    due = datetime.now(timezone.utc) - timedelta(minutes=1)
    schedules = [
        ScheduleSpec(id="s", every_minutes=60, source_groups=["documents"]),
        ScheduleSpec(id="t", cron="15 3 * * *", source_groups=["documents"]),
    ]
    group = SourceGroupSpec(name="documents", repository_id=rig.repository_id, includes=["/"])
    wanted = ScheduleSet(version=3, schedules=schedules, groups=[group])
    StoredSchedules(rig.paths.state).save(wanted, at=due - timedelta(hours=1))
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    rig.server.connected()

    finished = rig.server.wait_for("job.finished").payload
    out, _ = child.communicate("stop\n", timeout=45)

    assert finished.schedule_id in ("s", "t") and finished.due_at
    assert (child.returncode, out.strip()) == (0, "[] True")
