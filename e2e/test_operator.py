"""From an empty server to a fleet that survived a bad release, in the browser, as an operator does it."""

import re

import pytest
from playwright.sync_api import Page, expect

from e2e.operator import Operator
from e2e.stages import Stage

pytestmark = [pytest.mark.browser, pytest.mark.root, pytest.mark.timeout(1500)]

LETTER = "dear reader\n" * 200


def test_an_operator_brings_hosts_in_backs_up_restores_and_updates_the_fleet(page: Page, stage: Stage) -> None:
    operator = Operator(page, stage)
    web1, db1 = stage.hosts
    web1.write("/srv/letters/letter.txt", LETTER)

    operator.make_the_first_account()
    operator.sign_out()
    operator.sign_in()
    operator.make_current("1.0.0")

    # Two machines ask to be let in.
    web1.announce()
    web1_path = operator.let_in(web1)
    db1.announce()
    db1_path = operator.let_in(db1)

    # A backup, once by hand and once by itself.
    operator.give_repository(web1_path, stage.repository("web1"))
    operator.choose_what(web1_path, "letters", "/srv/letters")
    operator.press_step(web1_path, "Create repository")
    operator.press_step(web1_path, "Back up now")
    operator.plan_a_run_soon(web1_path)
    operator.sees_a_run_that_nobody_ordered(web1_path, "letters")
    operator.end_schedule(web1_path)

    # A file comes back, and is what it was.
    place = operator.restore(web1_path, "/srv/letters/letter.txt")
    assert web1.read(place) == LETTER

    # One host, then the fleet.
    stage.import_release("1.1.0")
    operator.make_current("1.1.0")
    operator.update_one(web1_path, "1.1.0")
    stage.import_release("1.2.0")
    operator.make_current("1.2.0")
    operator.start_fleet_update()
    operator.sees_fleet_update(r"All 2 hosts run agent 1\.2\.0")

    # A bad release halts at the first host, which returns by itself; the next one is good again.
    stage.import_release("1.3.0")
    operator.make_current("1.3.0")
    operator.start_fleet_update()
    operator.sees_fleet_update("halted")
    page.goto("/alerts")
    expect(page.locator("#main")).to_contain_text(re.compile("fleet update halted", re.IGNORECASE))
    operator.end_fleet_update()
    stage.import_release("1.4.0")
    operator.make_current("1.4.0")
    operator.start_fleet_update()
    operator.sees_fleet_update(r"All 2 hosts run agent 1\.4\.0")
    for path in (web1_path, db1_path):
        page.goto(path)
        expect(page.locator("#host-head")).to_contain_text("1.4.0")
