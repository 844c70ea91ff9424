"""Outbound group sessions: sharing room keys, and encrypting room events."""

from __future__ import annotations
