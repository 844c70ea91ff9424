"""What is in a user's id (spec: User Identifiers)."""

from __future__ import annotations


def server_of(user_id: str) -> str:
    """The homeserver's name; nothing, if it is no user id."""
    return user_id.partition(":")[2]
