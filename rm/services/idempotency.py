"""Orders that a program may repeat: the first answer is kept, sealed, and given again.

An order that only writes to the database is carried out in one transaction with its answer, so a crash leaves both or
neither. One that waits for a host cannot be: its key is claimed first, and if the server dies or fails in between, the
key says "unknown" until it is forgotten, rather than ordering twice. It is free again where surely nothing was done.
"""

import base64
import hashlib
import json
import logging
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.errors import Conflict, Invalid, RmError, TooMany
from rm.store import idempotency_keys
from rm.store.database import DatabaseError, changes
from rm.store.models import IdempotencyKey
from rm.store.vault import Vault

log = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=24)
MAX_KEY = 128
KEY_PATTERN = "[!-~]+"
MAX_KEPT = 10_000
MAX_STORED = 1024 * 1024
LONG_KEPT = 100
SHORT_STORED = 16 * 1024
"""Of one caller's answers the first of a day may be long, so that all keys together do not fill the disk."""

_lock = threading.Lock()
_in_flight: set[tuple[str, str]] = set()
# A full disk keeps a claim from being deleted too: until there is room it is remembered here that it is void.
_void: set[tuple[str, str]] = set()
MAX_VOID = 1000


@dataclass(frozen=True)
class Answer:
    """What an order was answered with."""

    status: int
    text: str
    is_replay: bool = False


class InProgress(Conflict):
    """The same order is being carried out just now; `retry_after_seconds` says when to ask again."""

    code = "in_progress"
    retry_after_seconds = 2

    def __init__(self) -> None:
        super().__init__("The same order is being carried out just now.", help="Send it again in a moment.")


class KeyReused(RmError):
    status = 422
    code = "key_reused"


def check_key(key: str) -> None:
    """Raises Invalid for a key that cannot be one."""
    if len(key) > MAX_KEY or not re.fullmatch(KEY_PATTERN, key):
        problem = f"must be 1 to {MAX_KEY} printable ASCII characters without spaces"
        raise Invalid({"Idempotency-Key": problem}, f"Idempotency-Key {problem}.")


def fingerprint(*parts: bytes) -> str:
    """What tells one request from another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def carry_out(
    vault: Vault, perform: Callable[[], Answer], *, owner: str, key: str, request_hash: str, waits: bool, now: datetime,
    fails_clean: bool = False,
) -> Answer:  # fmt: skip
    """The answer kept under this key, or what `perform` answers now, which is kept.

    An order that fails is not kept: nothing was done, and it may be sent again. `waits`: it asks hosts or the network
    and must hold no transaction; then only a refusal (4xx) surely did nothing, unless it `fails_clean`: it only asks,
    or all it does is one transaction at its end. Raises what `perform` raises, KeyReused, InProgress, Conflict, and
    TooMany.
    """
    with _only_one(owner, key):
        if waits:
            return _claimed(
                vault, perform, owner=owner, key=key, request_hash=request_hash, fails_clean=fails_clean, now=now
            )
        with changes():
            kept = _kept(vault, owner, key, request_hash, now)
            if kept is not None:
                return kept
            answer = perform()
            _keep(vault, owner, key, request_hash, answer, now)
            return answer


def forget_old(*, now: datetime) -> int:
    """Forget the answers that were kept long enough; how many went."""
    with changes():
        return idempotency_keys.forget_before(now - KEPT_FOR)


def _claimed(
    vault: Vault, perform: Callable[[], Answer], *, owner: str, key: str, request_hash: str, fails_clean: bool,
    now: datetime,
) -> Answer:  # fmt: skip
    with changes():
        if (owner, key) in _void:
            idempotency_keys.forget(owner, key)
        kept = _kept(vault, owner, key, request_hash, now)
        if kept is not None:
            return kept
        IdempotencyKey.create(owner=owner, key=key, request_hash=request_hash, created_at=now)
    _void.discard((owner, key))
    try:
        answer = perform()
    except (RmError, DatabaseError) as error:
        if fails_clean or (isinstance(error, RmError) and error.status < 500):
            _release(owner, key)
        raise
    with changes():
        idempotency_keys.forget(owner, key)
        _keep(vault, owner, key, request_hash, answer, now)
    return answer


def _release(owner: str, key: str) -> None:
    try:
        with changes():
            idempotency_keys.forget(owner, key)
    except (RmError, DatabaseError):
        log.warning("the claim of an idempotency key could not be deleted; it is taken for void")
        if len(_void) < MAX_VOID:
            _void.add((owner, key))


def _kept(vault: Vault, owner: str, key: str, request_hash: str, now: datetime) -> Answer | None:
    """The answer under this key; raises unless it belongs to the same request. Makes room for a new one."""
    idempotency_keys.forget_before(now - KEPT_FOR, owner=owner)
    found = idempotency_keys.find(owner, key)
    if found is None:
        if idempotency_keys.count(owner) >= MAX_KEPT:
            raise TooMany(f"{MAX_KEPT} idempotency keys were used within a day.", retry_after_seconds=3600)
        return None
    if found.request_hash != request_hash:
        raise KeyReused(
            "This idempotency key was used for another request.", help="Use a fresh key for each order."
        )  # fmt: skip
    if found.status is None:
        raise Conflict(
            "This order was begun and came to no good end here; whether it took effect is not known.",
            code="outcome_unknown", help="Look whether it did. If not, send it with a fresh key.",
        )  # fmt: skip
    if not found.body:
        raise Conflict(
            "This order was carried out, but its answer was too long to be kept.", code="answer_not_kept",
            help="Look at what it made.",
        )  # fmt: skip
    return Answer(found.status, _opened(vault, found), is_replay=True)


def _keep(vault: Vault, owner: str, key: str, request_hash: str, answer: Answer, now: datetime) -> None:
    packed = base64.b64encode(zlib.compress(json.dumps(answer.text).encode(), 6)).decode()
    # Sealed, because some answers hold a secret that is shown once.
    sealed = base64.b64encode(vault.seal(packed, place=_place(owner, key))).decode()
    most = MAX_STORED if idempotency_keys.count(owner) < LONG_KEPT else SHORT_STORED
    IdempotencyKey.create(
        owner=owner, key=key, request_hash=request_hash, status=answer.status,
        body=sealed if len(sealed) <= most else "", created_at=now,
    )  # fmt: skip


def _opened(vault: Vault, found: IdempotencyKey) -> str:
    packed = vault.unseal(base64.b64decode(found.body), place=_place(found.owner, found.key))
    text: str = json.loads(zlib.decompress(base64.b64decode(packed)))
    return text


def _place(owner: str, key: str) -> str:
    return f"idempotency_keys:{owner}:{key}"


@contextmanager
def _only_one(owner: str, key: str) -> Iterator[None]:
    """One request at a time under a key; there is one server process to a database. Raises InProgress."""
    with _lock:
        if (owner, key) in _in_flight:
            raise InProgress
        _in_flight.add((owner, key))
    try:
        yield
    finally:
        with _lock:
            _in_flight.discard((owner, key))
