"""Whether RM_BASE_URL leads to this very server: it asks itself there, and must recognise the question."""

import json
import secrets
import threading
from dataclasses import dataclass

from rm.notifiers import outgoing
from rm.notifiers.outgoing import CallFailed

SECONDS = 8.0
MOST_BYTES = 4096
MOST_AT_ONCE = 4

_asked: set[str] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Finding:
    """What came of it: `kind` is ok, warning or failed; `text` one or two sentences."""

    kind: str
    text: str


def knows(nonce: str) -> bool:
    """Whether this process is asking that just now."""
    with _lock:
        return nonce in _asked


def check(base_url: str) -> Finding:
    """Fetch /healthz under the base URL, without following redirects; takes seconds at most."""
    nonce = secrets.token_urlsafe(24)
    with _lock:
        if len(_asked) >= MOST_AT_ONCE:
            return Finding("warning", "Other checks are under way. Try again in a moment.")
        _asked.add(nonce)
    try:
        answer = outgoing.call(
            "GET", f"{base_url}/healthz?nonce={nonce}", seconds=SECONDS, most_bytes=MOST_BYTES, cuts=True
        )
    except CallFailed as error:
        return Finding(
            "failed",
            f"{base_url} could not be reached from the server itself: {error.message.rstrip('.')}. Agents may still"
            " reach it, if this network leads them another way.",
        )
    finally:
        with _lock:
            _asked.discard(nonce)
    return _judged(base_url, answer)


def _judged(base_url: str, answer: outgoing.Answer) -> Finding:
    if 300 <= answer.status < 400:
        return Finding(
            "warning",
            f"{base_url} answers with a redirect. Agents follow none: set RM_BASE_URL to where it leads.",
        )
    try:
        is_own = json.loads(answer.body).get("nonce") == "known"
    except (ValueError, AttributeError):
        is_own = False
    if is_own:
        return Finding("ok", f"{base_url} leads to this server.")
    return Finding(
        "failed",
        f"Something answers at {base_url} with status {answer.status}, but it is not this server. Agents and links in"
        " notifications would end up there.",
    )
