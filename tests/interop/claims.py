"""Claiming a device's one-time keys, with or without anything to send."""

from __future__ import annotations

from tests.interop.rust_device import RustDevice
from tests.peer.session import API, Session


async def use_up(keys_of: Session, thief: Session, *, but: int = 0) -> None:
    """Claim a device's one-time keys in vain, but for so many; its fallback key isn't touched."""
    while await keys_left(keys_of) > but:
        await thief.claim_keys([(keys_of.user_id, keys_of.device_id)])


async def keys_left(session: Session) -> int:
    """How many the homeserver has, as an upload of nothing tells."""
    counts: dict[str, int] = (await session.request("POST", f"{API}/keys/upload", {}))["one_time_key_counts"]
    return counts.get("signed_curve25519", 0)


async def claim_from(sender: RustDevice, reader: Session) -> None:
    """Begin an Olm session, and send nothing on it yet."""
    await sender.track(reader.user_id)
    await sender.send_request(await sender.ask("get_missing_sessions", users=[reader.user_id]))
