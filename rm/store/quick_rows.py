"""Rows of a model by plain SQL, for pages of many and for hellos: peewee takes longer to ask than SQLite to look."""

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar

from peewee import BooleanField

from rm.store.database import db
from rm.store.models import Host
from rm.store.models.rows import InstantField, JsonField, Row

AnyRow = TypeVar("AnyRow", bound=Row)
AMONG = "IN (SELECT value FROM json_each(?))"
"""What a column is compared with for `ids`: one parameter, however many they are."""


def load(model: type[AnyRow], where: str, *parameters: str) -> list[AnyRow]:
    """The rows for which this SQL holds, as a select of peewee would make them."""
    query, names, converters = _plan(model)
    found = []
    for values in db.execute_sql(query + where, parameters):
        data = dict(zip(names, values, strict=True))
        for name, convert in converters:
            if data[name] is not None:
                data[name] = convert(data[name])
        row = model(__no_default__=1)
        # past the setters, which would note each field as changed
        row.__data__ = data
        found.append(row)
    return found


def first(model: type[AnyRow], where: str, *parameters: str) -> AnyRow | None:
    """The first row for which this SQL holds, if there is one."""
    return next(iter(load(model, where, *parameters)), None)


def by_id(model: type[AnyRow], row_id: str) -> AnyRow | None:
    """The row with this id, if there is one."""
    return first(model, "id = ?", row_id)


def with_host(found: AnyRow | None) -> AnyRow | None:
    """The row with the host that it belongs to, as if it had been joined; None stays none."""
    if found is not None:
        found.__rel__["host"] = by_id(Host, found.host_id)
    return found


def ids(found: Iterable[str | None]) -> str:
    """These ids as the parameter of AMONG; what is none is left out."""
    return json.dumps([one for one in found if one])


@cache
def _plan(model: type[Row]) -> tuple[str, tuple[str, ...], tuple[tuple[str, Callable[[Any], Any]], ...]]:
    fields = model._meta.sorted_fields
    columns = ", ".join(f'"{field.column_name}"' for field in fields)
    converters = tuple(
        (field.name, field.python_value)
        for field in fields
        if isinstance(field, InstantField | JsonField | BooleanField)
    )
    # only names of our own schema, and a caller's constant, are ever part of the text
    query = f'SELECT {columns} FROM "{model._meta.table_name}" WHERE '  # noqa: S608
    return query, tuple(field.name for field in fields), converters
