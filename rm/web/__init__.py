"""HTML for people: one blueprint per noun, and what all pages share."""

from flask import Flask

from rm.config import Settings
from rm.web import (
    accounts,
    alerts,
    assets,
    audit,
    credentials,
    enrolments,
    errors,
    filters,
    fleet_updates,
    hosts,
    jobs,
    layout,
    live,
    maintenance,
    patterns,
    pending_hosts,
    releases,
    repositories,
    restores,
    retention_preview,
    schedules,
    security,
    snapshots,
    source_groups,
    template_parts,
    templates,
    updates,
)
from rm.web.proxies import TrustedProxies, WsgiApp

BLUEPRINTS = (
    hosts,
    enrolments,
    jobs,
    repositories,
    maintenance,
    retention_preview,
    snapshots,
    restores,
    source_groups,
    schedules,
    templates,
    template_parts,
    accounts,
    audit,
    alerts,
    pending_hosts,
    credentials,
    releases,
    updates,
    fleet_updates,
    patterns,
    assets,
)


def register(app: Flask) -> None:
    """Add pages, live streams, the guard, the headers and the error pages; the runtime must be in place."""
    security.register(app)
    errors.register(app)
    filters.register(app)
    layout.register(app)
    for module in BLUEPRINTS:
        app.register_blueprint(module.blueprint)
    live.register(app)


def trusted(wsgi_app: WsgiApp, settings: Settings) -> WsgiApp:
    """The application behind the proxies that the settings trust."""
    return TrustedProxies(wsgi_app, settings.trusted_proxy)
