"""HTML for people: one blueprint per noun, and what all pages share."""

from flask import Flask

from rm.config import Settings
from rm.web import (
    accounts,
    alert_settings,
    alerts,
    api_page,
    assets,
    audit,
    channels,
    credentials,
    enrolments,
    errors,
    filters,
    fleet_updates,
    general_settings,
    hosts,
    jobs,
    layout,
    live,
    maintenance,
    metrics,
    oidc,
    own_account,
    patterns,
    pending_hosts,
    releases,
    repositories,
    restores,
    retention_preview,
    schedules,
    second_factor,
    security,
    server_care,
    snapshots,
    source_groups,
    template_parts,
    templates,
    tokens,
    updates,
    user_links,
    users,
)
from rm.web.proxies import TrustedProxies, WsgiApp

BLUEPRINTS = (
    hosts,
    enrolments,
    jobs,
    repositories,
    maintenance,
    metrics,
    retention_preview,
    snapshots,
    restores,
    source_groups,
    schedules,
    templates,
    template_parts,
    accounts,
    oidc,
    user_links,
    own_account,
    second_factor,
    users,
    audit,
    channels,
    alerts,
    alert_settings,
    pending_hosts,
    credentials,
    releases,
    updates,
    fleet_updates,
    patterns,
    assets,
    general_settings,
    server_care,
    tokens,
    api_page,
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
