"""Instants on the wire and in the database: ISO 8601 in UTC, fixed width, ending in Z."""

from datetime import datetime, timezone

# One change writes its own `now` many times; kept together, so that no thread sees one without the other.
_last: tuple[datetime | None, str] = (None, "")


def to_text(instant: datetime) -> str:
    """The instant as 27 characters that sort as time does; refuses a time without zone."""
    global _last
    known, text = _last
    if instant is known:
        return text
    # many times as fast as strftime, and every log line has one
    if instant.tzinfo is timezone.utc:
        text = instant.isoformat(timespec="microseconds")[:-6] + "Z"
        _last = instant, text
        return text
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_text(text: str) -> datetime:
    """The instant that an ISO 8601 text with a zone names, in UTC; raises ValueError for anything else."""
    instant = datetime.fromisoformat(text.replace("Z", "+00:00") if text.endswith("Z") else text)
    if instant.tzinfo is timezone.utc:
        return instant
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(timezone.utc)
