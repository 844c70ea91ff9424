"""Other devices' public keys."""

from __future__ import annotations
