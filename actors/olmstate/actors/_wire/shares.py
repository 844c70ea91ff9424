"""Which entries of a bounded table go where there is no room for all.

Rule: those of the user who has the most, the oldest first. So nobody's entries go for what somebody else has sent. Of
users who have as much, it is one of the homeserver that has the most. That can make as many users as it likes, but
whoever has no more than each of them loses nothing to them.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import TypeVar

from .user_ids import server_of

N = TypeVar("N")


def surplus(entries: Iterable[tuple[N, str | None, int]], *, number: int, size: int = 0, least: int = 1) -> list[N]:
    """The names of those that go.

    Args:
        entries: Name, user id and size of each, the oldest first.
        number: For how many there is room.
        size: How large they may be together.
        least: What an entry counts for beside its size. Who has so much more than another has more.
    """
    of_user: defaultdict[str, deque[tuple[N, int]]] = defaultdict(deque)
    has: Counter[str] = Counter()
    for name, user_id, its_size in entries:
        of_user[user_id or ""].append((name, its_size))
        has[user_id or ""] += least + its_size
        number, size = number - 1, size - its_size
    if number >= 0 and size >= 0:
        return []
    of_server: Counter[str] = Counter()
    levels: defaultdict[int, list[str]] = defaultdict(list)
    for user_id, weight in has.items():
        of_server[server_of(user_id)] += weight
        levels[weight // least].append(user_id)
    gone: list[N] = []
    while levels and (number < 0 or size < 0):
        # whoever loses one is in a lower level, so each is gone through once
        users: defaultdict[str, list[str]] = defaultdict(list)
        for user_id in reversed(levels.pop(max(levels))):
            users[server_of(user_id)].append(user_id)
        servers = [(-of_server[server], server) for server in users]
        heapify(servers)
        while servers and (number < 0 or size < 0):
            _, server = heappop(servers)
            user_id = users[server].pop()
            name, its_size = of_user[user_id].popleft()
            gone.append(name)
            number, size = number + 1, size + its_size
            of_server[server] -= least + its_size
            has[user_id] -= least + its_size
            if of_user[user_id]:
                levels[has[user_id] // least].append(user_id)
            if users[server]:
                heappush(servers, (-of_server[server], server))
    return gone
