"""Figures of jobs, alerts, notifications and updates: a few series each, whatever the fleet's size."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from rm.api.metrics.lines import counter, gauge, histogram, single, single_counter
from rm.domain.figures import JOB_SECONDS, figure
from rm.store import figures, updates

QUANTILES = (0.5, 0.95, 1.0)


class JobFigures:
    """Jobs that ended since the database was made, and those that have not."""

    def collect(self) -> Iterator[Metric]:
        """Each figure with its labels, read now."""
        totals = figures.totals()
        ended = counter("jobs_total")
        for kind, outcome, _, value in totals.get("jobs", []):
            ended.add_metric((kind, outcome), value)
        yield ended
        still_open = gauge("jobs_open")
        for kind, state, count in figures.open_jobs():
            still_open.add_metric((kind, state), count)
        yield still_open
        durations = histogram("job_duration_seconds")
        within = {(kind, edge): value for kind, edge, _, value in totals.get("job_seconds_within", [])}
        for kind, _, _, seconds in totals.get("job_seconds", []):
            # Cumulative as they were counted; an edge that nothing was within has no row.
            buckets = [(f"{edge:.1f}", within.get((kind, str(edge)), 0.0)) for edge in JOB_SECONDS]
            durations.add_metric((kind,), [*buckets, ("+Inf", within.get((kind, "+Inf"), 0.0))], seconds)
        yield durations


class AlertFigures:
    """Alerts, incidents, and the notifications about them."""

    def collect(self) -> Iterator[Metric]:
        """Each figure with its labels, read now."""
        totals = figures.totals()
        still_open = gauge("alerts_open")
        for *words, count in figures.open_alerts():
            still_open.add_metric(words, count)
        yield still_open
        raised = counter("alerts_total")
        for kind, severity, _, value in totals.get("alerts", []):
            raised.add_metric((kind, severity), value)
        yield raised
        incidents = gauge("incidents_open")
        for *words, count in figures.open_incidents():
            incidents.add_metric(words, count)
        yield incidents
        ended = {"sent": 0.0, "given_up": 0.0} | {result: value for result, _, _, value in totals.get("deliveries", [])}
        deliveries = counter("deliveries_total")
        for result, value in sorted(ended.items()):
            deliveries.add_metric((result,), value)
        yield deliveries
        waiting, oldest = figures.queued_deliveries()
        yield single("deliveries_queued", waiting)
        if oldest is not None:
            yield single("delivery_oldest_queued_timestamp_seconds", oldest)
        failing = gauge("channel_failing")
        for name, is_failing in figures.channels():
            failing.add_metric((name,), is_failing)
        yield failing


class UpdateFigures:
    """Updates of agents, one by one and over the fleet."""

    def collect(self) -> Iterator[Metric]:
        """Each figure with its labels, read now."""
        totals = figures.totals()
        attempts = counter("update_attempts_total")
        for kind, result, reason, value in totals.get("updates", []):
            attempts.add_metric((kind, result, reason), value)
        yield attempts
        still_open = gauge("update_attempts_open")
        for kind, state, count in figures.open_update_attempts():
            still_open.add_metric((kind, state), count)
        yield still_open
        yield self._phases()
        verdicts = {what: value for what, _, _, value in totals.get("update_verdicts", [])}
        yield single_counter("update_provisional_verdicts_total", verdicts.get("provisional", 0))
        yield single_counter("update_corrections_total", verdicts.get("corrected", 0))
        fleet = gauge("fleet_updates")
        for state, count in updates.count_fleet_updates():
            fleet.add_metric((state,), count)
        yield fleet
        hosts = gauge("fleet_update_hosts")
        for state, count in figures.open_fleet_update_hosts():
            hosts.add_metric((state,), count)
        yield hosts

    @staticmethod
    def _phases() -> Metric:
        found = figure("update_phase_seconds")
        family = Metric(found.full_name, found.help, "summary")
        by_phase: dict[str, list[float]] = {}
        for phase, seconds in figures.update_phases():
            by_phase.setdefault(phase, []).append(seconds)
        for phase, spans in sorted(by_phase.items()):
            spans.sort()
            for quantile in QUANTILES:
                value = spans[min(len(spans) - 1, int(len(spans) * quantile))]
                family.add_sample(found.full_name, {"phase": phase, "quantile": f"{quantile:g}"}, value)
        return family
