"""Settings → Fleet update before the start: the dry run, the plan that was kept, and what is past."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain.fleet_options import parse_options
from rm.domain.fleet_plan import TO_UPDATE, WILL_UPDATE, Place, Plan, platform_words
from rm.errors import Conflict, Invalid
from rm.services import fleet_updates as service
from rm.shared.words import counted
from rm.store import fleet_updates, hosts, releases
from rm.store.models import FleetUpdate, Host, Release
from rm.web import filters, fleet_update_form, fleet_update_words
from rm.web.fleet_update_form import Form
from rm.web.fleet_update_words import VERDICTS, wave_word

PATH = "/settings/fleet-update"
LINES_SHOWN = 100
PAST_SHOWN = 10
CHANGES_SHOWN = 20
# What a plan has no state for yet, as the ticks draw it.
TICKED_AS = {"will_update": "waiting", "offline": "passed_over"}


@dataclass(frozen=True)
class PlanLine:
    """One host of a plan."""

    host: Host
    kind: str
    word: str
    why: str
    new: str
    order: str


@dataclass(frozen=True)
class PlanGroup:
    """The hosts of a wave, or those that are left out."""

    word: str
    note: str
    lines: list[PlanLine]


@dataclass(frozen=True)
class Past:
    """A fleet update that is over."""

    update: FleetUpdate
    kind: str
    word: str
    counted: str


def preview_values(form: Form, *, now: datetime, page: int, may_manage: bool) -> dict[str, Any]:
    """The dry run with these options, and the form that they came from."""
    release, active = releases.current(), fleet_updates.find_open()
    found: dict[str, Any] = {
        "form": form, "release": release, "active": active, "path": PATH, "past": past(), "plan": None,
        "may_manage": may_manage, "active_said": active_words(active) if active is not None else "",
    }  # fmt: skip
    if release is None:
        return found
    try:
        plan = service.preview(form.options.as_json(), now=now)
    except Invalid as error:
        return found | {"form": form.with_errors(error.fields)}
    except Conflict as error:
        return found | {"problem": f"{error.message} {error.help}".strip()}
    pages = {
        "previous": form.url(PATH, page=page - 1 if page > 2 else "") if page > 1 else "",
        "next": form.url(PATH, page=page + 1) if page * LINES_SHOWN < len(plan.places) else "",
    }
    return found | _plan_values(
        plan.places, release.version, form.options.max_in_flight, plan.estimate_seconds, page=page, pages=pages
    ) | {
        "plan": plan,
        "said": sentence(plan.places, release),
        "suggestion": _suggestion(form, plan),
        "uncovered": plan.uncovered,
    }  # fmt: skip


def planned_values(found: FleetUpdate, *, now: datetime, page: int) -> dict[str, Any]:
    """The plan that was kept, and how the fleet differs from it by now."""
    path = f"{PATH}/{found.id}"
    places = [
        Place(row.host_id, row.host.name, row.verdict, row.reason, row.wave, row.position)
        for row in fleet_updates.list_hosts(found.id)
    ]
    options = parse_options(found.options)
    pages = {
        "previous": f"{path}?page={page - 1}" if page > 1 else "",
        "next": f"{path}?page={page + 1}" if page * LINES_SHOWN < len(places) else "",
    }
    changes, problem = _changes(found, now)
    active = fleet_updates.find_open()
    return _plan_values(
        places, found.to_version, options.max_in_flight, found.estimate_seconds, page=page, pages=pages
    ) | {
        "update": found,
        "path": path,
        "said": sentence(places, found.release),
        "order_words": fleet_update_words.order_words(found.options),
        "policy_words": fleet_update_words.policy_words(found.options),
        "options": options,
        "changes": changes[:CHANGES_SHOWN],
        "more_changes": max(0, len(changes) - CHANGES_SHOWN),
        "changes_mark": changes_mark(found.id, now=now),
        "problem": problem,
        "active": active,
        "first": next((place.name for place in places if place.verdict == WILL_UPDATE), ""),
        "again": fleet_update_form.from_options(options).url(PATH),
    }  # fmt: skip


def changes_mark(fleet_update_id: str, *, now: datetime) -> str:
    """Stands for the changes that a page showed, so that only those are accepted."""
    changes, _ = _changes(fleet_updates.get(fleet_update_id), now)
    return hashlib.sha256("\n".join(changes).encode()).hexdigest()[:16] if changes else ""


def _changes(found: FleetUpdate, now: datetime) -> tuple[list[str], str]:
    try:
        return service.differences(found.id, now=now), ""
    except (Conflict, Invalid) as error:
        said = "; ".join(error.fields.values()) if isinstance(error, Invalid) else f"{error.message} {error.help}"
        return [], said.strip()


def active_words(active: FleetUpdate) -> str:
    """One sentence about the fleet update that is not over."""
    counts = fleet_updates.counts(active.id)
    done, total = counts.get("succeeded", 0), fleet_update_words.in_scope(counts)
    word = fleet_update_words.STATES[active.state][1].lower()
    return f"The fleet update to {active.to_version} is {word}: {done:,} of {counted(total, 'host')} updated."


def past(*, limit: int = PAST_SHOWN, before_id: str | None = None) -> list[Past]:
    """The fleet updates that are over, the newest first."""
    found = fleet_updates.list_past(limit=limit, before_id=before_id)
    return [
        Past(one, *fleet_update_words.STATES[one.state], fleet_update_words.counted_words(fleet_updates.counts(one.id)))
        for one in found
    ]


def sentence(places: Sequence[Place], release: Release) -> dict[str, str]:
    """What the plan comes to."""
    verdicts = Counter(place.verdict for place in places)
    ready, asleep = verdicts[WILL_UPDATE], verdicts["offline"]
    total = len(places)
    if not total:
        return {"text": "There is no host to update.", "more": "Add a host, or choose other tags."}
    if not ready and not asleep:
        return {"text": f"No host can move to agent {release.version} now.", "more": _left_out(verdicts)}
    text = f"{ready:,} of {counted(total, 'host')} can move to agent {release.version}. Nothing has started."
    more = []
    if asleep:
        more.append(
            f"{counted(asleep, 'more host')} {'is' if asleep == 1 else 'are'} offline and "
            f"{'follows when it returns' if asleep == 1 else 'follow when they return'}."
        )
    return {"text": text, "more": " ".join([*more, _left_out(verdicts)]).strip()}


def _left_out(verdicts: Counter[str]) -> str:
    said = [
        f"{count:,} {VERDICTS[verdict][1].lower()}"
        for verdict, count in verdicts.most_common()
        if verdict not in TO_UPDATE
    ]
    return f"Left out: {', '.join(said)}." if said else ""


def _plan_values(
    places: Sequence[Place], version: str, at_once: int, estimate_seconds: int, *, page: int, pages: dict[str, str]
) -> dict[str, Any]:  # fmt: skip
    counts = Counter((place.wave, TICKED_AS.get(place.verdict, "excluded")) for place in places)
    waves, hosts_a_tick = fleet_update_words.waves(
        [(wave, state, count) for (wave, state), count in sorted(counts.items())], is_plan=True
    )
    shown = places[(page - 1) * LINES_SHOWN : page * LINES_SHOWN]
    to_update = sum(1 for place in places if place.is_to_update)
    left_out = len(places) - to_update
    parts = [f"{to_update:,} update", f"{left_out:,} left out" if left_out else ""]
    parts.append(f"about {filters.duration(estimate_seconds)}" if to_update else "")
    first, last = (page - 1) * LINES_SHOWN + 1, min(page * LINES_SHOWN, len(places))
    said = f"{counted(len(places), 'host')}, in their order"
    return {
        "waves": waves,
        "hosts_a_tick": hosts_a_tick,
        "counted": " · ".join(part for part in parts if part),
        "groups": _groups(shown, places, version, at_once),
        "to_update": to_update,
        "pager": {
            "said": f"{first:,} to {last:,} of {said}" if len(places) > LINES_SHOWN else said,
            "previous": pages["previous"], "previous_word": "Previous", "next": pages["next"], "next_word": "Next",
        },
    }  # fmt: skip


def _groups(shown: Sequence[Place], places: Sequence[Place], version: str, at_once: int) -> list[PlanGroup]:
    known = {host.id: host for host in hosts.list_by_ids(place.host_id for place in shown)}
    sizes = Counter(place.wave for place in places)
    numbers = set(sizes)
    found: list[PlanGroup] = []
    for place in shown:
        host = known.get(place.host_id)
        if host is None:
            continue
        word = wave_word(place.wave, numbers) or ("Left out" if place.wave < 0 else "All hosts")
        if not found or found[-1].word != word:
            size = sizes[place.wave]
            note = counted(size, "host")
            if place.wave >= 0 and size > 1:
                note += f", {'one' if at_once == 1 else at_once} at a time"
            found.append(PlanGroup(word, note, []))
        kind, verdict = VERDICTS.get(place.verdict, ("skip", place.verdict))
        platform = platform_words((host.os, host.arch, host.init, host.restic_version or ""))
        why = platform if place.verdict == WILL_UPDATE else place.reason
        order = str(place.position + 1) if place.is_to_update else ""
        found[-1].lines.append(PlanLine(host, kind, verdict, why, version if place.is_to_update else "", order))
    return found


def _suggestion(form: Form, plan: Plan) -> dict[str, str] | None:
    found = plan.suggestion
    if found is None:
        return None
    shares = fleet_update_form.wave_text(found.waves)
    return {
        "text": f"One canary of each platform, then waves of {shares} and the rest, {found.max_in_flight} at a time: "
        f"about {filters.duration(found.estimate_seconds)} instead of {filters.duration(plan.estimate_seconds)}.",
        "href": form.url(PATH, canaries=found.canaries, waves=shares, max_in_flight=found.max_in_flight),
    }  # fmt: skip
