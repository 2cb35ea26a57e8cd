"""Planning a fleet update, and starting it when the fleet still is what the plan says."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rm.domain import fleet_plan as rules
from rm.domain.actors import Actor
from rm.domain.fleet_options import Options, parse_options
from rm.domain.fleet_plan import Candidate, Plan
from rm.errors import Conflict, Invalid
from rm.events import EventBus, FleetUpdateChanged
from rm.services import fleet_records as records
from rm.services.own_machine import own_hosts
from rm.shared.ids import new_ulid
from rm.store import fleet_updates, releases, updates
from rm.store.database import changes, publish_after_commit
from rm.store.models import FleetUpdate, FleetUpdateHost, Host, Release

PLANS_KEPT = 20


def preview(options: Mapping[str, Any], *, now: datetime) -> Plan:
    """What a fleet update with these options would do; nothing is stored. Raises Invalid or Conflict."""
    return _plan(parse_options(options), _current_release(), now=now)


def plan(bus: EventBus, *, options: Mapping[str, Any], actor: Actor, now: datetime) -> FleetUpdate:
    """A stored plan that can be started; only the newest are kept. Raises Invalid or Conflict (no_release)."""
    chosen = parse_options(options)
    with changes():
        release = _current_release()
        found = FleetUpdate.create(
            id=new_ulid(), state="planned", release=release.id, to_version=release.version, to_seq=release.seq,
            options=chosen.as_json(), created_by=actor.name, created_at=now,
        )  # fmt: skip
        _write_plan(found, _plan(chosen, release, now=now), now=now)
        records.note(found, "fleet.planned", "Planned.", now=now, actor=actor)
        old = fleet_updates.list_old_plans(keep=PLANS_KEPT)
        FleetUpdate.delete().where(FleetUpdate.id.in_(old)).execute()
        publish_after_commit(bus, FleetUpdateChanged(found.id))
        return fleet_updates.get(found.id)


def differences(fleet_update_id: str, *, now: datetime) -> list[str]:
    """What has changed in the fleet since this plan was made, a sentence each; empty when nothing has."""
    return _compared(fleet_updates.get(fleet_update_id), now=now)[1]


def start(
    bus: EventBus, *, fleet_update_id: str, actor: Actor, now: datetime, accepts_changes: bool = False
) -> FleetUpdate:
    """Begin. Raises Conflict: `active`, `over`, or `plan_changed` unless the fleet as it is now is accepted."""
    with changes():
        found = fleet_updates.get(fleet_update_id)
        if found.state != "planned":
            raise Conflict(f"It was started before; it is {records.said(found)}.", code="over")
        active = fleet_updates.find_open()
        if active is not None:
            raise Conflict(
                f"A fleet update to {active.to_version} is {records.said(active)} already.", code="active",
                help="Wait for its end, or cancel it. One goes at a time.",
            )  # fmt: skip
        release = _current_release()
        now_planned, changed = _compared(found, now=now)
        if changed and not accepts_changes:
            raise Conflict(
                f"The fleet changed since the plan was made: {' '.join(changed[:5])}", code="plan_changed",
                help="Look at the new plan, and start that.",
            )  # fmt: skip
        if release.id != found.release_id:
            FleetUpdate.update(release=release.id, to_version=release.version, to_seq=release.seq).where(
                FleetUpdate.id == found.id
            ).execute()
            found = fleet_updates.get(found.id)
        FleetUpdateHost.delete().where(FleetUpdateHost.fleet_update == found.id).execute()
        _write_plan(found, now_planned, now=now)
        for sentence in changed[:50]:
            records.note(found, "plan.changed", sentence, now=now, actor=actor)
        to_update = len(now_planned.to_update)
        records.move(
            bus, found, before=("planned",), after="running", now=now, actor=actor, action="started",
            options=found.options, hosts=to_update,
        )  # fmt: skip
        return fleet_updates.get(found.id)


def begin(bus: EventBus, *, options: Mapping[str, Any], actor: Actor, now: datetime) -> FleetUpdate:
    """Plan and start at once: both or neither. Raises as `plan` and `start` do."""
    with changes():
        found = plan(bus, options=options, actor=actor, now=now)
        return start(bus, fleet_update_id=found.id, actor=actor, now=now)


# ---- parts ------------------------------------------------------------------------------------------


def _current_release() -> Release:
    release = releases.current()
    if release is None:
        raise Conflict(
            "No release is current.", code="no_release",
            help="Import one and make it current in Settings → Updates.",
        )  # fmt: skip
    return release


def _plan(options: Options, release: Release, *, now: datetime) -> Plan:
    found = fleet_updates.list_candidates(tags=options.tags, host_ids=options.host_ids)
    _check_names(options, found)
    found = [host for host in found if host.revoked_at is None or host.id in options.host_ids]
    verdicts = updates.verdicts(found, release, now=now)
    own = own_hosts(found)
    return rules.plan(
        [
            Candidate(
                host_id=host.id, name=host.name, verdict=verdicts[host.id].word, reason=verdicts[host.id].reason,
                os=host.os, arch=host.arch, init=host.init, restic_version=host.restic_version or "",
                is_servers_own=host.id in own,
            )
            for host in found
        ],
        options,
    )  # fmt: skip


def _check_names(options: Options, found: Sequence[Host]) -> None:
    known = {host.id for host in found}
    problems = {}
    strange_tags = set(options.tags) - fleet_updates.known_tags(options.tags)
    if strange_tags:
        problems["tags"] = f"No host has the tag {', '.join(sorted(strange_tags)[:5])}."
    strange = [host_id for host_id in options.host_ids if host_id not in known]
    if strange:
        with_tags = " with these tags" if options.tags else ""
        problems["host_ids"] = f"There is no such host{with_tags}: {', '.join(strange[:5])}."
    if options.server_host_id and options.server_host_id not in known:
        problems["server_host_id"] = "It is not among the chosen hosts."
    if problems:
        raise Invalid(problems)


def _write_plan(found: FleetUpdate, planned: Plan, *, now: datetime) -> None:
    rows = [
        {
            "fleet_update": found.id, "host": place.host_id, "position": place.position, "wave": place.wave,
            "verdict": place.verdict, "reason": place.reason, "changed_at": now,
            "state": "waiting" if place.is_to_update else "excluded",
        }
        for place in planned.places
    ]  # fmt: skip
    for at in range(0, len(rows), 500):
        FleetUpdateHost.insert_many(rows[at : at + 500]).execute()
    FleetUpdate.update(estimate_seconds=planned.estimate_seconds).where(FleetUpdate.id == found.id).execute()


def _compared(found: FleetUpdate, *, now: datetime) -> tuple[Plan, list[str]]:
    release = _current_release()
    planned = _plan(parse_options(found.options), release, now=now)
    before = {row.host_id: (row.host.name, row.verdict) for row in fleet_updates.list_hosts(found.id)}
    changed = []
    if release.id != found.release_id:
        changed.append(f"The current release is {release.version} now, not {found.to_version}.")
    for place in planned.places:
        if place.host_id not in before:
            changed.append(f"{place.name} is new: {_verdict_words(place.verdict)}.")
        else:
            was = before.pop(place.host_id)[1]
            # who went offline or came back is handled on the way, whatever the plan said
            if was != place.verdict and not {was, place.verdict} <= set(rules.TO_UPDATE):
                changed.append(f"{place.name}: {_verdict_words(was)} then, {_verdict_words(place.verdict)} now.")
    changed += [f"{name} is gone." for name, _ in before.values()]
    return planned, changed


def _verdict_words(verdict: str) -> str:
    return "to be updated" if verdict in rules.TO_UPDATE else verdict.replace("_", " ")
