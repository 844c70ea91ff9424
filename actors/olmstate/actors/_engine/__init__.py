"""The actor engine: mailboxes, caches, turns, and the supervisor. Knows no Matrix."""

from __future__ import annotations
