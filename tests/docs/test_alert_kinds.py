"""docs/operations/alerts.md has every kind of alert, with the severity and the patience that are built in."""

import re
from pathlib import Path

import pytest

from rm.domain.alert_rules import SHARED_REASONS, span_words
from rm.domain.alerts import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "alerts.md").read_text(encoding="utf-8")
ROWS = {
    found[1]: [cell.strip() for cell in found[2].split("|")]
    for found in re.finditer(r"^\| `(\w+)` \|(.*)$", PAGE, re.MULTILINE)
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_in_the_table_with_what_is_built_in(kind):
    known = KINDS[kind]

    severity, _, patience, hold, _, *_ = ROWS[kind]

    assert severity == known.severity
    assert patience == (span_words(known.patience) if known.patience else "at once")
    assert hold == (span_words(known.hold) if known.hold else "at once")


def test_the_table_names_no_kind_that_is_not_there():
    assert set(ROWS) == set(KINDS)


def test_every_reason_that_is_put_down_to_a_repository_is_named():
    assert all(f"`{reason}`" in PAGE for reason in SHARED_REASONS)
