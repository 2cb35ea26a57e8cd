"""A sign of life to a watchdog elsewhere, which tells people when it stays away."""

from rm.notifiers import outgoing
from rm.notifiers.outcome import OK, Outcome, failed

SECONDS = 10


def ping(url: str, *, seconds: float = SECONDS) -> Outcome:
    """GET the URL; well is what was answered with 2xx."""
    try:
        answer = outgoing.call("GET", url, seconds=seconds, most_bytes=1024, cuts=True)
    except outgoing.CallFailed as error:
        return failed(error.message)
    return OK if 200 <= answer.status < 300 else failed(f"it answered {answer.status}")
