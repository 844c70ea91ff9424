"""The device's own account."""

from __future__ import annotations
