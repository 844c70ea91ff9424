"""Whose a room key is said to be, and whose it is.

Owns: `Claim`, which claims are kept, and `attribute`, which works out from them who sent an event.
Rules:

- What is stored are claims: the keys of whoever sent the room key, and the user in whose name it came; or what an
  export says. Nobody's device id is, and nothing of what was known when it came.
- Whoever was given a room key can send it on as their own. So claims are kept apart by user, few of each: another
  user's can neither replace one nor keep one out. An event is read as its sender's, or not at all.
- Of several claims in one user's name the best founded counts, of equally good ones the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import attrs

from olmstate.actors._devices.senders import KnownSender, sender_state
from olmstate.actors._identities.known import KnownIdentity, identity_state
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    Curve25519Key,
    DeviceAddress,
    DeviceIdentity,
    DeviceTrust,
    Ed25519Key,
    EncryptionInfo,
    IdentityState,
    SenderState,
    UserId,
)

CLAIMS_A_USER = 8
"""Of one session. A user's device has made it; the others can only be in somebody's way."""
USERS_A_SESSION = 4
"""Whose claims are kept with the session itself, which is loaded for each event; those of more are kept apart."""
FEW_CLAIMS = min(CLAIMS_A_USER, USERS_A_SESSION)
"""For one more than that, somebody's devices or claims may have to be known."""
EXPORTED_CLAIMS = 8
"""Of exports, kept with the session. An export has one for each user who has sent the key as theirs, so that there may
be any number: more are kept apart, and looked up by the keys of the devices that are asked about."""


class Claim(QuietStruct, kw_only=True, frozen=True, gc=False):
    """Who has made a session, as somebody says."""

    sender_key: Curve25519Key
    """Of whoever sent the room key, for certain; or what an export says."""
    ed25519: Ed25519Key
    """What they say that theirs is."""
    sender: UserId | None
    """In whose name it was sent; None: an export says it, which names no user."""
    own: bool = False
    """Both keys are this device's own, which never change."""
    forwarding_chain: tuple[str, ...] = ()


@lru_cache(4096)
def shared(claim: Claim) -> Claim:
    """The same claim for all sessions that have an equal one: of a device's there are many."""
    return claim


@lru_cache(4096)
def shared_alone(claim: Claim) -> tuple[Claim, ...]:
    """The same, as the only claim."""
    return (claim,)


# --- which are kept -----------------------------------------------------------------------------------------


def add_exported(claims: tuple[Claim, ...], new: Iterable[Claim]) -> tuple[Claim, ...]:
    """What exports claim; ``claims`` itself if there is nothing new."""
    known = {_keys(claim) for claim in claims}
    more = [claim for claim in new if _keys(claim) not in known]
    return (*claims, *more) if more else claims


def add_claim(claims: tuple[Claim, ...], new: Claim, known: KnownSender | None) -> tuple[Claim, ...]:
    """The claims of one user to keep; ``claims`` itself if there is nothing new.

    Args:
        claims: All in the name of the same user as ``new``.
        new: The claim that came.
        known: That user's devices; needed once there are `CLAIMS_A_USER`.
    """
    if any(_keys(claim) == _keys(new) for claim in claims):
        return claims
    if len(claims) < CLAIMS_A_USER:
        return (*claims, new)
    assert known is not None  # noqa: S101 - see the argument
    # what is well founded now is kept before what isn't, then what came first
    kept = sorted((*claims, new), key=lambda claim: _standing(claim, known), reverse=True)[:CLAIMS_A_USER]
    return tuple(kept) if new in kept else claims


def _standing(claim: Claim, known: KnownSender) -> int:
    """How well founded a claim is, without a look at identities: who has signed the device may be nobody."""
    if claim.own:
        return 3
    device = known.keys(claim.sender_key, claim.ed25519)
    if device is not None and (device.cross_signed_by is not None or device.trust is DeviceTrust.VERIFIED):
        return 2
    return 1 if known.had(claim.sender_key, claim.ed25519) else 0


def without(exported: tuple[Claim, ...], claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """What exports claim, but for what the devices themselves say."""
    if not exported:
        return exported
    said = {_keys(claim) for claim in claims}
    return tuple(claim for claim in exported if _keys(claim) not in said)


def _keys(claim: Claim) -> tuple[Curve25519Key, Ed25519Key]:
    return claim.sender_key, claim.ed25519


# --- whose it is --------------------------------------------------------------------------------------------


@attrs.frozen
class Attribution:
    """Who sent an event, as far as is known now."""

    info: EncryptionInfo
    founded: bool
    """The session was sent in the name of the event's sender, or a device of theirs has the keys that an export names.
    If not, an export names keys, and nobody knows whose they are."""
    identity: KnownIdentity | None
    own_identity: KnownIdentity | None
    """By which identities, of the event's sender and of our own user, that was worked out."""


NOBODY = KnownSender(())
"""An event without a sender has been sent by no device."""
REMEMBERED = 256


def best_founded(attributions: Sequence[Attribution]) -> Attribution:
    """What counts of what several claims come to; the first of equally good ones. One at the least."""
    return attributions[0] if len(attributions) == 1 else max(attributions, key=_rank)


def attribute(
    claim: Claim,
    sender: str | None,
    known: KnownSender,
    own: DeviceAddress,
    *,
    identity: KnownIdentity | None = None,
    own_identity: KnownIdentity | None = None,
) -> Attribution:
    """Whose a session is by the claim that counts, for an event of one user's.

    Args:
        claim: In the name of the event's sender, or an export's.
        sender: The event's.
        known: The devices of the event's sender.
        own: This device.
        identity: The event's sender's.
        own_identity: Our own user's.
    """
    worked_out = known.worked_out
    attribution: Attribution | None = worked_out.get(claim)
    if attribution is None or attribution.identity is not identity or attribution.own_identity is not own_identity:
        if len(worked_out) >= REMEMBERED:
            worked_out.clear()
        attribution = worked_out[claim] = _attribution(
            claim, sender, known, own, identity=identity, own_identity=own_identity
        )
    return attribution


def _rank(attribution: Attribution) -> int:
    if not attribution.founded:
        return -1
    state = attribution.info.sender_state
    if state in (SenderState.CROSS_SIGNED, SenderState.VIOLATION):
        # a new identity, which anybody may have published, takes nothing from a device that was there
        assert attribution.identity is not None  # noqa: S101 - it has signed
        pinned = identity_state(attribution.identity, attribution.own_identity) is IdentityState.PINNED
        return state if pinned else SenderState.DEVICE
    return state


def _attribution(
    claim: Claim,
    sender: str | None,
    known: KnownSender,
    own: DeviceAddress,
    *,
    identity: KnownIdentity | None,
    own_identity: KnownIdentity | None,
) -> Attribution:
    imported = claim.sender is None
    if claim.own and sender == own.user_id:
        device: DeviceIdentity | None = DeviceIdentity(
            user_id=own.user_id, device_id=own.device_id, curve25519=claim.sender_key, ed25519=claim.ed25519
        )
        state = SenderState.INSECURE_SOURCE if imported else SenderState.THIS_DEVICE
    else:
        device = known.device(claim.sender_key, claim.ed25519)
        keys = known.keys(claim.sender_key, claim.ed25519)
        state = SenderState.INSECURE_SOURCE if imported else sender_state(keys, identity, own_identity)
    info = EncryptionInfo(
        sender_state=state,
        sender_device=device if state >= SenderState.DEVICE else None,
        claimed_sender=claim.sender,
        claimed_device=device,
        claimed_curve25519=claim.sender_key,
        claimed_ed25519=claim.ed25519,
        imported=imported,
        forwarded=bool(claim.forwarding_chain),
    )
    founded = not imported or device is not None or known.had(claim.sender_key, claim.ed25519)
    return Attribution(info, founded, identity, own_identity)
