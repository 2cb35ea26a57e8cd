"""Looking into snapshots: which host can be asked, the question, and an answer that is safe to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain import snapshots as rules
from rm.errors import Conflict, HostOffline, Invalid, NotFound, RmError, Unavailable
from rm.services.agents import Agents
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import BrowseResult, CommandBrowse
from rm.store import hosts, repositories, snapshots, token_scope
from rm.store.models import Host, Repository, Snapshot

# Less than a browser or a proxy waits before it gives up by itself.
ASK_SECONDS = 25
PAGE_SIZE = 200
MAX_PAGE = 500
TYPES = ("file", "dir", "symlink")

OFFLINE = "offline"
TOO_OLD = "too_old"
REVOKED = "revoked"


@dataclass(frozen=True)
class Place:
    """A snapshot, and from where it is looked at: a host of which it is, or its repository's page.

    With `tags` only hosts that have one of them are asked.
    """

    repository: Repository
    snapshot: Snapshot
    host: Host | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Helper:
    """A host that uses the repository; `why_not` is empty if it can be asked now."""

    host: Host
    is_owner: bool
    why_not: str = ""


@dataclass(frozen=True)
class Entry:
    """A file, folder or other thing in a snapshot, as a host told."""

    name: str
    path: str
    type: str
    size: int | None = None
    mtime: datetime | None = None
    mode: str = ""
    target: str = ""
    is_selectable: bool = True


@dataclass(frozen=True)
class Folder:
    """A part of a folder's entries, and which host told them."""

    path: str
    entries: list[Entry]
    total: int
    offset: int
    through: Host


@dataclass(frozen=True)
class Found:
    """What a search found; `is_cut` if there is more."""

    entries: list[Entry]
    is_cut: bool
    through: Host


@dataclass(frozen=True)
class Sizes:
    """How much is to be restored; at least so much if `is_cut`. `missing` are paths that are not in the snapshot."""

    files: int
    bytes: int
    through: Host
    is_cut: bool = False
    missing: tuple[str, ...] = ()


class NobodyAnswers(HostOffline):
    """No host that could answer is connected; `helpers` are those that use the repository, with the reason."""

    code = "nobody_answers"

    def __init__(self, helpers: Sequence[Helper]) -> None:
        self.helpers = list(helpers)
        if not self.helpers:
            text, help = "No host uses this repository any more.", "Let a host use it, on the repository's page."
        elif any(helper.why_not == TOO_OLD for helper in self.helpers):
            text = "No connected host can look into this snapshot: the agents there are too old."
            help = "Update the agent of one of the repository's hosts."
        else:
            text = "No host that uses this repository is connected."
            help = "Try again once one of them is back."
        super().__init__(text, help=help)


def place_on_host(host_id: str, snapshot_id: str) -> Place:
    """A snapshot of this host, in its own repository; raises NotFound."""
    host = hosts.get(host_id)
    if host.repository_id is None:
        raise NotFound("This host has no repository.", help="Its snapshots are on their repository's page.")
    snapshot = snapshots.get(host.repository_id, snapshot_id, hostname=host.hostname)
    return Place(repositories.get(host.repository_id), snapshot, host)


def place_in_repository(repository_id: str, snapshot_id: str) -> Place:
    """Any snapshot of this repository; raises NotFound."""
    repository = repositories.get(repository_id)
    return Place(repository, snapshots.get(repository_id, snapshot_id))


def is_owner(place: Place, host: Host) -> bool:
    """Whether a snapshot is a host's own: on a host's page that one's, else that of the host with its hostname."""
    return host.id == place.host.id if place.host is not None else host.hostname == place.snapshot.hostname


def helpers(agents: Agents, place: Place, *, feature: str = "browse") -> list[Helper]:
    """The hosts that use the repository: the snapshot's own first, then those that can be asked, by name."""
    users = hosts.list_for_repository(place.repository.id)
    if place.tags:
        within = token_scope.those_within(place.tags, [host.id for host in users])
        users = [host for host in users if host.id in within]
    found = [Helper(host, is_owner(place, host), _why_not(agents, host, feature)) for host in users]
    return sorted(found, key=lambda helper: (not helper.is_owner, bool(helper.why_not), helper.host.name))


def list_folder(agents: Agents, place: Place, *, path: str, offset: int = 0, limit: int = PAGE_SIZE) -> Folder:
    """The entries of a folder, folders first. Raises Invalid, NotFound, Conflict, HostOffline or Unavailable."""
    if problem := rules.path_problem(path):
        raise Invalid({"path": problem}, problem)
    wanted = {"path": path, "offset": max(0, offset), "limit": max(1, min(limit, MAX_PAGE))}
    answer, through = _ask(agents, place, "ls", wanted)
    entries = _entries(answer.data, folder=path)
    total = _whole(answer.data.get("total"))
    return Folder(path, entries, max(total or 0, offset + len(entries)), offset, through)


def search(agents: Agents, place: Place, *, text: str, limit: int = PAGE_SIZE) -> Found:
    """What has this text in its name. Raises as list_folder does."""
    if not text.strip() or len(text) > rules.MAX_TEXT:
        words = f"Write what the name contains, at most {rules.MAX_TEXT} characters."
        raise Invalid({"text": words}, words)
    answer, through = _ask(agents, place, "find", {"text": text.strip(), "limit": max(1, min(limit, MAX_PAGE))})
    return Found(_entries(answer.data, folder=""), answer.data.get("is_cut") is True, through)


def measure(agents: Agents, place: Place, *, paths: Sequence[str]) -> Sizes:
    """How much these paths are, or the whole snapshot. Raises as list_folder does."""
    if problem := rules.paths_problem(paths):
        raise Invalid({"paths": problem}, problem)
    answer, through = _ask(agents, place, "sizes", {"paths": list(paths)})
    files, size = _whole(answer.data.get("files")), _whole(answer.data.get("bytes"))
    if files is None or size is None:
        raise Unavailable(f"{through.name} answered something that cannot be read.", code="garbled")
    told = answer.data.get("missing")
    missing = tuple(path for path in told[:10] if isinstance(path, str)) if isinstance(told, list) else ()
    return Sizes(files, size, through, answer.data.get("is_cut") is True, missing)


def _ask(agents: Agents, place: Place, query: str, parameters: dict[str, Any]) -> tuple[BrowseResult, Host]:
    """The answer of the first host that gives one; a second is tried where the first is busy or just vanished."""
    known = helpers(agents, place)
    able = [helper.host for helper in known if not helper.why_not]
    if not able:
        raise NobodyAnswers(known)
    carried = {"snapshot_id": place.snapshot.id} | parameters
    problem: RmError | None = None
    for host in able[:2]:
        question = CommandBrowse(
            request_id=new_ulid(), query=query, repository_id=place.repository.id, parameters=carried
        )
        try:
            answer = agents.ask(host.id, question, timeout_seconds=ASK_SECONDS)
        except HostOffline as error:
            problem = HostOffline(f"{host.name}: {error.message}", code=error.code, help=error.help)
            if error.code == "no_answer":
                break
            continue
        if answer.ok:
            return answer, host
        problem = _refusal(answer, host)
        if answer.reason != "busy":
            break
    if problem is None:
        raise NobodyAnswers(known)
    raise problem


_HELP = {
    "snapshot_gone": "List the snapshots again to see what there is.",
    "path_gone": "Go to the folder above it.",
    "busy": "Ask again in a moment.",
    "timeout": "The repository may be slow from there. Ask again; what was read already makes it quicker.",
    "unsupported": "Update the agent of this host.",
    "wrong_password": "Set the right password on the repository's page.",
    "unreachable": "Check the network between the host and the repository, then test it on the repository's page.",
    "repository_changed": "Look at the repository's page: is the right disk mounted, is the location right?",
    "not_configured": "The host gets the repository's settings as soon as it is connected. Ask again then.",
}


def _refusal(answer: BrowseResult, host: Host) -> RmError:
    reason = answer.reason or "failed"
    text = answer.message or f"{host.name} could not look into the snapshot."
    kinds: dict[str, type[RmError]] = {"snapshot_gone": NotFound, "path_gone": NotFound, "timeout": HostOffline}
    return kinds.get(reason, Conflict)(text, code=reason, help=_HELP.get(reason, ""))


def _why_not(agents: Agents, host: Host, feature: str) -> str:
    if host.revoked_at is not None:
        return REVOKED
    if not agents.is_connected(host.id):
        return OFFLINE
    return "" if feature in host.features else TOO_OLD


def _entries(data: dict[str, Any], *, folder: str) -> list[Entry]:
    """What a host told, with anything that is not what it should be left out."""
    told = data.get("entries")
    found = (
        [_entry(item, folder) for item in told[:MAX_PAGE] if isinstance(item, dict)] if isinstance(told, list) else []
    )
    return [entry for entry in found if entry is not None]


def _entry(item: dict[str, Any], folder: str) -> Entry | None:
    path, name, kind = item.get("path"), item.get("name"), item.get("type")
    if not isinstance(path, str) or not path:
        path = rules.joined(folder, name) if folder and isinstance(name, str) and name else ""
    if not path or rules.path_problem(path):
        return None
    return Entry(
        name=name if isinstance(name, str) and name else path.rpartition("/")[2],
        path=path,
        type=kind if kind in TYPES else "other",
        size=_whole(item.get("size")),
        mtime=_instant(item.get("mtime")),
        mode=str(item.get("mode") or "")[:20],
        target=str(item.get("target") or "")[: rules.MAX_PATH],
        is_selectable=item.get("selectable") is not False,
    )


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= 2**63 else None


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return instants.from_text(value)
    except ValueError:
        return None
