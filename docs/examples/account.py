"""Logging in once, and finding the login again: for all the programs here."""

from __future__ import annotations

import json
import os
from getpass import getpass
from pathlib import Path
from typing import Any

import httpx2

ACCOUNT = Path("account.json")  # holds the access token and the store's key
API = "/_matrix/client/v3"


def account() -> dict[str, Any]:
    """The account. The first time, ask for it, and log in as a new device."""
    if not ACCOUNT.exists():
        url = input("homeserver (https://…): ").rstrip("/")
        user = input("user id (@…): ")
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user},
            "password": getpass("password: "),
        }
        answer = httpx2.post(f"{url}{API}/login", json=login).raise_for_status().json()
        kept = {name: answer[name] for name in ("user_id", "device_id", "access_token")}
        kept |= {"homeserver": url, "key": os.urandom(32).hex()}
        descriptor = os.open(ACCOUNT, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file)
    return dict(json.loads(ACCOUNT.read_text()))


def client_of(me: dict[str, Any]) -> httpx2.AsyncClient:
    """An HTTP client that is logged in, under Trio as under asyncio."""
    headers = {"Authorization": f"Bearer {me['access_token']}"}
    url = me["homeserver"] + API
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=60)
