"""Settings → Updates."""

from datetime import timedelta

import pytest

from rm.services import releases
from rm.store import releases as stored
from rm.store.models import Host
from rm.web import release_view
from tests.cast import ALICE, NOW
from tests.signing import RELEASE_KEY, ROOT_KEY, signed_release

PATH = "/settings/updates"
FIRST = signed_release()
SECOND = signed_release(seq=3, version="0.3.0", artifact=b"the next one")


@pytest.fixture
def bring(bus, settings, tmp_path):
    def bring(release, *, is_promoted=False):
        directory = release.write(tmp_path / "release")
        found = releases.import_release(bus, directory=directory, data_dir=settings.data_dir, actor=ALICE, now=NOW)
        if is_promoted:
            releases.promote(bus, release_id=found.release.id, actor=ALICE, now=NOW)
        return found.release

    return bring


def test_a_server_without_releases_teaches_how_to_bring_one(alice):
    page = alice.get(PATH)

    assert "rm release import" in page.text("#import-command")
    assert "trusts nobody yet" in page.text("#trust")
    assert "none yet" in page.text("#current-release")


def test_a_release_is_shown_with_what_is_signed(alice, bring):
    found = bring(FIRST)

    row = alice.get(PATH).text(f"#release-{found.id}")

    for words in ("0.2.0", "sequence 2", "Ready", "any platform", "by alice", "Make current"):
        assert words in row


def test_the_keys_are_shown_by_their_ids(alice, bring):
    bring(FIRST)

    trust = alice.get(PATH).text("#trust")

    assert ROOT_KEY.public.name in trust
    assert RELEASE_KEY.public.name in trust
    assert "version 1" in trust


def test_what_hosts_run_is_counted_by_version(alice, bring, web1, db1):
    bring(SECOND, is_promoted=True)
    Host.update(agent_version="0.3.0", agent_seq=3).where(Host.id == web1.id).execute()

    page = alice.get(PATH)

    agents = page.text("#current-release")
    assert "1 host 0.3.0 , sequence 3 current" in agents
    assert "1 host 0.1.0 , sequence 1 behind" in agents
    assert page.text(f"#release-{SECOND.manifest_sha256} [data-label=Hosts]") == "1"


def test_a_release_is_made_current_after_a_question(alice, bring):
    found = bring(FIRST)
    question = alice.get(f"{PATH}/{found.id}/promote")

    answer = alice.post(question.find("form.dialog")["action"])

    assert "No host is updated by this alone" in question.text()
    assert (answer.status, answer.response.headers["Location"], stored.current().id) == (303, PATH, found.id)
    after = alice.get(PATH)
    assert "It is the current release now" in after.text("#flash")
    assert "Current" in after.text(f"#release-{found.id}")


def test_the_question_is_a_dialog_of_the_page_where_the_browser_can(alice, bring):
    found = bring(FIRST)

    page = alice.get(PATH)

    link = page.find(f'#release-{found.id} a[href="{PATH}/{found.id}/promote"]')
    assert page.find(f"dialog#{link['data-dialog']} form")["action"] == f"{PATH}/{found.id}/promote"


def test_an_older_release_wants_a_reason(alice, bring):
    older = bring(FIRST)
    bring(SECOND, is_promoted=True)
    path = f"{PATH}/{older.id}/promote"

    asked = alice.get(path)
    silent = alice.post(path, {"reason": " "})
    still = stored.current().seq
    answered = alice.post(path, {"reason": "0.3.0 eats logs"})

    assert asked.has("#confirm-reason")
    assert (silent.status, "Say why" in silent.text("#confirm-reason-error")) == (422, True)
    assert (still, answered.status, stored.current().seq) == (3, 303, 2)


def test_an_older_release_is_not_made_current_by_a_form_that_asked_for_no_reason(alice, bring):
    older = bring(FIRST)
    bring(SECOND, is_promoted=True)

    assert alice.post(f"{PATH}/{older.id}/promote").status == 409
    assert stored.current().seq == 3


def test_a_withdrawn_release_says_why_and_cannot_be_made_current(alice, bring):
    bring(FIRST)
    bring(signed_release(seq=3, version="0.3.0", artifact=b"fixed", yanked=[2]))

    row = alice.get(PATH).text(f"#release-{FIRST.manifest_sha256}")

    assert "Withdrawn a later release withdrew it" in row
    assert "Make current" not in row
    assert alice.post(f"{PATH}/{FIRST.manifest_sha256}/promote").status == 409


def test_an_expired_release_says_so_and_has_no_button(bus, bring):
    bring(FIRST)

    [row] = release_view.values(now=NOW + timedelta(days=366))["rows"]

    assert (row.state, row.can_be_promoted) == ("expired", False)


def test_only_administrators_open_the_page(bob, charlie, bring):
    found = bring(FIRST)

    for person in (bob, charlie):
        assert person.get(PATH).status == 403
        assert person.post(f"{PATH}/{found.id}/promote").status == 403


def test_a_release_that_is_not_here_is_not_found(alice):
    assert alice.get(f"{PATH}/nothing/promote").status == 404
    assert alice.post(f"{PATH}/nothing/promote").status == 404
