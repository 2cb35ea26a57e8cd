"""The plot of a soak: four panels over one time axis, in an SVG that follows the reader's light or dark.

The product's sparklines have no axes and no gaps (rm/web/drawings.py); here both carry the meaning.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, TOP = 900, 64, 20, 54
PANEL, GAP = 120, 40
STYLE = """
 svg { --paper: #fff; --ink: #1d2a33; --soft: #5b6b76; --line: #d5dde2; --one: #0b6e8a; --two: #b4540a; --mark: #7a8a95;
  background: var(--paper); font: 12px system-ui, sans-serif; }
 @media (prefers-color-scheme: dark) { svg { --paper: #12191e; --ink: #e4ebef; --soft: #9fb0ba; --line: #2f3b43;
  --one: #5cc3e0; --two: #f0a35e; --mark: #7d8d97; } }
 .paper { fill: var(--paper); } text { fill: var(--ink); } .soft { fill: var(--soft); }
 .grid { stroke: var(--line); } .event { stroke: var(--mark); stroke-dasharray: 3 3; }
 .one, .two { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
 .one { stroke: var(--one); } .two { stroke: var(--two); stroke-dasharray: 6 2; }
 .one-text { fill: var(--one); } .two-text { fill: var(--two); }
"""
# title, unit, the lines: (key of a sample, words)
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Delays", "ms", (("ack_p99", "acknowledgement, p99"), ("page_p95", "page, p95"))),
    ("Memory (PSS)", "MB", (("pss_mb", "server"),)),
    ("Open files", "", (("files", "server"),)),
    ("Write-ahead log", "MB", (("wal_mb", "size of the file"),)),
)


def draw(samples: Sequence[dict[str, Any]], events: Sequence[tuple[float, str]], *, title: str) -> str:
    """The SVG; where a sample has no value the line has a gap."""
    end = max([60.0, *(sample["at"] for sample in samples)])
    numbers = {at: str(number) for number, (at, _) in enumerate(events, 1)}
    key_lines = [f"{number}  {_clock(at)}  {words}" for number, (at, words) in enumerate(events, 1)]
    rows = -(-len(key_lines) // 2)
    bottom = TOP + len(PANELS) * (PANEL + GAP)
    height = bottom + 22 + rows * 17 + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    for number, panel in enumerate(PANELS):
        parts += _panel(panel, samples, end, TOP + number * (PANEL + GAP))
    for at, number_text in numbers.items():
        x = _x(at, end)
        parts.append(f'<line class="event" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom - GAP}"/>')
        parts.append(f'<text class="soft" x="{x:.1f}" y="{TOP - 10}" text-anchor="middle">{number_text}</text>')
    for minute in range(0, int(end // 60) + 1, max(1, round(end / 60 / 15))):
        x = _x(minute * 60, end)
        parts.append(f'<text class="soft" x="{x:.1f}" y="{bottom - GAP + 16}" text-anchor="middle">{minute}</text>')
    parts.append(f'<text class="soft" x="{WIDTH - RIGHT}" y="{bottom - GAP + 32}" text-anchor="end">minutes</text>')
    for index, line in enumerate(key_lines):
        x, y = LEFT + index // rows * 420, bottom + 16 + index % rows * 17
        parts.append(f'<text class="soft" x="{x}" y="{y}">{escape(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    panel: tuple[str, str, tuple[tuple[str, str], ...]], samples: Sequence[dict[str, Any]], end: float, top: float
) -> list[str]:
    title, unit, lines = panel
    values = [sample[key] for key, _ in lines for sample in samples if sample.get(key) is not None]
    ceiling = _round_up(max([*values, 1e-9]))
    parts = [f'<text x="{LEFT}" y="{top + 2}" font-weight="600">{escape(title)}</text>']
    plot_top = top + 12
    for share in (0, 0.5, 1):
        y = plot_top + (PANEL - 12) * (1 - share)
        label = f"{ceiling * share:,g} {unit}".strip()
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="soft" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for index, ((key, words), kind) in enumerate(zip(lines, ("one", "two"), strict=False)):
        path = _path(samples, key, end, ceiling, plot_top)
        if path:
            parts.append(f'<path class="{kind}" d="{path}"/>')
        parts.append(
            f'<text class="{kind}-text" x="{WIDTH - RIGHT - 160 * (len(lines) - 1 - index)}" y="{top + 2}"'
            f' text-anchor="end">{"—" if kind == "one" else "- -"} {escape(words)}</text>'
        )
    return parts


def _path(samples: Sequence[dict[str, Any]], key: str, end: float, ceiling: float, top: float) -> str:
    path, is_down, life = "", False, None
    for sample in samples:
        value = sample.get(key)
        if sample.get("life") != life:
            # another process: what it begins with does not follow from what the one before ended with
            is_down, life = False, sample.get("life")
        if value is None:
            is_down = False
            continue
        y = top + (PANEL - 12) * (1 - min(value / ceiling, 1))
        path += f"{'L' if is_down else 'M'}{_x(sample['at'], end):.1f} {y:.1f}"
        is_down = True
    return path


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at / end


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 1e-9
    while True:
        for factor in (1, 2, 2.5, 5):
            if factor * power >= value * 0.999:
                return float(f"{factor * power:.6g}")
        power *= 10
