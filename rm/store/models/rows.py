"""What every table's model has, and the two kinds of column that SQLite does not know."""

import json
from datetime import datetime
from functools import cache
from typing import Any

from peewee import Context, Field, Model, ModelSelect, ModelUpdate, Node

from rm.shared import instants
from rm.store.database import db
from rm.store.models.conditions import Written, add, is_column


class InstantField(Field):
    """An aware datetime, stored as text that sorts as time does."""

    field_type = "TEXT"

    def db_value(self, value: datetime | str | None) -> str | None:
        return instants.to_text(value) if isinstance(value, datetime) else value

    def python_value(self, value: str | None) -> datetime | None:
        return instants.from_text(value) if value is not None else None


class JsonField(Field):
    """A list or dict, stored as JSON text."""

    field_type = "TEXT"

    def db_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def python_value(self, value: str | None) -> Any:
        # most lists are empty, and a page of hosts has hundreds
        return None if value is None else [] if value == "[]" else json.loads(value)


class RowSelect(ModelSelect):
    """A select whose list of columns and whose plain conditions are written out at once.

    peewee builds a tree for each column and walks it; with rows of fifty columns that took a third of a busy server.
    """

    def __sql__(self, ctx: Context) -> Context:
        condition = self._where
        if condition is None:
            return super().__sql__(ctx)
        self._where = Written(condition)
        try:
            return super().__sql__(ctx)
        finally:
            self._where = condition

    def __sql_selection__(self, ctx: Context, is_subquery: bool = False) -> Any:
        if is_subquery or not all(map(is_column, self._returning)):
            return super().__sql_selection__(ctx, is_subquery)
        names = ctx.alias_manager
        if self._is_default and not self._joins:
            return ctx.literal(_columns(self.model, names[self.model._meta.table]))
        columns = (f'"{names[one.model._meta.table]}"."{one.column_name}"' for one in self._returning)
        return ctx.literal(", ".join(columns))


class RowUpdate(ModelUpdate):
    """An update of columns to values, written out at once."""

    def __sql__(self, ctx: Context) -> Context:
        plain = not (self._from or self._returning or self._cte_list or self._order_by or self._limit)
        if not plain or any(isinstance(value, Node | Model) for value in self._update.values()):
            return super().__sql__(ctx)
        self._set_table_alias(ctx)
        fields = sorted(self._update, key=lambda field: field.get_sort_key(ctx))
        columns = ", ".join(f'"{field.column_name}" = ?' for field in fields)
        # only names of our own schema
        text = f'UPDATE "{self.model._meta.table_name}" SET {columns}'  # noqa: S608
        add(ctx, text, [field.db_value(self._update[field]) for field in fields])
        if self._where is not None:
            # as peewee's own update does, for what is left to it: a query among the conditions
            with ctx.scope_values(subquery=True), ctx.scope_normal():
                ctx.literal(" WHERE ").sql(Written(self._where))
        return ctx


class Row(Model):
    class Meta:
        database = db
        # save() would write every field and so undo what another greenlet changed meanwhile
        only_save_dirty = True
        legacy_table_names = False

    @classmethod
    def select(cls, *fields: Any) -> RowSelect:
        """As peewee's own, quicker to ask."""
        return RowSelect(cls, fields or cls._meta.sorted_fields, is_default=not fields)

    @classmethod
    def update(cls, __data: dict[Any, Any] | None = None, **values: Any) -> RowUpdate:
        """As peewee's own, quicker to ask."""
        return RowUpdate(cls, cls._normalize_data(__data, values))

    @classmethod
    def create(cls, **values: Any) -> "Row":
        """As peewee's own, quicker to ask: the row, which is in the table now."""
        row = cls(**values)
        data = row.__data__
        if any(isinstance(value, Node | Model) for value in data.values()):
            row.save(force_insert=True)
            return row
        fields = cls._meta.fields
        parameters = [fields[name].db_value(value) for name, value in data.items()]
        cursor = db.execute_sql(_insert(cls, tuple(data)), parameters)
        if cls._meta.auto_increment and row._pk is None:
            row._pk = cursor.lastrowid
        row._dirty.clear()
        return row


@cache
def _columns(model: type[Row], name: str) -> str:
    """All columns of a table that is called so in the query."""
    return ", ".join(f'"{name}"."{field.column_name}"' for field in model._meta.sorted_fields)


@cache
def _insert(model: type[Row], names: tuple[str, ...]) -> str:
    columns = ", ".join(f'"{model._meta.fields[name].column_name}"' for name in names)
    # only names of our own schema
    return f'INSERT INTO "{model._meta.table_name}" ({columns}) VALUES ({", ".join("?" * len(names))})'  # noqa: S608
