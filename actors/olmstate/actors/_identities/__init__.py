"""Users' cross-signing identities: who signed what, and how far each is to be trusted."""

from __future__ import annotations
