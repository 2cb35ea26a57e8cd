"""Acting on one's own account as an administrator: never by accident."""

from rm.domain.actors import Actor
from rm.errors import Invalid
from rm.store.models import User


def check_is_meant(user: User, actor: Actor, typed_name: str, consequence: str) -> None:
    """Raises Invalid when somebody acts on their own account without having typed its name."""
    if user.id == actor.id and typed_name != user.username:
        raise Invalid({"typed_name": f"{consequence} Type {user.username} to confirm."})
