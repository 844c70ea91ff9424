"""The requests actor owns the requests to the homeserver that wait for an answer, and which servers have failed.

Its invariants:

- A request is stored, with its content, in the commit that made it; what goes out is what is stored, each time.
- It belongs to one handle on the store. Nobody else sends it while that handle lives; then it is taken over, in a turn.
- It is gone in the commit that stores what follows from its answer. So an answer counts once.
- Of one kind, at most one request is about a subject (a user, a device) at a time, over all processes: who makes one
  asks `PendingRequests` first, in the same turn.

All requests are one partition: they are few, and each process looks through all of them. Their contents are rows apart,
read when they are sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, assert_never, cast

import attrs
import trio

from olmstate.actors._engine.actor import Actor, Committed, Invalidate, Newest, Notice, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads
from olmstate.messages import Message, Query, Reply, Request, RequestId, RequestKind
from olmstate.storage import Row, RowReader, Table

from .back_off import delay
from .stored import StoredBackOff, StoredContent, StoredRequest
