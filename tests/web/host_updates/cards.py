"""The update card as people see it."""

from tests.cast import EnrolledHost
from tests.web.conftest import Browser, Page


def card(browser: Browser, host: EnrolledHost) -> Page:
    page = browser.get(f"/hosts/{host.id}")
    assert page.status == 200
    return page


def words(page: Page, selector: str = "#update-card") -> str:
    return page.text(selector)


def buttons(page: Page) -> list[str]:
    return [" ".join(one.get_text(" ").split()) for one in page.find("#update-card").select(".card__foot .button")]
