"""Which entries of a bounded table go where there is no room for all.

Rule: those of the user who has the most, the oldest first. So nobody's entries go for what somebody else has sent. Of
users who have as much, it is one of the homeserver that has the most. That can make as many users as it likes, but
whoever has no more than each of them loses nothing to them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import TypeVar

N = TypeVar("N")


def surplus(entries: Iterable[tuple[N, str | None, int]], *, number: int, size: int = 0, least: int = 1) -> list[N]:
    """The names of those that go.

    Args:
        entries: Name, user id and size of each, the oldest first.
        number: For how many there is room.
        size: How large they may be together.
        least: What an entry counts for beside its size. Who has so much more than another has more.
    """
    of_user: dict[str, deque[tuple[N, int]]] = {}
    has: Counter[str] = Counter()
    for name, user_id, its_size in entries:
        of_user.setdefault(user_id or "", deque()).append((name, its_size))
        has[user_id or ""] += least + its_size
        number, size = number - 1, size - its_size
    if number >= 0 and size >= 0:
        return []
    of_server: Counter[str] = Counter()
    for user_id, weight in has.items():
        of_server[_server(user_id)] += weight
    gone: list[N] = []
    while has and (number < 0 or size < 0):
        most = max(has.values()) // least
        users = [user_id for user_id, weight in has.items() if weight // least == most]
        whose = users[0] if len(users) == 1 else max(users, key=lambda user_id: of_server[_server(user_id)])
        name, its_size = of_user[whose].popleft()
        gone.append(name)
        number, size = number + 1, size + its_size
        of_server[_server(whose)] -= least + its_size
        has[whose] -= least + its_size
        if not of_user[whose]:
            del has[whose]
    return gone


def _server(user_id: str) -> str:
    return user_id.partition(":")[2]
