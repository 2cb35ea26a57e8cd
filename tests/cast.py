"""The people and hosts of every test: alice may do everything, bob may run things, charlie may look."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from rm.domain.actors import Actor
from rm.events import EventBus
from rm.services import enrolments, repositories, source_groups, tokens, verdicts
from rm.services.enrolments import Applicant
from rm.services.repository_forms import RepositoryForm
from rm.services.source_group_forms import SourceGroupForm
from rm.shared.ids import new_ulid
from rm.store.database import changes
from rm.store.models import Host, Job, Repository, Schedule, ScheduleGroup, SourceGroup, User
from rm.store.vault import Vault

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
PASSWORD = "correct horse battery"

ALICE = Actor(kind="user", name="alice", id="alice", address="192.0.2.1", role="admin")
BOB = Actor(kind="user", name="bob", id="bob", address="192.0.2.2", role="operator")
CHARLIE = Actor(kind="user", name="charlie", id="charlie", address="192.0.2.3", role="viewer")
PEOPLE = (ALICE, BOB, CHARLIE)


@dataclass(frozen=True)
class EnrolledHost:
    """A host of the cast with the credential that only it knows."""

    id: str
    name: str
    credential: str

    @property
    def credential_hash(self) -> str:
        return tokens.hashed(self.credential)


def add_people(password_hash: str) -> None:
    for person in PEOPLE:
        User.create(
            id=person.id,
            username=person.name,
            role=person.role,
            password_hash=password_hash,
            is_enabled=True,
            created_at=NOW - timedelta(days=30),
        )


def add_host(bus: EventBus, name: str, *, now: datetime = NOW) -> EnrolledHost:
    """A host that enrolled with a token of alice's."""
    _, token = enrolments.mint_token(bus, actor=ALICE, now=now)
    applicant = Applicant(
        hostname=name, os="linux", arch="amd64", agent_version="0.1.0", agent_seq=1, machine_id=new_ulid()
    )
    admission = enrolments.enrol(bus, token=token, applicant=applicant, address="192.0.2.10", now=now)
    return EnrolledHost(id=admission.host_id, name=name, credential=admission.credential)


def give_repository(bus: EventBus, vault: Vault, host: EnrolledHost, *, now: datetime = NOW) -> str:
    """A repository and a source group "files" for the host; returns the group's id."""
    form = RepositoryForm(
        name=f"store of {host.name}",
        location="rest:http://127.0.0.1:8000/repo",
        password="repo-secret",
        username=host.name,
        secret="backend-secret",
    )
    repositories.save_for_host(bus, vault, host_id=host.id, form=form, actor=ALICE, now=now)
    group: SourceGroup = source_groups.save(
        bus,
        vault,
        host_id=host.id,
        group_id=None,
        form=SourceGroupForm(name="files", includes=["/srv/files"], excludes=["*.tmp"]),
        actor=ALICE,
        now=now,
    )
    return str(group.id)


def backed_up(bus: EventBus, host_id: str, at: datetime, *, group: str = "files", outcome: str = "succeeded") -> str:
    """A backup of the host that ended then, and the verdict about it; its group is made if missing. The job's id."""
    SourceGroup.get_or_create(
        host=host_id, name=group, defaults={"id": new_ulid(), "created_at": at, "changed_at": at, "includes": ["/srv"]}
    )
    job = Job.create(
        id=new_ulid(int(at.timestamp() * 1000)), host=host_id, kind="backup", state="finished", outcome=outcome,
        source_group=group, created_at=at, expires_at=at, started_at=at, finished_at=at,
    )  # fmt: skip
    if outcome in ("succeeded", "warnings"):
        Host.update(last_good_at=at).where(Host.id == host_id).execute()
    Host.update(last_backup_id=job.id).where(Host.id == host_id).execute()
    judge(bus, host_id, now=at)
    return str(job.id)


def nightly(
    bus: EventBus,
    host: EnrolledHost,
    *,
    mode: str = "always_on",
    since: datetime = NOW,
    name: str = "files",
    **values: object,
) -> str:
    """A group of the host that runs each night, as its agent knows; returns the group's id."""
    group = SourceGroup.create(
        id=new_ulid(), host=host.id, name=name, mode=mode, includes=["/srv"], created_at=since, changed_at=since,
        **values,
    )  # fmt: skip
    schedule = Schedule.create(
        id=new_ulid(), host=host.id, name=name, cron="15 3 * * *", created_at=since, changed_at=since
    )
    ScheduleGroup.create(schedule=schedule.id, group=group.id)
    if host_row(host).repository_id is None:
        repository = Repository.create(
            id=new_ulid(), name=f"store of {host.name}", location="rest:http://127.0.0.1:8000/repo",
            password_sealed=b"-", created_at=since, changed_at=since,
        )  # fmt: skip
        Host.update(repository=repository.id).where(Host.id == host.id).execute()
    Host.update(
        features=["schedules"], first_hello_at=since, connected_at=since, last_seen_at=since
    ).where(Host.id == host.id).execute()  # fmt: skip
    judge(bus, host.id, now=since)
    return str(group.id)


def judge(bus: EventBus, *host_ids: str, now: datetime = NOW) -> None:
    """Verdicts for hosts whose rows were written behind the services' backs; all hosts unless told which."""
    with changes():
        for host_id in host_ids or [host.id for host in Host.select(Host.id)]:
            verdicts.refresh(bus, host_id=host_id, now=now)


def host_row(host: EnrolledHost) -> Host:
    return Host.get_by_id(host.id)
