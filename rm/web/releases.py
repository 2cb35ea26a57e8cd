"""Settings → Updates: which releases this server holds, and which one hosts are to run."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import releases as service
from rm.store import releases
from rm.web import context, release_view
from rm.web.layout import go, page

blueprint = Blueprint("releases", __name__)

PATH = "/settings/updates"


@blueprint.get(PATH)
@allows("settings.view")
def index() -> Response:
    """Releases, keys, and what hosts run."""
    return page("releases/list.html", section="settings", **release_view.values(now=context.now()))


@blueprint.get(f"{PATH}/<release_id>/promote")
@allows("releases.promote")
def ask_promote(release_id: str) -> Response:
    """The question before it, for browsers without dialogs."""
    return _confirm(release_id)


@blueprint.post(f"{PATH}/<release_id>/promote")
@allows("releases.promote")
def promote(release_id: str) -> AnyResponse:
    """Make a release the current one; an older one with the reason that was given."""
    reason = request.form.get("reason", "")
    try:
        service.promote(
            runtime().bus, release_id=release_id, actor=context.actor(), now=context.now(),
            force="reason" in request.form, reason=reason,
        )  # fmt: skip
    except Invalid as error:
        return _confirm(release_id, error.fields.get("reason", error.message), status=422)
    return go(PATH, "release_promoted")


def _confirm(release_id: str, error: str = "", *, status: int = 200) -> Response:
    question = release_view.promotion(releases.get(release_id), error=error)
    return page(
        "shared/confirm.html", status=status, section="settings", typed="", error="", back=PATH, **question
    )  # fmt: skip
