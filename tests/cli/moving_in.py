"""Devices of other libraries, in stores that those libraries have written themselves: matrix-nio, mautrix, libolm.

Rule: nothing here is olmstate's. The friends are vodozemac, and keep one side of what the bot's store holds.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import vodozemac

BOT, DEVICE, ROOM = "@bot:example.org", "OLDDEVICE", "!room:example.org"
PICKLE_KEY = "of the pickles"


@attrs.frozen(kw_only=True)
class Friend:
    """Somebody whose device the bot knows. The bot has started an Olm session with it, and has a room key from it."""

    user_id: str
    device_id: str
    account: vodozemac.Account = attrs.field(factory=vodozemac.Account)
    group_session: vodozemac.GroupSession = attrs.field(factory=vodozemac.GroupSession)
    room_key: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Keep the room key from its first index."""
        object.__setattr__(self, "room_key", self.group_session.session_key.to_base64())

    @property
    def curve25519(self) -> str:
        """The identity key."""
        return self.account.curve25519_key.to_base64()

    @property
    def ed25519(self) -> str:
        """The fingerprint."""
        return self.account.ed25519_key.to_base64()

    def one_time_key(self) -> str:
        """A new one."""
        self.account.generate_one_time_keys(1)
        (key,) = self.account.one_time_keys.values()
        self.account.mark_keys_as_published()
        return key.to_base64()


def friends() -> list[Friend]:
    """Three. The bot has verified the first, blocked the second, and ignores that the third isn't verified."""
    return [Friend(user_id=f"@{name}:example.org", device_id=name.upper()) for name in ("ann", "bob", "cleo")]


def write_nio_store(
    folder: Path, known: Sequence[Friend], *, store: str = "DefaultStore", key: str = PICKLE_KEY
) -> Path:
    """The bot's store in matrix-nio. Its file."""
    crypto, stores = import_module("nio.crypto"), import_module("nio.store")
    folder.mkdir(exist_ok=True)
    kept: Any = getattr(stores, store)(BOT, DEVICE, str(folder), key)
    account = crypto.OlmAccount()
    kept.save_account(account)
    devices = [
        crypto.OlmDevice(each.user_id, each.device_id, {"curve25519": each.curve25519, "ed25519": each.ed25519})
        for each in known
    ]
    kept.save_device_keys({device.user_id: {device.id: device} for device in devices})
    for each in known:
        session = crypto.OutboundSession(account, each.curve25519, each.one_time_key())
        kept.save_session(each.curve25519, session)
        room_key = crypto.InboundGroupSession(each.room_key, each.ed25519, each.curve25519, ROOM, [each.curve25519])
        kept.save_inbound_group_session(room_key)
    kept.verify_device(devices[0])
    kept.blacklist_device(devices[1])
    kept.ignore_device(devices[2])
    kept.save_sync_token("s1_2_3")
    kept.database.close()
    return Path(kept.database_path)


def write_mautrix_store(folder: Path, known: Sequence[Friend], *, account_id: str = BOT, key: str = PICKLE_KEY) -> Path:
    """The bot's crypto store in mautrix, as a killed program leaves it: with a log beside it. Its file."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as running:
        asyncio.run(_write_mautrix_store(Path(running), folder, known, account_id, key))
    return folder / "crypto.db"


async def _write_mautrix_store(running: Path, left: Path, known: Sequence[Friend], account_id: str, key: str) -> None:
    crypto, types = import_module("mautrix.crypto"), import_module("mautrix.types")
    stores, databases = import_module("mautrix.crypto.store.asyncpg"), import_module("mautrix.util.async_db")
    database: Any = databases.Database.create(
        f"sqlite:///{running}/crypto.db", upgrade_table=stores.PgCryptoStore.upgrade_table
    )
    await database.start()
    kept: Any = stores.PgCryptoStore(account_id, key, database)
    account = crypto.OlmAccount()
    await kept.put_account(account)
    await kept.put_device_id(DEVICE)
    await kept.put_next_batch("s1_2_3")
    trust = (types.TrustState.VERIFIED, types.TrustState.BLACKLISTED, types.TrustState.UNVERIFIED)
    for each, state in zip(known, trust, strict=True):
        session = account.new_outbound_session(each.curve25519, each.one_time_key())
        await kept.add_session(each.curve25519, session)
        room_key = crypto.InboundGroupSession(each.room_key, each.ed25519, each.curve25519, ROOM, [each.curve25519])
        await kept.put_group_session(ROOM, each.curve25519, room_key.id, room_key)
        device = types.DeviceIdentity(
            user_id=each.user_id,
            device_id=each.device_id,
            identity_key=each.curve25519,
            signing_key=each.ed25519,
            trust=state,
            deleted=False,
            name="",
        )
        await kept.put_devices(each.user_id, {each.device_id: device})
    for file in running.iterdir():
        shutil.copy(file, left)
    await database.stop()


def write_libolm_file(path: Path, known: Sequence[Friend], *, key: str = PICKLE_KEY) -> Path:
    """The bot's device as libolm pickles it."""
    olm: Any = import_module("olm")
    account = olm.Account()
    sessions = [
        {
            "sender_key": each.curve25519,
            "pickle": olm.OutboundSession(account, each.curve25519, each.one_time_key()).pickle(key).decode(),
        }
        for each in known
    ]
    room_keys = [(each, olm.InboundGroupSession(each.room_key)) for each in known]
    told = {
        "user_id": BOT,
        "device_id": DEVICE,
        "sync_token": "s1_2_3",
        "account": account.pickle(key).decode(),
        "olm_sessions": sessions,
        "inbound_group_sessions": [
            {
                "room_id": ROOM,
                "session_id": room_key.id,
                "sender_key": each.curve25519,
                "sender_claimed_keys": {"ed25519": each.ed25519},
                "pickle": room_key.pickle(key).decode(),
            }
            for each, room_key in room_keys
        ],
        "devices": [
            {
                "user_id": each.user_id,
                "device_id": each.device_id,
                "curve25519": each.curve25519,
                "ed25519": each.ed25519,
                "trust": trust,
            }
            for each, trust in zip(known, ("verified", "blocked", "ignored"), strict=True)
        ],
    }
    path.write_text(json.dumps(told))
    return path
