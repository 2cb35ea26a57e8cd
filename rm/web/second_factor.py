"""One's own second factor: setting it up with a QR code, recovery codes, switching it off."""

import io
from urllib.parse import urlsplit

import segno
from flask import Blueprint, Response, request
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Conflict, Invalid, TooMany
from rm.runtime import runtime
from rm.services import second_factor
from rm.store import users as stored
from rm.web import context, own_account, security
from rm.web.layout import go, page

blueprint = Blueprint("second_factor", __name__)

PAGE = "/settings/account/second-factor"
CODES_PAGE = "/settings/account/recovery-codes"
CODES_COOKIE = "rm_new_codes"
SHOWN_WITHIN_SECONDS = 120


@blueprint.post(f"{PAGE}/begin")
@allows("account.edit")
def begin() -> AnyResponse:
    """Make a secret, for whoever knows the password."""
    parts, actor = runtime(), context.actor()
    try:
        second_factor.begin(
            parts.vault, user_id=actor.id, password=request.form.get("factor_password", ""), actor=actor,
            now=context.now(), limits=parts.limits, offload=parts.offload,
        )  # fmt: skip
    except (Invalid, Conflict, TooMany) as error:
        return own_account.refused(_beside(error, {"password": "factor_password"}), "factor_password")
    return go(PAGE)


@blueprint.get(PAGE)
@allows("account.edit")
def show() -> AnyResponse:
    """The secret that waits for its first code, as a picture and as text; without one, back to the account."""
    try:
        return _set_up("")
    except Conflict:
        return security.redirect_to(own_account.PAGE)


@blueprint.post(PAGE)
@allows("account.edit")
def confirm() -> AnyResponse:
    """Switch the second factor on with its first code."""
    parts, actor = runtime(), context.actor()
    try:
        codes = second_factor.confirm(
            parts.bus, parts.vault, user_id=actor.id, code=request.form.get("code", ""),
            session_token=security.session_token(), actor=actor, now=context.now(), limits=parts.limits,
        )  # fmt: skip
    except Invalid as error:
        return _set_up(error.fields["code"], status=422)
    except TooMany as error:
        response = _set_up(error.message, status=429)
        response.headers["Retry-After"] = str(error.retry_after_seconds)
        return response
    except Conflict:
        return go(own_account.PAGE)
    return _show_once(codes)


@blueprint.get(CODES_PAGE)
@allows("account.edit")
def show_codes() -> AnyResponse:
    """The recovery codes that were made a moment ago, this once."""
    codes = [code for code in request.cookies.get(CODES_COOKIE, "").split(".") if code]
    if not codes:
        return go(own_account.PAGE)
    response = page("users/recovery_codes.html", section="settings", codes=codes[: second_factor.RECOVERY_CODES])
    response.delete_cookie(
        CODES_COOKIE, path=CODES_PAGE, httponly=True, samesite="Lax", secure=security.is_secure()
    )  # fmt: skip
    return response


@blueprint.post(CODES_PAGE)
@allows("account.edit")
def renew_codes() -> AnyResponse:
    """Fresh recovery codes; all earlier ones end."""
    parts, actor = runtime(), context.actor()
    try:
        codes = second_factor.renew_codes(
            parts.vault, user_id=actor.id, code=request.form.get("renew_code", ""), actor=actor, now=context.now(),
            limits=parts.limits,
        )  # fmt: skip
    except (Invalid, Conflict, TooMany) as error:
        return own_account.refused(_beside(error, {"code": "renew_code"}), "renew_code")
    return _show_once(codes)


@blueprint.post(f"{PAGE}/off")
@allows("account.edit")
def switch_off() -> AnyResponse:
    """Sign in with the password alone from now on."""
    parts, actor = runtime(), context.actor()
    try:
        second_factor.switch_off(
            parts.bus, parts.vault, user_id=actor.id, password=request.form.get("off_password", ""),
            code=request.form.get("off_code", ""), actor=actor, now=context.now(), limits=parts.limits,
            offload=parts.offload,
        )  # fmt: skip
    except (Invalid, Conflict, TooMany) as error:
        return own_account.refused(_beside(error, {"password": "off_password", "code": "off_code"}), "off_code")
    return go(own_account.PAGE, "second_factor_off")


def qr_code(text: str) -> Markup:
    """A QR code as SVG without style or script, dark on light in every theme."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, svgns=False, border=4, scale=5, dark="#000", light="#fff", omitsize=True,
        svgclass="qr", lineclass=None,
    )  # fmt: skip
    return Markup(out.getvalue().decode())  # noqa: S704 - segno writes numbers and the colours above, nothing of `text`


def _set_up(error: str, *, status: int = 200) -> Response:
    parts = runtime()
    person = stored.get(context.actor().id)
    secret = second_factor.pending_secret(parts.vault, person)
    server = urlsplit(parts.settings.base_url).netloc
    address = second_factor.address_of(secret, username=person.username, server=server)
    return page(
        "users/second_factor.html", status=status, section="settings", qr=qr_code(address), error=error,
        secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
    )  # fmt: skip


def _show_once(codes: list[str]) -> AnyResponse:
    response = go(CODES_PAGE)
    response.set_cookie(
        CODES_COOKIE, ".".join(codes), max_age=SHOWN_WITHIN_SECONDS, path=CODES_PAGE, httponly=True, samesite="Lax",
        secure=security.is_secure(),
    )  # fmt: skip
    return response


def _beside(error: Invalid | Conflict | TooMany, names: dict[str, str]) -> Invalid | Conflict | TooMany:
    if isinstance(error, Invalid):
        return Invalid({names.get(field, field): problem for field, problem in error.fields.items()}, error.message)
    return error
