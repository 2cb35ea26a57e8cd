"""What a token for some hosts may see and touch: every name of a thing in a request is looked up here, or refused."""

from collections.abc import Mapping
from typing import Any

from rm.domain.jobs import NAMING_SNAPSHOTS
from rm.errors import Forbidden, NotFound
from rm.store import token_scope

HOSTS = ("host_id", "from_host_id")
SNAPSHOTS = ("snapshot_id", "snapshot_a", "snapshot_b")
REFERENCES = (*HOSTS, "host_ids", "job_id", "repository_id", "alert_id", "incident_id", *SNAPSHOTS)
"""Names, in a path or a body, that say which thing is meant."""

WITHIN_HOST = frozenset({"group_id", "schedule_id", "source_group_id"})
"""Names of things that are looked up within the host that the path names."""

WORDS = frozenset({"kind"})
"""Names in a path that choose, and mean no thing."""


def refuse() -> Forbidden:
    """What a request gets that concerns more than some hosts."""
    return Forbidden(
        "This token is only for hosts with certain tags, and this concerns more than those.", code="out_of_scope",
        help="Use a token without tags, or ask for each host by itself.",
    )  # fmt: skip


def check(
    tags: tuple[str, ...], path: Mapping[str, str], body: Mapping[str, Any], *, is_change: bool, is_strict: bool
) -> None:
    """Raises NotFound for what is outside the scope; strict: Forbidden for a name in the path that nobody can judge.

    A repository that hosts outside the scope use too may be looked at, not changed, and so may an incident that is
    about hosts outside the scope too.
    """
    for name, value in path.items():
        is_judged = name in REFERENCES or name in WORDS or (name in WITHIN_HOST and "host_id" in path)
        if is_strict and not is_judged:
            raise refuse()
        _check_one(tags, name, value, path, is_change=is_change)
    for name, value in body.items():
        if name in REFERENCES:
            _check_one(tags, name, value, path, is_change=is_change)


def _check_one(tags: tuple[str, ...], name: str, value: Any, path: Mapping[str, str], *, is_change: bool) -> None:
    if name == "host_ids":
        is_in = isinstance(value, list) and token_scope.has_hosts(tags, [one for one in value if isinstance(one, str)])
        _want(is_in, "host")
    elif not isinstance(value, str) or not value:
        return
    elif name in HOSTS:
        _want(token_scope.has_hosts(tags, [value]), "host")
    elif name == "job_id":
        _want(token_scope.has_job(tags, value), "job")
    elif name == "alert_id":
        _want(token_scope.has_alert(tags, value), "alert")
    elif name == "incident_id":
        _want(token_scope.has_incident(tags, value), "incident")
        if is_change and not token_scope.owns_incident(tags, value):
            raise Forbidden(
                "This incident is also about others than the hosts that this token is for.", code="out_of_scope",
                help="Say it to each of its alerts, /api/v1/alerts/<id>, or use a token without tags.",
            )  # fmt: skip
    elif name == "repository_id":
        _want((token_scope.has_repository if is_change else token_scope.sees_repository)(tags, value), "repository")
    elif name in SNAPSHOTS:
        repository_id = path.get("repository_id") or token_scope.repository_of(path.get("host_id", ""))
        _want(repository_id is not None and token_scope.has_snapshot(tags, repository_id, value), "snapshot")


def check_log(tags: tuple[str, ...], *, kind: str, repository_id: str | None) -> None:
    """Raises Forbidden for the log of a job that may name snapshots of hosts outside the scope."""
    if kind in NAMING_SNAPSHOTS and repository_id is not None and not token_scope.has_repository(tags, repository_id):
        raise Forbidden(
            "This log may name snapshots of other hosts, which this token is not for, and which use the same"
            " repository.", code="out_of_scope", help="Use a token without tags.",
        )  # fmt: skip


def parts_of_incidents(tags: tuple[str, ...], incident_ids: list[str]) -> dict[str, token_scope.IncidentPart]:
    """What is in the scope of each of these incidents."""
    return token_scope.parts_of_incidents(tags, incident_ids)


def sees_repository(tags: tuple[str, ...], repository_id: str) -> bool:
    """Whether a host of the scope uses it."""
    return token_scope.sees_repository(tags, repository_id)


def within(tags: tuple[str, ...], host_ids: list[str]) -> set[str]:
    """Those of these hosts that are in the scope."""
    return token_scope.those_within(tags, host_ids)


def is_own_repository(tags: tuple[str, ...], repository_id: str) -> bool:
    """Whether hosts of the scope use it, and no others."""
    return token_scope.has_repository(tags, repository_id)


def check_own_repository(tags: tuple[str, ...], host_id: str) -> None:
    """Raises Forbidden when a host's repository is used by hosts outside the scope too."""
    repository_id = token_scope.repository_of(host_id)
    if repository_id is not None and not token_scope.has_repository(tags, repository_id):
        raise Forbidden(
            "Other hosts, which this token is not for, use this repository too.", code="out_of_scope",
            help="Use a token without tags.",
        )  # fmt: skip


def check_tags(tags: tuple[str, ...], wanted: list[str]) -> None:
    """Raises Forbidden unless a host with the wanted tags would be in the scope."""
    if not {tag.strip() for tag in wanted} & set(tags):
        raise Forbidden(
            f"This token is only for hosts with one of the tags {', '.join(tags)}.", code="out_of_scope",
            help="Name one of them, or use a token without tags.",
        )  # fmt: skip


def _want(is_in_scope: bool, what: str) -> None:
    if not is_in_scope:
        raise NotFound(f"There is no such {what}.")
