"""Rows loaded by plain SQL are what peewee's own select gives."""

import pytest

from rm.store.models import Host, Job, Repository
from rm.store.quick_rows import AMONG, by_id, ids, load
from tests import cast


@pytest.mark.parametrize("model", [Host, Job, Repository])
def test_a_loaded_row_is_the_row_of_a_select_field_by_field(bus, web1, db1, model):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, cast.NOW)
    expected = {row.id: row.__data__ for row in model.select()}

    found = load(model, f"id {AMONG} ORDER BY id", ids(expected))

    assert {row.id: row.__data__ for row in found} == expected
    assert [row.id for row in found] == sorted(expected)
    assert expected


def test_a_row_is_found_by_its_id_and_none_by_another(bus, web1):
    found = by_id(Host, web1.id)

    assert found is not None and found.name == "web1"
    assert by_id(Host, "01JZ") is None


def test_a_loaded_row_is_unchanged_and_saves_what_is_changed_in_it_only(bus, web1):
    [host] = load(Host, f"id {AMONG}", ids([web1.id, None]))
    assert not host.is_dirty()
    Host.update(hostname="elsewhere").where(Host.id == web1.id).execute()

    host.name = "web-one"
    host.save()

    kept = Host.get_by_id(web1.id)
    assert (kept.name, kept.hostname) == ("web-one", "elsewhere")
