"""The select of our rows asks for exactly what peewee's own does."""

import pytest
from peewee import ModelSelect, fn

from rm.store import models
from rm.store.models import Host, Job
from rm.store.models.rows import Row

MODELS = [one for one in vars(models).values() if isinstance(one, type) and issubclass(one, Row) and one is not Row]


def _peewee(model: type[Row], *fields: object) -> ModelSelect:
    return ModelSelect(model, fields or model._meta.sorted_fields, is_default=not fields)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_row_of_each_table_is_asked_for_as_peewee_would(model: type[Row]) -> None:
    assert model.select().sql() == _peewee(model).sql()


def test_a_join_and_a_subquery_are_asked_for_as_peewee_would() -> None:
    of_one = Job.repository.in_(_peewee(Job, Job.repository).where(Job.host == "x"))

    ours = Job.select(Job, Host).join(Host).where(Job.repository.in_(Job.select(Job.repository).where(Job.host == "x")))

    assert ours.sql() == _peewee(Job, Job, Host).join(Host).where(of_one).sql()


def test_a_default_select_within_another_query_asks_for_the_key_only() -> None:
    assert Job.select().where(Job.host.in_(Host.select())).sql() == (
        _peewee(Job).where(Job.host.in_(_peewee(Host))).sql()
    )


def test_other_names_and_functions_are_left_to_peewee() -> None:
    other = Host.alias()

    assert Host.select(fn.COUNT(Host.id)).sql() == _peewee(Host, fn.COUNT(Host.id)).sql()
    assert Host.select(Host.id, other.name).join(other, on=(Host.name == other.name)).sql() == (
        _peewee(Host, Host.id, other.name).join(other, on=(Host.name == other.name)).sql()
    )
