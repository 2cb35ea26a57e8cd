"""/api/v1 for programs, and /healthz for those who watch the server itself."""

from flask import Flask

from rm.api import alerts, enrolment_tokens, health, hosts, jobs, pending_hosts, repositories, source_groups


def register(app: Flask) -> None:
    """Add the API's routes to the application."""
    for module in (health, hosts, jobs, enrolment_tokens, repositories, source_groups, alerts, pending_hosts):
        app.register_blueprint(module.routes)
