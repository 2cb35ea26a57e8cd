"""Completes the lists of parts with what no package index knows, and writes docs/reference/licences.md from them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "licences.md"
VENDORED = ROOT / "static" / "js" / "vendor" / "VERSIONS.md"
# Tools of the environment that the list is made from; neither the image nor the agent carries them.
NOT_SHIPPED = ("pip", "setuptools")
# What says its licence in a file only.
SAID_ELSEWHERE = {"peewee": "MIT"}
CLASSIFIERS = {"BSD License": "BSD", "MIT License": "MIT", "Apache Software License": "Apache-2.0"}

_INTRODUCTION = """# Parts and licences

*Written by `make sbom` from the lock files; edit those, not this page.*

restic-manager is MIT-licensed. What it ships with, as CycloneDX documents in `dist/sbom` after `make sbom`:
"""


def main(files: list[str]) -> None:
    """Complete each document in place, then write the page."""
    documents = {Path(name).name.split(".")[0]: Path(name) for name in files}
    for name, file in documents.items():
        found = json.loads(file.read_text("utf-8"))
        found["components"] = [one for one in found["components"] if one["name"] not in NOT_SHIPPED]
        for part in found["components"]:
            if not part.get("licenses") and part["name"] in SAID_ELSEWHERE:
                part["licenses"] = [{"license": {"id": SAID_ELSEWHERE[part["name"]]}}]
        if name == "server":
            found["components"] += vendored()
        file.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    tables = [
        table(title, json.loads(documents[name].read_text("utf-8"))["components"])
        for name, title in (("server", "The server"), ("agent", "The agent, in its one file"))
    ]
    PAGE.write_text(_INTRODUCTION + "".join(tables), "utf-8")


def vendored() -> list[dict[str, Any]]:
    """The scripts that lie in the tree, from the table that says where they came from."""
    rows = re.findall(r"^\| `([\w-]+)-([\d.]+)\.min\.js` \|[^|]*\| ([\w.-]+) \| `([^`]+)`", VENDORED.read_text(), re.M)
    return [
        {
            "type": "library", "name": name, "version": version, "licenses": [{"license": {"id": licence}}],
            "bom-ref": f"vendored-{name}", "purl": f"pkg:npm/htmx.org@{version}",
        }
        for name, version, licence, _ in rows
    ]  # fmt: skip


def table(title: str, parts: list[dict[str, Any]]) -> str:
    rows = sorted((one["name"].lower(), one["name"], licence_of(one)) for one in parts)
    return f"\n## {title}\n\n| part | licence |\n|---|---|\n" + "".join(
        f"| {name} | {said} |\n" for _, name, said in rows
    )


def licence_of(part: dict[str, Any]) -> str:
    """The best statement that the package makes; raises SystemExit where it makes none."""
    said = part.get("licenses") or []
    for one in said:
        if "expression" in one:
            return str(one["expression"])
        if "id" in one["license"]:
            return str(one["license"]["id"])
    for one in said:
        name = str(one["license"].get("name", "")).rpartition(" :: ")[2]
        if name:
            return CLASSIFIERS.get(name, name)
    raise SystemExit(f"{part['name']} says no licence; find it out and add it to SAID_ELSEWHERE in {__file__}.")


if __name__ == "__main__":
    main(sys.argv[1:])
