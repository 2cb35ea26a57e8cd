"""WCAG contrast of the colours that are used together, in both themes."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "static" / "css" / "tokens.css").read_text()
TOKENS = dict(re.findall(r"(--[\w-]+):\s*([^;]+);", CSS))
SURFACES = ("canvas", "panel", "sunken")
INKS = ("ink", "ink-2", "ink-3", "accent", "ok", "warn", "failed", "rest")
STATES = ("accent", "ok", "warn", "failed", "rest")
MARKS = ("ok-mark", "warn-mark", "failed-mark", "rest-mark", "control-line", "focus")

TEXT = [(ink, surface) for ink in INKS for surface in SURFACES]
TEXT += [(ink, f"{state}-soft") for state in STATES for ink in (state, "ink", "ink-2")]
TEXT += [("on-accent", "accent"), ("on-accent", "accent-strong"), ("on-failed", "failed"), ("panel", "ink")]
GRAPHIC = [(mark, surface) for mark in MARKS for surface in ("panel", "canvas")]
PAIRS = [(*pair, 4.5) for pair in TEXT] + [(*pair, 3.0) for pair in GRAPHIC]


def resolve(value: str, theme: str) -> str:
    value = value.strip()
    both = re.match(r"light-dark\((.+?),\s*((?:var\([^)]*\)|#\w+|rgb\([^)]*\)))\)$", value)
    if both:
        value = both.group(1 if theme == "light" else 2).strip()
    variable = re.match(r"var\((--[\w-]+)\)$", value)
    return resolve(TOKENS[variable.group(1)], theme) if variable else value


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(ink: str, ground: str, theme: str) -> float:
    first, second = (luminance(resolve(TOKENS[f"--{name}"], theme)) for name in (ink, ground))
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out_from_their_grounds(theme: str) -> None:
    missed = [(ink, ground) for ink, ground, least in PAIRS if ratio(ink, ground, theme) < least]

    assert missed == []
