"""How figures are judged against their targets, and how they are kept."""

import json

import pytest

from bench import report
from bench.figures import Figure, Row, Target, quantile


def test_a_value_at_its_limit_meets_the_target() -> None:
    assert Figure("memory", 90, "MB", target=Target(90)).verdict == "met"


def test_a_miss_says_by_how_much() -> None:
    assert Figure("memory", 117, "MB", target=Target(90)).verdict == "missed by 30%"


def test_a_ratio_is_judged_and_not_the_value() -> None:
    half = Figure("ingest", 20_000, "msg/s", ceiling=40_000, target=Target(0.7, "at least", "ratio"))

    assert (half.ratio, half.is_met, half.verdict) == (0.5, False, "missed by 29%")


def test_without_a_ceiling_a_ratio_is_not_judged() -> None:
    assert Figure("ingest", 1, "msg/s", target=Target(0.7, "at least", "ratio")).is_met is None


def test_without_a_target_nothing_is_said() -> None:
    assert Figure("ack", 3, "ms", ceiling=1).verdict == ""


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1, 100)])
def test_a_quantile_is_the_value_that_so_many_do_not_exceed(share: float, value: int) -> None:
    assert quantile(list(range(100, 0, -1)), share) == value


def test_a_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        quantile([], 0.5)


def test_what_is_kept_is_shown_on_the_page_between_its_marks(tmp_path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    row = Row("idle", "some idle hosts", "a bare server")
    row.add("memory", 117, "MB", ceiling=20, target=Target(90))

    kept = report.keep(row, machine={"cores": "2", "memory": "4 GiB", "python": "3.11"}, others=0.25, results=tmp_path)
    report.write_page(["idle", "storm"], results=tmp_path, page=page)

    text = page.read_text()
    assert json.loads(kept.read_text())["figures"][0]["ratio"] == 5.85
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| memory | 117 MB | 20 | 5.85 | ≤ 90 MB | **missed by 30%** |" in text
    assert "2 cores and 4 GiB" in text and "Other programs used 25%" in text
