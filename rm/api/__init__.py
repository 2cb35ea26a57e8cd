"""/api/v1 for programs, and /healthz for those who watch the server itself."""

from flask import Flask

from rm.api import (
    alerts,
    audit,
    channels,
    enrolment_tokens,
    fleet_updates,
    health,
    hosts,
    incidents,
    jobs,
    maintenance,
    metrics,
    openapi,
    pending_hosts,
    releases,
    repositories,
    schedules,
    server_backups,
    settings,
    snapshots,
    source_groups,
    templates,
    tokens,
    updates,
    users,
)


def register(app: Flask) -> None:
    """Add the API's routes to the application."""
    for module in (
        health, hosts, jobs, enrolment_tokens, repositories, source_groups, alerts, pending_hosts, releases, updates,
        metrics, maintenance, fleet_updates, snapshots, schedules, templates, openapi,
        tokens, incidents, channels, users, settings, server_backups, audit,
    ):  # fmt: skip
        app.register_blueprint(module.routes)
    app.register_blueprint(pending_hosts.switch_routes)
    app.register_blueprint(snapshots.repository_routes)
    openapi.register(app)
