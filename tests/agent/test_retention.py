"""The agent checks a retention itself, and never asks restic to prune beside it."""

import json

import pytest

from agent import retention
from rm.shared import ids
from rm.shared.protocol import CommandRun


def order(policy: object, **fields: str) -> CommandRun:
    known = {"hostname": "web1", "source_group": "documents"} | fields
    return CommandRun(job_id=ids.new_ulid(), kind="forget", parameters={"retention": policy}, **known)  # type: ignore[arg-type]


def test_a_forget_names_host_tag_and_each_rule() -> None:
    found = retention.arguments(
        order({"keep_daily": 7, "keep_last": 3, "keep_within_weekly": "1y6m", "keep_yearly": 0})
    )

    assert found == [
        "forget", "--json", "--host", "web1", "--tag", "documents", "--group-by", "host", "--keep-last=3",
        "--keep-daily=7", "--keep-within-weekly=1y6m",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "policy",
    [
        None, [], {}, {"keep_last": 0}, {"keep_within": ""}, {"keep_within": "0d"}, {"keep_last": -1},
        {"keep_last": True}, {"keep_last": 10_001}, {"keep_last": 1.5}, {"keep_daily": 7, "keep_tag": "x"},
        {"keep_within": "30 days"}, {"keep_within": "1d --prune"}, {"prune": True}, {"keep_within": 30},
    ],
)  # fmt: skip
def test_a_policy_that_keeps_nothing_or_is_not_understood_is_refused(policy: object) -> None:
    with pytest.raises(ValueError, match=r"retention|must be"):
        retention.arguments(order(policy))


@pytest.mark.parametrize("fields", [{"hostname": ""}, {"source_group": ""}])
def test_a_forget_without_host_or_group_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="host and the source group"):
        retention.arguments(order({"keep_last": 1}, **fields))


def test_what_restic_prints_becomes_figures_and_lines() -> None:
    one = {"id": "a" * 64, "time": "2026-11-26T12:00:00.123Z"}
    text = json.dumps([{"keep": [one], "remove": [one] * 300}, {"keep": None, "remove": None}])

    found = retention.parse(f"some words\n{text}\n")

    assert found and found.summary == {"removed": 300, "kept": 1}
    assert found.lines()[0] == "removed snapshot aaaaaaaa of 2026-11-26T12:00:00"
    assert len(found.lines()) == 201


@pytest.mark.parametrize("text", ["[3]", "[{", '[{"remove": [{}]}]', "[" * 5000])
def test_garbage_is_no_forget(text: str) -> None:
    assert retention.parse(text) is None
