"""Removes the locks whose owners are proven gone, and tells the proof; every other lock is left."""

from collections.abc import Callable
from dataclasses import dataclass

from agent import locks
from agent.locks import Ledger, Lock, Machine
from agent.repository import Repository


@dataclass(frozen=True)
class Swept:
    """What is locked now, and what was removed with which proof."""

    left: list[Lock]
    proofs: list[str]


def sweep(
    repository: Repository, ledger: Ledger, *, say: Callable[[str], None], machine: Machine | None = None
) -> Swept | None:
    """Look at the locks and remove what is proven dead; None when they cannot be listed."""
    found = repository.locks()
    if not found:
        return None if found is None else Swept([], [])
    machine = machine or Machine.here()
    entries = ledger.entries()
    proven = {lock.id: text for lock in found if (text := locks.proof(lock, entries, machine))}
    if not proven:
        return Swept(found, [])
    _remove(repository, found, proven, machine)
    left = repository.locks()
    if left is None:
        return None
    remaining = {lock.id for lock in left}
    proofs = []
    for lock in found:
        if lock.id in proven and lock.id not in remaining:
            proofs.append(f"Removed the {lock}: {proven[lock.id]}.")
            say(proofs[-1])
        elif lock.id in proven:
            say(f"Could not remove the {lock}, though {proven[lock.id]}. To remove it by hand: restic unlock")
    return Swept(left, proofs)


def _remove(repository: Repository, found: list[Lock], proven: dict[str, str], machine: Machine) -> None:
    """`restic unlock` where it removes exactly the proven ones, else each of them by itself."""
    now = locks.now_seconds()
    stale = {one.id for one in found if locks.is_stale_for_restic(one, hostname=machine.hostname, now=now)}
    if stale == set(proven) and repository.unlock():
        return
    for lock_id in proven:
        repository.remove_lock(lock_id)
