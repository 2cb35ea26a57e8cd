"""Secrets that the key file does not open are one incident of all hosts; releases with another's hand in them."""

import pytest

from rm.domain import alert_rules
from rm.services import key_problems
from rm.store.models import Alert, Incident
from rm.store.vault import UnsealError
from tests.cast import NOW


def test_a_wrong_key_file_is_one_incident_for_all_hosts_and_ends_with_it(bus, web1, db1):
    for host in (web1, db1, web1):
        key_problems.found(bus, host_id=host.id, error=UnsealError("The secret of x cannot be opened."), now=NOW)
    during = Incident.get()
    for host in (web1, db1):
        key_problems.gone(bus, host_id=host.id, now=NOW)

    assert (during.open_count, during.host_id, during.cause) == (2, None, "server:key")
    assert [one.count for one in Alert.select()] == [1, 1]
    assert Incident.get().state == "resolved"


def test_where_nothing_was_wrong_nothing_is_written(bus, web1):
    with bus.subscribe() as listener:
        key_problems.gone(bus, host_id=web1.id, now=NOW)

        assert listener.take(timeout=0) == []


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("manifest_bad_signature", True), ("keyset_unknown_key", True), ("keyset_changed", True), ("wrong_hash", True),
        ("disk_full", False), ("too_old", False), ("manifest_too_large", False), ("", False),
    ],
)  # fmt: skip
def test_only_what_looks_like_anothers_hand_is_called_forged(reason, expected):
    assert alert_rules.is_forged(reason) is expected
