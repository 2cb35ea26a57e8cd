"""Takes one picture of a page, in light, in dark and on a phone, without the names of the machine that takes it."""

import re
import socket
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.conftest import PHONE

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
DESK = {"width": 1280, "height": 860}
ADDRESS = "https://backups.example.net"
# Pages name places of the machine that takes the pictures; they are shown under others, also in what moves later.
RENAME = """
(names) => {
  if (names.length === 0) return;
  const renamed = (text) => names.reduce((said, [from, to]) => said.replace(new RegExp(from, "g"), to), text);
  const put = (owner, field) => {
    const said = renamed(owner[field]);
    if (said !== owner[field]) owner[field] = said;
  };
  const all = () => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) put(walker.currentNode, "data");
    for (const one of document.querySelectorAll("input[type=text], input:not([type]), textarea")) {
      put(one, "value");
      put(one, "placeholder");
    }
  };
  all();
  if (!window.isRenamed) {
    window.isRenamed = true;
    new MutationObserver(all).observe(document.body, { subtree: true, childList: true, characterData: true });
  }
}
"""
NAMES: dict[Page, list[tuple[str, str]]] = {}


def called_otherwise(page: Page, url: str, root: Path) -> None:
    """Have `keep` show other names than those of this machine and its temporary directory."""
    agent = root / "agent"
    places = [
        (str(root / "repository"), "/srv/restic/attic"), (str(root / "data"), "/data"),
        (str(agent / "restore"), "/var/restic-manager/restore"),
        (str(agent / "state"), "/var/lib/restic-manager-agent"), (str(agent), ""), (str(root), "/home/mara"),
        (root.name, "mara"), (url, ADDRESS), (url.removeprefix("http://"), ADDRESS[8:]),
    ]  # fmt: skip
    names = [(re.escape(place), other) for place, other in places]
    NAMES[page] = [
        *names,
        (rf"\b{re.escape(socket.gethostname())}\b", "web-1"),
        ("^tmp(?=/?$)", "home"),
        (r"scheme: http\b", "scheme: https"),
    ]


def keep(page: Page, name: str, *, part: str = "", has_phone: bool = False) -> None:
    """The page as it is now, or a part of it, once in each theme, and on a phone where that is wanted."""
    page.wait_for_load_state("load")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(RENAME, NAMES.get(page, []))
        path = IMAGES / f"{name}-{scheme}.png"
        if part:
            page.locator(part).screenshot(path=path)
        else:
            page.screenshot(path=path)
    page.emulate_media(color_scheme="light")
    if has_phone:
        before = page.viewport_size
        page.set_viewport_size(PHONE)
        page.evaluate(RENAME, NAMES.get(page, []))
        page.screenshot(path=IMAGES / f"{name}-phone.png")
        page.set_viewport_size(before or DESK)
