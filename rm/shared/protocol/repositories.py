"""Repositories: where a host backs up to, what is known of them, and what is in them."""

from dataclasses import dataclass
from typing import Any

from rm.shared.fields import Anything, Flag, Instant, Listing, Optional, Record, Text, Ulid, Whole, field

MAX_SNAPSHOTS_PER_REPORT = 200


@dataclass(frozen=True, kw_only=True)
class RepositoryConfig:
    """Where a host backs up to; secret, kept in the agent's 0600 file."""

    id: str = field(Text(64))
    name: str = field(Text(200), default="")
    location: str = field(Text(2000), "as restic takes it")
    password: str = field(Text(1000))
    username: str = field(Text(300), "of the backend: rest-server user, access key id …", default="")
    secret: str = field(Text(1000), "of the backend: rest-server password, secret access key …", default="")
    maintenance_username: str = field(Text(300), "of a backend user that may delete; for prune", default="")
    maintenance_secret: str = field(Text(1000), default="")
    maintenance_location: str = field(
        Text(2000), "the same repository where deleting is allowed; empty: the same place", default=""
    )


@dataclass(frozen=True, kw_only=True)
class ConfigSet:
    """The full desired configuration of a host."""

    version: int = field(Whole())
    repositories: list[RepositoryConfig] = field(Listing(Record(RepositoryConfig), 16), default_factory=list)
    credential: str = field(
        Text(200), "new credential: store it together with the rest, then connect with it; empty: as before", default=""
    )
    trust: dict[str, Any] = field(
        Anything(),
        "root_keys[], keyset_version: whom to trust for releases; taken only by an agent that has no root key yet",
        default_factory=dict,
    )


@dataclass(frozen=True, kw_only=True)
class RepositoryStats:
    """What is known of a repository; null fields are left as they were."""

    repository_id: str = field(Text(64))
    restic_repository_id: str | None = field(Optional(Text(64)), "the id in restic's own config", default=None)
    total_bytes: int | None = field(Optional(Whole()), default=None)
    snapshot_count: int | None = field(Optional(Whole()), default=None)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One restic snapshot."""

    id: str = field(Text(64))
    time: str = field(Instant())
    hostname: str = field(Text(253), default="")
    username: str = field(Text(253), default="")
    paths: list[str] = field(Listing(Text(4096), 64), default_factory=list)
    tags: list[str] = field(Listing(Text(200), 32), default_factory=list)
    total_bytes: int | None = field(Optional(Whole()), default=None)
    total_files: int | None = field(Optional(Whole()), default=None)
    data_added: int | None = field(Optional(Whole()), default=None)
    utc_offset_minutes: int | None = field(
        Optional(Whole(-1440, 1440)), "of the time as restic recorded it; retention counts days by it", default=None
    )


@dataclass(frozen=True, kw_only=True)
class SnapshotsReport:
    """A part of a full list of snapshots; parts share `listing_id`, and the last replaces the list before."""

    repository_id: str = field(Text(64))
    listing_id: str = field(Ulid())
    taken_at: str = field(Instant())
    total: int = field(Whole(0, 10_000_000))
    part: int = field(Whole(0, 100_000), default=0)
    is_last: bool = field(Flag(), default=True)
    items: list[Snapshot] = field(Listing(Record(Snapshot), MAX_SNAPSHOTS_PER_REPORT), default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CommandBrowse:
    """A question that wants an answer now; answered by browse.result with the same request_id."""

    request_id: str = field(Ulid())
    query: str = field(
        Text(32),
        "test: can the repository be opened? ls: a directory of a snapshot; find: names in a snapshot;"
        " sizes: how much a selection holds",
    )
    repository_id: str = field(Text(64), default="")
    parameters: dict[str, Any] = field(Anything(), default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BrowseResult:
    """The answer to command.browse."""

    request_id: str = field(Ulid())
    ok: bool = field(Flag())
    reason: str = field(Text(64), default="")
    message: str = field(Text(2000), default="")
    data: dict[str, Any] = field(Anything(20_000), default_factory=dict)
