"""Moves a fleet update along and reads its page."""

from rm.events import EventBus
from rm.services import fleet_updates as service
from rm.shared.ids import new_ulid
from rm.store.models import FleetUpdate, FleetUpdateHost, Host
from tests import cast, update_rows
from tests.update_rows import OLD
from tests.web.conftest import Page

PATH = "/settings/fleet-update"


def state_of(found: FleetUpdate) -> str:
    return str(FleetUpdate.get_by_id(found.id).state)


def fail_first(bus: EventBus, found: FleetUpdate) -> str:
    """db1 fails, and all halts; returns its id."""
    [row, *_] = FleetUpdateHost.select().order_by(FleetUpdateHost.position)
    made = update_rows.attempt(
        row.host_id, "rolled_back", cast.NOW, phase="trial", reason="boots", failure_class="release",
        message="db1 tried 1.5.0 and returned to 1.4.0.",
    )  # fmt: skip
    FleetUpdateHost.update(state="updating", attempt_id=made.job_id).where(
        FleetUpdateHost.host == row.host_id
    ).execute()
    service.step(bus, now=cast.NOW)
    assert state_of(found) == "halted"
    return str(row.host_id)


def row_texts(page: Page, selector: str) -> list[str]:
    return [" ".join(one.get_text(" ").split()) for one in page.soup.select(selector)]


def add_many(count: int) -> list[str]:
    """So many hosts that are connected and one release behind, in the order of their names."""
    rows = [
        {
            "id": new_ulid(), "name": f"host-{n:04}", "hostname": f"host-{n:04}", "os": "linux", "arch": "amd64",
            "init": "systemd", "agent_version": OLD[0], "agent_seq": OLD[1], "enrolled_at": cast.NOW,
            "first_hello_at": cast.NOW, "connected_at": cast.NOW, "last_seen_at": cast.NOW, "guard_version": "2",
        }
        for n in range(count)
    ]  # fmt: skip
    for at in range(0, count, 500):
        Host.insert_many(rows[at : at + 500]).execute()
    return [str(row["id"]) for row in rows]
