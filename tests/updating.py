"""Releases in the database and hosts that speak of updates; its fixtures are there for conftests to take."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest

from rm.events import EventBus
from rm.services import presence, updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import Hello, UpdateProgress, UpdateResult
from rm.store.models import Host, Keyset, Release, UpdateAttempt
from tests.cast import BOB, NOW, EnrolledHost
from tests.signing import signed_release

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
OLD_SHA256 = hashlib.sha256(b"the agent before").hexdigest()


@pytest.fixture
def release(app):
    """A release that is current."""
    return give_release()


@pytest.fixture
def online(bus, web1):
    """web1, which runs the agent before that."""
    says_hello(bus, web1)
    return web1


@pytest.fixture
def attempt(bus, online, release):
    """The update of web1 that bob ordered."""
    return updates.order(bus, host_id=online.id, actor=BOB, now=NOW)


def give_release(*, seq: int = 2, version: str = "0.2.0", now: datetime = NOW, **changed: Any) -> Release:
    """A release that is current, as if it had been imported and promoted."""
    signed = signed_release(seq=seq, version=version, artifact=f"agent {seq}".encode(), now=now, **changed)
    facts = signed.facts
    Keyset.insert(
        version=1, bytes=signed.keyset, signature=signed.keyset_signature.encode(), imported_at=now
    ).on_conflict_ignore().execute()
    Release.update(is_current=False).execute()
    return Release.create(
        id=signed.manifest_sha256, version=version, seq=seq, channel="stable", manifest=signed.manifest,
        signature=signed.manifest_signature.encode(), keyset=1, artifacts=facts["artifacts"],
        guard_min=facts["guard_min"], min_from_seq=facts["min_from_seq"], released_at=now,
        expires_at=datetime.fromisoformat(facts["expires_at"].replace("Z", "+00:00")), imported_at=now,
        imported_by="alice", promoted_at=now, is_current=True,
    )  # fmt: skip


def hello_of(host: EnrolledHost, **fields: Any) -> Hello:
    """A hello of the agent that ran before."""
    before = {
        "protocol_version": 1, "agent_version": "0.1.0", "agent_seq": 1, "running_sha256": OLD_SHA256, "arch": "amd64",
        "guard_version": "2", "hostname": host.name,
    }  # fmt: skip
    return Hello(**(before | fields))


def says_hello(bus: EventBus, host: EnrolledHost, *, now: datetime = NOW, **fields: Any) -> None:
    """The host connects."""
    said = hello_of(host, **fields)
    presence.hello(
        bus, host_id=host.id, credential_hash=host.credential_hash, hello=said, address="192.0.2.10", now=now
    )
    updates.said_hello(bus, host_id=host.id, hello=said, now=now)


def at_target(release: Release, **fields: Any) -> dict[str, Any]:
    """What a hello of this release says."""
    return {
        "agent_version": release.version, "agent_seq": release.seq, "running_sha256": release.artifacts[0]["sha256"]
    } | fields  # fmt: skip


def hangs_up(bus: EventBus, host: EnrolledHost, *, now: datetime = NOW) -> None:
    """The connection ends."""
    row = Host.get_by_id(host.id)
    presence.gone(bus, host_id=host.id, connected_at=row.connected_at, now=now)
    updates.connection_ended(bus, host_id=host.id, now=now)


def beats(host: EnrolledHost, *, now: datetime) -> None:
    """A heartbeat arrives."""
    Host.update(last_seen_at=now).where(Host.id == host.id).execute()


def takes_orders(bus: EventBus, host: EnrolledHost, *, now: datetime = NOW) -> list[Any]:
    """What a connected host is sent."""
    return [order for _, order in updates.orders_for(bus, host_id=host.id, now=now)]


def reports(
    bus: EventBus, host: EnrolledHost, attempt: UpdateAttempt, phase: str, *, now: datetime = NOW, **fields: Any
) -> None:
    """The host says where it stands; `swapping` asks for leave."""
    report = UpdateProgress(attempt_id=attempt.job_id, phase=phase, **fields)
    updates.progress(bus, host_id=host.id, report=report, now=now)


def ends(
    bus: EventBus,
    host: EnrolledHost,
    attempt: UpdateAttempt | None,
    outcome: str,
    *,
    now: datetime = NOW,
    **fields: Any,
) -> None:
    """The host says how it ended; without an attempt, of one that nobody knows."""
    attempt_id = attempt.job_id if attempt is not None else new_ulid()
    updates.result(
        bus, host_id=host.id, report=UpdateResult(**({"attempt_id": attempt_id, "outcome": outcome} | fields)), now=now
    )


def again(attempt: UpdateAttempt) -> UpdateAttempt:
    """The attempt as it is in the database now."""
    return UpdateAttempt.get_by_id(attempt.job_id)
