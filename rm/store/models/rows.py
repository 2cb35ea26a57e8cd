"""What every table's model has, and the two kinds of column that SQLite does not know."""

import json
from datetime import datetime
from typing import Any

from peewee import Field, Model

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


class Row(Model):
    class Meta:
        database = db
        # save() would write every field and so undo what another greenlet changed meanwhile
        only_save_dirty = True
        legacy_table_names = False
