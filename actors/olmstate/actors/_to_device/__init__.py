"""Olm sessions, and to-device events both ways."""

from __future__ import annotations
