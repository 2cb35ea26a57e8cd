"""A fleet with a host and a job in every state, and with the longest and strangest names that are allowed."""

import base64
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rm.config import Settings
from rm.events import EventBus
from rm.factory import create_app
from rm.notifiers.outcome import failed
from rm.runtime import runtime
from rm.services import (
    alerts,
    api_tokens,
    channels,
    dead_man,
    enrolments,
    incidents,
    pending_hosts,
    releases,
    template_forms,
    users,
)
from rm.services.channel_forms import ChannelForm
from rm.services.enrolments import Applicant
from rm.services.source_group_forms import SourceGroupForm
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.store import database
from rm.store import releases as releases_store
from rm.store.database import changes
from rm.store.models import (
    ApiToken,
    BackupDay,
    Channel,
    Delivery,
    Host,
    HostTag,
    Job,
    JobLogLine,
    JobSample,
    Repository,
    Schedule,
    ScheduleGroup,
    SkippedRun,
    Snapshot,
    SnapshotListing,
    SourceGroup,
    Template,
    User,
)
from rm.store.vault import Vault
from tests import cast, update_rows
from tests.signing import signed_release

LONG_NAME = "x" * 253
RTL_NAME = "שרת-הגיבוי של חיפה"
STRANGE_NAME = "web\n<b>1</b>\u202egnp.exe \U0001f9e8e\u0301\u0323\u0489"
LONG_PATH = "/srv/" + "directory-without-any-space/" * 40 + "file.bin"
PERSON_PARTS = ("/disable", "/remove", "/reset-second-factor")
STATES = ("ok", "failed", "late", "running", "never", "offline", "revoked")


@dataclass
class Scene:
    """Where things are in it."""

    hosts: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    fleet_updates: dict[str, str] = field(default_factory=dict)
    token_id: str = ""
    release_id: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    schedules: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    repositories: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    person_id: str = "alice"
    api_token_id: str = "a"
    channels: dict[str, str] = field(default_factory=dict)
    incidents: dict[str, str] = field(default_factory=dict)

    def paths(self) -> list[str]:
        """Every page that shows something of it."""
        found = [
            "/",
            "/?q=nothing-has-this-name",
            "/?status=problems&tag=production",
            "/hosts/add",
            "/alerts",
            "/alerts?state=snoozed",
            "/alerts?state=resolved&severity=critical",
            "/alerts?q=nothing-has-this",
            *(f"/alerts/{incident_id}" for incident_id in self.incidents.values()),
            "/settings/alerts",
            "/audit",
            "/patterns",
            "/settings",
            "/settings/users",
            *(f"/settings/users/{one}{part}" for one in ("alice", self.person_id) for part in ("", *PERSON_PARTS)),
            "/settings/account",
            "/settings/tokens",
            f"/settings/tokens/{self.api_token_id}",
            f"/settings/tokens/{self.api_token_id}/revoke",
            "/api",
            "/settings/account/second-factor",
            "/settings/general",
            "/settings/server",
            "/audit?who=alice&since=nonsense",
            "/settings/notifications",
            "/settings/notifications/new",
            "/settings/notifications/new?kind=webhook",
            "/settings/notifications/sign-of-life/remove",
            "/settings/updates",
            "/settings/metrics",
            "/settings/metrics/token/end",
            f"/settings/updates/{self.release_id}/promote",
            "/settings/fleet-update",
            "/settings/fleet-update?canaries=per_platform&waves=2,nonsense&max_in_flight=0",
            "/?status=behind",
            "/pending-hosts",
            "/repositories",
            "/repositories/new",
        ]
        parts = ("", "/edit", "/secret", "/remove", "?page=9")
        found += [f"/settings/notifications/{one}{part}" for one in self.channels.values() for part in parts]
        found += [f"/settings/fleet-update/{one}" for one in self.fleet_updates.values()]
        halted = f"/settings/fleet-update/{self.fleet_updates['halted']}"
        asked = ("cancel", "skip", "rollback", "retry-failed", "resume", "close")
        found += [f"{halted}/events", f"{halted}?q=nothing", *(f"{halted}/{one}" for one in asked)]
        found += [f"/hosts/{self.hosts['ok']}/{one}" for one in ("update", "roll-back", "hold")]
        found += [f"/hosts/add/{self.token_id}"]
        found += [f"/hosts/{host_id}" for host_id in self.hosts.values()]
        for name in ("ok", "long", "never"):
            parts = ("/snapshots", "/jobs", "/settings", "/repository", "/sources/new", "/revoke", "/remove")
            found += [f"/hosts/{self.hosts[name]}{part}" for part in parts]
        found += [f"/jobs/{job_id}" for job_id in self.jobs.values()]
        for name, group_id in self.groups.items():
            found += [f"/hosts/{self.hosts[name]}/re-enrol"]
            found += [
                f"/hosts/{self.hosts[name]}/sources/{group_id}{part}"
                for part in ("", "/remove", "/preview?keep_last=2")
            ]
            found += [f"/hosts/{self.hosts[name]}/sources/new/preview"]
        found += [f"/hosts/{host_id}/schedules/new" for host_id in self.hosts.values()]
        for name, schedule_id in self.schedules.items():
            one = f"/hosts/{self.hosts[name]}/schedules/{schedule_id}"
            found += [one, f"{one}/remove", f"{one}?when=cron&cron=nonsense", f"{one}?when=every&every=6&unit=60"]
        found += ["/templates", "/templates/new", "/templates/new/preview", f"/templates/new?host={self.hosts['long']}"]
        for template_id in self.templates.values():
            chosen = "&".join(f"hosts={self.hosts[name]}" for name in ("ok", "long", "never"))
            parts = ("", "/edit", "/remove", "/hosts", f"/apply?{chosen}", "/apply?tag=production", "/groups/new")
            parts += ("/groups/0", "/schedules/new", "/schedules/0")
            found += [f"/templates/{template_id}{part}" for part in parts]
        for repository_id in self.repositories.values():
            parts = (
                "",
                "?days=365",
                "/edit",
                "/maintenance",
                "/maintenance-plan",
                "/accept",
                f"/hosts/{self.hosts['long']}/unassign",
            )
            found += [f"/repositories/{repository_id}{part}" for part in parts]
        found += [f"/pending-hosts/{pending_id}" for pending_id in self.pending.values()]
        for owner in (f"/hosts/{self.hosts['ok']}", f"/repositories/{self.repositories['attic']}"):
            found += [f"{owner}/snapshots", f"{owner}/snapshots?q=nothing-has-this", f"{owner}/snapshots?page=9"]
            one = f"{owner}/snapshots/{'00' * 32}"
            asked = ("", "?path=/etc&answer=yes", "/restore?all=yes")
            found += [f"{one}{part}" for part in asked]
            where = f"{one}/restore/review?all=yes&on={self.hosts['ok']}"
            found += [f"{where}&place=folder", f"{where}&place=in_place"]
        found += [f"/jobs/{self.jobs['running']}/cancel", "/nowhere"]
        return found


def prepare(data_dir: Path, *, now: datetime, fill: Callable[[datetime], Scene] | None = None) -> Scene:
    """A data directory with the people of the cast and, unless told otherwise, the whole scene."""
    app = create_app(Settings(data_dir=data_dir, base_url="http://localhost").checked())
    with database.connection():
        cast.add_people(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(cast.PASSWORD))
        bus = runtime(app).bus
        if fill is not None:
            filled = fill(now)
            cast.judge(bus, now=now)
            return filled
        scene = whole(now)
        scene.person_id = invite_somebody(bus, runtime(app).vault, now=now)
        scene.release_id = add_releases(bus, data_dir, now=now)
        add_updates(scene, now=now)
        token, _ = enrolments.mint_token(bus, actor=cast.ALICE, now=now, tags=("production",))
        scene.token_id = token.id
        scene.api_token_id = add_api_tokens(bus, now=now)
        announce_hosts(bus, scene, now=now)
        add_channels(bus, runtime(app).vault, scene, now=now)
        raise_alerts(bus, scene, now=now)
        settle_deliveries(scene, now=now)
        cast.judge(bus, now=now)
        return scene


def add_api_tokens(bus: EventBus, *, now: datetime) -> str:
    """One with a long name and many tags, one that was used, one that was revoked; the id of the first."""
    made = [
        api_tokens.create(bus, name=name, role=role, tags=tags, days=days, actor=cast.ALICE, now=now)[0]
        for name, role, tags, days in (
            ("x" * 100, "operator", tuple(f"{'tag' * 10}-{number}" for number in range(12)), 90),
            (RTL_NAME, "viewer", (), 7),
            ("old", "admin", (), 365),
        )
    ]
    with changes():
        ApiToken.update(last_used_at=now, last_address="2001:db8::1234:5678").where(ApiToken.id == made[1].id).execute()
        ApiToken.update(revoked_at=now).where(ApiToken.id == made[2].id).execute()
    return str(made[0].id)


def announce_hosts(bus: EventBus, scene: Scene, *, now: datetime) -> None:
    """One host that waits under the longest name, one that looks like a known one, and one of each decision."""
    for name, hostname in (("long", "w" * 253), ("namesake", "ok"), ("approved", "a"), ("rejected", "r")):
        key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        applicant = Applicant(
            hostname=hostname, os="linux", arch="amd64", agent_version="0.1.0", agent_seq=1, machine_id=name
        )
        made = pending_hosts.announce(
            bus, applicant=applicant, public_key=base64.b64encode(key).decode(), address="192.0.2.9", now=now
        )
        scene.pending[name] = str(made.id)
    pending_hosts.approve(bus, pending_id=scene.pending["approved"], actor=cast.ALICE, now=now)
    pending_hosts.reject(bus, pending_id=scene.pending["rejected"], actor=cast.ALICE, now=now)


def invite_somebody(bus: EventBus, vault: Vault, *, now: datetime) -> str:
    """A person with the longest name and an open link, and alice on the way to a second factor; the person's id."""
    person, _ = users.invite(bus, username="u" * 64, role="operator", actor=cast.ALICE, now=now)
    secret = "A" * 32
    for user_id in (person.id, "alice"):
        sealed = vault.seal(secret, place=f"users:{user_id}:totp_sealed")
        User.update(totp_sealed=sealed).where(User.id == user_id).execute()
    User.update(totp_confirmed_at=now).where(User.id == person.id).execute()
    return str(person.id)


def add_channels(bus: EventBus, vault: Vault, scene: Scene, *, now: datetime) -> None:
    """A channel that works, one that rests after failing, one under the longest name, and a sign of life."""
    url = "http://127.0.0.1:9/hook"
    for name, title in (("works", "Night shift"), ("fails", "Chat"), ("long", "n" * 100)):
        form = ChannelForm(
            name=title, kind="webhook", url=url, is_enabled=name != "long",
            kinds=["backup_failed", "backup_missed", "check_failed", "prune_failed"] if name == "long" else [],
            tags=["t" * 100, "production"] if name == "long" else [],
        )  # fmt: skip
        scene.channels[name] = channels.create(bus, vault, form=form, actor=cast.ALICE, now=now)[0].id
    dead_man.save(vault, url=url, minutes="1440", actor=cast.ALICE, now=now)
    dead_man.keep(failed("it answered 500"), now=now)


def settle_deliveries(scene: Scene, *, now: datetime) -> None:
    """Each way a delivery can stand, and channels that rest, so that nothing is sent while pages are looked at."""
    rest = now + timedelta(days=2)
    Channel.update(paused_until=rest, last_ok_at=now - timedelta(hours=3)).execute()
    Channel.update(failing_since=now, failures=3).where(Channel.id == scene.channels["fails"]).execute()
    states = ("sent", "given_up", "dropped", "queued")
    for number, delivery in enumerate(Delivery.select()):
        state = states[number % len(states)]
        Delivery.update(
            state=state, tries=number, reason="" if state == "sent" else "there was no answer in time",
            ended_at=None if state == "queued" else now, next_try_at=rest if state == "queued" else None,
        ).where(Delivery.id == delivery.id).execute()  # fmt: skip


def raise_alerts(bus: EventBus, scene: Scene, *, now: datetime) -> None:
    """An incident that is open, one that is acknowledged, one snoozed, one over, and one of many hosts."""
    for state, host in (("raised", "long"), ("acknowledged", "ok"), ("snoozed", "strange"), ("resolved", "late")):
        with changes():
            made = alerts.raise_alert(
                bus, kind="certificate_or_key_problem", condition=state, message=f"Two agents: {LONG_PATH}",
                now=now, host_id=scene.hosts[host],
            )  # fmt: skip
        assert made is not None
        scene.incidents[state] = str(made.incident_id)
        if state == "snoozed":
            incidents.snooze(bus, incident_id=made.incident_id, choice="7d", actor=cast.ALICE, now=now)
        if state == "acknowledged":
            alerts.acknowledge(bus, alert_id=made.id, actor=cast.ALICE, now=now)
        if state == "resolved":
            alerts.resolve(bus, alert_id=made.id, actor=cast.ALICE, now=now)
    attic = scene.repositories["attic"]
    for name in ("ok", "late", "long", "rtl", "strange"):
        with changes():
            alerts.raise_alert(
                bus, kind="prune_failed", condition=f"scene:{name}", now=now, host_id=scene.hosts[name],
                cause=f"repository:{attic}", message=f"The prune by {name} failed: the repository cannot be reached.",
            )  # fmt: skip
    with changes():
        lost = alerts.raise_alert(
            bus, kind="repository_unreachable", condition=f"repository:{attic}", now=now, repository_id=attic,
            cause=f"repository:{attic}", message="attic does not open from ok and late: connection refused.",
        )  # fmt: skip
    assert lost is not None
    scene.incidents["many"] = str(lost.incident_id)


def connect(data_dir: Path) -> None:
    """Give their sockets, and a sign of life of just now, to the hosts that nobody really runs."""
    now = instants.to_text(datetime.now(timezone.utc))
    with sqlite3.connect(data_dir / "restic-manager.db", timeout=30) as database_file:
        database_file.execute(
            "UPDATE hosts SET connected_at = ?1, last_seen_at = ?1 WHERE hostname NOT IN ('offline', 'revoked')", (now,)
        )


def whole(now: datetime) -> Scene:
    """Hosts in every state, then the long, the right-to-left and the hostile one."""
    scene = Scene()
    repository = scene.repositories["attic"] = add_repository("attic", now=now)
    for state in STATES:
        scene.hosts[state] = add_host(state, now=now, repository=None if state == "never" else repository)
    scene.repositories["long"] = add_repository(
        "r" * 100, now=now, location="rest:https://backup.example.net/" + "p" * 300, other_id="cd" * 32
    )
    scene.hosts["long"] = add_host("failed", now=now, name=LONG_NAME, repository=scene.repositories["long"])
    scene.hosts["rtl"] = add_host("ok", now=now, name=RTL_NAME, repository=repository)
    scene.hosts["strange"] = add_host("late", now=now, name=STRANGE_NAME, repository=repository)
    HostTag.create(host=scene.hosts["long"], tag="t" * 50)
    HostTag.insert_many({"host": scene.hosts["rtl"], "tag": f"tag-{number}"} for number in range(200)).execute()
    for name in ("ok", "long"):
        scene.groups[name] = str(SourceGroup.get(SourceGroup.host == scene.hosts[name]).id)
    ok = scene.hosts["ok"]
    for state, outcome in (("queued", None), ("running", None)):
        scene.jobs[state] = add_job(scene.hosts["running"], state, outcome, now=now)
    for outcome in ("succeeded", "warnings", "failed", "cancelled", "lost"):
        scene.jobs[outcome] = add_job(ok, "finished", outcome, now=now)
    for name in ("ok", "late", "long", "rtl"):
        scene.schedules[name] = plan_nights(scene.hosts[name], now=now)
    for name in ("servers", "t" * 100):
        scene.templates[name[:7]] = add_template(scene, name, now=now)
    Host.update(
        features=["schedules"], hook_names=["dump-db", "h" * 100], hooks_policy="server", schedule_version=5,
        schedule_applied=4, schedule_problem="",
    ).where(Host.id.in_([scene.hosts["ok"], scene.hosts["long"]])).execute()  # fmt: skip
    scene.jobs["long"] = add_job(
        scene.hosts["long"], "finished", "failed", now=now, message=f"{LONG_PATH}: permission denied"
    )
    for number in range(6):
        Snapshot.create(
            repository=repository, id=f"{number:02x}" * 32, time=now - timedelta(days=number), hostname="ok",
            username="root", paths=["/etc", LONG_PATH], tags=["system"], total_bytes=10**10, total_files=123456,
            data_added=10**7,
            listing_id="1",
        )  # fmt: skip
    SnapshotListing.create(repository=repository, listing_id="1", taken_at=now, host_id=ok, total=6)
    Host.update(
        features=["schedules", "browse", "restore", "diff"], allows_restore_in_place=True,
        restore_directory="/var/lib/x/restore",
    ).where(Host.id == ok).execute()  # fmt: skip
    for kind, parameters, summary in (
        ("restore", {"snapshot_id": "00" * 32, "paths": [LONG_PATH, "/etc/a\nb\u202e"], "target": ""},
         {"target": "/var/lib/x/restore/" + "t" * 200, "restored_files": 2, "restored_bytes": 10**9,
          "checked_files": 2, "checked_bytes": 10**9, "mismatches": 0}),
        ("diff", {"snapshot_a": "01" * 32, "snapshot_b": "00" * 32},
         {"files_new": 3, "files_removed": 0, "files_changed": 1, "added_bytes": 10**9, "removed_bytes": 0}),
    ):  # fmt: skip
        scene.jobs[kind] = add_job(ok, "finished", "succeeded", now=now)
        Job.update(kind=kind, parameters=parameters, summary=summary, repository=repository, source_group="").where(
            Job.id == scene.jobs[kind]
        ).execute()
    return scene


def add_repository(
    name: str, *, now: datetime, location: str = "rest:https://backup.example.net/attic", other_id: str | None = None
) -> str:
    made = Repository.create(
        id=new_ulid(), name=name, location=location, password_sealed=b"nobody opens it here",
        restic_repository_id="ab" * 32, total_bytes=812 * 2**30, snapshot_count=214, stats_at=now, tested_at=now,
        test_ok=True, created_at=now, changed_at=now, restic_id_seen=other_id,
    )  # fmt: skip
    return str(made.id)


def add_releases(bus: EventBus, data_dir: Path, *, now: datetime) -> str:
    """One that was withdrawn, one that is current, one that is ready: that one's id."""
    for seq, yanked in ((2, []), (3, [2]), (4, [])):
        release = signed_release(seq=seq, version=f"0.{seq}.0", artifact=b"agent %d" % seq, now=now, yanked=yanked)
        found = releases.import_release(
            bus, directory=release.write(data_dir / f"release-{seq}"), data_dir=data_dir, actor=cast.ALICE, now=now
        )
        if seq == 3:
            releases.promote(bus, release_id=found.release.id, actor=cast.ALICE, now=now)
    return str(found.release.id)


def add_updates(scene: Scene, *, now: datetime) -> None:
    """Attempts that move, refused, failed and succeeded, and a fleet update before, during and after its time."""
    release = releases_store.current()
    assert release is not None
    target = {"release": release.id, "to_version": release.version, "to_seq": release.seq}
    hosts = scene.hosts
    Host.update(agent_seq=1, guard_version="2").execute()
    long_words = f"It was refused: {LONG_PATH} has no space left. " * 4
    said = (
        ("late", "running", "downloading", {"percent": 41.0, "detail": LONG_PATH}),
        ("long", "refused", "preflight", {"reason": "no_space", "failure_class": "host", "message": long_words}),
        ("failed", "failed", "swapping", {"reason": "no_hello", "failure_class": "release", "is_provisional": True}),
        ("strange", "succeeded", "committed", {"is_late": True}),
        ("rtl", "rolled_back", "trial", {"reason": "boots", "failure_class": "release", "is_forced": True}),
    )  # fmt: skip
    for name, state, phase, fields in said:
        made = update_rows.attempt(hosts[name], state, now, phase=phase, **target | fields)
        scene.jobs[f"update-{name}"] = made.job_id
    Host.update(held_reason=f"waits for {LONG_NAME}").where(Host.id == hosts["offline"]).execute()
    Host.update(is_pinned=True).where(Host.id == hosts["running"]).execute()
    members = [
        (hosts["strange"], "succeeded", 0), (hosts["long"], "failed", 1), (hosts["ok"], "waiting", 1),
        (hosts["offline"], "waiting", 2), (hosts["never"], "passed_over", 2), (hosts["rtl"], "skipped", 2),
        (hosts["running"], "excluded", -1),
    ]  # fmt: skip
    for state in ("planned", "completed_with_exceptions", "halted"):
        made = update_rows.fleet(
            state, now, members, reason=long_words if state == "halted" else "",
            halted_host_id=hosts["long"] if state == "halted" else None, **target,
        )  # fmt: skip
        scene.fleet_updates[state] = made.id


def add_host(state: str, *, now: datetime, repository: str | None, name: str = "") -> str:
    """A host that the pages show in this state."""
    ages = {"late": timedelta(days=4), "never": None, "failed": timedelta(days=2)}
    age = ages.get(state, timedelta(hours=5))
    is_silent = state in ("offline", "revoked")
    host_id = new_ulid()
    Host.create(
        id=host_id, name=name or f"{state}.example.net", hostname=state, os="linux",
        os_name="Debian GNU/Linux 12 (bookworm)", arch="amd64", init="systemd", timezone="Europe/Paris",
        agent_version="0.1.0",
        restic_version="0.18.0", repository=repository, config_applied=1, enrolled_at=now - timedelta(days=60),
        enrolled_by="alice",
        first_hello_at=now - timedelta(days=60), connected_at=None if is_silent else now - timedelta(hours=9),
        last_seen_at=now - timedelta(hours=3) if is_silent else now,
        last_address="192.0.2.17", last_good_at=now - age if age else None,
        revoked_at=now - timedelta(days=1) if state == "revoked" else None, running_sha256="7f3a" * 16,
    )  # fmt: skip
    HostTag.create(host=host_id, tag="production")
    if repository:
        SourceGroup.create(
            id=new_ulid(), host=host_id, name="system", includes=["/etc", LONG_PATH if name else "/home"],
            excludes=["*.tmp"], created_at=now, changed_at=now,
        )  # fmt: skip
        last = add_job(
            host_id, "finished", "failed" if state == "failed" else "succeeded", now=now - (age or timedelta())
        )
        Host.update(last_backup_id=last).where(Host.id == host_id).execute()
        if state == "running":
            add_job(host_id, "running", None, now=now)
    for back in range(1 if state in ("failed", "late") else 0, 28):
        day = (now - timedelta(days=back)).strftime("%Y-%m-%d")
        if state != "never":
            failed = int(state == "failed" and back < 2)
            BackupDay.create(host=host_id, day=day, succeeded=1 - failed, warnings=int(back == 9), failed=failed)
    return host_id


def plan_nights(host_id: str, *, now: datetime) -> str:
    """A nightly schedule since long ago for each group of a host, one more group, and a run that did not take place."""
    SourceGroup.create(
        id=new_ulid(), host=host_id, name="g" * 100, includes=["/srv"], created_at=now - timedelta(days=20),
        changed_at=now, mode="intermittent",
    )  # fmt: skip
    began = now - timedelta(days=30)
    nightly = Schedule.create(
        id=new_ulid(), host=host_id, name="nightly", cron="15 3 * * *", created_at=began, changed_at=began
    )
    for group in SourceGroup.select().where(SourceGroup.host == host_id):
        ScheduleGroup.create(schedule=nightly.id, group=group.id)
    SkippedRun.create(
        id=new_ulid(), host=host_id, source_group="system", schedule_id=nightly.id, due_from=now - timedelta(days=9),
        due_to=now - timedelta(days=6), count=4, reason="asleep", message=f"The host slept; {LONG_PATH}", at=now,
    )  # fmt: skip
    day = (now - timedelta(days=3)).strftime("%Y-%m-%d")
    BackupDay.update(missed=1).where(BackupDay.host == host_id, BackupDay.day == day).execute()
    return str(nightly.id)


def add_template(scene: Scene, name: str, *, now: datetime) -> str:
    """A template that one host follows, one departs from, and one has never seen."""
    group: dict[str, Any] = vars(SourceGroupForm(name="system", includes=["/etc", LONG_PATH], excludes=["*.tmp"]))
    group = {field_name: group[field_name] for field_name in template_forms.GROUP_FIELDS}
    group |= {"pre_hook": "", "post_hook": "", "hook_seconds": 600, "retention": {"keep_daily": 7, "keep_weekly": 4}}
    nightly = {"name": "nightly", "cron": "15 3 * * *", "every_minutes": 0, "jitter_seconds": 1800, "is_enabled": True}
    made = Template.create(
        id=new_ulid(), name=name, description=f"What every machine keeps. {LONG_PATH}", created_at=now, changed_at=now,
        body={"groups": [group, group | {"name": "g" * 100}], "schedules": [nightly | {"groups": ["system"]}]},
    )  # fmt: skip
    for host in ("ok", "long"):
        SourceGroup.update(template=made.id, template_version=1).where(
            SourceGroup.host == scene.hosts[host]
        ).execute()  # fmt: skip
    return str(made.id)


def add_job(host_id: str, state: str, outcome: str | None, *, now: datetime, message: str = "") -> str:
    job_id = new_ulid()
    ended = state == "finished"
    reasons = {"failed": "locked", "warnings": "some_files_unreadable", "lost": "silent", "cancelled": "cancelled"}
    Job.create(
        id=job_id, host=host_id, kind="backup", state=state, outcome=outcome, reason=reasons.get(outcome or "", ""),
        message=message or ("The repository is locked by another process." if outcome == "failed" else ""),
        exit_code={"succeeded": 0, "warnings": 3, "failed": 11}.get(outcome or ""), source_group="system",
        requested_by="alice", created_at=now - timedelta(minutes=13), expires_at=now + timedelta(hours=24),
        started_at=None if state == "queued" else now - timedelta(minutes=12), finished_at=now if ended else None,
        dispatched_at=None if state == "queued" else now - timedelta(minutes=12), last_sign_at=now,
        command="restic --repo rest:https://backup.example.net/attic backup --json --tag system /etc /home",
        progress={} if state == "queued" else {
            "percent": 62.4, "files_done": 66030, "files_total": 105000, "bytes_done": 38 * 2**30,
            "bytes_total": 61 * 2**30, "seconds_left": 412, "current_files": [LONG_PATH],
        },
        summary={"files_new": 12, "files_changed": 40, "data_added": 123456789, "snapshot_id": "ab" * 32}
        if ended else {},
    )  # fmt: skip
    lines = [
        ("out", "open repository"),
        ("err", f"error: {LONG_PATH}: permission denied"),
        ("err", "Fatal: unable to create lock"),
    ]
    for n, (stream, text) in enumerate(lines, 1):
        JobLogLine.create(job=job_id, n=n, at=now - timedelta(minutes=10), stream=stream, text=text)
    for second in range(0, 700, 10):
        JobSample.create(job=job_id, elapsed_seconds=second, bytes_done=second * 10**7 * (1 + second % 30))
    return job_id
