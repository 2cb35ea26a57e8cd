"""Whether hosts are protected, in words."""

from datetime import timedelta

from rm.domain import health
from rm.domain.health import GroupHealth, HostFacts
from tests.cast import NOW

HOUR = timedelta(hours=1)


def group(code="ok", text="Backed up.", name="files", last_good_at=NOW - HOUR):
    return GroupHealth(name=name, code=code, text=text, last_good_at=last_good_at)


def facts(**changes):
    usual = {
        "is_connected": True,
        "is_revoked": False,
        "has_said_hello": True,
        "has_repository": True,
        "last_seen_at": NOW,
        "protected_until": NOW + HOUR,
        "running_kind": None,
        "groups": (group(),),
    }
    return HostFacts(**(usual | changes))


def say(**changes):
    return health.host_health(facts(**changes), NOW)


def test_a_host_with_a_young_backup_is_protected():
    assert (say().code, say().is_protected) == ("ok", True)


def test_a_host_whose_backup_is_too_old_is_late_and_says_since_when():
    late = say(groups=(group("late", last_good_at=NOW - 37 * HOUR),), protected_until=NOW - HOUR)

    assert (late.code, late.word, late.is_protected) == ("late", "Late", False)
    assert "37 h" in late.why


def test_a_verdict_that_time_has_overtaken_is_not_called_protected():
    late = say(protected_until=NOW)

    assert (late.code, late.is_protected) == ("late", False)


def test_a_failed_run_is_said_even_while_the_last_good_one_still_protects():
    failed = say(groups=(group("failed", "The last run failed: The repository is locked."),))

    assert (failed.code, failed.word, failed.is_protected) == ("failed", "Last run failed", True)
    assert failed.why == "The repository is locked."


def test_the_worst_group_speaks_for_its_host_and_is_named():
    said = say(groups=(group(name="home"), group("skipped", "It was skipped.", name="db"), group(name="www")))

    assert (said.code, said.why) == ("skipped", "db: It was skipped.")


def test_an_offline_host_with_a_young_backup_stays_protected():
    offline = say(is_connected=False)

    assert (offline.code, offline.is_protected) == ("offline", True)


def test_a_laptop_that_sleeps_is_asleep_and_not_offline():
    asleep = say(is_connected=False, groups=(group("asleep", "The host is asleep. Backed up."),))

    assert (asleep.code, asleep.word, asleep.is_protected) == ("asleep", "Asleep", True)


def test_a_socket_without_a_sign_of_life_is_not_online():
    assert not health.is_online(is_connected=True, last_seen_at=NOW - timedelta(seconds=91), now=NOW)


def test_a_new_host_is_told_what_is_missing():
    never = {"protected_until": None, "groups": ()}
    waiting = (group("never", "No backup yet. No schedule runs it.", last_good_at=None),)

    assert say(**never, has_repository=False).why == "no repository yet"
    assert say(**never).why == "nothing chosen to back up"
    assert say(protected_until=None, groups=waiting).why == "No backup yet. No schedule runs it."


def test_a_revoked_host_is_never_called_protected():
    assert say(is_revoked=True).is_protected is False


def test_a_host_without_restic_says_so_before_it_is_missed():
    assert say(problems=("restic was not found",), protected_until=None).why == "restic was not found"


def test_the_fleets_sentence_names_who_is_not_protected():
    verdict = health.fleet_verdict({"all": 12, "protected": 11}, ("web-3",))

    assert (verdict.kind, verdict.names) == ("warning", ("web-3",))
    assert verdict.text == "11 of 12 hosts are protected."


def test_an_empty_fleet_is_neither_good_nor_bad():
    assert health.fleet_verdict({"all": 0, "protected": 0}, ()).kind == "running"


def test_a_fleet_with_nothing_protected_has_failed():
    assert health.fleet_verdict({"all": 2, "protected": 0}, ("a", "b")).kind == "failed"


def test_the_fleets_sentence_names_the_incidents_that_need_somebody_and_then_who_is_not_protected():
    lost = health.OpenIncident("Repository unreachable: attic", is_critical=True, hosts=38)
    late = health.OpenIncident("Backup late: files on web-9")

    verdict = health.fleet_verdict({"all": 40, "protected": 2}, ("a", "b", "c", "d"), (lost, late, late), 5)

    assert (verdict.kind, verdict.text) == ("failed", "2 of 40 hosts are protected.")
    assert verdict.names == ("Repository unreachable: attic (38 hosts)", "Backup late: files on web-9")
    assert verdict.tail == "and 3 more incidents need somebody."
    assert verdict.more == "Without a good backup that is young enough: a, b, c and 35 more."


def test_a_protected_fleet_with_an_incident_is_not_called_well():
    verdict = health.fleet_verdict({"all": 3, "protected": 3}, (), (health.OpenIncident("Prune failed: attic"),), 1)

    assert (verdict.kind, verdict.text, verdict.tail) == ("warning", "All 3 hosts are protected, but look:", "")
