"""The desired set of a host's source groups and schedules: its version, and what its agent is sent."""

from datetime import datetime

from rm.errors import Invalid
from rm.events import EventBus, HostChanged, HostScheduleChanged
from rm.services import verdicts
from rm.shared import protocol
from rm.shared.protocol import ScheduleSet, ScheduleSpec, SourceGroupSpec
from rm.store import hosts, repositories, schedules, source_groups
from rm.store.database import publish_after_commit
from rm.store.models import Host, Repository, SourceGroup
from rm.store.vault import Vault

MAX_BYTES = 900_000
FEATURE = "schedules"
"""The word in hello.features of an agent that runs schedules."""


def changed(bus: EventBus, *, host_id: str, now: datetime) -> None:
    """Raise the wanted version; call it inside the transaction of what changed."""
    Host.update(schedule_version=Host.schedule_version + 1).where(Host.id == host_id).execute()
    publish_after_commit(bus, HostScheduleChanged(host_id), HostChanged(host_id))


def changed_at_repository(bus: EventBus, *, repository_id: str, now: datetime) -> None:
    """Raise the wanted version of every host that uses a repository; its identity is part of what they are sent."""
    for host in hosts.list_for_repository(repository_id):
        changed(bus, host_id=host.id, now=now)


def settle(bus: EventBus, vault: Vault, *, host_id: str, field: str, now: datetime) -> None:
    """End a change of a host's groups or schedules: it must fit, be sent, and be judged. Raises Invalid for `field`."""
    check_size(vault, host_id=host_id, field=field)
    changed(bus, host_id=host_id, now=now)
    verdicts.refresh(bus, host_id=host_id, now=now)


def wanted(vault: Vault, *, host_id: str) -> ScheduleSet:
    """The full set of a host with its shell texts opened; raises NotFound or UnsealError.

    A host without a repository has groups but no schedules: its runs could only fail.
    """
    host = hosts.get(host_id)
    repository = repositories.find(host.repository_id)
    groups = [
        _with_shell(vault, group, spec(group, repository=repository)) for group in source_groups.list_for_host(host_id)
    ]
    runs = schedules.groups_by_schedule(host_id) if host.repository_id else {}
    planned = [
        ScheduleSpec(
            id=one.id,
            cron=one.cron,
            every_minutes=one.every_minutes,
            jitter_seconds=one.jitter_seconds,
            is_enabled=one.is_enabled,
            source_groups=[group.name for group in runs[one.id]],
        )
        for one in schedules.list_for_host(host_id)
        if one.id in runs
    ]
    return ScheduleSet(version=host.schedule_version, groups=groups, schedules=planned)


def news(vault: Vault, *, host_id: str, known_version: int) -> ScheduleSet | None:
    """The set, unless the agent has this version or cannot run schedules; raises NotFound or UnsealError."""
    host = hosts.get(host_id)
    if FEATURE not in host.features or host.schedule_version == known_version:
        return None
    return wanted(vault, host_id=host_id)


def spec(group: SourceGroup, *, repository: Repository | None) -> SourceGroupSpec:
    """How to back up a group into this repository, without its shell texts."""
    return SourceGroupSpec(
        name=group.name,
        repository_id=repository.id if repository is not None else "",
        restic_repository_id=(repository.restic_repository_id or "") if repository is not None else "",
        includes=group.includes,
        excludes=group.excludes,
        one_file_system=group.one_file_system,
        exclude_caches=group.exclude_caches,
        tags=group.tags,
        mode=group.mode,
        retries=group.retries,
        retry_minutes=group.retry_minutes,
        upload_kib_per_second=group.upload_kib,
        download_kib_per_second=group.download_kib,
        pre_hook=group.pre_hook,
        post_hook=group.post_hook,
        hook_seconds=group.hook_seconds,
    )


def check_size(vault: Vault, *, host_id: str, field: str) -> None:
    """Raise Invalid for `field` when the host's set would not fit into one message."""
    try:
        size = len(protocol.encode(wanted(vault, host_id=host_id)).encode())
    except protocol.ProtocolError:
        size = MAX_BYTES + 1
    if size > MAX_BYTES:
        raise Invalid(
            {
                field: f"All groups and schedules of a host together may take {MAX_BYTES // 1000} kB; with this they"
                " would take more. Shorten the lists of paths, or the hooks."
            }
        )


def shell_place(group_id: str, column: str) -> str:
    """Where the shell text of a group is sealed to; `column` is pre_shell or post_shell."""
    return f"source_groups:{group_id}:{column}"


def _with_shell(vault: Vault, group: SourceGroup, found: SourceGroupSpec) -> SourceGroupSpec:
    texts = {
        column: vault.unseal(sealed, place=shell_place(group.id, column)) if sealed is not None else ""
        for column, sealed in (("pre_shell", group.pre_shell_sealed), ("post_shell", group.post_shell_sealed))
    }
    return SourceGroupSpec(**vars(found) | texts)
