"""The store in SQLite."""

from __future__ import annotations
