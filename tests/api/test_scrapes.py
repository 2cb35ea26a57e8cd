"""What a scrape of /metrics costs."""

import threading

from rm.api.metrics import exporter
from rm.shared.ids import new_ulid
from rm.store.models import (
    Host,
)
from tests.api.scraping import figures, read
from tests.cast import NOW


def test_scrapes_in_the_same_moment_share_one_reading(client, open_to, parts, monkeypatch):
    open_to("s3cret")
    parts.scrapes.fresh_seconds = 600
    rendered = []
    real = exporter.render
    monkeypatch.setattr(exporter, "render", lambda *args, **values: rendered.append(1) or real(*args, **values))

    answers = [read(client, "s3cret").text for _ in range(3)]

    assert len(rendered) == 1
    assert answers[0] == answers[1] == answers[2]


def test_a_scrape_that_comes_while_another_reads_waits_for_it(parts):
    entered, go_on, got = threading.Event(), threading.Event(), []

    def slow():
        entered.set()
        go_on.wait(60)
        return [b"figures"]

    one = threading.Thread(target=lambda: got.append(parts.scrapes.read("text", slow)))
    one.start()
    assert entered.wait(60)
    parts.scrapes.fresh_seconds = 600
    other = threading.Thread(target=lambda: got.append(parts.scrapes.read("text", lambda: [b"twice"])))
    other.start()
    go_on.set()
    one.join(60)
    other.join(60)

    assert [reading.parts for reading in got] == [(b"figures",), (b"figures",)]


def test_others_have_their_turn_between_slices_of_a_large_fleet(client, open_to, monkeypatch):
    open_to("s3cret")
    for n in range(200):
        Host.create(id=new_ulid(), name=f"h{n}", hostname="h", os="linux", arch="amd64", enrolled_at=NOW)
    pauses = []
    monkeypatch.setattr(exporter, "give_way", lambda: pauses.append(1))
    monkeypatch.setattr("rm.api.metrics.fleet.LARGEST", 20)

    found = figures(client)

    assert sum(key[0] == "restic_manager_host_info" for key in found) == 200
    assert len(pauses) > 8
