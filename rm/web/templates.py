"""Templates: groups and schedules that many hosts share, and applying them."""

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import template_applying as applying
from rm.services import template_forms
from rm.services import templates as service
from rm.services.source_group_forms import SourceGroupForm
from rm.services.template_applying import Choice
from rm.services.template_forms import TemplateForm
from rm.store import host_list, hosts, templates
from rm.store.models import Host, Template
from rm.web import context, retention_form, source_group_fields, template_view
from rm.web.layout import go, page
from rm.web.security import redirect_to
from rm.web.source_group_fields import Hooks

blueprint = Blueprint("templates", __name__)

HOSTS_TO_PICK = 150
"""As many as an address can carry; for more there are tags."""
OUTCOMES_SHOWN = 100
REMOVE_POINTS = ("What was made from it stays on its hosts, and runs.", "They are not compared with it any more.")


@blueprint.get("/templates")
@allows("fleet.view")
def index() -> Response:
    """All templates."""
    found = [(one, *template_view.parts(one), len(templates.host_ids_using(one.id))) for one in templates.list_all()]
    return page("templates/list.html", section="fleet", found=found)


@blueprint.get("/templates/new")
@allows("templates.edit")
def new() -> Response:
    """The form of a new template: of a host's groups and schedules, or with a first group."""
    host_id = request.args.get("host", "")
    texts = source_group_fields.texts_of(SourceGroupForm(retention=retention_form.SUGGESTED.retention))
    return _new(hosts.get(host_id) if host_id else None, texts | {"template_name": "", "description": ""}, {})


@blueprint.post("/templates/new")
@allows("templates.edit")
def create() -> AnyResponse:
    """A new template."""
    texts = dict(request.form)
    host = hosts.get(texts["host"]) if texts.get("host") else None
    groups = []
    if host is None:
        try:
            groups = [source_group_fields.typed_for_template(texts, SourceGroupForm())]
        except Invalid as error:
            return _new(host, texts, error.fields, status=422)
    try:
        found = _made(host, texts, groups)
    except Invalid as error:
        return _new(host, texts, _renamed(error.fields), status=422)
    return go(f"/templates/{found.id}", "template_saved")


@blueprint.get("/templates/<template_id>")
@allows("fleet.view")
def show(template_id: str) -> Response:
    """What it holds, which hosts differ from it, and where to apply it."""
    return _show(template_id, Choice(), {})


@blueprint.get("/templates/<template_id>/edit")
@allows("templates.edit")
def edit(template_id: str) -> Response:
    """The form for its name and description."""
    found = templates.get(template_id)
    return _edit(template_id, {"template_name": found.name, "description": found.description}, {})


@blueprint.post("/templates/<template_id>/edit")
@allows("templates.edit")
def save(template_id: str) -> AnyResponse:
    """Change its name and description."""
    form = template_forms.form_of(templates.get(template_id))
    texts = dict(request.form)
    typed = TemplateForm(
        name=texts.get("template_name", ""), description=texts.get("description", ""), groups=form.groups,
        schedules=form.schedules,
    )  # fmt: skip
    try:
        service.save(runtime().bus, template_id=template_id, form=typed, actor=context.actor(), now=context.now())
    except Invalid as error:
        return _edit(template_id, texts, _renamed(error.fields), status=422)
    return go(f"/templates/{template_id}", "template_saved")


@blueprint.get("/templates/<template_id>/remove")
@allows("templates.edit")
def ask_remove(template_id: str) -> Response:
    """The question before removing, for browsers without dialogs."""
    found = templates.get(template_id)
    return page(
        "shared/confirm.html", section="fleet", title=f"Remove the template {found.name}",
        action=f"/templates/{template_id}/remove", verb="Remove template", points=REMOVE_POINTS, typed="", error="",
        back=f"/templates/{template_id}",
    )  # fmt: skip


@blueprint.post("/templates/<template_id>/remove")
@allows("templates.edit")
def remove(template_id: str) -> AnyResponse:
    """Forget a template."""
    service.remove(runtime().bus, template_id=template_id, actor=context.actor(), now=context.now())
    return go("/templates", "template_removed")


@blueprint.get("/templates/<template_id>/apply")
@allows("templates.apply")
def look(template_id: str) -> Response:
    """What applying would do to each of the chosen hosts."""
    choice = _choice(request.args)
    try:
        previews = applying.preview(
            template_id=template_id, choice=choice, actor=context.actor(), now=context.now()
        )  # fmt: skip
    except Invalid as error:
        return _show(template_id, choice, error.fields, status=422)
    found = template_view.outcomes(previews)
    return page(
        "templates/apply.html", section="fleet", template=templates.get(template_id), choice=choice,
        outcomes=found[:OUTCOMES_SHOWN], more_outcomes=max(0, len(found) - OUTCOMES_SHOWN), count=len(previews),
        changing=sum(len(one.hosts) for one in found if not one.is_same and not one.problem),
        unseen=sum(not one.is_looked_at for one in previews),
    )  # fmt: skip


@blueprint.post("/templates/<template_id>/apply")
@allows("templates.apply")
def apply(template_id: str) -> AnyResponse:
    """Apply the version that was looked at, and say what became of each host."""
    choice, version = _choice(request.form), request.form.get("version", "")
    try:
        results = applying.apply(
            runtime().bus, runtime().vault, template_id=template_id,
            version=int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0,
            choice=choice, actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        return _show(template_id, choice, error.fields, status=422)
    if all(one.outcome == "applied" for one in results):
        return go(f"/templates/{template_id}", "template_applied")
    return page(
        "templates/applied.html", section="fleet", template=templates.get(template_id),
        words=template_view.applied_words(results), results=results,
    )  # fmt: skip


@blueprint.get("/templates/<template_id>/hosts")
@allows("templates.apply")
def differing(template_id: str) -> AnyResponse:
    """The differences of the hosts that differ, so that applying puts them right."""
    is_any = any(differs for _, differs in service.drifting(template_id))
    return redirect_to(f"/templates/{template_id}/apply?differing=yes" if is_any else f"/templates/{template_id}")


def _choice(given: MultiDict[str, str]) -> Choice:
    """The tags and hosts that were ticked."""
    tags = [tag[:50] for tag in given.getlist("tag") if tag]
    return Choice(tags=tags, host_ids=given.getlist("hosts"), is_differing=given.get("differing") == "yes")


def _show(template_id: str, choice: Choice, fields: dict[str, str], *, status: int = 200) -> Response:
    found = templates.get(template_id)
    groups, planned = template_view.parts(found)
    made = service.drifting(template_id)
    ids, total = host_list.list_ids(now=context.now(), limit=HOSTS_TO_PICK)
    to_pick = sorted(hosts.list_by_ids(ids), key=lambda host: host.name)
    return page(
        "templates/show.html", status=status, section="fleet", template=found, groups=groups, planned=planned,
        made=made, differing=sum(differs for _, differs in made), tags=hosts.list_tags(), fields=fields, choice=choice,
        to_pick=[host for host in to_pick if host.revoked_at is None], more_hosts=max(0, total - HOSTS_TO_PICK),
        remove_points=REMOVE_POINTS,
    )  # fmt: skip


def _made(host: Host | None, texts: dict[str, str], groups: list[SourceGroupForm]) -> Template:
    name, description = texts.get("template_name", ""), texts.get("description", "")
    bus, actor, now = runtime().bus, context.actor(), context.now()
    if host is not None:
        return service.save_from_host(
            bus, host_id=host.id, name=name, description=description, actor=actor, now=now
        )  # fmt: skip
    form = TemplateForm(name=name, description=description, groups=groups)
    return service.save(bus, template_id=None, form=form, actor=actor, now=now)


def _new(host: Host | None, texts: dict[str, str], fields: dict[str, str], *, status: int = 200) -> Response:
    return page(
        "templates/new.html", status=status, section="fleet", host=host, values=texts, fields=fields,
        **source_group_fields.choices(texts, Hooks(may_edit=True)),
    )  # fmt: skip


def _edit(template_id: str, texts: dict[str, str], fields: dict[str, str], *, status: int = 200) -> Response:
    return page(
        "templates/edit.html", status=status, section="fleet", template=templates.get(template_id), values=texts,
        fields=fields,
    )  # fmt: skip


def _renamed(fields: dict[str, str]) -> dict[str, str]:
    """The service's `name` is the template's; the page has a group's field of that name."""
    return {("template_name" if name == "name" else name): problem for name, problem in fields.items()}
