"""The straight-line loop beside which olmstate is measured: vodozemac and SQLite with nothing between them.

It does the same work as durably (``synchronous=FULL``), and promises nothing else.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

_NONCE_BYTES = 12


class BareStore:
    """Values by key in one table."""

    def __init__(self, path: Path, *, pickle_key: bytes | None = None) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS value (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        self.pickle_key = pickle_key or os.urandom(32)
        self._cipher = AESGCMSIV(AESGCMSIV.generate_key(256))

    def seal(self, key: str, value: str) -> bytes:
        """A value for a key, encrypted: what isn't a pickle, which vodozemac has encrypted."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value.encode(), key.encode())

    def unsealed(self, key: str) -> bytes | None:
        """What was sealed and committed for a key; None: nothing."""
        found = self._db.execute("SELECT value FROM value WHERE key = ?", [key]).fetchone()
        if found is None:
            return None
        sealed: bytes = found[0]
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key.encode())

    def commit(self, values: Iterable[tuple[str, str | bytes]]) -> None:
        """Write values, durably."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO value VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", values
        )
        self._db.execute("COMMIT")

    def value(self, key: str) -> str:
        """One value, which there must be."""
        value: str = self._db.execute("SELECT value FROM value WHERE key = ?", [key]).fetchone()[0]
        return value

    def all(self) -> list[tuple[str, str]]:
        """Everything."""
        return self._db.execute("SELECT key, value FROM value").fetchall()

    def close(self) -> None:
        """Close it."""
        self._db.close()
