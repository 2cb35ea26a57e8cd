"""/metrics for Prometheus: read from the database when it is asked for, so that a restart loses nothing."""

import hmac
import ipaddress
from collections.abc import Iterator
from datetime import datetime, timedelta

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from rm.domain.permissions import PUBLIC, allows
from rm.errors import Forbidden, NotFound, Unauthorised
from rm.runtime import runtime
from rm.store import updates

routes = Blueprint("metrics", __name__)

PREFIX = "restic_manager_"
MAX_REASONS = 100
PHASES_WITHIN = timedelta(days=30)
QUANTILES = (0.5, 0.95, 1.0)


@routes.get("/metrics")
@allows(PUBLIC)
def metrics() -> Response:
    """All figures; 404 until a token or a network is set, and where both are set both are needed."""
    _let_in()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(UpdateFigures(runtime().clock()))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=content_type, headers={"Cache-Control": "no-store"})


class UpdateFigures:
    """What is to be counted of updates at an instant."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Each figure with its labels, read now."""
        attempts = CounterMetricFamily(
            f"{PREFIX}update_attempts", "Attempts to change a host's agent that have ended, by how and why.",
            labels=("kind", "result", "reason"),
        )  # fmt: skip
        running = GaugeMetricFamily(
            f"{PREFIX}update_attempts_open", "Attempts that have not ended, by state.", labels=("kind", "state")
        )
        still_open: dict[tuple[str, str], int] = {}
        ended: dict[tuple[str, str, str], int] = {}
        for kind, state, reason, count in sorted(updates.count_by_result(), key=lambda row: -row[3]):
            if state in updates.OPEN:
                still_open[kind, state] = still_open.get((kind, state), 0) + count
            else:
                # Hosts choose these words; a host gone wrong must not make a series of each.
                word = reason if len(ended) < MAX_REASONS else "other"
                ended[kind, state, word] = ended.get((kind, state, word), 0) + count
        for words, count in sorted(ended.items()):
            attempts.add_metric(words, count)
        for two, count in sorted(still_open.items()):
            running.add_metric(two, count)
        yield attempts
        yield running
        yield self._phases()
        given, corrected = updates.count_verdicts()
        yield CounterMetricFamily(
            f"{PREFIX}update_provisional_verdicts", "Failures that were concluded from silence.", value=given
        )
        yield CounterMetricFamily(
            f"{PREFIX}update_corrections", "Failures concluded from silence that evidence has corrected.",
            value=corrected,
        )  # fmt: skip
        agents = GaugeMetricFamily(
            f"{PREFIX}agents", "Hosts by the agent that they run.", labels=("version", "sequence")
        )
        for version, sequence, count in updates.count_agents():
            agents.add_metric((version, str(sequence)), count)
        yield agents
        fleet = GaugeMetricFamily(f"{PREFIX}fleet_updates", "Fleet updates by state.", labels=("state",))
        for state, count in updates.count_fleet_updates():
            fleet.add_metric((state,), count)
        yield fleet

    def _phases(self) -> Metric:
        family = GaugeMetricFamily(
            f"{PREFIX}update_phase_seconds",
            "How long the phases of updates took, of attempts ordered within the last 30 days.",
            labels=("phase", "quantile"),
        )
        by_phase: dict[str, list[float]] = {}
        for phase, seconds in updates.phase_spans(since=self._now - PHASES_WITHIN):
            by_phase.setdefault(phase, []).append(seconds)
        for phase, spans in sorted(by_phase.items()):
            spans.sort()
            for quantile in QUANTILES:
                family.add_metric((phase, f"{quantile:g}"), spans[min(len(spans) - 1, int(len(spans) * quantile))])
        return family


def _let_in() -> None:
    settings = runtime().settings
    if not settings.metrics_token and not settings.metrics_trusted_cidr:
        raise NotFound("There is no /metrics here.", help="Set RM_METRICS_TOKEN or RM_METRICS_TRUSTED_CIDR.")
    if settings.metrics_trusted_cidr and not _is_trusted(request.remote_addr or ""):
        raise Forbidden("This address may not read the metrics.", help="RM_METRICS_TRUSTED_CIDR says which may.")
    if settings.metrics_token:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(token.strip().encode(), settings.metrics_token.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise Unauthorised("A bearer token is needed.", help="It is the value of RM_METRICS_TOKEN.")


def _is_trusted(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in runtime().settings.metrics_trusted_cidr)
