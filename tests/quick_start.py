"""What an application makes at its start and the tests keep for the next one: routes, templates, the new database."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule

from rm.store.migrate import migrate
from tests import cast


@dataclass(frozen=True)
class Compiled:
    """What compiling leaves in a rule; none of it is changed or bound to the rule."""

    parts: list[Any]
    trace: list[tuple[bool, str]]
    converters: dict[str, Any]
    builders: tuple[Any, Any]
    names: frozenset[str]


_known: dict[tuple[Any, ...], Compiled] = {}
_compile = Rule.compile


def keep_routes() -> None:
    """From now on a route that an earlier application had too is not compiled again."""
    Rule.compile = _recalled  # type: ignore[method-assign]


def _recalled(rule: Rule) -> None:
    assert rule.map is not None
    defaults = tuple((rule.defaults or {}).items())
    kinds = tuple(rule.map.converters.items())
    key = (rule.rule, rule.subdomain, rule.host, rule.map.host_matching, rule.merge_slashes, defaults, kinds)
    known = _known.get(key)
    if known is None:
        _compile(rule)
        builders = (rule._build.__func__, rule._build_unknown.__func__)  # type: ignore[attr-defined]
        names = frozenset(rule.arguments)
        _known[key] = Compiled(rule._parts, rule._trace, rule._converters, builders, names)
        return
    rule._parts, rule._trace, rule._converters = known.parts, known.trace, known.converters
    rule._build, rule._build_unknown = (builder.__get__(rule, None) for builder in known.builders)
    rule.arguments.update(known.names)


class KeptTemplates(BytecodeCache):
    """The templates as they were compiled for an earlier application; one that changed is compiled again."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


@cache
def new_database() -> bytes:
    """The file that a first start makes."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "new.db"
        migrate(file, now=cast.NOW)
        return file.read_bytes()
