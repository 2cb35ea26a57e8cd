"""What a page owes to everybody: axe-core's rules in both themes, and no sideways scrolling on a phone."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Page, ViewportSize
from werkzeug.exceptions import NotFound

from tests.access.conftest import AXE, Stage
from tests.access.scene import STATES, Scene
from tests.browser.conftest import PHONE, Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

EMPTY_PATHS = (
    "/", "/hosts/add", "/alerts", "/audit", "/patterns", "/pending-hosts", "/repositories", "/settings/updates",
    "/templates", "/templates/new",
    "/settings/fleet-update", "/settings/general", "/settings/server", "/nowhere",
)  # fmt: skip
NO_PAGES = (
    "/api/",
    "/live/",
    "/agent/",
    "/static/",
    "/ws/",
    "/install.sh",
    "/healthz",
    "/metrics",
    "/i.svg",
    "/style.css",
)
SIGNED_OUT = ("/login", "/setup?token=wrong", "/choose-password?token=wrong")
DESK = ViewportSize(width=1280, height=900)
EXTRA = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
RUN_AXE = "async (options) => (await axe.run(document, options)).violations"
OPTIONS: dict[str, Any] = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
}
# All that another theme can change: no rule but these looks at colours.
OF_COLOUR = OPTIONS | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
GRAVE = ("serious", "critical")


def violations(page: Page) -> list[str]:
    """What axe finds in the light theme, and what of its colours in the dark one."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.evaluate(AXE.read_text())
    found = _found(page, OPTIONS)
    # A colour on its way to the other one is nobody's fault, so nothing moves.
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    return found + [f"in the dark: {said}" for said in _found(page, OF_COLOUR)]


def _found(page: Page, options: dict[str, Any]) -> list[str]:
    """What is serious or critical: rule, element, and what axe says of it."""
    found = page.evaluate(RUN_AXE, options)
    return [
        f"{one['id']} {json.dumps(node['target'])}: {node['failureSummary'].splitlines()[-1].strip()}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"][:3]
    ]


def test_the_vendored_axe_is_what_it_is_said_to_be() -> None:
    said = re.search(r"`([A-Za-z0-9+/=]{64})`", (Path(__file__).parent / "vendor" / "VERSIONS.md").read_text())

    assert said is not None
    assert base64.b64encode(hashlib.sha384(AXE.read_bytes()).digest()).decode() == said.group(1)


def test_every_page_that_the_server_has_is_looked_at(app: Flask) -> None:
    looked_at = {"hosts.index", "accounts.ask", "accounts.open_setup", "user_links.ask"}
    # Only who signs in, or just made codes, sees these; tests/browser/test_people.py goes there.
    looked_at |= {"accounts.ask_code", "second_factor.show_codes"}
    # These send a browser on, or need a provider; tests/oidc/test_browser.py goes there.
    looked_at |= {"oidc.ask", "oidc.come_back"}
    adapter = app.url_map.bind("localhost")
    names = {key: key for key in ("ok", "long", "never", *STATES)}
    shown = Scene(
        hosts=names, jobs={"running": "j"}, groups={"ok": "g"}, repositories={"attic": "r"}, pending={"p": "p"},
        token_id="t", release_id="r", fleet_updates={"halted": "u"}, schedules={"ok": "s"}, templates={"t": "t"},
        channels={"c": "c"}, incidents={"i": "i"},
    )  # fmt: skip
    for path in shown.paths():
        with suppress(NotFound):
            looked_at.add(adapter.match(path.partition("?")[0], method="GET")[0])

    pages = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and not rule.rule.startswith(NO_PAGES)
    }

    assert pages - looked_at == {"jobs.download_log", "audit.export", "server_care.download"}


def test_axe_would_find_something(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full, bypass_csp=True).go("/audit")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<p><button></button></p>')")

    assert [said for said in violations(page) if said.startswith("button-name")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_would_find_colours_that_are_bad_in_one_theme_only(
    full: Stage, look: Callable[..., Watched], scheme: str
) -> None:
    page = look(full, bypass_csp=True).go("/audit")
    colours = {"light": "light-dark(#ccc, #fff)", "dark": "light-dark(#000, #333)"}[scheme]
    page.evaluate(
        "(colours) => document.querySelector('main').insertAdjacentHTML('beforeend',"
        " `<p style='background: light-dark(#fff, #000); color: ${colours}'>faint</p>`)",
        colours,
    )

    [said] = violations(page)

    assert said.startswith({"light": "color-contrast", "dark": "in the dark: color-contrast"}[scheme])


def test_axe_finds_nothing_serious_on_any_page(full: Stage, look: Callable[..., Watched]) -> None:
    watched = look(full, bypass_csp=True)

    found = {path: violations(watched.go(path)) for path in full.scene.paths()}

    assert {path: said for path, said in found.items() if said} == {}


def test_axe_finds_nothing_serious_where_there_is_nothing_yet(empty: Stage, look: Callable[..., Watched]) -> None:
    watched = look(empty, bypass_csp=True)
    found = {path: violations(watched.go(path)) for path in EMPTY_PATHS}
    watched.page.context.clear_cookies()
    watched.expected = ("404", "403", "401", "410")

    found |= {path: violations(watched.go(path)) for path in SIGNED_OUT}

    assert {path: said for path, said in found.items() if said} == {}


def test_no_page_scrolls_sideways_whatever_the_names(full: Stage, look: Callable[..., Watched]) -> None:
    watched = look(full)
    wide = {}

    for path in full.scene.paths():
        page = watched.go(path)
        for size in (DESK, PHONE):
            page.set_viewport_size(size)
            extra = page.evaluate(EXTRA)
            if extra > 0:
                wide[path, size["width"]] = extra

    assert wide == {}
