"""Servers that take notifications."""

from collections.abc import Iterator

import pytest

from tests.notifiers.servers import HttpServer, Mailbox, http_server, smtp_server


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as found:
        yield found


@pytest.fixture
def other_server() -> Iterator[HttpServer]:
    with http_server() as found:
        yield found


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server() as found:
        yield found
