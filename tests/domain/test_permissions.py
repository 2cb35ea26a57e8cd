"""Who may do what."""

import pytest

from rm.domain import permissions
from rm.domain.permissions import PERMISSIONS, PUBLIC, is_allowed


def test_a_higher_role_may_all_that_a_lower_one_may():
    for permission in PERMISSIONS:
        allowed = [is_allowed(role, permission) for role in permissions.ROLES]
        assert allowed == sorted(allowed), permission
        assert allowed[-1] is True


def test_nobody_may_only_what_is_public():
    assert is_allowed(None, PUBLIC)
    assert not any(is_allowed(None, permission) for permission in PERMISSIONS)


def test_an_invented_role_may_nothing():
    assert not any(is_allowed("root", permission) for permission in PERMISSIONS)


def test_an_unlisted_permission_is_an_error():
    with pytest.raises(KeyError):
        is_allowed("admin", "hosts.explode")
    with pytest.raises(KeyError):
        permissions.allows("hosts.explode")
