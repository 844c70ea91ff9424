"""Inbound group sessions: room keys, and reading room events."""

from __future__ import annotations
