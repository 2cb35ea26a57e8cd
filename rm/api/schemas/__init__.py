"""The named shapes of the API, one module per noun; importing them fills COMPONENTS."""

from rm.api.schemas import (
    errors,
    fleet,
    fleet_updates,
    hosts,
    jobs,
    repositories,
    server,
    snapshots,
    sources,
    templates,
)
from rm.api.shapes import COMPONENTS

__all__ = [
    "COMPONENTS", "errors", "fleet", "fleet_updates", "hosts", "jobs", "repositories", "server", "snapshots",
    "sources", "templates",
]  # fmt: skip
