"""Prints what rows came to, and keeps it: one JSON file a row, and the table in docs/benchmarks.md."""

import json
from pathlib import Path
from typing import Any

from bench.figures import Row, number

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of the figures -->"

Json = dict[str, Any]


def said(row: Row) -> str:
    """A row for the terminal."""
    lines = [f"\n{row.name}: {row.title}", f"  ceiling: {row.ceiling}"]
    table = [("", "value", "ceiling", "ratio", "target", "")]
    for figure in row.figures:
        table.append(
            (
                figure.name,
                f"{number(figure.value)} {figure.unit}".strip(),
                "" if figure.ceiling is None else number(figure.ceiling),
                "" if figure.ratio is None else f"{figure.ratio:.2f}",
                figure.target_text,
                figure.verdict,
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(6)]
    for line in table:
        cells = [text.rjust(width) for text, width in zip(line, widths, strict=True)]
        cells[0] = line[0].ljust(widths[0])
        lines.append("  " + "  ".join(cells).rstrip())
    lines += [f"  {note}" for note in row.notes]
    return "\n".join(lines)


def keep(row: Row, *, machine: dict[str, str], others: float, results: Path = RESULTS) -> Path:
    """Write a row's file; `others` is the share of the machine that other programs used meanwhile."""
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{row.name}.json"
    content = row.as_json() | {"used_by_others": round(others, 3), "machine": machine}
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return file


def write_page(names: list[str], *, results: Path = RESULTS, page: Path = PAGE) -> None:
    """Put what is kept into the page, between its marks; the words around it stay."""
    kept = [json.loads((results / f"{name}.json").read_text()) for name in names if (results / f"{name}.json").exists()]
    if not kept:
        return
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{tables(kept)}\n{END}{after}")


def tables(kept: list[Json]) -> str:
    """The machine, and a table for each row."""
    machine = kept[-1]["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in ("cores", "memory"))
    parts = [f"Measured on {machine['cores']} cores and {machine['memory']} of memory; {versions}.\n"]
    for row in kept:
        parts.append(f"### {row['row']}: {row['title']}\n")
        parts.append(f"Ceiling: {row['ceiling']}. Other programs used {row['used_by_others']:.0%} of the machine.\n")
        parts.append("| | value | ceiling | ratio | target | |")
        parts.append("|---|--:|--:|--:|--:|---|")
        parts += [_line(figure) for figure in row["figures"]]
        parts += ["", *(f"{note}\n" for note in row["notes"])]
    return "\n".join(parts).rstrip() + "\n"


def _line(figure: Json) -> str:
    ceiling = "" if figure["ceiling"] is None else number(figure["ceiling"])
    ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2f}"
    value = f"{number(figure['value'])} {figure['unit']}".strip()
    verdict = f"**{figure['verdict']}**" if figure["verdict"].startswith("missed") else figure["verdict"]
    return f"| {figure['name']} | {value} | {ceiling} | {ratio} | {figure['target']} | {verdict} |"
