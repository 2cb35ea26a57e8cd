"""A person's real browser goes through the provider's own sign-in page, under our strict content policy."""

import pytest

from tests.browser.conftest import WAIT_MS
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, PASSWORD, PROGRAMS, Provider, free_port
from tests.process.conftest import serve

__all__ = ["serve"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def way(serve, tmp_path):
    """A real server and a provider of its own that know each other; the first administrator exists."""
    if not (PROGRAMS / "canaille").exists():
        pytest.skip("needs scripts/make-venv oidc")
    (tmp_path / "provider").mkdir()
    provider = Provider(tmp_path / "provider", free_port())
    server = serve(
        RM_OIDC_ISSUER=provider.issuer,
        RM_OIDC_CLIENT_ID=CLIENT_ID,
        RM_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        RM_OIDC_SCOPES="openid profile groups",
        RM_OIDC_ROLE_OPERATOR="rm-operators",
        RM_OIDC_LABEL="Canaille",
    )
    provider.set_up([f"{server.url}/login/oidc/callback"], {"rm-operators": ["oscar"], "gardeners": ["gary"]})
    provider.start()
    yield server
    provider.stop()


def enter(page, name):
    page.get_by_role("button", name="Sign in with Canaille").click()
    page.locator("#login").fill(name)
    page.locator("#loginform button[type=submit]").first.click()
    page.locator("#password").fill(PASSWORD)
    page.locator("#passwordform button[type=submit]").first.click()


def fresh_page(chromium, said):
    """A page of a browser that knows nobody; what its console says goes to `said`."""
    context = chromium.new_context()
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    return page


def test_a_person_signs_in_through_the_providers_page_in_a_real_browser(way, chromium):
    server, said = way, []
    page = fresh_page(chromium, said)
    page.goto(f"{server.url}/setup?token=first-run")
    page.get_by_label("Name", exact=True).fill("alice")
    page.locator("#password").fill("correct horse battery")
    page.locator("#password_again").fill("correct horse battery")
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url(f"{server.url}/")
    page.context.close()

    page = fresh_page(chromium, said)
    page.goto(f"{server.url}/login?next=/alerts")
    enter(page, "oscar")
    page.wait_for_url(f"{server.url}/alerts")

    assert page.locator(".nav__name").inner_text() == "oscar"
    assert [line for line in said if server.url in line and "Content Security Policy" in line] == []
    page.context.close()

    page = fresh_page(chromium, [])
    page.goto(f"{server.url}/login")
    enter(page, "gary")
    page.locator("#refused").wait_for()

    assert "none of your groups or roles" in page.locator("#refused").inner_text()
    assert page.url.startswith(f"{server.url}/login/oidc/callback")
    page.get_by_role("link", name="Back to the sign-in page").click()
    page.wait_for_url(f"{server.url}/login")
    page.context.close()
