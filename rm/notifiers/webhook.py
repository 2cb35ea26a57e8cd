"""JSON to a URL of somebody's own, signed so that they can tell that it came from here and is fresh."""

import hashlib
import hmac

from rm.notifiers import outgoing
from rm.notifiers.outcome import OK, Outcome, failed

SECONDS = 15


def signature(secret: str, *, delivery_id: str, timestamp: int, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256, in hex, over `<id>.<timestamp>.<body>`."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def send(
    url: str, *, secret: str, delivery_id: str, event: str, timestamp: int, body: bytes, seconds: float = SECONDS
) -> Outcome:
    """POST the body; taken is what was answered with 2xx. What else comes back is not read."""
    headers = {
        "Content-Type": "application/json",
        "Restic-Manager-Delivery": delivery_id,
        "Restic-Manager-Timestamp": str(timestamp),
        "Restic-Manager-Event": event,
        "Restic-Manager-Signature": signature(secret, delivery_id=delivery_id, timestamp=timestamp, body=body),
    }
    try:
        answer = outgoing.call("POST", url, headers=headers, body=body, seconds=seconds, most_bytes=1024, cuts=True)
    except outgoing.CallFailed as error:
        return failed(error.message)
    if 200 <= answer.status < 300:
        return OK
    if 300 <= answer.status < 400:
        return failed(f"it answered {answer.status}, a redirect; redirects are not followed")
    return failed(f"it answered {answer.status}")
