"""/metrics as a scraper reads it."""

from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from rm.services import job_reports
from rm.shared.ids import new_ulid
from rm.shared.protocol import JobFinished, JobStarted
from rm.store.models import (
    Job,
)
from tests.cast import NOW
from tests.updating import SECOND

HOUR = timedelta(hours=1)


def read(client, token=None, **headers):
    return client.get("/metrics", headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}))


def families(client):
    return list(text_string_to_metric_families(read(client, "s3cret").text))


def figures(client):
    """{(name, *label values in the order of their names): value}"""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families(client)
        for sample in family.samples
    }


def _ends(bus, host, outcome, *, seconds=30, kind="backup"):
    """A job of this host, ordered, begun and ended as its agent tells."""
    job = Job.create(
        id=new_ulid(), host=host.id, kind=kind, state="queued", created_at=NOW, expires_at=NOW + HOUR,
        dispatched_at=NOW,
    )  # fmt: skip
    job_reports.started(bus, host_id=host.id, report=JobStarted(job_id=job.id), now=NOW)
    job_reports.finished(
        bus, host_id=host.id, report=JobFinished(job_id=job.id, outcome=outcome), now=NOW + seconds * SECOND
    )
    return job
