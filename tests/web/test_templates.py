"""Rules that every template and stylesheet keeps, and the pattern page that shows them all."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from rm.web import assets
from tests import cast
from tests.web.conftest import Browser

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
STATIC = ROOT / "static"
COMPONENTS = sorted((STATIC / "css" / "components").glob("*.css"))
FORBIDDEN = {
    "an inline script": r"<script(?![^>]*\bsrc=)",
    "an inline style": r"<style|\sstyle\s*=",
    "an event handler attribute": r"\son[a-z]+\s*=",
    "hx-on": r"hx-on",
    "an expression for eval": r"""["']\s*js:|javascript:""",
    "a trigger filter, which htmx evaluates": r"hx-trigger=\"[^\"]*\[",
    "another site": r"(src|href)=\"(https?:)?//",
}
# Set by htmx, or on <main> itself, so that page cannot show them.
STATES = {"htmx-request", "page--narrow"}


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.relative_to(ROOT / "templates")))
def test_a_template_keeps_to_the_strict_policy(file: Path) -> None:
    text = file.read_text()

    found = [what for what, pattern in FORBIDDEN.items() if re.search(pattern, text, re.IGNORECASE)]

    assert found == []


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.relative_to(ROOT / "templates")))
def test_only_shared_templates_may_mark_text_as_safe(file: Path) -> None:
    if file.parent.name != "shared":
        assert "|safe" not in file.read_text().replace(" ", "")


def test_only_the_layout_has_the_html_element() -> None:
    assert [file.name for file in TEMPLATES if "<html" in file.read_text()] == ["layout.html"]


@pytest.mark.parametrize(
    "file",
    [file for file in TEMPLATES if file.name.startswith("_")],
    ids=lambda file: f"{file.parent.name}/{file.name}",
)
def test_a_fragment_extends_nothing_and_uses_nothing_of_a_request(file: Path) -> None:
    text = file.read_text()

    assert "{% extends" not in text
    # Live streams render fragments outside of any request.
    if file.parent.name != "errors" and file.name != "_first_host.html":
        assert not re.search(r"\bmay\(|url_for|\brequest\b|\buser\.", text)


def test_one_file_holds_every_stylesheet_and_stays_small(alice: Browser) -> None:
    files = {str(file.relative_to(STATIC / "css")) for file in (STATIC / "css").rglob("*.css")}
    page = alice.get("/")
    address = page.soup.select_one("link[rel=stylesheet]")["href"]

    answer = alice.client.get(address)

    assert files == {f"{name}.css" for name in assets.STYLESHEETS}
    assert all((STATIC / "css" / name).read_bytes() in answer.data for name in files)
    assert len(answer.data) < 56_000
    assert (answer.mimetype, "immutable" in answer.headers["Cache-Control"]) == ("text/css", True)


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: file.stem)
def test_the_pattern_page_shows_every_class_of_a_component(alice: Browser, file: Path) -> None:
    page = alice.get("/patterns")
    shown = {name for element in page.soup.select("[class]") for name in element["class"]}

    css = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL)
    wanted = set(re.findall(r"\.([a-z][a-z0-9]*(?:(?:__|--|-)[a-z0-9]+)*)", re.sub(r"\{[^}]*\}", "{}", css)))

    assert wanted - shown - STATES == set()


def test_every_class_that_a_template_names_has_a_rule() -> None:
    css = "".join(file.read_text() for file in (STATIC / "css").rglob("*.css"))
    known = set(
        re.findall(r"\.([a-z][\w-]*)", re.sub(r"\{[^{}]*\}", "{}", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)))
    )
    # by this one the account is found, from outside
    known.add("nav__user")
    named = {
        (name, file.name)
        for file in TEMPLATES
        for value in re.findall(r'class="([^"]*)"', file.read_text())
        for name in re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " *", value).split()
        if re.fullmatch(r"[a-z][\w-]*\w", name)
    }

    assert {(name, file) for name, file in named if name not in known and not name.endswith("__")} == set()


def test_the_pattern_page_uses_every_macro() -> None:
    macros = set(re.findall(r"macro (\w+)\(", (ROOT / "templates/shared/_macros.html").read_text()))
    bodies = dict(
        re.findall(r"macro (\w+)\((.*?)endmacro", (ROOT / "templates/shared/_macros.html").read_text(), re.DOTALL)
    )
    used = set(re.findall(r"\bm\.(\w+)\(", (ROOT / "templates/patterns/index.html").read_text()))
    inner = {name for one in used for name in macros if re.search(rf"\b{name}\(", bodies.get(one, ""))}

    # a live connection is nothing to be seen
    assert macros - used - inner == {"live"}


def test_the_pattern_page_gives_no_id_twice(alice: Browser) -> None:
    ids = [element["id"] for element in alice.get("/patterns").soup.select("[id]")]

    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", ["/", "/hosts/add", "/patterns", "/audit"])
def test_a_page_has_one_main_one_h1_and_labels_for_its_fields(
    alice: Browser, web1: cast.EnrolledHost, path: str
) -> None:
    page = alice.get(path)

    assert len(page.soup.select("main")) == 1
    assert len(page.soup.select("h1")) == 1
    for field in page.soup.select("input:not([type=hidden]), select, textarea"):
        name = field.get("aria-label") or page.soup.select_one(f"label[for='{field.get('id')}']")
        assert name or field.find_parent("label"), field
    for button in page.soup.select("button, a.button"):
        assert button.get_text(strip=True) or button.get("aria-label"), button


def test_the_icons_are_at_the_address_that_pages_name(alice: Browser) -> None:
    address, _, name = alice.get("/").soup.select_one("use")["href"].partition("#")

    answer = alice.client.get(address)

    assert f'id="{name}"' in answer.text
    assert (answer.mimetype, "immutable" in answer.headers["Cache-Control"]) == ("image/svg+xml", True)


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'id="([a-z-]+)"', (STATIC / "icons.svg").read_text()))
    text = "".join(file.read_text() for file in TEMPLATES)
    used = set(re.findall(r'icon\("([a-z-]+)"', text))

    assert used - sprite == set()


def test_times_that_tick_are_not_announced() -> None:
    for file in TEMPLATES:
        assert "aria-live" not in file.read_text(), file


def test_vendored_scripts_are_what_they_are_said_to_be() -> None:
    vendor = STATIC / "js" / "vendor"
    said = dict(re.findall(r"\| `([^`]+\.js)` .* `([A-Za-z0-9+/=]{64})` \|", (vendor / "VERSIONS.md").read_text()))

    found = {
        file.name: base64.b64encode(hashlib.sha384(file.read_bytes()).digest()).decode() for file in vendor.glob("*.js")
    }

    assert found == said
    layout = (ROOT / "templates/layout.html").read_text()
    assert all(f"js/vendor/{name}" in layout for name in found)
