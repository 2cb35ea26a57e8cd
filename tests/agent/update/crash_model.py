"""What a disk may hold after a power cut, computed from the steps that the real code made.

Bytes are durable only after a sync of their file, names only after a sync of their directory; what is not durable may
be there or not, in any order, and bytes may be torn or zero.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.platform.replace import Disk

Image = frozenset[tuple[str, bytes]]


class Recorder(Disk):
    """Makes every step and remembers it; `has_links` is false where a file system knows no second names."""

    def __init__(self, *, has_links: bool = True) -> None:
        self.steps: list[tuple[str, ...]] = []
        self.contents: dict[str, bytes] = {}
        self._has_links = has_links

    def create(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        super().create(path, data, mode)
        self._note("create", path)

    def copy(self, source: Path, target: Path) -> None:
        super().copy(source, target)
        self._note("create", target)

    def link(self, source: Path, target: Path) -> None:
        if not self._has_links:
            raise OSError(1, "no links here")
        super().link(source, target)
        self._note("link", source, target)

    def rename(self, source: Path, target: Path) -> None:
        is_same = target.exists() and source.samefile(target)
        super().rename(source, target)
        if not is_same:
            self._note("rename", source, target)

    def unlink(self, path: Path) -> None:
        was_there = path.exists()
        super().unlink(path)
        if was_there:
            self._note("unlink", path)

    def sync(self, path: Path) -> None:
        super().sync(path)
        self._note("sync", path)

    def sync_names(self, directory: Path) -> None:
        super().sync_names(directory)
        self._note("sync_names", directory)

    def _note(self, kind: str, *paths: Path) -> None:
        self.steps.append((kind, *map(str, paths)))
        if kind == "create":
            self.contents[f"{len(self.steps) - 1}"] = paths[0].read_bytes()


@dataclass
class Model:
    """Files are numbers; `names` is what programs see, `durable` what a power cut leaves for sure."""

    names: dict[str, int] = field(default_factory=dict)
    durable: dict[str, int] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    torn: set[int] = field(default_factory=set)
    pending: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)

    def has(self, path: str, data: bytes, *, is_durable: bool = True) -> None:
        """A file that was there before the first step."""
        number = len(self.data)
        self.names[path] = self.durable[path] = number
        self.data[number] = data
        if not is_durable:
            self.torn.add(number)

    def take(self, step: tuple[str, ...], content: bytes | None) -> None:
        """One step of the real code."""
        kind, path = step[0], step[1]
        if kind == "create":
            number = len(self.data)
            self.data[number] = content or b""
            self.torn.add(number)
            self._set("", path, number)
        elif kind == "link":
            self._set("", step[2], self.names[path])
        elif kind == "rename":
            self._set(path, step[2], self.names[path])
        elif kind == "unlink":
            self._set(path, "", self.names[path])
        elif kind == "sync":
            self.torn.discard(self.names[path])
        else:
            for changed in self.pending.pop(path, []):
                self._apply(self.durable, changed)

    def _set(self, source: str, target: str, number: int) -> None:
        change = (source, target, number)
        self._apply(self.names, change)
        self.pending.setdefault(str(Path(target or source).parent), []).append(change)

    @staticmethod
    def _apply(names: dict[str, int], change: tuple[str, str, int]) -> None:
        source, target, number = change
        if source and names.get(source) == number:
            del names[source]
        if target:
            names[target] = number

    def images(self) -> Iterator[Image]:
        """Everything that the disk may hold if the power goes now."""
        orders = [list(_orders(changes)) for changes in self.pending.values()]
        for chosen in itertools.product(*orders):
            names = dict(self.durable)
            for change in itertools.chain(*chosen):
                self._apply(names, change)
            unsure = sorted(set(names.values()) & self.torn)
            for chosen_data in itertools.product(*(_torn(self.data[n]) for n in unsure)):
                data = self.data | dict(zip(unsure, chosen_data, strict=True))
                yield frozenset((path, data[n]) for path, n in names.items())


def _torn(data: bytes) -> list[bytes]:
    """What may be read of bytes that were not made durable: none, some, zeros in their place, all."""
    half = len(data) // 2
    return list(dict.fromkeys((b"", data[:1], data[:half], data[:-1], bytes(len(data)), data)))


def _orders(changes: list[tuple[str, str, int]]) -> Iterator[tuple[tuple[str, str, int], ...]]:
    for count in range(len(changes) + 1):
        yield from itertools.permutations(changes, count)


def images_of(recorder: Recorder, start: Model) -> set[Image]:
    """Every disk that a power cut before, between or after the recorded steps can leave."""
    found = set(start.images())
    for number, step in enumerate(recorder.steps):
        start.take(step, recorder.contents.get(str(number)))
        found |= set(start.images())
    return found
