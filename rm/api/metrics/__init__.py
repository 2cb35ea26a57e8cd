"""/metrics for Prometheus: read from the database when it is asked for, so that a restart loses nothing."""

from flask import Blueprint, Response, current_app, request
from prometheus_client.exposition import choose_encoder

from rm.api.metrics import exporter
from rm.domain.permissions import PUBLIC, allows
from rm.errors import RmError
from rm.runtime import runtime
from rm.services import metrics_access
from rm.services.scrapes import Scrape

routes = Blueprint("metrics", __name__)

__all__ = ["routes"]


@routes.get("/metrics")
@allows(PUBLIC)
def metrics() -> Response:
    """All figures; 404 until a token or a network is set, and where both are set both are needed."""
    parts, now, address = runtime(), runtime().clock(), request.remote_addr or ""
    try:
        metrics_access.let_in(
            parts.settings, parts.limits, address=address,
            authorization=request.headers.get("Authorization", ""), now=now,
        )  # fmt: skip
    except RmError as error:
        parts.scrapes.last_refused = Scrape(now, address, refusal=error.message)
        raise
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    version = current_app.config.get("PRODUCT_VERSION", "")
    reading = parts.scrapes.read(
        content_type, lambda: exporter.render(parts, encode, version=version, content_type=content_type)
    )
    parts.scrapes.last = Scrape(now, address, size=reading.size, seconds=reading.seconds)
    return Response(reading.parts, content_type=content_type, headers={"Cache-Control": "no-store"})
