"""Who may read /metrics."""

import pytest

from rm.domain.limits import SCRAPE_PER_ADDRESS
from rm.services import metrics_access
from tests.api.scraping import read
from tests.cast import ALICE, NOW


def test_there_are_no_metrics_until_somebody_may_read_them(client, alice):
    assert (read(client).status_code, read(alice).status_code) == (404, 404)


@pytest.mark.parametrize(
    ("token", "cidr", "given", "status"),
    [
        ("s3cret", (), "s3cret", 200),
        ("s3cret", (), "s3cre", 401),
        ("s3cret", (), "ünïcode", 401),
        ("s3cret", (), None, 401),
        ("", ("127.0.0.0/8",), None, 200),
        ("", ("192.0.2.0/24",), None, 403),
        ("s3cret", ("127.0.0.0/8",), "s3cret", 200),
        ("s3cret", ("127.0.0.0/8",), None, 401),
        ("s3cret", ("192.0.2.0/24",), "s3cret", 403),
    ],
)
def test_token_and_network_are_asked_for_as_they_are_set(client, open_to, token, cidr, given, status):
    open_to(token, cidr)

    headers = {"Authorization": f"Bearer {given}".encode().decode("latin-1")} if given else {}

    assert client.get("/metrics", headers=headers).status_code == status


def test_a_token_made_at_run_time_opens_at_once_and_ends_at_once(client, open_to):
    first = metrics_access.make_token(actor=ALICE, now=NOW)
    assert read(client, first).status_code == 200

    second = metrics_access.make_token(actor=ALICE, now=NOW)
    assert (read(client, first).status_code, read(client, second).status_code) == (401, 200)

    metrics_access.end_token(actor=ALICE, now=NOW)
    assert read(client, second).status_code == 404


def test_the_fixed_token_and_the_made_one_are_both_good(client, open_to):
    open_to("s3cret")
    made = metrics_access.make_token(actor=ALICE, now=NOW)

    assert [read(client, token).status_code for token in ("s3cret", made, "neither")] == [200, 200, 401]


def test_a_made_token_is_asked_for_besides_the_network(client, open_to):
    open_to(cidr=("127.0.0.0/8",))
    made = metrics_access.make_token(actor=ALICE, now=NOW)

    assert [read(client, token).status_code for token in (None, made)] == [401, 200]


def test_guessing_tokens_ends_with_429_and_a_request_without_one_is_no_guess(client, open_to):
    open_to("s3cret")
    for _ in range(SCRAPE_PER_ADDRESS.count + 1):
        assert read(client).status_code == 401
    for _ in range(SCRAPE_PER_ADDRESS.count):
        assert read(client, "guess").status_code == 401

    assert read(client, "guess").status_code == 429
