"""What every table's model has, and the two kinds of column that SQLite does not know."""

import json
from datetime import datetime
from typing import Any

from peewee import Field, FieldAlias, Model, ModelSelect

from rm.shared import instants
from rm.store.database import db


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


def _is_column(selected: Any) -> bool:
    return isinstance(selected, Field) and not isinstance(selected, FieldAlias)


class RowSelect(ModelSelect):
    """A select whose list of columns is written out at once.

    peewee builds a tree for each column and walks it; with rows of fifty columns that took a third of a busy server.
    """

    def __sql_selection__(self, ctx: Any, is_subquery: bool = False) -> Any:
        if is_subquery or not all(map(_is_column, self._returning)):
            return super().__sql_selection__(ctx, is_subquery)
        names = ctx.alias_manager
        columns = (f'"{names[one.model._meta.table]}"."{one.column_name}"' for one in self._returning)
        return ctx.literal(", ".join(columns))


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
