"""Templates for programs: keeping them, seeing what they would change, applying them."""

from dataclasses import asdict, replace
from typing import Any

from flask import Blueprint

from rm.api import caller, documents, schedules, source_groups
from rm.api.operations import FILTERED, OPEN, operation
from rm.api.shapes import page_of, ref
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import template_applying as applying
from rm.services import templates as service
from rm.services import token_scope
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm
from rm.services.source_groups import MAX_GROUPS
from rm.services.template_applying import Choice, HostPreview
from rm.services.template_forms import TemplateForm, form_of
from rm.shared.protocol import MAX_SCHEDULES
from rm.store import templates
from rm.store.models import Template

routes = Blueprint("api_templates", __name__, url_prefix="/api/v1/templates")


@routes.get("")
@allows("fleet.view")
@operation({200: page_of("Template")}, scope=OPEN)
def index() -> dict[str, Any]:
    """All templates."""
    return {"items": [_document(found) for found in templates.list_all()], "next": None}


@routes.get("/<template_id>")
@allows("fleet.view")
@operation({200: ref("TemplateWithHosts")}, scope=FILTERED)
def show(template_id: str) -> dict[str, Any]:
    """A template with the hosts that it was applied to; `drifts` says that a host differs from it now."""
    found = templates.get(template_id)
    seen = service.drifting(template_id)
    if caller.scope():
        shown = token_scope.within(caller.scope(), [host.id for host, _ in seen])
        seen = [one for one in seen if one[0].id in shown]
    hosts = [{"id": host.id, "name": host.name, "drifts": drifts} for host, drifts in seen]
    return _document(found) | {"hosts": hosts}


@routes.post("")
@allows("templates.edit")
@operation({201: ref("Template")}, body=ref("NewTemplate"))
def create() -> tuple[dict[str, Any], int]:
    """A new template: of `groups` and `schedules`, or of what the host `from_host_id` has."""
    parts = runtime()
    body = documents.body()
    name, from_host_id = documents.text(body, "name"), documents.text(body, "from_host_id", "")
    if from_host_id:
        found = service.save_from_host(
            parts.bus, host_id=from_host_id, name=name, description=documents.text(body, "description", ""),
            actor=caller.actor(), now=parts.clock(),
        )  # fmt: skip
    else:
        found = _save(None, _form(body, TemplateForm()))
    return _document(found), 201


@routes.put("/<template_id>")
@allows("templates.edit")
@operation({200: ref("Template")}, body=ref("TemplateForm"))
def change(template_id: str) -> dict[str, Any]:
    """A changed template; what the body does not name stays as it is, and so do hosts until it is applied again."""
    existing = templates.get(template_id)
    return _document(_save(template_id, _form(documents.body(), form_of(existing))))


@routes.delete("/<template_id>")
@allows("templates.edit")
@operation({204: ""})
def remove(template_id: str) -> tuple[str, int]:
    """Forget a template; what was made from it stays."""
    parts = runtime()
    service.remove(parts.bus, template_id=template_id, actor=caller.actor(), now=parts.clock())
    return "", 204


@routes.post("/<template_id>/preview")
@allows("templates.apply")
@operation(
    {200: ref("TemplatePreview")}, body=ref("TemplateQuestion"), scope=FILTERED, waits=True, fails_clean=True
)  # fmt: skip
def preview(template_id: str) -> dict[str, Any]:
    """What applying it to the hosts with this `tag`, or with these `host_ids`, would change; nothing changes yet."""
    body = documents.body()
    found = applying.preview(
        template_id=template_id, choice=_choice(body), actor=caller.actor(), now=runtime().clock(),
    )  # fmt: skip
    return {"version": templates.get(template_id).version, "hosts": [_preview(one) for one in found]}


@routes.post("/<template_id>/apply")
@allows("templates.apply")
@operation({200: ref("TemplateApplied")}, body=ref("TemplateOrder"), scope=FILTERED, waits=True)
def apply(template_id: str) -> dict[str, Any]:
    """Make these hosts as the template's `version` says; the version is the one that the preview named."""
    parts = runtime()
    body = documents.body()
    if "version" not in body:
        raise Invalid({"version": "Say which version you have looked at."})
    results = applying.apply(
        parts.bus,
        parts.vault,
        template_id=template_id,
        version=documents.whole(body, "version", 0),
        choice=_choice(body),
        actor=caller.actor(),
        now=parts.clock(),
    )
    return {"hosts": [asdict(one) for one in results]}


def _choice(body: dict[str, Any]) -> Choice:
    """The hosts that are meant; raises Forbidden for tags that are not of the caller's scope."""
    tag, is_differing = documents.text(body, "tag", ""), documents.flag(body, "differing", False)
    tags = [*documents.texts(body, "tags"), *([tag] if tag else [])]
    if caller.scope():
        for one in tags:
            token_scope.check_tags(caller.scope(), [one])
        if is_differing:
            raise token_scope.refuse()
    return Choice(tags=tags, host_ids=documents.texts(body, "host_ids"), is_differing=is_differing)


def _form(body: dict[str, Any], base: TemplateForm) -> TemplateForm:
    found: dict[str, Any] = {name: documents.text(body, name) for name in ("name", "description") if name in body}
    if "groups" in body:
        given = documents.objects(body, "groups", MAX_GROUPS)
        found["groups"] = [source_groups.form(one, SourceGroupForm()) for one in given]
    if "schedules" in body:
        given = documents.objects(body, "schedules", MAX_SCHEDULES)
        found["schedules"] = [schedules.form(one, ScheduleForm()) for one in given]
    return replace(base, **found)


def _save(template_id: str | None, wanted: TemplateForm) -> Template:
    parts = runtime()
    return service.save(
        parts.bus, template_id=template_id, form=wanted, actor=caller.actor(), now=parts.clock()
    )  # fmt: skip


def _document(found: Template) -> dict[str, Any]:
    """A template; its schedules name their groups."""
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "version": found.version,
        "groups": found.body["groups"],
        "schedules": found.body["schedules"],
        "changed_at": documents.instant(found.changed_at),
    }


def _preview(found: HostPreview) -> dict[str, Any]:
    changes = [
        {
            "kind": one.kind,
            "name": one.name,
            "what": one.what,
            "fields": [{"field": field.field, "old": field.old, "new": field.new} for field in one.fields],
        }
        for one in found.differences.changes
    ]
    return {
        "host_id": found.host.id,
        "host_name": found.host.name,
        "is_same": found.differences.is_same,
        "problem": found.problem or None,
        "is_looked_at": found.is_looked_at,
        "changes": changes,
        "left_alone": [{"kind": kind, "name": name} for kind, name in found.differences.beyond],
    }
