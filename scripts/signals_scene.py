"""What goes wrong and who hears of it, for pictures: a lost repository, channels, people, tokens, the server's care."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rm.domain.actors import Actor
from rm.events import EventBus
from rm.notifiers.outcome import Outcome
from rm.services import api_tokens, channels, dead_man, general_settings, incidents, metrics_access, users
from rm.services.channel_forms import ChannelForm
from rm.services.general_settings import General
from rm.shared.ids import new_ulid
from rm.store.database import changes
from rm.store.models import (
    ApiToken,
    AuditEntry,
    Channel,
    Delivery,
    Incident,
    Job,
    ServerBackup,
    Session,
    User,
    UserLink,
)
from rm.store.vault import Vault, open_vault
from scripts import backup_scene
from scripts.backup_scene import BackupScene
from tests import cast
from tests.access.scene import add_repository

DAY = timedelta(days=1)
BRANCHES = ("pos-lille-1", "pos-lille-2", "pos-nice-1", "pos-nice-2", "pos-paris-1", "pos-paris-2", "pos-metz-1")
REFUSED = "The repository does not answer: connection refused."
ALICE = Actor(kind="user", name="alice", id="alice", address="192.0.2.1", role="admin")
BOB = Actor(kind="user", name="bob", id="bob", address="192.0.2.2", role="operator")


@dataclass
class SignalsScene(BackupScene):
    """Where things are in it."""

    incident_id: str = ""
    channel_id: str = ""
    data_dir: Path = Path()


def signals(data_dir: Path, now: datetime) -> SignalsScene:
    """The fleet of backup_scene, whose branches have just lost their repository."""
    bus, vault = EventBus(), open_vault(data_dir / "secret.key")
    made = backup_scene.nights(now)
    scene = SignalsScene(**vars(made), data_dir=data_dir)
    # In the order of time, for the audit log is written in it.
    add_channels(bus, vault, scene, now)
    add_tokens(bus, now)
    general_settings.save(bus, wanted=General(instance_name="Backups of Example Ltd"), actor=ALICE, now=now - 12 * DAY)
    metrics_access.make_token(actor=ALICE, now=now - 10 * DAY)
    add_people(bus, now)
    lose_branches(bus, scene, now)
    settle(scene, now)
    add_server_backups(data_dir, now)
    return scene


def add_channels(bus: EventBus, vault: Vault, scene: SignalsScene, now: datetime) -> None:
    """Mail for the night shift, a push service for what is critical, a webhook that fails; and a sign of life."""
    at = now - 40 * DAY
    forms = (
        ChannelForm(
            name="Night shift",
            url="mailtos://backups:example@mail.example.net?from=backups@example.net&to=ops@example.net",
        ),
        ChannelForm(name="Alice's phone", url="ntfys://a:example@ntfy.example.net/backups", min_severity="critical"),
        ChannelForm(name="Tickets", kind="webhook", url="https://tickets.example.net/hooks/8fd2", tags=["branches"]),
    )  # fmt: skip
    ids = [str(channels.create(bus, vault, form=form, actor=ALICE, now=at)[0].id) for form in forms]
    scene.channel_id = ids[2]
    dead_man.save(vault, url="https://watchdog.example.net/ping/5f2a91c0", minutes="5", actor=ALICE, now=at)
    dead_man.keep(Outcome(is_ok=True), now=now - timedelta(minutes=1))


def lose_branches(bus: EventBus, scene: SignalsScene, now: datetime) -> None:
    """Seven hosts fail one after the other because their repository does not open; bob takes it, one host is well."""
    scene.repositories["branches"] = add_repository(
        "branches", now=now - 90 * DAY, location="rest:https://backup.example.net/branches"
    )
    began = now - timedelta(minutes=47)
    for number, name in enumerate(BRANCHES):
        at = began + timedelta(minutes=number * 2)
        backup_scene.add_host(
            scene, name, now, good=at - DAY, place="branches", tags=("branches",), at=at
        )  # fmt: skip
        backup_scene.failed(scene, name, at=at, message=REFUSED)
        Job.update(reason="unreachable", attempt=3).where(
            Job.host == scene.hosts[name], Job.outcome == "failed"
        ).execute()
        ended = at + timedelta(minutes=6, seconds=20)
        backup_scene.tell(scene, name, ended)
        with changes():
            cast.judge(bus, scene.hosts[name], now=ended)
    found = Incident.get(Incident.repository == scene.repositories["branches"])
    scene.incident_id = str(found.id)
    incidents.acknowledge(bus, incident_id=scene.incident_id, actor=BOB, now=now - timedelta(minutes=21))


def settle(scene: SignalsScene, now: datetime) -> None:
    """What became of the messages; the channels rest, so that nothing is really sent."""
    rest = now + timedelta(minutes=18)
    Channel.update(paused_until=rest, last_ok_at=now - timedelta(minutes=20)).execute()
    Channel.update(
        failing_since=now - timedelta(minutes=44), failures=3, last_ok_at=now - 3 * DAY
    ).where(Channel.id == scene.channel_id).execute()  # fmt: skip
    for delivery in Delivery.select():
        failing = delivery.channel_id == scene.channel_id
        Delivery.update(
            state="queued" if failing else "sent", tries=3 if failing else 1,
            reason="It answered 503 Service Unavailable." if failing else "", next_try_at=rest if failing else None,
            ended_at=None if failing else delivery.created_at + timedelta(seconds=11),
        ).where(Delivery.id == delivery.id).execute()  # fmt: skip


def add_people(bus: EventBus, now: datetime) -> None:
    """Bob with a second factor, mara through the provider, jo whose link is still open; alice on her phone, too."""
    mara, _ = users.invite(bus, username="mara", role="viewer", actor=ALICE, now=now - 9 * DAY)
    UserLink.delete().where(UserLink.user == mara.id).execute()
    User.update(
        oidc_issuer="https://id.example.net", oidc_subject="7", last_login_at=now - 2 * DAY
    ).where(User.id == mara.id).execute()  # fmt: skip
    add_audit(now)
    users.invite(bus, username="jo", role="operator", actor=ALICE, now=now - timedelta(hours=3))
    User.update(totp_confirmed_at=now - 20 * DAY, totp_sealed=b"-", last_login_at=now - timedelta(hours=5)).where(
        User.id == "bob"
    ).execute()
    User.delete().where(User.id == "charlie").execute()
    phone = "Mozilla/5.0 (Android 15; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0"
    Session.create(
        token_hash="0" * 64, id=new_ulid(), user="alice", address="198.51.100.24", user_agent=phone,
        created_at=now - timedelta(hours=4), last_seen_at=now - timedelta(minutes=38),
        expires_at=now + timedelta(hours=8), method="totp",
    )  # fmt: skip


def add_tokens(bus: EventBus, now: datetime) -> None:
    for name, role, tags, days, used in (
        ("Inventory", "viewer", (), 365, timedelta(minutes=6)),
        ("Deploy pipeline", "operator", ("servers",), 90, timedelta(hours=7)),
        ("Old dashboard", "viewer", (), 30, timedelta(days=24)),
    ):  # fmt: skip
        made, _ = api_tokens.create(bus, name=name, role=role, tags=tags, days=days, actor=ALICE, now=now - 25 * DAY)
        ApiToken.update(last_used_at=now - used, last_address="192.0.2.40").where(ApiToken.id == made.id).execute()
    ApiToken.update(revoked_at=now - 20 * DAY).where(ApiToken.name == "Old dashboard").execute()


def add_server_backups(data_dir: Path, now: datetime) -> None:
    """Six nights of copies; their files are there, so that the page offers them."""
    directory = data_dir / "backups"
    directory.mkdir(exist_ok=True)
    for back in range(5, -1, -1):
        at = now - back * DAY - timedelta(hours=9)
        file = directory / f"restic-manager-{at:%Y%m%dT%H%M%SZ}.db"
        file.write_bytes(b"")
        ServerBackup.create(
            id=new_ulid(int(at.timestamp() * 1000)), file=str(file), started_at=at, ended_at=at + timedelta(seconds=3),
            size_bytes=48_300_000 - back * 310_000, sha256=f"{(back + 7) * 2654435761 % 2**32:08x}" * 8, is_ok=True,
        )  # fmt: skip


def add_audit(now: datetime) -> None:
    """A few more entries, as a week brings them."""
    entries = (
        (30, "bob", "192.0.2.2", "user.logged_in", "user", "bob"),
        (26, "bob", "192.0.2.2", "host.tagged", "host", "web-2"),
        (5, "alice", "192.0.2.1", "user.logged_in", "user", "alice"),
    )
    for hours, who, address, action, kind, name in entries:
        AuditEntry.create(
            at=now - timedelta(hours=hours), actor_kind="user", actor_id=who, actor_name=who, address=address,
            action=action, target_kind=kind, target_id=name, target_name=name, payload={},
        )  # fmt: skip


def protect(data_dir: Path, now: datetime) -> None:
    """Alice's second factor, set once she is signed in."""
    since = (now - 30 * DAY).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    with sqlite3.connect(data_dir / "restic-manager.db", timeout=30) as file:
        file.execute("UPDATE users SET totp_confirmed_at = ?, totp_sealed = x'00' WHERE id = 'alice'", (since,))
        file.executemany(
            "INSERT INTO recovery_codes (user_id, code_hash) VALUES ('alice', ?)", [(f"{n:064}",) for n in range(9)]
        )
