"""With RM_REQUIRE=all a skipped test is a failed one: CI must not pass because a tool was missing."""

import os
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("RM_REQUIRE", "") not in ("", "all"):
        raise pytest.UsageError("RM_REQUIRE must be empty or 'all'")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[Any]:
    return _required((yield))


def _required(report: Any) -> Any:
    """The report, turned into a failure when it is a skip that RM_REQUIRE=all forbids."""
    is_skip = report.outcome == "skipped" and not hasattr(report, "wasxfail")
    if is_skip and os.environ.get("RM_REQUIRE") == "all":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"RM_REQUIRE=all: this may not be skipped. {reason}"
    return report
