"""What a fleet update would do: waves, canaries, the estimate."""

import pytest

from rm.domain.fleet_options import Options, Share, parse_options
from rm.domain.fleet_plan import Candidate, plan
from rm.errors import Invalid


def candidate(name, verdict="will_update", **changed):
    fields = {"os": "linux", "arch": "amd64", "init": "systemd", "restic_version": "0.18.0"} | changed
    return Candidate(host_id=name, name=name, verdict=verdict, reason="", **fields)


def many(number, **changed):
    return [candidate(f"h{index:04}", **changed) for index in range(number)]


def placed(found):
    return {place.host_id: (place.wave, place.position) for place in found.places}


@pytest.mark.parametrize(("number", "hours"), [(50, 0.9), (500, 9.0)])
def test_one_at_a_time_takes_as_long_as_it_takes(number, hours):
    assert round(plan(many(number), Options()).estimate_seconds / 3600, 1) == hours


def test_a_large_fleet_gets_a_quicker_way_suggested():
    suggestion = plan(many(500), Options()).suggestion

    assert suggestion.canaries == "per_platform"
    assert suggestion.max_in_flight == 25
    assert suggestion.estimate_seconds < 3600


def test_a_small_fleet_needs_no_suggestion():
    assert plan(many(5), Options()).suggestion is None


def test_the_suggested_way_takes_as_long_as_was_said():
    suggestion = plan(many(500), Options()).suggestion
    taken = Options(canaries=suggestion.canaries, waves=suggestion.waves, max_in_flight=suggestion.max_in_flight)

    assert plan(many(500), taken).estimate_seconds == suggestion.estimate_seconds


def test_there_is_one_canary_for_each_platform():
    hosts = [*many(4), candidate("arm", arch="arm64"), candidate("old", restic_version="0.16.4")]

    found = plan(hosts, Options(canaries="per_platform"))

    assert [place.host_id for place in found.places if place.wave == 0] == ["h0000", "arm", "old"]
    assert found.uncovered == ()


def test_a_number_of_canaries_says_which_platforms_nobody_stands_for():
    found = plan([*many(4), candidate("arm", arch="arm64")], Options(canaries=1))

    assert [place.host_id for place in found.places if place.wave == 0] == ["h0000"]
    assert found.uncovered == ("linux arm64, systemd, restic 0.18.0",)


def test_chosen_canaries_go_first_in_the_order_that_was_chosen():
    found = plan(many(4), Options(canaries=("h0003", "h0001")))

    assert [place.host_id for place in found.places] == ["h0003", "h0001", "h0000", "h0002"]


def test_a_chosen_canary_that_cannot_be_updated_is_refused():
    with pytest.raises(Invalid) as refused:
        plan([candidate("asleep", "offline"), candidate("awake")], Options(canaries=("asleep",)))

    assert "asleep" in refused.value.fields["canaries"]


def test_waves_are_numbers_or_shares_and_the_rest_is_the_last_wave():
    found = plan(many(20), Options(waves=(Share(3), Share(50, is_percent=True))))

    assert found.waves == {1: 3, 2: 10, 3: 7}


def test_a_share_of_few_hosts_is_at_least_one():
    assert plan(many(3), Options(waves=(Share(1, is_percent=True),))).waves == {1: 1, 2: 2}


def test_offline_hosts_never_come_before_the_last_wave():
    found = plan([candidate("asleep", "offline"), *many(4)], Options(waves=(Share(1),)))

    assert placed(found)["asleep"][0] == 2
    assert found.estimate_seconds == plan(many(4), Options(waves=(Share(1),))).estimate_seconds


def test_the_servers_own_host_goes_last():
    found = plan([candidate("own", is_servers_own=True), *many(3)], Options())

    assert placed(found)["own"] == (2, 3)


def test_a_host_can_be_named_as_the_servers_own():
    assert placed(plan(many(3), Options(server_host_id="h0000")))["h0000"] == (2, 2)


def test_where_all_hosts_are_the_servers_own_they_are_one_wave():
    assert plan(many(3, is_servers_own=True), Options()).waves == {1: 3}


def test_hosts_that_are_not_updated_come_after_all_others_and_have_no_wave():
    found = plan([candidate("held", "held"), candidate("new", "current"), *many(2)], Options())

    assert [(place.host_id, place.wave) for place in found.places[2:]] == [("held", -1), ("new", -1)]


def test_more_canaries_than_hosts_are_all_hosts():
    assert plan(many(2), Options(canaries=10)).waves == {0: 2}


def test_nothing_to_update_takes_no_time():
    assert plan([candidate("new", "current")], Options()).estimate_seconds == 0


# ---- options ----------------------------------------------------------------------------------------


def test_the_defaults_are_one_at_a_time_and_halt_at_the_first_failure():
    found = parse_options({})

    assert (found.max_in_flight, found.soak_seconds, found.is_strict, found.waves) == (1, 60, True, ())
    assert not found.frees_slot_at_hello


def test_options_survive_the_database():
    given = {
        "tags": ["web"], "host_ids": ["h1"], "canaries": "per_platform", "waves": [5, "10%"], "max_in_flight": 4,
        "soak_seconds": 0, "failure_policy": {"budget": "10%"}, "max_vanished": 3, "server_host_id": "h1",
    }  # fmt: skip

    assert parse_options(given).as_json() == given


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tags", "web"), ("tags", [1]), ("tags", [""]), ("host_ids", {"a": 1}), ("canaries", -1), ("canaries", "all"),
        ("canaries", True), ("canaries", 1.5), ("waves", [0]), ("waves", ["0%"]), ("waves", ["101%"]), ("waves", 3),
        ("waves", [1] * 21), ("waves", [None]), ("max_in_flight", 0), ("max_in_flight", 501), ("max_in_flight", "2"),
        ("soak_seconds", -1), ("soak_seconds", 10**9), ("failure_policy", "lenient"), ("failure_policy", {}),
        ("failure_policy", {"budget": -1}), ("failure_policy", {"budget": "x"}),
        ("max_vanished", -1), ("server_host_id", 5),
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit_is_named(field, value):
    with pytest.raises(Invalid) as refused:
        parse_options({field: value})

    assert list(refused.value.fields) == [field]


def test_every_bad_option_is_named_at_once():
    with pytest.raises(Invalid) as refused:
        parse_options({"waves": 1, "max_in_flight": 0})

    assert set(refused.value.fields) == {"waves", "max_in_flight"}
