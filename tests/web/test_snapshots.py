"""The pages of snapshots: lists, looking into one, picking, comparing."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from rm.domain.actors import Actor
from rm.events import EventBus
from rm.runtime import Runtime
from rm.services import repository_hosts
from rm.shared.protocol import BrowseResult, CommandBrowse
from rm.store.models import Host, Job, RestorePick, Snapshot, SnapshotListing
from rm.store.vault import Vault
from tests import cast, snapshots
from tests.cast import EnrolledHost
from tests.snapshots import ID, OLDER_ID, SnapshotAgents
from tests.web.conftest import Browser


@pytest.fixture
def repository_id(bus: EventBus, vault: Vault, web1: EnrolledHost) -> str:
    """web1's repository with two snapshots of web1, whose agent can look into them."""
    cast.give_repository(bus, vault, web1)
    found = str(cast.host_row(web1).repository_id)
    snapshots.able(web1.id)
    snapshots.add(found, host_id=web1.id)
    return found


@pytest.fixture
def agents(parts: Runtime, repository_id: str, web1: EnrolledHost) -> SnapshotAgents:
    """web1 is connected and answers."""
    parts.agents = SnapshotAgents(web1.id)
    return parts.agents


@pytest.fixture
def shared(bus: EventBus, repository_id: str, db1: EnrolledHost) -> EnrolledHost:
    """db1 uses web1's repository too."""
    repository_hosts.use_existing(bus, host_id=db1.id, repository_id=repository_id, actor=cast.ALICE, now=cast.NOW)
    snapshots.able(db1.id)
    return db1


def page_of(host: EnrolledHost, **asked: str) -> str:
    return f"/hosts/{host.id}/snapshots/{ID}?{urlencode({'answer': 'yes'} | asked)}"


def names_on(page: object) -> list[str]:
    found = page.soup.select(".file > a bdi, .file > .mono:not(.muted) > bdi")  # type: ignore[attr-defined]
    return [one.get_text() for one in found]


def test_a_hosts_list_pages_by_fifty_and_the_newest_comes_first(
    charlie: Browser, repository_id: str, web1: EnrolledHost
) -> None:
    for number in range(60):
        Snapshot.create(
            repository=repository_id, id=f"{number:02}" * 32, time=cast.NOW - timedelta(days=10 + number),
            hostname="web1", paths=["/home"], tags=[], listing_id="1",
        )  # fmt: skip

    first = charlie.get(f"/hosts/{web1.id}/snapshots")
    second = charlie.get(str(first.find("#pager a[rel=next]")["href"]))

    assert len(first.soup.select("#snapshots tbody tr")) == 50
    assert first.text("#snapshots tbody th") == ID[:8]
    assert len(second.soup.select("#snapshots tbody tr")) == 12
    assert second.text("#pager span") == "51 to 62 of 62 snapshots, newest first"


@pytest.mark.parametrize(
    ("asked", "found"),
    [("q=/home", [OLDER_ID]), ("tag=home", [OLDER_ID]), ("q=2026-11-22", [ID]), ("q=4BE1", [ID]), ("q=%25", [])],
)
def test_the_list_is_searched_by_path_tag_date_and_id(
    charlie: Browser, repository_id: str, web1: EnrolledHost, asked: str, found: list[str]
) -> None:
    Snapshot.update(paths=["/home"], tags=["home"]).where(Snapshot.id == OLDER_ID).execute()

    page = charlie.get(f"/hosts/{web1.id}/snapshots?{asked}")

    assert [row["title"] for row in page.soup.select("#snapshots tbody th")] == found


def test_a_repositorys_list_has_the_snapshots_of_all_hosts_and_narrows_to_one(
    charlie: Browser, repository_id: str, web1: EnrolledHost
) -> None:
    Snapshot.update(hostname="laptop-that-died").where(Snapshot.id == OLDER_ID).execute()

    whole = charlie.get(f"/repositories/{repository_id}/snapshots")
    one = charlie.get(f"/repositories/{repository_id}/snapshots?host=laptop-that-died")
    own = charlie.get(f"/hosts/{web1.id}/snapshots")

    assert len(whole.soup.select("#snapshots tbody tr")) == 2
    assert [row["title"] for row in one.soup.select("#snapshots tbody th")] == [OLDER_ID]
    assert [row["title"] for row in own.soup.select("#snapshots tbody th")] == [ID]


@pytest.mark.parametrize(
    ("listed", "last_good", "is_stale"),
    [(timedelta(), None, False), (timedelta(hours=27), None, True), (timedelta(hours=2), timedelta(hours=1), True),
     (timedelta(minutes=1), timedelta(minutes=2), False), (timedelta(minutes=2), timedelta(minutes=1), False)],
)  # fmt: skip
def test_a_list_says_when_it_may_no_longer_be_true(
    charlie: Browser, repository_id: str, web1: EnrolledHost, listed: timedelta, last_good: timedelta | None,
    is_stale: bool,
) -> None:  # fmt: skip
    SnapshotListing.update(taken_at=cast.NOW - listed).execute()
    Host.update(last_good_at=cast.NOW - last_good if last_good else None).execute()

    page = charlie.get(f"/hosts/{web1.id}/snapshots")

    assert ("may be stale" in page.text("#snapshots")) is is_stale


def test_a_viewer_sees_the_list_and_may_not_look_into_a_snapshot(
    charlie: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    assert not charlie.get(f"/hosts/{web1.id}/snapshots").has("#snapshots tbody th a")
    assert charlie.get(page_of(web1)).status == 403
    assert charlie.post(f"/hosts/{web1.id}/diffs", {}).status == 403
    assert agents.asked == []


def test_the_page_is_there_before_the_host_answers_and_asks_by_itself(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    page = bob.get(f"/hosts/{web1.id}/snapshots/{ID}?path=/etc")

    assert agents.asked == []
    assert "web1 is asked" in page.text("#browser")
    answer = str(page.find("#asking")["hx-get"])
    assert page.find("noscript meta")["content"] == f"0; url={answer}"
    assert names_on(bob.get(answer)) == ["ssl", "hosts", "localtime"]


def test_folders_lead_on_and_the_way_back_is_shown(bob: Browser, agents: SnapshotAgents, web1: EnrolledHost) -> None:
    root = bob.get(page_of(web1))
    etc = bob.get(str(root.find(".table--files a")["hx-get"]))

    assert names_on(root) == ["etc", "srv"]
    assert [one.get_text() for one in etc.soup.select(".crumbs--path bdi")] == ["/", "etc"]
    assert etc.find(".table--files tbody tr:nth-of-type(2)").get_text(" ", strip=True).startswith("hosts 2.0 KiB")
    assert agents.asked[-1][1].parameters == {"snapshot_id": ID, "path": "/etc", "offset": 0, "limit": 200}


def test_a_large_folder_comes_in_pages(bob: Browser, agents: SnapshotAgents, web1: EnrolledHost) -> None:
    def many(question: CommandBrowse) -> dict[str, object]:
        offset = question.parameters["offset"]
        names = [f"/many/{number:04}" for number in range(1000)][offset : offset + question.parameters["limit"]]
        return {"entries": [snapshots.entry(name) for name in names], "total": 1000, "offset": offset}

    agents.answer = many
    first = bob.get(page_of(web1, path="/many"))
    second = bob.get(str(first.find("a[rel=next]")["hx-get"]))

    assert "1 to 200 of 1,000 entries" in first.text("#browser")
    assert names_on(second)[0] == "0200"
    assert second.has("a[rel=prev]")


def test_a_search_finds_names_in_the_whole_snapshot(bob: Browser, agents: SnapshotAgents, web1: EnrolledHost) -> None:
    page = bob.get(page_of(web1, q="HOST"))

    assert names_on(page) == ["/etc/hosts"]
    assert agents.asked[0][1].query == "find"
    assert f"restic -r rest:http://127.0.0.1:8000/repo find --ignore-case --snapshot {ID[:8]} '*HOST*'" in page.text(
        "#browse-command"
    )


def test_a_snapshot_of_another_host_is_not_found_on_this_hosts_page(
    alice: Browser, agents: SnapshotAgents, web1: EnrolledHost, shared: EnrolledHost
) -> None:
    agents.connected.add(shared.id)

    assert alice.get(page_of(shared)).status == 404
    assert alice.get(f"/hosts/{shared.id}/snapshots/{ID}/restore?all=yes").status == 404
    assert alice.post(f"/hosts/{shared.id}/snapshots/{ID}/picks", {"pick": "f/x"}).status == 404
    assert agents.asked == []


def test_a_snapshot_of_another_repository_is_not_found(
    alice: Browser, agents: SnapshotAgents, bus: EventBus, vault: Vault, db1: EnrolledHost
) -> None:
    cast.give_repository(bus, vault, db1)

    assert alice.get(f"/repositories/{cast.host_row(db1).repository_id}/snapshots/{ID}?answer=yes").status == 404


def test_another_host_of_the_repository_answers_for_one_that_is_away_and_the_page_says_so(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost, shared: EnrolledHost
) -> None:
    agents.connected = {shared.id}

    page = bob.get(page_of(web1))

    assert [host_id for host_id, _ in agents.asked] == [shared.id]
    assert "Read through db1: web1 itself is not connected, or gone." in page.text("#browser")
    assert names_on(page) == ["etc", "srv"]


def test_a_snapshot_whose_host_is_gone_is_looked_into_from_the_repositorys_page(
    bob: Browser, agents: SnapshotAgents, repository_id: str, web1: EnrolledHost
) -> None:
    Snapshot.update(hostname="laptop-that-died").execute()

    page = bob.get(f"/repositories/{repository_id}/snapshots/{ID}?answer=yes")

    assert names_on(page) == ["etc", "srv"]
    assert "Read through web1" in page.text("#browser")


def test_when_nobody_is_connected_the_page_says_who_could_answer_and_how_to_look_with_restic(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost, shared: EnrolledHost
) -> None:
    agents.connected = set()
    Host.update(last_seen_at=cast.NOW - timedelta(hours=3)).execute()

    page = bob.get(f"/hosts/{web1.id}/snapshots/{ID}?path=/etc")

    said = page.text("#browse-problem")
    assert "No host that uses this repository is connected." in said
    assert "web1 : away, last seen" in said
    assert "db1 : away, last seen" in said
    assert f"restic -r rest:http://127.0.0.1:8000/repo ls {ID[:8]} /etc" in said


def test_an_agent_that_cannot_look_into_snapshots_is_not_asked(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    snapshots.able(web1.id, features=["schedules"])

    page = bob.get(page_of(web1))

    assert agents.asked == []
    assert "its agent is too old for this: update it" in page.text("#browse-problem")


@pytest.mark.parametrize(
    ("reason", "title"),
    [("path_gone", "That folder is not in the snapshot"), ("snapshot_gone", "This snapshot is gone"),
     ("timeout", "No answer in time"), ("busy", "It could not be read"), ("wrong_password", "It could not be read")],
)  # fmt: skip
def test_why_there_is_no_answer_is_said_in_words(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost, reason: str, title: str
) -> None:
    agents.answer = lambda question: snapshots.refused(question, reason, "So says the host.")

    page = bob.get(page_of(web1, path="/etc/x"))

    assert page.text("#problem-title") == title
    assert "So says the host." in page.text("#browse-problem")


def test_an_answer_that_makes_no_sense_shows_nothing_and_breaks_nothing(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    agents.answer = lambda question: {
        "entries": ["x", None, {"path": "relative"}, {"path": "/a/../b"}, {"name": 3}, {"path": "/ok", "size": -1,
        "mtime": "yesterday", "type": "<b>", "mode": {}, "target": 7}], "total": "many",
    }  # fmt: skip

    assert names_on(bob.get(page_of(web1))) == ["ok"]


def test_odd_names_are_shown_harmlessly_and_picked_exactly(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    page = bob.get(page_of(web1, path="/srv"))
    boxes = [str(box["value"]) for box in page.soup.select("input[name=pick]")]

    bob.client.post(
        f"/hosts/{web1.id}/snapshots/{ID}/picks",
        data={"in": page.find("input[name=in]")["value"], "pick": [box.replace("\n", "\r\n") for box in boxes]},
        headers={"Sec-Fetch-Site": "same-origin"},
    )

    assert {pick.path for pick in RestorePick.select()} == {f"/srv/{name}" for name in snapshots.ODD_NAMES}
    shown = names_on(page)
    assert "a\u2424b" in shown or "a\u240ab" in shown
    assert not any("\u202e" in name for name in shown)
    assert not page.has(".table--files b")


def test_a_path_of_four_thousand_characters_is_opened_and_comes_back_exactly(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    deep = "/" + "/".join("ä" * 120 for _ in range(16)) + "/" + "\n" * 100
    agents.answer = lambda question: {"entries": [snapshots.entry(deep, "dir")], "total": 1}
    link = str(bob.get(page_of(web1)).find(".table--files a")["hx-get"])

    bob.get(link)

    assert len(link) < 8000
    assert agents.asked[-1][1].parameters["path"] == deep


def test_what_is_ticked_stays_picked_while_one_looks_around(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    picks = f"/hosts/{web1.id}/snapshots/{ID}/picks"
    bob.post(picks, {"in": "/etc", "pick": "fhosts", "shown": "fhosts"})
    bob.post(picks, {"in": "/", "pick": "dsrv", "shown": "dsrv"})

    page = bob.get(page_of(web1, path="/etc"))
    bob.post(picks, {"in": "/etc", "shown": "fhosts"})

    assert page.has("input[name=pick][value=fhosts][checked]")
    assert page.text("#picked-title") == "Picked 2"
    assert [pick.path for pick in RestorePick.select()] == ["/srv"]


def test_what_one_person_picks_another_does_not_see(
    alice: Browser, bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    bob.post(f"/hosts/{web1.id}/snapshots/{ID}/picks", {"in": "/etc", "pick": "fhosts"})

    assert alice.get(page_of(web1)).text("#picked-title") == "Picked 0"


def test_at_most_two_hundred_things_are_picked(bob: Browser, agents: SnapshotAgents, web1: EnrolledHost) -> None:
    answer = bob.client.post(
        f"/hosts/{web1.id}/snapshots/{ID}/picks", data={"in": "/", "pick": [f"f{number}" for number in range(201)]},
        headers={"Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip

    assert answer.status_code == 409
    assert RestorePick.select().count() == 0


def test_a_repositorys_page_leads_to_its_snapshots(charlie: Browser, repository_id: str) -> None:
    link = charlie.get(f"/repositories/{repository_id}").find("#repository-head a[href$='/snapshots']")

    assert charlie.get(str(link["href"])).text("h1") == "Snapshots in store of web1"


def test_two_chosen_snapshots_are_compared_the_older_one_first(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost
) -> None:
    answer = bob.client.post(
        f"/hosts/{web1.id}/diffs", data={"snapshot": [ID, OLDER_ID]}, headers={"Sec-Fetch-Site": "same-origin"}
    )

    job = Job.get(Job.kind == "diff")
    assert answer.headers["Location"] == f"/jobs/{job.id}"
    assert job.parameters == {"snapshot_a": OLDER_ID, "snapshot_b": ID}


@pytest.mark.parametrize("chosen", [[], [ID], [ID, ID], [ID, "ff" * 32]])
def test_anything_but_two_known_snapshots_is_not_compared(
    bob: Browser, agents: SnapshotAgents, web1: EnrolledHost, chosen: list[str]
) -> None:
    answer = bob.client.post(
        f"/hosts/{web1.id}/diffs", data={"snapshot": chosen}, headers={"Sec-Fetch-Site": "same-origin"}
    )

    assert answer.status_code in (404, 409)
    assert Job.select().where(Job.kind == "diff").count() == 0


def test_a_busy_host_is_not_waited_for_when_another_can_answer(
    browser_of: Callable[[Actor], Browser], agents: SnapshotAgents, web1: EnrolledHost, shared: EnrolledHost
) -> None:
    agents.connected.add(shared.id)

    def answer(question: CommandBrowse) -> dict[str, object] | BrowseResult:
        is_first = len(agents.asked) == 1
        return snapshots.refused(question, "busy", "Busy.") if is_first else snapshots.in_tree(question)

    agents.answer = answer
    page = browser_of(cast.BOB).get(page_of(web1))

    assert [host_id for host_id, _ in agents.asked] == [web1.id, shared.id]
    assert names_on(page) == ["etc", "srv"]
