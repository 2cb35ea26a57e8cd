"""What a job may do next."""

import pytest

from rm.domain import jobs
from rm.domain.jobs import JobFacts
from rm.shared.protocol import OUTCOMES


def facts(state="queued", outcome=None, is_dispatched=False, is_cancel_requested=False):
    return JobFacts(state, outcome, is_dispatched, is_cancel_requested)


def test_a_queued_job_may_start_once():
    assert jobs.on_started(facts("queued")) == jobs.APPLY
    assert jobs.on_started(facts("running")) == jobs.REPEAT


def test_a_start_that_arrives_after_the_end_changes_nothing():
    assert jobs.on_started(facts("finished", "succeeded")) == jobs.REPEAT


@pytest.mark.parametrize("state", ["queued", "running"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_open_job_may_end_in_every_way(state, outcome):
    assert jobs.on_finished(facts(state), outcome) == jobs.APPLY


def test_the_same_end_again_is_a_repetition():
    assert jobs.on_finished(facts("finished", "failed"), "failed") == jobs.REPEAT


def test_a_contradicting_end_is_refused():
    assert jobs.on_finished(facts("finished", "failed"), "succeeded") == jobs.CONFLICT


def test_evidence_corrects_a_job_that_was_given_up_as_lost():
    assert jobs.on_finished(facts("finished", "lost"), "succeeded") == jobs.APPLY


def test_a_job_that_was_not_sent_is_cancelled_here_and_a_sent_one_by_the_host():
    assert jobs.on_cancel(facts()) == "now"
    assert jobs.on_cancel(facts(is_dispatched=True)) == "ask"
    assert jobs.on_cancel(facts("running", is_dispatched=True, is_cancel_requested=True)) == "asked"
    assert jobs.on_cancel(facts("finished", "succeeded", is_dispatched=True)) == "over"


def test_samples_stay_few_however_long_a_job_runs():
    points = {jobs.sample_at(second) for second in range(24 * 3600)}

    assert len(points) < 500
    assert all(jobs.sample_at(point) == point for point in points)
