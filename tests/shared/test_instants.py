"""Instants as text: one form, in UTC, whatever zone they came in."""

from datetime import datetime, timedelta, timezone

import pytest

from rm.shared import instants

NEPAL = timezone(timedelta(hours=5, minutes=45))
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize("instant", [NOON, NOON.astimezone(NEPAL), NOON.replace(tzinfo=timezone(timedelta(0)))])
def test_every_zone_is_written_in_utc_with_microseconds(instant):
    assert instants.to_text(instant) == "2026-11-23T12:00:00.000000Z"


@pytest.mark.parametrize("text", ["2026-11-23T12:00:00Z", "2026-11-23T17:45:00+05:45", "2026-11-23T12:00:00.000000Z"])
def test_every_zone_is_read_as_utc(text):
    read = instants.from_text(text)
    assert read == NOON
    assert read.tzinfo is timezone.utc


def test_a_time_without_zone_is_no_instant():
    with pytest.raises(ValueError, match="time zone"):
        instants.to_text(NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="time zone"):
        instants.from_text("2026-11-23T12:00:00")
