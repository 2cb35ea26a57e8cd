"""/api/v1 for programs, and /healthz for those who watch the server itself."""

from flask import Flask

from rm.api import (
    alerts,
    enrolment_tokens,
    fleet_updates,
    health,
    hosts,
    jobs,
    metrics,
    pending_hosts,
    releases,
    repositories,
    source_groups,
    updates,
)


def register(app: Flask) -> None:
    """Add the API's routes to the application."""
    for module in (
        health, hosts, jobs, enrolment_tokens, repositories, source_groups, alerts, pending_hosts, releases, updates,
        metrics, fleet_updates,
    ):  # fmt: skip
        app.register_blueprint(module.routes)
