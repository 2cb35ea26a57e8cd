"""Paths that go through addresses and forms come back exactly."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.web.path_tokens import path_of, token
from tests.snapshots import ODD_NAMES


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_every_name_comes_back(name: str) -> None:
    assert path_of(token(name)) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_no_token_has_what_browsers_change(name: str) -> None:
    assert token(name).isprintable()


def test_a_path_of_4096_bytes_fits_into_an_address() -> None:
    assert len(quote(token("/" + "ä" * 2047))) < 5600


@pytest.mark.parametrize("text", ["~!", "~////", "~4", "~__8="])
def test_what_stands_for_nothing_is_nothing(text: str) -> None:
    assert path_of(text) == ""


def test_ordinary_names_stay_readable() -> None:
    assert token("/etc/hosts") == "/etc/hosts"
    assert all(path_of(token(name)) == name for name in ODD_NAMES)
