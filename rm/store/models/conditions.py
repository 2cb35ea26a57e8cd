"""Conditions of the simplest kind, written out at once: columns against values, with AND and OR between them.

peewee makes a state of its own for each column and each value while it walks through a query; for a few words of SQL
that took ten times as long as SQLite took to answer.
"""

from datetime import datetime
from typing import Any

from peewee import OP, Context, Expression, Field, FieldAlias, Node

_SCALARS = (str, int, float, datetime)
_COMPARISONS = frozenset({OP.EQ, OP.NE, OP.LT, OP.LTE, OP.GT, OP.GTE})
_LISTS = (list, tuple, set, frozenset)


class Written(Node):
    """A condition in the text that peewee would make of it, or as peewee makes it where it is of another kind."""

    def __init__(self, condition: Any) -> None:
        self._condition = condition

    def __sql__(self, ctx: Context) -> Context:
        values: list[Any] = []
        text = _text(self._condition, ctx, values)
        if text is None:
            return ctx.sql(self._condition)
        return add(ctx, text, values)


def add(ctx: Context, text: str, values: list[Any]) -> Context:
    """Put a text with a question mark for each value, which the database takes as it is, behind what is there."""
    ctx.literal(text)
    for value in values:
        ctx.value(value, converter=False, add_param=False)
    return ctx


def is_column(asked: Any) -> bool:
    """Whether this is a column of a table itself, and not of one that was given another name."""
    return isinstance(asked, Field) and not isinstance(asked, FieldAlias)


def _text(condition: Any, ctx: Context, values: list[Any]) -> str | None:
    if type(condition) is not Expression or condition.flat:
        return None
    if condition.op in (OP.AND, OP.OR):
        left = _text(condition.lhs, ctx, values)
        right = _text(condition.rhs, ctx, values) if left is not None else None
        return None if right is None else f"({left} {condition.op} {right})"
    column, value = condition.lhs, condition.rhs
    if not is_column(column):
        return None
    name = f'"{ctx.alias_manager[column.model._meta.table]}"."{column.column_name}"'
    if value is None:
        return f"({name} {condition.op} NULL)" if condition.op in (OP.IS, OP.IS_NOT) else None
    if condition.op in _COMPARISONS and isinstance(value, _SCALARS):
        values.append(column.db_value(value))
        return f"({name} {condition.op} ?)"
    is_listed = condition.op in (OP.IN, OP.NOT_IN) and isinstance(value, _LISTS)
    if is_listed and value and all(isinstance(one, _SCALARS) for one in value):
        values.extend(column.db_value(one) for one in value)
        return f"({name} {condition.op} ({', '.join('?' * len(value))}))"
    return None
