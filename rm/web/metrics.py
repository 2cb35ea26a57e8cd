"""Settings → Metrics: who may scrape, how, and what every figure means."""

from urllib.parse import urlsplit

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.figures import SECTIONS
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import metrics_access
from rm.web import context, security
from rm.web.layout import go, page

blueprint = Blueprint("metrics_settings", __name__)

PATH = "/settings/metrics"
TOKEN_COOKIE = "rm_new_metrics_token"
SHOWN_WITHIN_SECONDS = 120
TOKEN_FILE = "/etc/prometheus/restic-manager.token"
END_POINTS = (
    "Whoever scrapes with it is refused from the next scrape on.",
    "RM_METRICS_TOKEN and RM_METRICS_TRUSTED_CIDR stay as they are set.",
)


@blueprint.get(PATH)
@allows("settings.view")
def index() -> Response:
    """How to scrape, who may, who did last, and the list of figures; a fresh token is shown this once."""
    parts = runtime()
    access, plain = metrics_access.find(parts.settings), request.cookies.get(TOKEN_COOKIE, "")
    response = page(
        "settings/metrics.html", section="settings", access=access, sections=SECTIONS, plain_token=plain,
        token_file=TOKEN_FILE, last=parts.scrapes.last, last_refused=parts.scrapes.last_refused,
        scrape_config=scrape_config(parts.settings.base_url, wants_token=access.wants_token),
    )  # fmt: skip
    if plain:
        response.delete_cookie(TOKEN_COOKIE, path=PATH, httponly=True, samesite="Lax", secure=security.is_secure())
    return response


@blueprint.post(f"{PATH}/token")
@allows("settings.edit")
def make_token() -> AnyResponse:
    """Make a token in place of the one before, and show it once."""
    plain = metrics_access.make_token(actor=context.actor(), now=context.now())
    response = go(PATH, "metrics_token_made")
    # A secret in an address would stay in histories and logs; this cookie is read once, on that page only.
    response.set_cookie(
        TOKEN_COOKIE, plain, max_age=SHOWN_WITHIN_SECONDS, path=PATH, httponly=True, samesite="Lax",
        secure=security.is_secure(),
    )  # fmt: skip
    return response


@blueprint.get(f"{PATH}/token/end")
@allows("settings.edit")
def ask_end_token() -> Response:
    """The question before it."""
    return page(
        "shared/confirm.html", section="settings", title="End the token for metrics", action=f"{PATH}/token/end",
        verb="End token", points=END_POINTS, typed="", error="", back=PATH, ask={"keep": "Keep it"},
    )  # fmt: skip


@blueprint.post(f"{PATH}/token/end")
@allows("settings.edit")
def end_token() -> AnyResponse:
    """End the token that was made here."""
    ended = metrics_access.end_token(actor=context.actor(), now=context.now())
    return go(PATH, "metrics_token_ended" if ended else None)


def scrape_config(base_url: str, *, wants_token: bool) -> str:
    """What goes into Prometheus' configuration for this server."""
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    lines = [
        "scrape_configs:",
        "  - job_name: restic-manager",
        f"    scheme: {parts.scheme}",
        "    metrics_path: /metrics",
        "    scrape_interval: 60s",
    ]
    if wants_token:
        lines += ["    authorization:", "      type: Bearer", f"      credentials_file: {TOKEN_FILE}"]
    lines += ["    static_configs:", f'      - targets: ["{host}:{port}"]']
    return "\n".join(lines)
