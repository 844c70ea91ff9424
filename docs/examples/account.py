"""Logging in once, and finding the login again: for daemon.py and send.py."""

from __future__ import annotations

import json
import os
from getpass import getpass
from pathlib import Path
from typing import Any

import httpx2

ACCOUNT = Path("account.json")
"""Homeserver, user, device, access token, and the store's key. For its owner alone."""


def account() -> dict[str, Any]:
    """The account; asks for it the first time."""
    if not ACCOUNT.exists():
        homeserver = input("homeserver (https://…): ")
        user_id = input("user id (@bot:…): ")
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": getpass("password: "),
            "initial_device_display_name": "olmstate",
        }
        response = httpx2.post(f"{homeserver}/_matrix/client/v3/login", json=login)
        answer = response.raise_for_status().json()
        save(
            {
                "homeserver": homeserver,
                "user_id": answer["user_id"],
                "device_id": answer["device_id"],
                "access_token": answer["access_token"],
                "key": os.urandom(32).hex(),
            }
        )
    loaded: dict[str, Any] = json.loads(ACCOUNT.read_text())
    return loaded


def save(found: dict[str, Any]) -> None:
    """Write it down, readable for its owner alone."""
    descriptor = os.open(ACCOUNT, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(found, file)
