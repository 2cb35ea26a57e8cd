"""The present moment, as it goes over the wire."""

from datetime import datetime, timezone

from rm.shared import instants


def now() -> str:
    """Now, as ISO 8601 text in UTC."""
    return instants.to_text(datetime.now(timezone.utc))
