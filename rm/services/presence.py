"""Which hosts are connected, and what they say of themselves."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.errors import Unauthorised
from rm.events import EventBus, HostChanged
from rm.services import audit, credentials, tokens, verdicts
from rm.services.schedule_sets import FEATURE
from rm.shared.protocol import Hello, ScheduleAck
from rm.store import hosts
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host


def admit(*, credential: str) -> Host:
    """The host that a credential belongs to; raises Unauthorised (credential_refused)."""
    found = hosts.find_by_credential(tokens.hashed(credential)) if credential else None
    if found is None:
        raise Unauthorised(
            "This credential is not valid here.",
            code="credential_refused",
            help="It was revoked, or belongs to another server. Enrol the host again from its page.",
        )
    return found[0]


def is_admitted(credential_hash: str) -> bool:
    """Whether neither this credential nor its host was revoked or removed until now."""
    return hosts.is_good_credential(credential_hash)


def hello(bus: EventBus, *, host_id: str, credential_hash: str, hello: Hello, address: str, now: datetime) -> Host:
    """Note a new connection and what the agent says of itself; raises Unauthorised if it was revoked meanwhile."""
    with changes():
        if not is_admitted(credential_hash):
            raise Unauthorised("This credential was revoked.", code="credential_refused")
        before = hosts.get(host_id)
        Host.update(
            hostname=hello.hostname or before.hostname,
            os=hello.os or before.os,
            os_name=hello.os_name,
            arch=hello.arch or before.arch,
            init=hello.init,
            timezone=hello.timezone,
            machine_id=hello.machine_id or before.machine_id,
            agent_version=hello.agent_version,
            agent_seq=hello.agent_seq,
            running_sha256=hello.running_sha256,
            guard_version=hello.guard_version,
            restic_version=hello.restic_version,
            restic_features=hello.restic_features,
            boot_id=hello.boot_id,
            is_pinned=hello.pinned,
            problems=hello.problems,
            config_applied=hello.config_version,
            features=hello.features,
            hook_names=sorted(set(hello.hooks)),
            hooks_policy=hello.hooks_policy,
            allows_restore_in_place=hello.restore_in_place,
            restore_directory=hello.restore_directory,
            schedule_applied=hello.schedule_version,
            schedule_problem="" if hello.schedule_version == before.schedule_version else before.schedule_problem,
            first_hello_at=before.first_hello_at or now,
            connected_at=now,
            last_seen_at=now,
            last_address=address,
        ).where(Host.id == host_id).execute()
        credentials.taken_into_use(bus, host_id=host_id, credential_hash=credential_hash, now=now)
        if before.first_hello_at is None:
            actor = Actor(kind="host", name=before.name, id=host_id, address=address)
            audit.record(actor, "host.connected_first", now=now, kind="host", id=host_id, name=before.name)
        if (hello.timezone, hello.features) != (before.timezone, before.features):
            verdicts.refresh(bus, host_id=host_id, now=now)
        publish_after_commit(bus, HostChanged(host_id))
        return hosts.get(host_id)


def said_zone(bus: EventBus, *, host_id: str, timezone: str, now: datetime) -> None:
    """Note that the host has another time zone now, by which its schedules run; raises NotFound."""
    with changes():
        if hosts.get(host_id).timezone == timezone:
            return
        Host.update(timezone=timezone).where(Host.id == host_id).execute()
        verdicts.refresh(bus, host_id=host_id, now=now)
        publish_after_commit(bus, HostChanged(host_id))


def gone(bus: EventBus, *, host_id: str, connected_at: datetime, now: datetime) -> None:
    """Note that a connection ended, unless a newer one took its place."""
    with changes():
        ended = Host.update(connected_at=None).where(Host.id == host_id, Host.connected_at == connected_at).execute()
        if ended:
            publish_after_commit(bus, HostChanged(host_id))


def nobody_is_connected() -> None:
    """At start no socket is open, whatever the last run left behind."""
    with changes():
        Host.update(connected_at=None).where(Host.connected_at.is_null(False)).execute()


def applied(bus: EventBus, *, host_id: str, report: ScheduleAck, now: datetime) -> None:
    """Note which configuration and which schedules the agent applied; a version of 0 says nothing of its kind."""
    with changes():
        host = hosts.get(host_id)
        is_about_schedules = _is_about_schedules(host, report)
        if report.problem:
            actor = Actor(kind="host", name=host.name, id=host_id)
            action = "host.schedules_refused" if is_about_schedules else "host.config_refused"
            audit.record(actor, action, now=now, kind="host", id=host_id, name=host.name, problem=report.problem)
        values: dict[str, object] = {}
        if report.config_version or not is_about_schedules:
            values["config_applied"] = report.config_version
        if report.schedule_version:
            values["schedule_applied"] = report.schedule_version
        if report.schedule_version == host.schedule_version:
            values["schedule_problem"] = ""
        elif is_about_schedules and report.problem:
            values["schedule_problem"] = report.problem
        changed = {name: value for name, value in values.items() if value != getattr(host, name)}
        if changed:
            Host.update(changed).where(Host.id == host_id).execute()
            publish_after_commit(bus, HostChanged(host_id))


def _is_about_schedules(host: Host, report: ScheduleAck) -> bool:
    if report.schedule_version or report.config_version:
        return report.schedule_version != 0
    # The agent has neither yet and refused one of them: the schedules, if its configuration is in place.
    return bool(report.problem) and FEATURE in host.features and host.config_applied == host.config_version
