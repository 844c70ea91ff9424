"""Taking in users' identities, looking them up, and what our user decides about them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from olmstate.actors._account.operations import own_identity
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import if_sound, json_object
from olmstate.actors._wire.weight import weight
from olmstate.messages import (
    Command,
    Ed25519Key,
    IdentitiesChanged,
    InvalidSignature,
    JsonObject,
    MalformedMessage,
    PinIdentity,
    UserId,
    WithdrawVerification,
)

from .actor import (
    AgreeToIdentity,
    IdentitiesActor,
    LookUpIdentities,
    OwnIdentityAnswered,
    StoreIdentities,
    TrustIdentity,
)
from .identity import Identity, check_identity
from .known import KnownIdentity

IDENTITY_FIELDS: Final = ("master_keys", "self_signing_keys", "user_signing_keys")
"""Of the answer to ``/keys/query``."""
LARGEST: Final = 65_536
"""Bytes of a key with its signatures: more is somebody's nonsense, and would have to be stored."""
STORED_AT_ONCE: Final = 24
"""Identities, without giving other tasks a chance."""
LOOKED_UP_AT_ONCE: Final = 96
"""The same, of those that are only looked up: to load them, if need be, is divided further."""
IDENTITIES_AT_ONCE: Final = 4
"""Checked without giving other tasks a chance: a millisecond."""


class MarkVerified(QuietStruct, Command[None], kw_only=True, frozen=True):
    """A user's master key was compared, or its private half is ours: see `TrustIdentity`."""

    user_id: UserId
    master_key: Ed25519Key


async def mark_verified(turn: Turn, command: MarkVerified) -> None:
    """Store that, and tell."""
    asked = TrustIdentity(user_id=command.user_id, master_key=command.master_key)
    if await turn[IdentitiesActor].ask(asked):
        turn.events.append(IdentitiesChanged(users=(command.user_id,)))


async def take_identities(turn: Turn, response: JsonObject) -> None:
    """Check the identities of a ``/keys/query`` response, and store what holds.

    What doesn't is as if it weren't there: the identity that was known stays.
    """
    masters, self_signing, user_signing = (if_sound(json_object, response, name) or {} for name in IDENTITY_FIELDS)
    own = await own_identity(turn)
    identities: list[Identity] = []
    refused: list[UserId] = []

    def work(user_id: str) -> int:
        return weight([masters[user_id], self_signing.get(user_id)])

    async for some in SlicesOf(masters, IDENTITIES_AT_ONCE, work):
        for user_id in map(UserId, some):
            is_own = own is not None and user_id == own.user_id
            try:
                mine = user_signing.get(user_id) if is_own else None
                identity = check_identity(user_id, masters[user_id], self_signing.get(user_id), mine)
            except (MalformedMessage, InvalidSignature):
                identity = None
            if identity is None or (is_own and identity.user_signing is None) or _is_too_large(identity):
                refused.append(user_id)
            else:
                identities.append(identity)
    changed: list[UserId] = []
    async for part in SlicesOf(identities, STORED_AT_ONCE):
        changed += await turn[IdentitiesActor].ask(StoreIdentities(identities=part))
    asked_for = if_sound(json_object, response, "device_keys") or {}
    if own is not None and own.user_id in asked_for:
        await turn[IdentitiesActor].ask(OwnIdentityAnswered(refused=own.user_id in refused))
    if changed or refused:
        turn.events.append(IdentitiesChanged(users=tuple(changed), refused=tuple(refused)))


def _is_too_large(identity: Identity) -> bool:
    return any(
        key is not None and len(key.signed) > LARGEST
        for key in (identity.master, identity.self_signing, identity.user_signing)
    )


async def known_identities(turn: Turn, users: Collection[UserId]) -> dict[UserId, KnownIdentity | None]:
    """What is known of these users' identities."""
    found: dict[UserId, KnownIdentity | None] = {}
    async for some in SlicesOf(users, LOOKED_UP_AT_ONCE):
        found.update(zip(some, await turn[IdentitiesActor].ask(LookUpIdentities(users=some)), strict=True))
    return found


async def pin_identity(turn: Turn, command: PinIdentity) -> None:
    """Agree to the one that was shown."""
    await _agree(turn, command, withdraw=False)


async def withdraw_verification(turn: Turn, command: WithdrawVerification) -> None:
    """Give up that it was verified."""
    await _agree(turn, command, withdraw=True)


async def _agree(turn: Turn, command: PinIdentity | WithdrawVerification, *, withdraw: bool) -> None:
    asked = AgreeToIdentity(user_id=command.user_id, master_key=command.master_key, withdraw=withdraw)
    await turn[IdentitiesActor].ask(asked)
    turn.events.append(IdentitiesChanged(users=(command.user_id,)))
