"""`rm-agent-guard run`: whatever ends the agent, it is started again, until the guard itself is told to end."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agent.conftest import until
from tests.agent.guarded import GUARD

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the guard, under dash where there is one, over an agent that is a shell script."""
    children: list[subprocess.Popen[bytes]] = []

    def run(body: str, guard: Path = GUARD) -> subprocess.Popen[bytes]:
        script = tmp_path / "agent"
        script.write_text(f"#!/bin/sh\necho start $$ $RM_GUARD_VERSION $* >> {tmp_path}/starts\n{body}\n")
        script.chmod(0o755)
        shell = shutil.which("dash") or "/bin/sh"
        note = tmp_path / "tools" / "sleep"
        note.parent.mkdir()
        note.write_text(f"#!/bin/sh\necho $1 >> '{tmp_path}/sleeps'\nexec {shutil.which('sleep')} $1\n")
        note.chmod(0o755)
        with open(tmp_path / "guard.log", "ab") as log:
            child = subprocess.Popen(
                [shell, str(guard), "--root", str(tmp_path), "run", "--", str(script), "a b"],
                env=os.environ | {"PATH": f"{note.parent}:{os.environ['PATH']}"}, stderr=log, start_new_session=True,
            )  # fmt: skip
        children.append(child)
        return child

    yield run
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def starts(tmp_path: Path) -> list[str]:
    path = tmp_path / "starts"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("code", [0, 1, 78])
def test_every_exit_code_leads_to_another_start(start: Start, tmp_path: Path, code: int) -> None:
    start(f"exit {code}")

    until(lambda: len(starts(tmp_path)) >= 2)

    assert starts(tmp_path)[0].endswith("2 a b")
    assert f"exit code {code}" in (tmp_path / "guard.log").read_text()
    assert "again in 1 s" in (tmp_path / "guard.log").read_text()


def test_a_killed_agent_is_started_again(start: Start, tmp_path: Path) -> None:
    start("exec sleep 60")
    first = until(lambda: starts(tmp_path))[0].split()[1]

    os.kill(int(first), signal.SIGKILL)

    until(lambda: len(starts(tmp_path)) == 2)


def test_75_restarts_at_once(start: Start, tmp_path: Path) -> None:
    start(f'[ "$(wc -l < {tmp_path}/starts)" -lt 6 ] && exit 75; exec sleep 60')

    until(lambda: len(starts(tmp_path)) == 6)

    said = (tmp_path / "guard.log").read_text().splitlines()
    assert said == ["rm-agent-guard: the agent asks to be started again"] * 5
    # To wait without a word it would have to sleep: a tick beside each agent and the last agent's own are all there is.
    sleeps = tmp_path / "sleeps"
    until(lambda: sleeps.exists() and "60" in sleeps.read_text().split())
    assert set(sleeps.read_text().split()) <= {"2", "60"}


def test_the_waits_double(start: Start, tmp_path: Path) -> None:
    start("exit 1")

    until(lambda: "again in 4 s" in (tmp_path / "guard.log").read_text())

    waits = [line.rpartition(" again in ")[2] for line in (tmp_path / "guard.log").read_text().splitlines()]
    assert waits == ["1 s", "2 s", "4 s"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_ends_the_guard(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "starts"
    guard = start(f"trap 'echo stopped >> {file}; exit 0' TERM INT; echo hears >> {file}; while :; do sleep 0.05; done")
    until(lambda: len(starts(tmp_path)) == 2)

    guard.send_signal(number)

    assert guard.wait(30) == 0
    assert starts(tmp_path)[1:] == ["hears", "stopped"]


def test_a_signal_during_the_wait_ends_the_guard_at_once(start: Start, tmp_path: Path) -> None:
    patient = tmp_path / "patient-guard"
    patient.write_text(GUARD.read_text().replace("    seconds=1\n    while", "    seconds=55\n    while"))
    guard = start("exit 1", patient)
    until(lambda: "again in 55 s" in (tmp_path / "guard.log").read_text())

    guard.terminate()

    # Far from the end of the wait, however long the machine takes.
    assert guard.wait(30) == 0
    assert len(starts(tmp_path)) == 1


def test_an_agent_that_does_not_end_is_killed(start: Start, tmp_path: Path) -> None:
    quick = tmp_path / "quick-guard"
    quick.write_text(GUARD.read_text().replace("STOP_SECONDS=10", "STOP_SECONDS=1"))
    script = tmp_path / "stubborn"
    script.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ > {tmp_path}/pid\nwhile :; do sleep 0.1; done\n")
    script.chmod(0o755)
    guard = subprocess.Popen(
        ["/bin/sh", str(quick), "--root", str(tmp_path), "run", "--", str(script)], stderr=subprocess.DEVNULL
    )
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))

    guard.terminate()

    assert guard.wait(30) == 0
    assert not Path(f"/proc/{pid}").exists()


def test_it_tells_its_version() -> None:
    version = subprocess.run([str(GUARD), "version"], capture_output=True, text=True, check=False)

    assert (version.returncode, version.stdout) == (0, "2\n")


@pytest.mark.parametrize("wrong", [["fly"], [], ["run"], ["run", "--"], ["--root"]])
def test_wrong_use_is_explained(wrong: list[str]) -> None:
    done = subprocess.run([str(GUARD), *wrong], capture_output=True, text=True, check=False)

    assert (done.returncode, "usage:" in done.stderr) == (2, True)
