"""Secrets: private keys of cross-signing and backup, and secret storage on the server."""

from __future__ import annotations
