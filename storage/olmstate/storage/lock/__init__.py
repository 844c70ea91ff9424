"""The fair lock between processes."""

from __future__ import annotations
