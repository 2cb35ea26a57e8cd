"""Whether hosts are protected, in words."""

from datetime import timedelta

from rm.domain import health
from rm.domain.health import HostFacts
from tests.cast import NOW

HOUR = timedelta(hours=1)


def facts(**changes):
    usual = {
        "name": "web1",
        "mode": "always_on",
        "is_connected": True,
        "is_revoked": False,
        "has_said_hello": True,
        "has_repository": True,
        "has_sources": True,
        "last_seen_at": NOW,
        "last_good_at": NOW - HOUR,
        "last_backup_outcome": "succeeded",
        "last_backup_message": "",
        "running_kind": None,
    }
    return HostFacts(**(usual | changes))


def say(**changes):
    return health.host_health(facts(**changes), NOW)


def test_a_host_with_a_young_backup_is_protected():
    assert (say().code, say().is_protected) == ("ok", True)


def test_a_host_whose_backup_is_too_old_is_late_and_says_since_when():
    late = say(last_good_at=NOW - 27 * HOUR)

    assert (late.code, late.is_protected) == ("late", False)
    assert "27 h" in late.why


def test_a_failed_run_is_said_even_while_the_last_good_one_still_protects():
    failed = say(last_backup_outcome="failed", last_backup_message="The repository is locked.")

    assert (failed.code, failed.word, failed.is_protected) == ("failed", "Last run failed", True)
    assert failed.why == "The repository is locked."


def test_an_offline_host_with_a_young_backup_stays_protected():
    offline = say(is_connected=False)

    assert (offline.code, offline.is_protected) == ("offline", True)


def test_a_socket_without_a_sign_of_life_is_not_online():
    assert not health.is_online(is_connected=True, last_seen_at=NOW - timedelta(seconds=91), now=NOW)


def test_a_new_host_is_told_what_is_missing():
    never = {"last_good_at": None, "last_backup_outcome": None}

    assert say(**never, has_repository=False).why == "no repository yet"
    assert say(**never, has_sources=False).why == "nothing chosen to back up"
    assert say(**never).why == "no backup yet"


def test_a_revoked_host_is_never_called_protected():
    assert say(is_revoked=True).is_protected is False


def test_a_host_without_restic_says_so_before_it_is_missed():
    assert say(problems=("restic was not found",), last_good_at=None).why == "restic was not found"


def test_the_fleets_sentence_names_who_is_not_protected():
    verdict = health.fleet_verdict({"all": 12, "protected": 11}, ("web-3",))

    assert (verdict.kind, verdict.names) == ("warning", ("web-3",))
    assert verdict.text == "11 of 12 hosts are protected."


def test_an_empty_fleet_is_neither_good_nor_bad():
    assert health.fleet_verdict({"all": 0, "protected": 0}, ()).kind == "running"


def test_a_fleet_with_nothing_protected_has_failed():
    assert health.fleet_verdict({"all": 2, "protected": 0}, ("a", "b")).kind == "failed"
