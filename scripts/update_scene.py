"""Twelve hosts in the middle of an update, for pictures: every phase of the card, every state of the fleet."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rm.store.models import Host
from tests import update_rows as rows
from tests.access.scene import add_host, add_repository

NAMES = (
    "build-2", "web-1", "web-2", "git-1", "mail-1", "db-1", "db-2", "nas-attic", "pos-lyon-1", "web-3", "laptop-mara",
    "vault-off-1",
)  # fmt: skip
PHASES = (
    ("web-1", "queued", "", {}),
    ("web-2", "running", "preflight", {"detail": "412 MiB free, guard 2, systemd restarts the agent"}),
    ("git-1", "running", "draining", {"detail": "backup of system, 62 %"}),
    ("mail-1", "running", "downloading", {"percent": 41.0, "detail": "1.2 of 2.9 MiB"}),
    ("db-1", "running", "selftest", {"detail": "restic 0.18.0, configuration readable"}),
    ("db-2", "running", "swapping", {}),
    ("nas-attic", "soaking", "soaking", {"is_proven": True}),
)  # fmt: skip
MORE_PHASES = (
    ("app-1", "running", "verifying", {"detail": "release 1.5.0, signature and hash"}),
    ("app-2", "running", "restarting", {}),
    ("app-3", "running", "trial", {}),
    ("app-4", "deferred", "draining", {"reason": "busy", "message": "app-4 put it off: its backup still runs."}),
)  # fmt: skip
ENDS = (
    ("build-2", "succeeded", "committed", {"is_proven": True, "message": "build-2 runs 1.5.0 and has kept it."}),
    ("pos-lyon-1", "refused", "preflight", {
        "reason": "guard_too_old", "failure_class": "host",
        "message": "pos-lyon-1 refused 1.5.0 and runs 1.4.0 as before. The guard on this host has version 1; "
        "the release needs 2.",
    }),
    ("web-3", "failed", "swapping", {
        "reason": "no_hello", "failure_class": "release", "is_provisional": True,
        "message": "web-3 did not say hello with 1.5.0 within 90 s of the swap.",
    }),
    ("laptop-mara", "rolled_back", "trial", {
        "reason": "boots", "failure_class": "release", "is_late": True,
        "message": "laptop-mara tried 1.5.0 and returned to 1.4.0. The third start ended with exit code 1.",
    }),
    ("vault-off-1", "succeeded", "committed", {
        "message": "vault-off-1 says that it runs 1.5.0; it does not say the hash of what runs.",
        "reason": "not_proven",
    }),
)  # fmt: skip


@dataclass
class UpdateScene:
    """Where things are in it."""

    hosts: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    fleet_id: str = ""


def add_hosts(now: datetime) -> UpdateScene:
    """Twelve hosts with 1.4.0, a release 1.5.0, and no update yet."""
    scene = UpdateScene()
    repository = add_repository("offsite", now=now)
    rows.add_release(now)
    for name in NAMES:
        scene.hosts[name] = add_host("ok", now=now, name=name, repository=repository)
        rows.run(scene.hosts[name], rows.OLD, now, is_online=name != "laptop-mara")
    # what its hostname says keeps it away when the server starts
    Host.update(hostname="offline").where(Host.id == scene.hosts["laptop-mara"]).execute()
    return scene


def cards(now: datetime) -> UpdateScene:
    """One card of each kind."""
    scene = add_hosts(now)
    repository = Host.get_by_id(scene.hosts["mail-1"]).repository_id
    for name, *_ in MORE_PHASES:
        scene.hosts[name] = add_host("ok", now=now, name=name, repository=repository)
        rows.run(scene.hosts[name], rows.OLD, now, is_online=True)
    for name, state, phase, fields in (*PHASES, *MORE_PHASES, *ENDS):
        if state == "deferred":
            fields = fields | {"retry_at": now + timedelta(minutes=10), "deadline_at": now + timedelta(minutes=10)}
        made = rows.attempt(scene.hosts[name], state, now, phase=phase, **fields)
        scene.jobs[name] = made.job_id
        if state == "succeeded":
            rows.run(scene.hosts[name], rows.NEW, now)
    Host.update(held_reason="waits for the new kernel").where(Host.id == scene.hosts["vault-off-1"]).execute()
    return scene


def fleet(state: str, now: datetime) -> UpdateScene:
    """A fleet update in this state, as far as it is with it."""
    scene = add_hosts(now)
    ids = scene.hosts
    done = ["build-2", "web-1", "git-1", "mail-1"] + (
        ["db-1", "db-2", "web-2"] if state not in ("running", "cancelling") else []
    )
    if state.startswith("completed"):
        done += ["nas-attic", "web-3"] + (["laptop-mara"] if state == "completed" else [])
    for name in done:
        rows.attempt(
            ids[name], "succeeded", now, phase="committed", is_proven=True, ago=timedelta(minutes=4),
            message=f"{name} runs 1.5.0 and has kept it.",
        )  # fmt: skip
        rows.run(ids[name], rows.NEW, now)
    rows.run(ids["vault-off-1"], rows.NEW, now)
    members = [(ids[name], "succeeded", 0 if name == "build-2" else 1) for name in done]
    fields: dict[str, object] = {}
    if state in ("running", "cancelling"):
        rows.attempt(ids["web-2"], "soaking", now, phase="soaking", is_proven=True, detail="3 of 3 heartbeats")
        rows.run(ids["web-2"], rows.NEW, now)
        members.append((ids["web-2"], "soaking", 1))
    if state == "halted":
        rows.attempt(
            ids["nas-attic"], "rolled_back", now, phase="trial", reason="boots", failure_class="release",
            message="nas-attic tried 1.5.0 and returned to 1.4.0. The third start ended with exit code 1.",
        )  # fmt: skip
        members.append((ids["nas-attic"], "failed", 2))
        fields = {
            "halted_host_id": ids["nas-attic"],
            "reason": "nas-attic: nas-attic tried 1.5.0 and returned to 1.4.0. The third start ended with exit code 1.",
        }
    if state == "cancelling":
        fields = {"reason": "Cancelled by alice: 1.5.1 is to come first."}
    if state == "paused":
        fields = {"reason": "Paused by alice: the network is being rebuilt."}
    taken = {host_id for host_id, _, _ in members}
    ended = state.startswith(("completed", "cancelled"))
    for name in NAMES[:-1]:
        if ids[name] not in taken:
            members.append((ids[name], "skipped" if ended else "waiting", 2))
    members.append((ids["vault-off-1"], "excluded", -1))
    scene.fleet_id = rows.fleet(state, now, members, **fields).id
    return scene
