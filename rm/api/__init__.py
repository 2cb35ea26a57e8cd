"""/api/v1 for programs, and /healthz for those who watch the server itself."""

from flask import Flask

from rm.api import (
    alerts,
    enrolment_tokens,
    fleet_updates,
    health,
    hosts,
    jobs,
    maintenance,
    metrics,
    pending_hosts,
    releases,
    repositories,
    schedules,
    snapshots,
    source_groups,
    templates,
    updates,
)


def register(app: Flask) -> None:
    """Add the API's routes to the application."""
    for module in (
        health, hosts, jobs, enrolment_tokens, repositories, source_groups, alerts, pending_hosts, releases, updates,
        metrics, maintenance, fleet_updates, snapshots, schedules, templates,
    ):  # fmt: skip
        app.register_blueprint(module.routes)
