"""The people and hosts of every test: alice may do everything, bob may run things, charlie may look."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from rm.domain.actors import Actor
from rm.events import EventBus
from rm.services import enrolments, repositories, source_groups, tokens
from rm.services.enrolments import Applicant
from rm.services.repository_forms import RepositoryForm
from rm.shared.ids import new_ulid
from rm.store.models import Host, SourceGroup, User
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
        host_id=host.id,
        group_id=None,
        name="files",
        includes=["/srv/files"],
        excludes=["*.tmp"],
        actor=ALICE,
        now=now,
    )
    return str(group.id)


def host_row(host: EnrolledHost) -> Host:
    return Host.get_by_id(host.id)
