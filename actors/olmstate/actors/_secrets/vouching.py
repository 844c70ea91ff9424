"""Signing what our user has made sure of: another user's master key, or a device of our own.

Rule: nothing is signed by an id. The key that was compared is the one that is known, and the private key is that of the
published one; else nothing has happened. The signature is stored, as a request, in the commit of what it follows from.
"""

from __future__ import annotations

import json

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import look_up
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import Identity, Usage
from olmstate.actors._identities.known import own_state
from olmstate.actors._identities.operations import MarkVerified, known_identities, mark_verified
from olmstate.actors._identities.signing import compare, sign_device, sign_identity, signatures_upload
from olmstate.actors._identities.trust import OwnState
from olmstate.actors._requests.actor import NewRequest, PutRequests, RequestsActor
from olmstate.messages import (
    DeviceAddress,
    Ed25519Key,
    JsonObject,
    MissingCrossSigningKeys,
    RequestId,
    RequestKind,
    UnknownIdentity,
    UserId,
)

from .actor import LookUpPrivateKeys, SecretsActor

PATH = "/_matrix/client/v3/keys/signatures/upload"


async def vouch_for_user(turn: Turn, user_id: UserId, master_key: Ed25519Key) -> tuple[RequestId, ...]:
    """Sign another user's master key, which was compared.

    Raises:
        UnknownIdentity: None with that key is known, of the other or of our own user.
        MissingCrossSigningKeys: Our private user-signing key isn't here.
    """
    own = (await own_device(turn)).identity.user_id
    ours, theirs = await _published(turn, own), await _published(turn, user_id)
    if theirs.master.public_key != master_key or user_id == own:
        raise UnknownIdentity(user_id=user_id)
    signed = sign_identity(own, await _seed(turn, ours, Usage.USER_SIGNING), theirs)
    await mark_verified(turn, MarkVerified(user_id=user_id, master_key=master_key))
    return await _upload(turn, user_id, master_key, signed)


async def vouch_for_device(turn: Turn, device: DeviceAddress, ed25519: Ed25519Key) -> tuple[RequestId, ...]:
    """Sign a device of our own, whose key was compared; nothing to send, if it is signed.

    Raises:
        UnknownIdentity: None that is verified is known of our own user, or the device has another key.
        MissingCrossSigningKeys: Our private self-signing key isn't here.
    """
    ours = await _published(turn, device.user_id, verified=True)
    keys = (await look_up(turn, [device])).get(device)
    if keys is None or keys.ed25519 != ed25519 or keys.signed_json is None:
        raise UnknownIdentity(user_id=device.user_id)
    seed = await _seed(turn, ours, Usage.SELF_SIGNING)
    if keys.cross_signed_by == ours.self_signing.public_key:
        return ()
    return await _upload(
        turn, device.user_id, device.device_id, sign_device(device.user_id, seed, json.loads(keys.signed_json))
    )


async def _published(turn: Turn, user_id: UserId, *, verified: bool = False) -> Identity:
    known = (await known_identities(turn, (user_id,)))[user_id]
    if known is None or known.identity is None or (verified and own_state(known) is not OwnState.VERIFIED):
        raise UnknownIdentity(user_id=user_id)
    return known.identity


async def _seed(turn: Turn, published: Identity, usage: Usage) -> bytes:
    seeds = (await turn[SecretsActor].ask(LookUpPrivateKeys())).seeds
    seed = seeds.of(usage)
    if seed is None or not compare(seeds, published)[usage]:
        raise MissingCrossSigningKeys(names=(usage.secret_name,))
    return seed


async def _upload(turn: Turn, user_id: UserId, signed_id: str, signed: JsonObject) -> tuple[RequestId, ...]:
    request = NewRequest(
        kind=RequestKind.SIGNATURES_UPLOAD,
        method="POST",
        path=PATH,
        body=json.dumps(signatures_upload([(user_id, signed_id, signed)])).encode(),
        subjects=(user_id,),
    )
    return await turn[RequestsActor].ask(PutRequests(requests=(request,), now=turn.now))
