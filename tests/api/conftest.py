"""A signed-in program for each role."""

import pytest

from rm.services import accounts
from tests.cast import PASSWORD


@pytest.fixture
def sign_in(app, parts):
    """sign_in("bob") → a client with bob's session."""

    def sign_in(username):
        session = accounts.log_in(
            parts.bus,
            username=username,
            password=PASSWORD,
            address="192.0.2.60",
            now=parts.clock(),
            limits=parts.limits,
            offload=lambda function, *args: function(*args),
        )
        client = app.test_client()
        client.set_cookie("rm_session", session)
        return client

    return sign_in


@pytest.fixture
def alice(sign_in):
    return sign_in("alice")


@pytest.fixture
def bob(sign_in):
    return sign_in("bob")


@pytest.fixture
def charlie(sign_in):
    return sign_in("charlie")
