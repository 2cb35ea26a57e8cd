"""Signing in through the provider: the way there and the way back."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import PUBLIC, allows
from rm.errors import NotFound
from rm.runtime import runtime
from rm.services import oidc as service
from rm.services.oidc_client import CALLBACK, Provider
from rm.services.oidc_refusals import SignInRefused
from rm.web import accounts, context, security
from rm.web.layout import page

blueprint = Blueprint("oidc", __name__)


@blueprint.app_context_processor
def offer() -> dict[str, str]:
    """What the sign-in page calls the provider; empty without one."""
    provider = runtime().oidc
    return {"sign_in_provider": provider.client.label if provider else ""}


@blueprint.get("/login/oidc")
@allows(PUBLIC)
def ask() -> AnyResponse:
    """To the sign-in page: another site's link must not begin a sign-in."""
    return security.redirect_to(security.login_path(security.same_site_path(request.args.get("next"))))


@blueprint.post("/login/oidc")
@allows(PUBLIC)
def begin() -> AnyResponse:
    """A page that goes on to the provider by itself.

    Not a redirect: browsers hold the answer to a form against form-action, which names this site only.
    """
    parts, provider = runtime(), _provider()
    try:
        begun = service.begin(
            parts.vault, provider, next_path=security.same_site_path(request.form.get("next")),
            address=request.remote_addr or "", now=context.now(), limits=parts.limits, offload=parts.offload,
        )  # fmt: skip
    except SignInRefused as error:
        return _refused(error)
    response = page("accounts/going_on.html", url=begun.url)
    lifetime = int(service.LOGIN_LIFETIME.total_seconds())
    security.set_cookie(response, security.browser_cookie(), begun.browser_token, max_age=lifetime)
    return response


@blueprint.get(CALLBACK)
@allows(PUBLIC)
def come_back() -> AnyResponse:
    """The browser is back from the provider: signed in and sent on, or told why not."""
    parts, provider = runtime(), _provider()
    answer = service.Answer(
        state=request.args.get("state", ""),
        code=request.args.get("code", ""),
        error=request.args.get("error", ""),
        issuer=request.args.get("iss"),
    )
    try:
        arrived = service.finish(
            parts.bus, parts.vault, provider, answer=answer,
            browser_token=request.cookies.get(security.browser_cookie(), "")[: security.MAX_TOKEN],
            address=request.remote_addr or "", user_agent=accounts.user_agent(), now=context.now(),
            limits=parts.limits, offload=parts.offload, replaces=security.session_token(),
        )  # fmt: skip
    except SignInRefused as error:
        response: AnyResponse = _refused(error)
    else:
        # Kept as a path of this site when it was asked for; looked at again, because a row is no proof.
        response = accounts.let_in(arrived.signed_in, security.same_site_path(arrived.next_path))
        security.clear_cookie(response, security.browser_cookie())
    return response


def _provider() -> Provider:
    provider = runtime().oidc
    if provider is None:
        raise NotFound("There is no sign-in through a provider here.", help="Sign in with your name and password.")
    return provider


def _refused(error: SignInRefused) -> Response:
    return page("accounts/refused.html", status=error.status, message=error.message, help=error.help)
