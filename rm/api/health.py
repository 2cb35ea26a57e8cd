"""/healthz: whether this server can do its work, and if not, why."""

from flask import Blueprint, current_app, request

from rm.domain.permissions import PUBLIC, allows
from rm.runtime import runtime
from rm.services import base_url_check, server_health

routes = Blueprint("health", __name__)


@routes.get("/healthz")
@allows(PUBLIC)
def healthz() -> tuple[dict[str, object], int]:
    """200 when database, writer and scheduler are well, else 503; the body says which is not."""
    parts = runtime()
    trouble = server_health.troubles(
        writer=parts.writer.trouble(), scheduler=current_app.extensions["rm_scheduler"].trouble(),
        is_stopping=parts.is_stopping,
    )  # fmt: skip
    is_well = not any(trouble.values())
    body: dict[str, object] = {"nonce": "known"} if base_url_check.knows(request.args.get("nonce", "")) else {}
    checks = {name: problem or "ok" for name, problem in trouble.items()}
    return body | {"status": "ok" if is_well else "failing", "checks": checks}, 200 if is_well else 503
