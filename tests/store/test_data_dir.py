"""One server per data directory."""

import pytest

from rm.errors import NotReady
from rm.store.data_dir import DataDirLock


def test_a_second_server_on_one_data_directory_is_refused(tmp_path):
    first = DataDirLock(tmp_path / "data")

    with pytest.raises(NotReady, match="Another server"):
        DataDirLock(tmp_path / "data")

    first.release()


def test_a_data_directory_that_was_released_can_be_taken(tmp_path):
    DataDirLock(tmp_path).release()

    DataDirLock(tmp_path).release()


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(NotReady, match="cannot be used"):
        DataDirLock(tmp_path / "file" / "data")
