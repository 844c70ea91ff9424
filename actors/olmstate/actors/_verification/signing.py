"""What a flow has verified: it is marked, and signed with the private keys that are here.

Rule: this is in the commit that ends the flow, the signatures as requests too. So nobody is half verified: a process
that is killed leaves the flow as it was, or all that follows from its end. Where a private key isn't here, what was
compared holds on this device alone.
"""

from __future__ import annotations

from contextlib import suppress

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import look_up, set_device_trust
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.operations import MarkVerified, mark_verified
from olmstate.actors._secrets.vouching import vouch_for_device, vouch_for_user
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DeviceTrust,
    Ed25519Key,
    MissingCrossSigningKeys,
    SetDeviceTrust,
    UnknownIdentity,
    UserId,
)

from .actor import MarkDeviceVerified, VerificationsActor
from .effects import Verified


async def mark_and_sign(turn: Turn, verified: Verified) -> bool:
    """Mark each key, and sign what our user's keys sign: others' master keys, and own devices.

    Returns whether our own identity is among them.
    """
    user_id = UserId(verified.user_id)
    is_own = user_id == (await own_device(turn)).identity.user_id
    if verified.master_key is not None:
        await _master_key(turn, user_id, Ed25519Key(verified.master_key), is_own=is_own)
    if verified.device_id is not None and verified.ed25519 is not None:
        device = DeviceAddress(user_id=user_id, device_id=DeviceId(verified.device_id))
        await _device(turn, device, Ed25519Key(verified.ed25519), is_own=is_own)
    return is_own and verified.master_key is not None


async def _master_key(turn: Turn, user_id: UserId, master_key: Ed25519Key, *, is_own: bool) -> None:
    if not is_own:
        try:
            await vouch_for_user(turn, user_id, master_key)
        except (MissingCrossSigningKeys, UnknownIdentity):
            pass
        else:
            return
    await mark_verified(turn, MarkVerified(user_id=user_id, master_key=master_key))


async def _device(turn: Turn, device: DeviceAddress, ed25519: Ed25519Key, *, is_own: bool) -> None:
    mark = MarkDeviceVerified(user_id=device.user_id, device_id=device.device_id, ed25519=ed25519, now=turn.now)
    await turn[VerificationsActor].ask(mark)
    await _trust(turn, device, ed25519)
    if is_own:
        with suppress(MissingCrossSigningKeys, UnknownIdentity):
            await vouch_for_device(turn, device, ed25519)


async def _trust(turn: Turn, device: DeviceAddress, ed25519: Ed25519Key) -> None:
    """The device counts as verified where room keys are shared, if it is known by the key that was compared."""
    known = (await look_up(turn, (device,))).get(device)
    if known is not None and known.ed25519 == ed25519:
        trust = SetDeviceTrust(user_id=device.user_id, device_id=device.device_id, trust=DeviceTrust.VERIFIED)
        await set_device_trust(turn, trust)
