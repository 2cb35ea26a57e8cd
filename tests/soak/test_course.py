"""A soak of a few hosts: everything is done to them, nothing is lost, and no process stays."""

import json
import os

import pytest

from bench.stage import BENCH_PYTHON, until
from demo.processes import children
from soak.__main__ import soak
from soak.account import Bounds
from soak.course import Plan


def test_a_small_soak_loses_nothing_and_leaves_no_process(tmp_path):
    if not BENCH_PYTHON.exists():
        pytest.skip("the benchmark's environment is missing: scripts/make-venv bench")
    before = set(children(os.getpid()))
    plan = Plan(
        minutes=0.3, agents=8, browsers=2, processes=2, sample_seconds=2, fire_seconds=4, beat_seconds=3,
        step_seconds=0.1, dial_seconds=0.3,
    )  # fmt: skip
    # how fast a busy machine is, is not the question here
    patient = Bounds(ack_p99_ms=1e9, page_p95_ms=1e9, lag_p95_ms=1e9)
    (tmp_path / "work").mkdir()

    problems = soak(tmp_path / "work", plan, patient, tmp_path / "results")

    kept = json.loads((tmp_path / "results" / "soak.json").read_text())
    assert not [one for one in problems if not one.startswith("no ")], problems
    assert kept["account"]["results_acknowledged"] > 0 and kept["account"]["log_lines_acknowledged"] > 0
    assert (kept["account"]["lost"], kept["account"]["doubled"], kept["updated"]) == (0, 0, 9)
    assert len(kept["events"]) == 7 and kept["samples"][-1]["life"] == 4
    assert (tmp_path / "results" / "soak.svg").read_text().startswith("<svg")
    until(lambda: set(children(os.getpid())) <= before, seconds=30, what="every process has ended")
