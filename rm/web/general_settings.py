"""Settings → General: the server's name, its address, and what new things begin with."""

import os
import re
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.config import Settings
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import base_url_check, general_settings
from rm.services.base_url_check import Finding
from rm.services.general_settings import General
from rm.web import context, retention_form
from rm.web.layout import go, page

blueprint = Blueprint("general_settings", __name__)

PATH = "/settings/general"
_DECIMAL = re.compile(r"[0-9]{1,2}(\.[0-9]{1,2})?", re.ASCII)
MODES = (("always_on", "Always on"), ("intermittent", "Intermittent"))


@blueprint.get(PATH)
@allows("settings.view")
def show() -> Response:
    """All of them."""
    return _page()


@blueprint.post(PATH)
@allows("settings.edit")
def save() -> AnyResponse:
    """Changed settings."""
    typed = {name: request.form.get(name, "").strip() for name in vars(General())}
    numbers = {name: _whole(typed[name]) for name in ("session_hours", "intermittent_days")}
    factor = typed["late_factor"]
    numbers["late_factor"] = float(factor) if _DECIMAL.fullmatch(factor) else 0
    wanted = General(**(typed | numbers))  # type: ignore[arg-type]
    try:
        general_settings.save(runtime().bus, wanted=wanted, actor=context.actor(), now=context.now())
    except Invalid as error:
        return _page(typed=typed, fields=error.fields, status=422)
    return go(PATH, "settings_saved")


@blueprint.post(f"{PATH}/check-base-url")
@allows("settings.edit")
def check_base_url() -> Response:
    """Ask whether the base URL leads here, and show what came of it."""
    context.spend_call()
    return _page(finding=base_url_check.check(runtime().settings.base_url))


def _whole(text: str) -> float:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _page(
    *, typed: dict[str, str] | None = None, fields: dict[str, str] | None = None, finding: Finding | None = None,
    status: int = 200,
) -> Response:  # fmt: skip
    settings = runtime().settings
    return page(
        "settings/general.html", status=status, section="settings",
        texts=typed or {name: _text(value) for name, value in vars(general_settings.current()).items()},
        wrong=fields or {}, modes=MODES, address=_address(settings, finding),
        retentions=[(preset.key, f"{preset.name}: {preset.words}") for preset in retention_form.PRESETS],
    )  # fmt: skip


def _address(settings: Settings, finding: Finding | None) -> dict[str, Any]:
    used = f"{request.scheme}://{request.host}"
    return {
        "base_url": settings.base_url,
        "is_set": bool(os.environ.get("RM_BASE_URL")),
        "used": used,
        "is_same": used == settings.base_url,
        "finding": finding,
    }
