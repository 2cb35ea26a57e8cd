"""Every row runs at its smallest size against the real server, and leaves no process behind."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.packaging import build
from bench import __main__ as command
from bench import host
from bench.rows import agent, fleet, idle, rollout
from bench.stage import BENCH_PYTHON, ROOT, BenchFailed, limited, scratch, until
from demo.processes import children

SMALLEST: dict[str, dict[str, Any]] = {
    "idle": {"hosts": 3, "beat_seconds": 0.2, "burst_seconds": 0.1},
    "ingest": {"hosts": 3, "messages": 5, "batches": 3, "repetitions": 1},
    "fleet": {"hosts": 60, "beat_seconds": 0.2, "pages": 2},
    "storm": {"hosts": 3, "repetitions": 1},
    "floods": {"reports": 20, "sockets": 3, "frames": 1, "batches": 2},
    "dashboard": {"hosts": 60, "requests": 2},
    "api": {"hosts": 60, "requests": 2},
    "due": {"hosts": 3, "seconds": 0.5},
    "alerts": {"hosts": 12},
    "snapshots": {"snapshots": 260, "requests": 2},
    "metrics": {"hosts": 60, "beating": 3, "beat_seconds": 0.2, "rounds": 1},
    "fanout": {"hosts": 50, "browsers": 2, "rate": 50, "seconds": 1},
    "agent": {"seconds": 0.2},
    "backup": {"megabytes": 1, "small_files": 3, "repetitions": 1},
    "browse": {"files": 30, "folder_files": 5, "repetitions": 1},
    "update": {"repetitions": 1},
    "rollout": {"hosts": 6, "wave": 3, "seconds": 20},
    "downloads": {"clients": 3, "beating": 3, "seconds": 0.2},
}
MARKS = {"backup": pytest.mark.restic, "browse": pytest.mark.restic}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    if not BENCH_PYTHON.exists():
        pytest.skip("the benchmark's environment is missing: scripts/make-venv bench")
    monkeypatch.setattr(idle, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(fleet, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(agent, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(rollout, "NEWS_SECONDS", 0)


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in SMALLEST])
def test_a_row_measures_and_leaves_no_process(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("agent", "backup", "browse"):
        artifact = tmp_path / "rm-agent"
        wheels = build.fetch_wheels(ROOT / "requirements" / "agent.txt", ROOT / "build" / "agent-wheels")
        build.build(artifact, wheels=wheels, version="9.9.9", seq=42)
        monkeypatch.setattr(host, "ARTIFACT", artifact)
    # Not what those have started: a browser of other tests may start and end processes at any time.
    before = set(children(os.getpid()))

    with scratch() as directory:
        row = command.PLANS[name].measure(directory, **SMALLEST[name])

    assert row.name == name and row.figures
    assert all(math.isfinite(figure.value) for figure in row.figures)
    until(lambda: set(children(os.getpid())) <= before, seconds=30, what="every process of the row has ended")


@pytest.mark.browser
def test_the_browsers_row_measures_in_a_process_of_its_own() -> None:
    # Playwright runs only once in a process, and this one may hold the browser of other tests.
    program = (
        "import sys; from pathlib import Path; from bench import __main__ as command; from bench.stage import scratch\n"
        "with scratch() as directory: row = command.PLANS['browser'].measure(directory, hosts=3)\n"
        "sys.exit(0 if row.name == 'browser' and row.figures else 1)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)

    assert done.returncode == 0, done.stderr


def test_every_row_has_a_smallest_size() -> None:
    assert set(SMALLEST) | {"browser"} == set(command.PLANS)


def test_a_row_that_takes_too_long_is_ended_with_a_sentence() -> None:
    with pytest.raises(BenchFailed, match=r"longer than its 0\.05 s"), limited(0.05):
        until(lambda: False, seconds=5, what="nothing")


def test_an_unknown_row_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "idel"])

    with pytest.raises(SystemExit):
        command.main()

    assert "there is no row 'idel'" in capsys.readouterr().err
