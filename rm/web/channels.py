"""Settings → Notifications: channels, their delivery logs, and the sign of life."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.notices import Notice
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import channels as service
from rm.services import dead_man, delivery_tries, general_settings, sending
from rm.services.channel_forms import ChannelForm
from rm.shared.ids import new_ulid
from rm.store import channels
from rm.web import channel_view, context, security
from rm.web.channel_view import PATH
from rm.web.layout import go, page

blueprint = Blueprint("channels", __name__)

SECRET_COOKIE = "rm_new_secret"
SHOWN_WITHIN_SECONDS = 120


@blueprint.get(PATH)
@allows("channels.manage")
def index() -> Response:
    """Every channel, and where the sign of life goes."""
    return _list()


@blueprint.get(f"{PATH}/new")
@allows("channels.manage")
def new() -> Response:
    """The form for a channel."""
    kind = "webhook" if request.args.get("kind") == "webhook" else "apprise"
    return _form(None, channel_view.form_values(ChannelForm(name="", kind=kind)), {})


@blueprint.post(f"{PATH}/new")
@allows("channels.manage")
def create() -> AnyResponse:
    """Keep a channel; a webhook's secret is shown on the next page, once."""
    parts, wanted = runtime(), _typed()
    try:
        context.spend_call()
        made, secret = service.create(
            parts.bus, parts.vault, form=wanted, actor=context.actor(), now=context.now()
        )  # fmt: skip
    except Invalid as error:
        return _form(None, channel_view.form_values(wanted), error.fields, status=422)
    return _show_once(made.id, secret) if secret else go(f"{PATH}/{made.id}", "channel_saved")


@blueprint.get(f"{PATH}/<channel_id>")
@allows("channels.manage")
def show(channel_id: str) -> Response:
    """A channel: what it hears, how it stands, what went through it."""
    found = channels.get(channel_id)
    secret = request.cookies.get(SECRET_COOKIE, "")
    response = page(
        "channels/show.html", section="settings", secret=secret,
        **channel_view.channel_values(found, page=context.page_number()),
    )  # fmt: skip
    if secret:
        response.delete_cookie(
            SECRET_COOKIE, path=f"{PATH}/{channel_id}", httponly=True, samesite="Lax", secure=security.is_secure()
        )
    return response


@blueprint.get(f"{PATH}/<channel_id>/edit")
@allows("channels.manage")
def edit(channel_id: str) -> Response:
    """The form with what is stored; the URL itself never comes back."""
    found = channels.get(channel_id)
    return _form(channel_id, channel_view.form_values(found), {})


@blueprint.post(f"{PATH}/<channel_id>/edit")
@allows("channels.manage")
def change(channel_id: str) -> AnyResponse:
    """Change it; a blank URL stays as it is."""
    parts, wanted = runtime(), _typed()
    try:
        context.spend_call()
        service.change(
            parts.bus, parts.vault, channel_id=channel_id, form=wanted, actor=context.actor(), now=context.now()
        )
    except Invalid as error:
        return _form(channel_id, channel_view.form_values(wanted), error.fields, status=422)
    return go(f"{PATH}/{channel_id}", "channel_saved")


@blueprint.post(f"{PATH}/<channel_id>/test")
@allows("channels.manage")
def test(channel_id: str) -> AnyResponse:
    """Send a test now and say how it went."""
    parts, found, now = runtime(), channels.get(channel_id), context.now()
    context.spend_call()
    delivery_id = new_ulid()
    link = f"{parts.settings.base_url}{PATH}/{channel_id}"
    notice = Notice(
        event="test", severity="warning", title="Test", at=now, link=link,
        server=general_settings.current().shown_name,
    )  # fmt: skip
    outcome = sending.send(parts.vault, channel=found, delivery_id=delivery_id, notice=notice, now=now)
    service.keep_test(
        parts.bus, channel_id=channel_id, delivery_id=delivery_id, is_ok=outcome.is_ok, reason=outcome.reason,
        actor=context.actor(), now=parts.clock(),
    )  # fmt: skip
    return go(f"{PATH}/{channel_id}", "channel_test_arrived" if outcome.is_ok else "channel_test_failed")


@blueprint.get(f"{PATH}/<channel_id>/secret")
@allows("channels.manage")
def ask_secret(channel_id: str) -> Response:
    """The question before a webhook gets a new secret."""
    found = channels.get(channel_id)
    points = [
        "What is sent from then on is signed with the new secret.",
        "The new secret is shown once, on the next page.",
    ]
    return page(
        "shared/confirm.html", section="settings", title=f"Replace the secret of {found.name}", points=points, typed="",
        error="", action=f"{PATH}/{channel_id}/secret", verb="Replace secret", back=f"{PATH}/{channel_id}",
    )  # fmt: skip


@blueprint.post(f"{PATH}/<channel_id>/secret")
@allows("channels.manage")
def replace_secret(channel_id: str) -> AnyResponse:
    """Give it a new secret and show that once."""
    parts = runtime()
    secret = service.replace_secret(
        parts.bus, parts.vault, channel_id=channel_id, actor=context.actor(), now=context.now()
    )
    return _show_once(channel_id, secret)


@blueprint.get(f"{PATH}/<channel_id>/remove")
@allows("channels.manage")
def ask_remove(channel_id: str) -> Response:
    """The question before it."""
    found = channels.get(channel_id)
    points = ["Nothing is sent through it any more, also what waits.", "Its delivery log goes with it."]
    return page(
        "shared/confirm.html", section="settings", title=f"Remove {found.name}", points=points, typed="", error="",
        action=f"{PATH}/{channel_id}/remove", verb="Remove channel", back=f"{PATH}/{channel_id}",
    )  # fmt: skip


@blueprint.post(f"{PATH}/<channel_id>/remove")
@allows("channels.manage")
def remove(channel_id: str) -> AnyResponse:
    """Remove it."""
    service.remove(runtime().bus, channel_id=channel_id, actor=context.actor(), now=context.now())
    return go(PATH, "channel_removed")


@blueprint.post(f"{PATH}/deliveries/<delivery_id>/retry")
@allows("channels.manage")
def retry(delivery_id: str) -> AnyResponse:
    """Try a delivery again at once."""
    context.spend_call()
    found = delivery_tries.retry_now(
        runtime().bus, delivery_id=delivery_id, actor=context.actor(), now=context.now()
    )  # fmt: skip
    return go(f"{PATH}/{found.channel_id}", "delivery_retried")


@blueprint.post(f"{PATH}/sign-of-life")
@allows("channels.manage")
def save_dead_man() -> AnyResponse:
    """Set where the sign of life goes."""
    form = request.form
    typed = {"ping_url": "", "minutes": form.get("minutes", "")}
    try:
        dead_man.save(
            runtime().vault, url=form.get("ping_url", ""), minutes=typed["minutes"], actor=context.actor(),
            now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        return _list(ping=typed, fields=error.fields, status=422)
    return go(f"{PATH}#sign-of-life", "dead_man_saved")


@blueprint.post(f"{PATH}/sign-of-life/ping")
@allows("channels.manage")
def ping_dead_man() -> AnyResponse:
    """Send one now, and say how it went."""
    context.spend_call()
    outcome = dead_man.ping_now(runtime().vault, actor=context.actor(), clock=runtime().clock)
    return go(f"{PATH}#sign-of-life", "dead_man_answered" if outcome.is_ok else "dead_man_failed")


@blueprint.get(f"{PATH}/sign-of-life/remove")
@allows("channels.manage")
def ask_remove_dead_man() -> Response:
    """The question before it."""
    points = ["The watchdog will miss it and tell people, unless it is switched off there first."]
    return page(
        "shared/confirm.html", section="settings", title="Send no sign of life any more", points=points, typed="",
        error="", action=f"{PATH}/sign-of-life/remove", verb="Send none", back=PATH,
    )  # fmt: skip


@blueprint.post(f"{PATH}/sign-of-life/remove")
@allows("channels.manage")
def remove_dead_man() -> AnyResponse:
    """Send none any more."""
    dead_man.remove(actor=context.actor(), now=context.now())
    return go(PATH, "dead_man_removed")


def _show_once(channel_id: str, secret: str) -> AnyResponse:
    path = f"{PATH}/{channel_id}"
    response = security.redirect_to(path)
    # As with enrolment tokens: read once, on that page only, and in no address.
    response.set_cookie(
        SECRET_COOKIE, secret, max_age=SHOWN_WITHIN_SECONDS, path=path, httponly=True, samesite="Lax",
        secure=security.is_secure(),
    )  # fmt: skip
    return response


def _typed() -> ChannelForm:
    form = request.form
    return ChannelForm(
        name=form.get("name", ""), kind=form.get("kind", "apprise"), url=form.get("url", ""),
        is_enabled=form.get("is_enabled") == "yes", min_severity=form.get("min_severity", "warning"),
        kinds=form.getlist("kinds"), tags=form.get("tags", "").split(","),
        tells_acknowledged=form.get("tells_acknowledged") == "yes", tells_resolved=form.get("tells_resolved") == "yes",
    )  # fmt: skip


def _list(*, ping: dict[str, str] | None = None, fields: dict[str, str] | None = None, status: int = 200) -> Response:
    values = channel_view.list_values(context.now(), ping=ping, fields=fields)
    return page("channels/list.html", status=status, section="settings", **values)


def _form(channel_id: str | None, values: dict[str, object], fields: dict[str, str], *, status: int = 200) -> Response:
    channel = channels.get(channel_id) if channel_id else None
    return page(
        "channels/form.html", status=status, section="settings", channel=channel, values=values, fields=fields,
        alert_kinds=channel_view.alert_kinds(), examples=channel_view.EXAMPLES,
    )  # fmt: skip
