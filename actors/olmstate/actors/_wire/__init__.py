"""What comes and goes on the wire, in values. Pure: no Trio, no store."""

from __future__ import annotations
