"""How patient the server is with updates: the settings, and what a start makes of them."""

import dataclasses
import logging
from datetime import timedelta

import pytest

from rm import factory
from rm.config import Settings
from rm.domain.update_timing import Timing
from rm.errors import NotReady
from rm.services import updates
from rm.store import updates as stored
from tests.cast import BOB, NOW
from tests.updating import again, give_release, reports, says_hello, takes_orders


@pytest.fixture
def started(app, parts):
    """started() switches the background work on, until the test ends."""

    def started():
        factory.start(app)

    yield started
    app.extensions["rm_scheduler"].stop()
    parts.writer.stop()


def test_the_defaults_are_90_and_95_seconds():
    settings = Settings.from_env({})

    assert (settings.update_timeout_seconds, settings.fleet_host_timeout_seconds) == (90, 95)
    assert settings.timing == Timing(90, 95)


@pytest.mark.parametrize(
    "environment",
    [
        {"RM_UPDATE_TIMEOUT_SECONDS": "1"},
        {"RM_UPDATE_TIMEOUT_SECONDS": "95"},
        {"RM_FLEET_HOST_TIMEOUT_SECONDS": "90"},
        {"RM_UPDATE_TIMEOUT_SECONDS": "20", "RM_FLEET_HOST_TIMEOUT_SECONDS": "20"},
        {"RM_UPDATE_TIMEOUT_SECONDS": "soon"},
        {"RM_UPDATE_TIMEOUT_SECONDS": "-90"},
        {"RM_FLEET_HOST_TIMEOUT_SECONDS": "9" * 5000},
        {"RM_METRICS_TRUSTED_CIDR": "everybody"},
    ],
)
def test_timers_that_cannot_follow_each_other_stop_the_start(environment):
    with pytest.raises(NotReady) as refused:
        Settings.from_env(environment)

    assert next(iter(environment)) in str(refused.value)


def test_a_short_timeout_is_accepted_and_shortens_the_trial():
    settings = Settings.from_env({"RM_UPDATE_TIMEOUT_SECONDS": "2", "RM_FLEET_HOST_TIMEOUT_SECONDS": "3"})

    assert settings.timing.is_short
    assert settings.timing.timers()["revert_seconds"] == 1


def test_the_metrics_token_may_come_from_a_file(tmp_path):
    (tmp_path / "token").write_text("s3cret\n")

    assert Settings.from_env({"RM_METRICS_TOKEN_FILE": str(tmp_path / "token")}).metrics_token == "s3cret"


def test_a_start_with_a_short_timeout_warns_and_orders_with_it(started, parts, caplog):
    parts.settings = dataclasses.replace(parts.settings, update_timeout_seconds=30, fleet_host_timeout_seconds=35)
    with caplog.at_level(logging.WARNING):
        started()

    assert "RM_UPDATE_TIMEOUT_SECONDS is short" in caplog.text
    assert stored.timing() == Timing(30, 35)


def test_a_start_gives_hosts_their_time_again(started, bus, clock, web1):
    give_release()
    says_hello(bus, web1)
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
    takes_orders(bus, web1)
    reports(bus, web1, attempt, "swapping")
    clock.now = NOW + timedelta(hours=1)

    started()

    assert again(attempt).state == "running"
    assert again(attempt).deadline_at == clock.now + timedelta(seconds=90)
