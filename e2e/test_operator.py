"""From an empty server to a fleet that survived a bad release, in the browser, as an operator does it."""

import random
import re

import pytest
from playwright.sync_api import Page, expect

from e2e.operator import Operator
from e2e.stages import Stage

# The first run of a machine also builds its trees and the image, which is not counted.
pytestmark = [pytest.mark.browser, pytest.mark.root, pytest.mark.timeout(2400, func_only=True)]

FILE = "/srv/letters/letter.bin"
LETTER = random.Random(7).randbytes(40_000)


def test_an_operator_brings_hosts_in_backs_up_restores_and_updates_the_fleet(page: Page, stage: Stage) -> None:
    operator = Operator(page, stage)
    web1, db1 = stage.hosts

    with operator.chapter("the first account"):
        operator.make_the_first_account()
    with operator.chapter("signing in"):
        operator.sign_out()
        operator.sign_in()
        operator.make_current("1.0.0")
    with operator.chapter("two machines announce themselves and are approved"):
        web1.announce()
        web1_path = operator.let_in(web1)
        db1.announce()
        db1_path = operator.let_in(db1)
    with operator.chapter("a backup, watched to its end"):
        web1.write(FILE, LETTER)
        operator.give_repository(web1_path, stage.repository("web1"))
        operator.choose_what(web1_path, "letters", "/srv/letters")
        operator.press_step(web1_path, "Create repository")
        operator.press_step(web1_path, "Back up now")
    with operator.chapter("a schedule fires"):
        operator.plan_a_run_soon(web1_path)
        operator.sees_a_run_that_nobody_ordered(web1_path, "letters")
        operator.end_schedule(web1_path)
    with operator.chapter("a file is restored and compared"):
        web1.write(FILE, b"spoilt")
        place = operator.restore(web1_path, FILE)
        assert web1.read(place) == LETTER
        assert web1.read(FILE) == b"spoilt"
    with operator.chapter("one host is updated"):
        stage.import_release("1.1.0")
        operator.make_current("1.1.0")
        operator.update_one(web1_path, "1.1.0")
        operator.sees_agent(db1_path, "1.0.0")
    with operator.chapter("the fleet is updated"):
        stage.import_release("1.2.0")
        operator.make_current("1.2.0")
        operator.start_fleet_update()
        operator.sees_fleet_update(r"All 2 hosts run agent 1\.2\.0")
    with operator.chapter("a bad release halts at its first host, which returns by itself"):
        stage.import_release("1.3.0")
        operator.make_current("1.3.0")
        operator.start_fleet_update()
        operator.sees_fleet_update("halted")
        page.goto("/alerts")
        expect(page.locator("#main")).to_contain_text(re.compile("fleet update halted", re.IGNORECASE))
        for path in (web1_path, db1_path):
            operator.sees_agent(path, "1.2.0")
        operator.end_fleet_update()
    with operator.chapter("the next release is good again"):
        stage.import_release("1.4.0")
        operator.make_current("1.4.0")
        operator.start_fleet_update()
        operator.sees_fleet_update(r"All 2 hosts run agent 1\.4\.0")
        for path in (web1_path, db1_path):
            operator.sees_agent(path, "1.4.0")
