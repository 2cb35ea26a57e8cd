"""Named queries about releases, and about whom this server and its hosts trust for them."""

import json
from functools import lru_cache
from typing import Any

from peewee import fn

from rm.errors import NotFound
from rm.shared.minisign import PublicKey
from rm.shared.release import Artifact, pick
from rm.store.database import db
from rm.store.models import Host, Keyset, Release, Setting

ROOT_KEYS = "release_root_keys"
CHANGES = "release_changes"


def find(release_id: str) -> Release | None:
    return Release.get_or_none(Release.id == release_id)


def get(release_id: str) -> Release:
    """The release; raises NotFound."""
    found = find(release_id)
    if found is None:
        raise NotFound(
            "There is no such release.", code="no_release", help="Settings → Updates lists what was imported."
        )
    return found


def current() -> Release | None:
    """The release that hosts are to run; None until one is promoted, or when that one was withdrawn."""
    return Release.get_or_none(Release.is_current, Release.withdrawn_at.is_null())


def list_all() -> list[Release]:
    """All that were imported, the highest sequence first."""
    return list(Release.select().order_by(Release.seq.desc(), Release.imported_at.desc()))


def list_named(name: str) -> list[Release]:
    """Those with this version, this id, or an id that begins so (8 digits or more)."""
    matching = (Release.version == name) | (Release.id == name)
    if len(name) >= 8:
        matching |= Release.id.startswith(name)
    return list(Release.select().where(matching).order_by(Release.seq.desc()))


def find_by_seq(seq: int) -> Release | None:
    return Release.get_or_none(Release.seq == seq)


def list_above(seq: int) -> list[Release]:
    """Those with a higher sequence."""
    return list(Release.select().where(Release.seq > seq))


def was_any_promoted() -> bool:
    return Release.select().where(Release.promoted_at.is_null(False)).exists()


def highest_promoted_seq() -> int:
    """The highest sequence that hosts were ever to run; 0 before the first."""
    return Release.select(fn.MAX(Release.seq)).where(Release.promoted_at.is_null(False)).scalar() or 0


def artifacts_of(release: Release) -> tuple[Artifact, ...]:
    return tuple(Artifact(**one) for one in release.artifacts)


def artifact_for(release: Release, os: str, arch: str) -> Artifact | None:
    """The release's artifact for a platform, or the one for any."""
    return pick(artifacts_of(release), os, arch)


def find_artifact(sha256: str) -> Artifact | None:
    """The artifact with these bytes, if a release that may be handed out has it."""
    for release in Release.select().where(Release.withdrawn_at.is_null()).order_by(Release.seq.desc()):
        for artifact in artifacts_of(release):
            if artifact.sha256 == sha256:
                return artifact
    return None


# ---- trust ----


def newest_keyset() -> Keyset | None:
    return Keyset.select().order_by(Keyset.version.desc()).first()


def root_keys() -> tuple[PublicKey, ...]:
    """The root keys that are pinned; none before the first import."""
    stored = db.execute_sql("SELECT value FROM settings WHERE name = ?", (ROOT_KEYS,)).fetchone()
    return _parsed(stored[0]) if stored else ()


@lru_cache(maxsize=2)
def _parsed(stored: str) -> tuple[PublicKey, ...]:
    return tuple(PublicKey.parse(text) for text in json.loads(stored))


def trust() -> dict[str, Any]:
    """Whom a host that enrols now is to trust. Quick to read: it goes out with each configuration."""
    (newest,) = db.execute_sql("SELECT coalesce(max(version), 0) FROM keysets").fetchone()
    return {"root_keys": [key.text for key in root_keys()], "keyset_version": newest}


# ---- changes that another process made ----


def mark() -> tuple[str, str]:
    """What differs after each change of a release, and what differs after each change of the root keys."""
    found = dict(Setting.select(Setting.name, Setting.value).where(Setting.name.in_([CHANGES, ROOT_KEYS])).tuples())
    return found.get(CHANGES, ""), found.get(ROOT_KEYS, "")


# ---- hosts ----


def count_hosts_by_release() -> list[tuple[str, int, int]]:
    """(version, sequence, hosts) of what hosts run, the highest sequence first; revoked hosts do not count."""
    rows = (
        Host.select(Host.agent_version, Host.agent_seq, fn.COUNT(Host.id))
        .where(Host.revoked_at.is_null())
        .group_by(Host.agent_version, Host.agent_seq)
        .order_by(Host.agent_seq.desc(), Host.agent_version)
    )
    return list(rows.tuples())


def count_hosts_to_reinstall() -> int:
    """Hosts that are not revoked: each pinned the root keys it was told first."""
    return Host.select().where(Host.revoked_at.is_null()).count()


def list_connected_host_ids() -> list[str]:
    return [
        row[0]
        for row in Host.select(Host.id).where(Host.revoked_at.is_null(), Host.connected_at.is_null(False)).tuples()
    ]
