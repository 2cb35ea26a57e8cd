"""What operators set at run time: one JSON value under each name."""

import json
from typing import Any

from rm.store.models import Setting


def get(name: str, default: Any) -> Any:
    """The value that was put there last; the default when there is none."""
    found = Setting.get_or_none(Setting.name == name)
    return default if found is None else json.loads(found.value)


def put(name: str, value: Any) -> None:
    """Keep a value; call it inside the transaction of what changes it."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    Setting.insert(name=name, value=text).on_conflict_replace().execute()
