"""Twelve hosts after weeks of nights, for pictures: protected, late, missed, asleep, skipped and retried ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rm.events import EventBus
from rm.services import verdicts
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import GroupState
from rm.store.models import (
    Alert,
    BackupDay,
    Host,
    HostTag,
    Incident,
    Job,
    JobLogLine,
    MaintenancePolicy,
    Repository,
    RepositoryDay,
    Schedule,
    ScheduleGroup,
    SkippedRun,
    Snapshot,
    SnapshotListing,
    SourceGroup,
    Template,
)
from tests.access.scene import add_repository

ZONE = ZoneInfo("Europe/Paris")
DAY = timedelta(days=1)
FEATURES = ["schedules", "forget", "hooks", "time_box", "browse", "restore", "diff"]
KEPT = {"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12}
GROUPS = {
    "system": (["/etc", "/home", "/root", "/var/spool/cron"], ["*.tmp", "/home/*/.cache"]),
    "shop": (["/var/backups/shop.dump", "/srv/shop/uploads"], []),
    "photos": (["/volume1/photos"], ["@eaDir"]),
    "home": (["/home/mara"], ["/home/mara/.cache", "node_modules"]),
}
REFUSED = "The disk of the repository is full: no space left on device."


@dataclass
class BackupScene:
    """Where things are in it."""

    hosts: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    schedules: dict[str, str] = field(default_factory=dict)
    repositories: dict[str, str] = field(default_factory=dict)
    template_id: str = ""
    waiting_job: str = ""


def nights(now: datetime) -> BackupScene:
    """The whole of it."""
    scene = BackupScene()
    for name, place in (("offsite", "offsite"), ("attic", "attic")):
        scene.repositories[name] = add_repository(name, now=now, location=f"rest:https://backup.example.net/{place}")
    template_id = scene.template_id = add_template(now)
    servers = {"template": template_id, "template_version": 2}
    add_host(scene, "web-1", now, groups=("system", "shop"), pre_hook="dump-shop", tags=("servers",))
    for name in ("web-2", "git-1", "db-2", "vault-1"):
        add_host(scene, name, now, retention=KEPT, tags=("servers",), **servers)
    add_host(scene, "build-2", now, retention={"keep_last": 3}, tags=("servers",))
    add_host(scene, "db-1", now, good=night(now, 1), retention=KEPT, tags=("servers",))
    failed(scene, "db-1", at=night(now, 0), message="The connection to the repository broke off.")
    tried = now - timedelta(minutes=20)
    add_host(scene, "auth-1", now, good=tried - DAY, retention=KEPT, tags=("servers",), at=tried)
    failed(scene, "auth-1", at=tried, message=REFUSED)
    add_host(scene, "pos-lyon-1", now, good=now - timedelta(hours=44), is_away=True)
    add_host(scene, "nas-attic", now, groups=("photos",), good=now - 5 * DAY - timedelta(hours=2), place="attic")
    skipped(scene, "nas-attic", "photos", now, nights_ago=(3, 0), reason="agent_stopped")
    add_host(scene, "book-mara", now, groups=("home",), good=now - 3 * DAY, mode="intermittent", is_away=True)
    add_host(scene, "book-jo", now, groups=("home",), good=now - 2 * DAY, mode="intermittent")
    late_run(scene, "book-jo", now)
    for name in scene.hosts:
        tell(scene, name, now)
    add_snapshots(scene, now)
    keep_in_order(scene, now)
    wait_for_a_lock(scene, now)
    told_that_night(scene, now)
    return scene


def told_that_night(scene: BackupScene, now: datetime) -> None:
    """People were told of db-1 when it failed, and not when this scene was made."""
    at = night(now, 0) + timedelta(minutes=6)
    for alert in Alert.select().where(Alert.host == scene.hosts["db-1"]):
        Alert.update(first_seen_at=at, last_seen_at=at).where(Alert.id == alert.id).execute()
        Incident.update(opened_at=at, last_seen_at=at).where(Incident.id == alert.incident_id).execute()


def night(now: datetime, back: int) -> datetime:
    """When the nightly run of so many nights ago was due."""
    there = now.astimezone(ZONE)
    due = there.replace(hour=3, minute=15, second=0, microsecond=0)
    return (due if due < there - timedelta(hours=1) else due - DAY) - back * DAY


def add_template(now: datetime) -> str:
    includes, excludes = GROUPS["system"]
    group = {
        "name": "system", "includes": includes, "excludes": excludes, "one_file_system": True, "exclude_caches": True,
        "tags": [], "mode": "always_on", "stale_after_hours": None, "retention": KEPT, "retries": 2,
        "retry_minutes": 10, "upload_kib": 0, "download_kib": 0, "pre_hook": "", "post_hook": "", "hook_seconds": 600,
    }  # fmt: skip
    nightly = {"name": "nightly", "cron": "15 3 * * *", "every_minutes": 0, "jitter_seconds": 1800, "is_enabled": True}
    made = Template.create(
        id=new_ulid(), name="servers", description="What every server keeps, each night.", version=2,
        created_at=now - 60 * DAY, changed_at=now - 2 * DAY,
        body={"groups": [group], "schedules": [nightly | {"groups": ["system"]}]},
    )  # fmt: skip
    return str(made.id)


def add_host(
    scene: BackupScene, name: str, now: datetime, *, groups: Sequence[str] = ("system",), good: datetime | None = None,
    mode: str = "always_on", is_away: bool = False, place: str = "offsite", tags: Sequence[str] = (),
    at: datetime | None = None, **fields: object,
) -> None:  # fmt: skip
    """A host whose groups ran each day at `at`, or each night, until `good` or the last night."""
    began = now - 90 * DAY
    host_id = scene.hosts[name] = new_ulid()
    Host.create(
        # what its hostname says keeps it away when the server starts
        id=host_id, name=name, hostname="offline" if is_away else name, os="linux", arch="amd64", init="systemd",
        os_name="Debian GNU/Linux 12 (bookworm)", timezone="Europe/Paris", agent_version="0.1.0",
        restic_version="0.18.0", repository=scene.repositories[place], config_applied=1, enrolled_at=began,
        enrolled_by="alice", first_hello_at=began, last_seen_at=now - timedelta(hours=20) if is_away else now,
        last_address="192.0.2.17", features=FEATURES, hook_names=["dump-shop"], schedule_version=3, schedule_applied=3,
        mode=mode, restore_directory="/var/restic-manager/restore",
    )  # fmt: skip
    for tag in tags:
        HostTag.create(host=host_id, tag=tag)
    there = (at or night(now, 0)).astimezone(ZONE)
    cron = {"cron": f"{there.minute} {there.hour} * * *", "jitter_seconds": 1800}
    when = {"every_minutes": 1440} if mode == "intermittent" else cron
    schedule = Schedule.create(
        id=new_ulid(), host=host_id, name="daily while on" if mode == "intermittent" else "nightly", created_at=began,
        changed_at=began, template=fields.get("template"), **when,
    )  # fmt: skip
    scene.schedules[name] = schedule.id
    for group_name in groups:
        includes, excludes = GROUPS[group_name]
        group = SourceGroup.create(
            id=new_ulid(), host=host_id, name=group_name, includes=includes, excludes=excludes, mode=mode,
            created_at=began, changed_at=began, one_file_system=group_name == "system",
            exclude_caches=group_name == "system",
            **(fields if group_name == groups[-1] else fields | {"pre_hook": ""}),
        )  # fmt: skip
        scene.groups[f"{name}/{group_name}"] = group.id
        ScheduleGroup.create(schedule=schedule.id, group=group.id)
        ran(scene, name, group_name, good or night(now, 0))
    ended = good or night(now, 0)
    for back in range((now - ended).days, 30):
        day = (now - back * DAY).strftime("%Y-%m-%d")
        if mode == "always_on" or back % 3 != 1:
            BackupDay.create(host=host_id, day=day, succeeded=len(groups), warnings=int(back == 11))


def ran(
    scene: BackupScene, name: str, group: str, due: datetime, *, outcome: str = "succeeded", message: str = "",
    late: timedelta = timedelta(minutes=4), why_late: str = "",
) -> None:  # fmt: skip
    """A run of the host's own schedule that was due then."""
    at = due + late
    job = Job.create(
        id=new_ulid(int(due.timestamp() * 1000)), host=scene.hosts[name], kind="backup", state="finished",
        outcome=outcome, reason="" if outcome == "succeeded" else "backend_error", message=message, source_group=group,
        exit_code=0 if outcome == "succeeded" else 1, repository=Host.get_by_id(scene.hosts[name]).repository_id,
        requested_by="schedule", created_at=at, started_at=at, dispatched_at=at, last_sign_at=at,
        finished_at=at + timedelta(minutes=6), expires_at=at + DAY, schedule_id=scene.schedules[name], due_at=due,
        why_late=why_late,
        summary={"files_new": 14, "files_changed": 63, "data_added": 212_400_128, "total_bytes_processed": 41 * 2**30,
                 "snapshot_id": "5f2a91c0" * 8} if outcome == "succeeded" else {},
    )  # fmt: skip
    last = {"last_backup_id": job.id} | ({"last_good_at": job.finished_at} if outcome == "succeeded" else {})
    Host.update(last).where(Host.id == scene.hosts[name]).execute()


def failed(scene: BackupScene, name: str, *, at: datetime, message: str) -> None:
    """The last run of the host's system failed then."""
    ran(scene, name, "system", at, outcome="failed", message=message, late=timedelta())
    day = at.strftime("%Y-%m-%d")
    BackupDay.insert(host=scene.hosts[name], day=day).on_conflict_ignore().execute()
    BackupDay.update(failed=1, succeeded=0).where(
        BackupDay.host == scene.hosts[name], BackupDay.day == day
    ).execute()  # fmt: skip


def skipped(
    scene: BackupScene, name: str, group: str, now: datetime, *, nights_ago: tuple[int, int], reason: str
) -> None:  # fmt: skip
    """The runs of these nights did not take place."""
    first, last = nights_ago
    SkippedRun.create(
        id=new_ulid(), host=scene.hosts[name], source_group=group, schedule_id=scene.schedules[name],
        due_from=night(now, first), due_to=night(now, last), count=first - last + 1, reason=reason, at=now,
    )  # fmt: skip
    for back in range(last, first + 1):
        day = night(now, back).strftime("%Y-%m-%d")
        BackupDay.insert(host=scene.hosts[name], day=day).on_conflict_ignore().execute()
        BackupDay.update(missed=1, succeeded=0).where(
            BackupDay.host == scene.hosts[name], BackupDay.day == day
        ).execute()  # fmt: skip


def late_run(scene: BackupScene, name: str, now: datetime) -> None:
    """It caught up once when it woke this morning, and says since when it slept."""
    due, woke = now - timedelta(hours=14), now - timedelta(hours=6)
    slept = (now - timedelta(hours=20)).astimezone(ZONE)
    why = f"ran late because the host was asleep since {slept:%Y-%m-%d %H:%M}"
    ran(scene, name, "home", due, late=woke - due, why_late=why)


def tell(scene: BackupScene, name: str, now: datetime) -> None:
    """What the host's agent says of its groups: what they do, and when the next run or try is."""
    states = []
    for group in SourceGroup.select().where(SourceGroup.host == scene.hosts[name]):
        following = night(now, -1) + timedelta(minutes=4)
        if group.mode == "intermittent":
            following = now + timedelta(hours=18)
        code = "idle"
        if name == "auth-1":
            code, following = "retrying", now + timedelta(minutes=7)
        states.append(GroupState(source_group=group.name, code=code, next_at=instants.to_text(following)))
    verdicts.reported(EventBus(), host_id=scene.hosts[name], groups=states, now=now)


def add_snapshots(scene: BackupScene, now: datetime) -> None:
    """Forty nights of web-1's system, two dozen of its shop, as one listing tells of them."""
    repository, number = scene.repositories["offsite"], 0
    for group, count, size in (("system", 40, 41), ("shop", 24, 118)):
        for back in range(count):
            number += 1
            at = night(now, back) + timedelta(minutes=4)
            Snapshot.create(
                repository=repository, id=f"{(number * 2654435761) % 2**32:08x}" * 8, time=at, hostname="web-1",
                username="root", paths=GROUPS[group][0], tags=[group], total_bytes=size * 2**30 - back * 2**26,
                total_files=182_311 - back * 97, data_added=212_400_128 + back * 2**20, listing_id="1",
                utc_offset_minutes=60,
            )  # fmt: skip
    SnapshotListing.create(
        repository=repository, listing_id="1", taken_at=now - timedelta(minutes=9), host_id=scene.hosts["web-1"],
        total=number,
    )  # fmt: skip


def keep_in_order(scene: BackupScene, now: datetime) -> None:
    """Ninety days of size, and how forget, prune and check went last."""
    repository, size = scene.repositories["offsite"], 640 * 2**30
    for back in range(89, -1, -1):
        size += 3 * 2**30
        if back % 7 == 3:
            size -= 13 * 2**30
        day = (now - back * DAY).strftime("%Y-%m-%d")
        RepositoryDay.create(repository=repository, day=day, total_bytes=size, snapshot_count=420 - back)
    Repository.update(
        total_bytes=size, snapshot_count=420, checked_at=now - 3 * DAY, check_ok=True, pruned_at=now - 3 * DAY
    ).where(Repository.id == repository).execute()  # fmt: skip
    plans = (
        ("forget", 24, 30, timedelta(hours=9), timedelta(minutes=1), "Kept 11 snapshots, removed 1."),
        ("prune", 168, 240, 3 * DAY, timedelta(minutes=48), "The repository was pruned: 12.8 GiB were freed."),
        ("check", 168, 240, 3 * DAY - timedelta(hours=2), timedelta(minutes=71), "No errors in part 5 of 12."),
    )  # fmt: skip
    for kind, hours, box, ago, took, message in plans:
        job = Job.create(
            id=new_ulid(int((now - ago).timestamp() * 1000)), host=scene.hosts["vault-1"], kind=kind, state="finished",
            outcome="succeeded", message=message, repository=repository, requested_by="server", exit_code=0,
            source_group="system" if kind == "forget" else "", created_at=now - ago, started_at=now - ago,
            finished_at=now - ago + took, expires_at=now,
        )  # fmt: skip
        MaintenancePolicy.create(
            repository=repository, kind=kind, every_hours=hours, box_minutes=box, window_from="09:00",
            window_to="17:00", timezone="Europe/Paris", parts=12 if kind == "check" else 0, next_part=6,
            last_job_id=job.id, last_started_at=now - ago, last_ended_at=now - ago + took, last_outcome="succeeded",
            last_message=message, changed_at=now - 60 * DAY,
        )  # fmt: skip


def wait_for_a_lock(scene: BackupScene, now: datetime) -> None:
    """A prune that a person ordered, and a backup of another host that waits for its lock."""
    repository = scene.repositories["offsite"]
    started = now - timedelta(minutes=12)
    fields = {"repository": repository, "state": "running", "expires_at": now + DAY, "last_sign_at": now}
    Job.create(
        id=new_ulid(int(started.timestamp() * 1000)), host=scene.hosts["vault-1"], kind="prune", requested_by="alice",
        created_at=started, dispatched_at=started, started_at=started, command="restic prune", **fields,
    )  # fmt: skip
    began, lock = now - timedelta(minutes=2), "the exclusive lock 5f2a91c0 of vault-1, process 4711"
    waits = Job.create(
        id=new_ulid(int(began.timestamp() * 1000)), host=scene.hosts["build-2"], kind="backup", source_group="system",
        requested_by="alice", created_at=began, dispatched_at=began, started_at=began,
        progress={"phase": "waiting", "waits_for": lock}, **fields,
    )  # fmt: skip
    JobLogLine.create(job=waits.id, n=1, at=began, stream="agent", text=f"waits for {lock}")
    scene.waiting_job = waits.id
