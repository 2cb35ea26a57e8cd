"""Conditions, updates and inserts of our rows say exactly what peewee's own would."""

from datetime import datetime, timezone

import pytest
from peewee import IntegrityError, ModelInsert, ModelSelect, ModelUpdate, fn

from rm.domain.actors import SERVER
from rm.events import EventBus
from rm.store.models import AuditEntry, BackupDay, Host, Job, JobLogLine, UpdateAttempt
from rm.store.models.rows import Row, _insert
from tests.cast import NOW, EnrolledHost
from tests.store.test_row_select import MODELS

A_ZONE = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=timezone.utc)

CONDITIONS = {
    "a text": Job.id == "x",
    "a foreign key": Job.host == "x",
    "a moment": Host.last_seen_at <= A_ZONE,
    "a flag": UpdateAttempt.is_late == True,  # noqa: E712
    "a number": Host.agent_seq != 3,
    "nothing": Job.finished_at.is_null(),
    "anything": Job.finished_at.is_null(False),
    "none by comparison": Job.finished_at == None,  # noqa: E711
    "among": Job.state.in_(("queued", "running")),
    "among a list": Job.state.not_in(["queued"]),
    "among none": Job.state.in_([]),
    "among moments": Host.last_seen_at.in_([NOW, A_ZONE]),
    "and": (Job.host == "x") & (Job.state == "queued") & (Job.kind != "update"),
    "or": (Job.host == "x") & ((Job.state == "queued") | (Job.kind << ["a", "b"])),
    "not": ~(Job.state == "queued"),
    "a column": Job.state == Job.kind,
    "a function": fn.LOWER(Job.kind) == "update",
    "a pattern": Job.kind ** "%date",
    "an expression": Job.attempt + 1 > 3,
    "a query": Job.host.in_(Host.select(Host.id).where(Host.name == "x")),
    "in part plain": (Job.host == "x") & (fn.LOWER(Job.kind) == "update") & (Job.state == "queued"),
    "another name": Host.alias("other").name == "x",
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_of_a_select_is_as_peewee_would_write_it(name: str) -> None:
    condition = CONDITIONS[name]

    ours = Job.select(Job, Host).join(Host).where(condition).order_by(Job.id.desc()).limit(3)

    theirs = ModelSelect(Job, (Job, Host)).join(Host).where(condition).order_by(Job.id.desc()).limit(3)
    assert ours.sql() == theirs.sql()


def test_conditions_that_are_added_are_as_peewee_would_write_them() -> None:
    ours, theirs = Job.select(), ModelSelect(Job, Job._meta.sorted_fields, is_default=True)
    for condition in (Job.host == "x", Job.state == "queued", Job.kind.in_(["a", "b"])):
        ours, theirs = ours.where(condition), theirs.where(condition)

    assert ours.sql() == theirs.sql()
    assert ours.sql() == theirs.sql(), "asking twice changed it"


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_of_an_update_is_as_peewee_would_write_it(name: str) -> None:
    values = {"state": "finished", "finished_at": NOW, "outcome": None, "host": "y", "attempt": 2}

    ours = Job.update(values).where(CONDITIONS[name])

    assert ours.sql() == ModelUpdate(Job, Job._normalize_data(values, {})).where(CONDITIONS[name]).sql()


@pytest.mark.parametrize(
    ("model", "values"),
    [
        pytest.param(Host, {"problems": ["one"], "last_seen_at": A_ZONE}, id="a list and a moment"),
        pytest.param(BackupDay, {"missed": BackupDay.missed + 1}, id="an expression"),
        pytest.param(Host, {"name": fn.LOWER(Host.name)}, id="a function"),
    ],
)
def test_the_values_of_an_update_are_as_peewee_would_write_them(model: type[Row], values: dict[str, object]) -> None:
    theirs = ModelUpdate(model, model._normalize_data(dict(values), {}))

    assert model.update(dict(values)).sql() == theirs.sql()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_column_of_each_table_is_set_and_inserted_as_peewee_would(model: type[Row]) -> None:
    values = {field: None for field in model._meta.sorted_fields}

    assert model.update(values).sql() == ModelUpdate(model, values).sql()
    names = tuple(field.name for field in values)
    assert _insert(model, names) == ModelInsert(model, values).sql()[0]


def test_a_row_that_is_made_has_its_defaults_and_is_found_again(bus: EventBus) -> None:
    made = AuditEntry.create(
        at=NOW, actor_kind=SERVER.kind, actor_id="", actor_name="", action="x.y", payload={"a": ["ü"]}
    )

    found = AuditEntry.get_by_id(made.id)

    assert found.__data__ == made.__data__
    assert (found.at, found.payload, made.dirty_fields) == (NOW, {"a": ["ü"]}, [])


def test_a_row_that_contradicts_another_is_refused(bus: EventBus, web1: EnrolledHost) -> None:
    BackupDay.create(host=web1.id, day="2026-03-04")

    with pytest.raises(IntegrityError):
        BackupDay.create(host=web1.id, day="2026-03-04")
    with pytest.raises(IntegrityError):
        JobLogLine.create(job="nobody", n=1, at=NOW, stream="out", text="x")
