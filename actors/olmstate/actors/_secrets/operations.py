"""Our own cross-signing identity: made, published, and used to sign this device."""

from __future__ import annotations

import json
import secrets
from typing import Final

from olmstate.actors._account.actor import AccountActor, LookUpOwnDevice
from olmstate.actors._account.operations import own_device
from olmstate.actors._account.upkeep import UPLOAD
from olmstate.actors._device_lists.actor import DeviceListsActor, Invalidated
from olmstate.actors._devices.operations import devices_of
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.actor import IdentitiesActor, StoreIdentities
from olmstate.actors._identities.identity import Identity, Usage, check_identity
from olmstate.actors._identities.operations import MarkVerified, known_identities, mark_verified
from olmstate.actors._identities.signing import (
    SEED_BYTES,
    Seeds,
    compare,
    device_signing_upload,
    make_cross_signing_keys,
    public_key,
    refusals,
    sign_device,
    signatures_upload,
)
from olmstate.actors._requests.actor import (
    AnsweredRequest,
    NewRequest,
    PendingRequests,
    PutRequests,
    RequestsActor,
)
from olmstate.actors._requests.points import Refused
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import dumps
from olmstate.messages import (
    Command,
    DeviceAddress,
    DeviceId,
    Ed25519Key,
    IdentitiesChanged,
    JsonObject,
    MalformedContent,
    MalformedMessage,
    MissingCrossSigningKeys,
    OlmStateError,
    RequestId,
    RequestKind,
    SignatureRefused,
    UserId,
)

from .actor import (
    DropPending,
    LookUpPrivateKeys,
    PendingPublished,
    SecretsActor,
    StorePending,
)
from .private_keys import published_identity, tell_of_private_keys
from .vouching import vouch_for_device, vouch_for_user

_API: Final = "/_matrix/client/v3/keys"
OWN: Final = "our own identity"
"""Subject of requests about it."""


class Step(QuietStruct, kw_only=True, frozen=True):
    """What has to be answered before the next step; nothing if all is done."""

    kind: RequestKind
    request_ids: tuple[RequestId, ...]
    """This process's."""


class PrepareNextStep(QuietStruct, Command[Step | None], kw_only=True, frozen=True):
    """The next step towards an identity that has signed this device; None: it has."""

    auth: JsonObject | None = None


class RefreshOwnIdentity(QuietStruct, Command[None], kw_only=True, frozen=True):
    """Have our own keys queried anew."""


async def prepare_next_step(turn: Turn, command: PrepareNextStep) -> Step | None:
    """Work out from what is known to be published what comes next, and store its request."""
    own = await turn[AccountActor].ask(LookUpOwnDevice())
    user_id, device_id = own.identity.user_id, own.identity.device_id
    published = await published_identity(turn, user_id)
    device = (await devices_of(turn, (user_id,)))[user_id].get(device_id)
    if device is None or device.signed_json is None:
        return await _upload_device_keys(turn, own.signed_device_keys)
    if published is None:
        return await _upload_identity(turn, await _to_be_published(turn, user_id), command.auth)
    seeds = await _usable_seeds(turn, published)
    if device.cross_signed_by == published.self_signing.public_key:
        return None
    assert seeds.self_signing is not None  # noqa: S101 - all are there
    signed = sign_device(user_id, seeds.self_signing, json.loads(device.signed_json))
    body = signatures_upload([(user_id, device_id, signed)])
    return await _step(turn, RequestKind.SIGNATURES_UPLOAD, "signatures/upload", body)


class SignUser(QuietStruct, Command[Step], kw_only=True, frozen=True):
    """Sign another user's master key, which was compared."""

    user_id: UserId
    master_key: Ed25519Key


async def sign_user(turn: Turn, command: SignUser) -> Step:
    """Make sure that it is the key that is known, and that ours is the published one."""
    request_ids = await vouch_for_user(turn, command.user_id, command.master_key)
    return Step(kind=RequestKind.SIGNATURES_UPLOAD, request_ids=request_ids)


class SignOwnDevice(QuietStruct, Command[Step], kw_only=True, frozen=True):
    """Sign a device of our own, whose key was compared."""

    device_id: DeviceId
    ed25519: Ed25519Key


async def sign_own_device(turn: Turn, command: SignOwnDevice) -> Step:
    """Store the signature, if there is none yet."""
    own = (await own_device(turn)).identity.user_id
    device = DeviceAddress(user_id=own, device_id=command.device_id)
    request_ids = await vouch_for_device(turn, device, command.ed25519)
    return Step(kind=RequestKind.SIGNATURES_UPLOAD, request_ids=request_ids)


class PrepareReset(QuietStruct, Command[Step | None], kw_only=True, frozen=True):
    """Have a new identity published; None: the homeserver has taken it."""

    begin: bool
    """Make it, unless one that was made before waits for the homeserver."""
    auth: JsonObject | None = None


async def prepare_reset(turn: Turn, command: PrepareReset) -> Step | None:
    """New private keys beside the old ones, which stay until the homeserver has taken the new public halves."""
    user_id = (await own_device(turn)).identity.user_id
    pending = (await turn[SecretsActor].ask(LookUpPrivateKeys())).pending
    published = await published_identity(turn, user_id)
    if pending.complete and published is not None and all(compare(pending, published).values()):
        await _take_pending(turn, published)
        return None
    if not pending.complete:
        if not command.begin:
            return None
        pending = await _new_seeds(turn, user_id)
    return await _upload_identity(turn, _identity(user_id, pending), command.auth)


async def refresh_own_identity(turn: Turn, command: RefreshOwnIdentity) -> None:  # noqa: ARG001 - a command's function
    """Mark our own user as outdated."""
    own = await turn[AccountActor].ask(LookUpOwnDevice())
    await turn[DeviceListsActor].ask(Invalidated(users=(own.identity.user_id,)))


async def _to_be_published(turn: Turn, user_id: UserId) -> Identity:
    """What was made before, or, if nothing is there at all, a new identity; its private keys are stored.

    Raises:
        MissingCrossSigningKeys: Not all are here, and some are, or an identity is published that we can't take.
    """
    keys = await turn[SecretsActor].ask(LookUpPrivateKeys())
    known = (await known_identities(turn, (user_id,)))[user_id]
    if known is not None and known.unusable and not keys.seeds.complete:
        raise MissingCrossSigningKeys(names=_missing(keys.seeds))
    seeds = keys.pending if keys.pending.complete else keys.seeds
    if not seeds.complete:
        missing = _missing(seeds)
        if len(missing) < len(Usage):
            raise MissingCrossSigningKeys(names=missing)
        seeds = await _new_seeds(turn, user_id)
    return _identity(user_id, seeds)


async def _new_seeds(turn: Turn, user_id: UserId) -> Seeds:
    seeds = Seeds(**{usage.value: secrets.token_bytes(SEED_BYTES) for usage in Usage})
    await turn[SecretsActor].ask(StorePending(seeds=seeds))
    await tell_of_private_keys(turn, user_id)
    return seeds


async def _upload_identity(turn: Turn, identity: Identity, auth: JsonObject | None) -> Step:
    body = device_signing_upload(identity)
    if auth is not None:
        body["auth"] = _sendable(auth)
    return await _step(turn, RequestKind.SIGNING_KEYS_UPLOAD, "device_signing/upload", body, anew=auth)


def _sendable(auth: JsonObject) -> JsonObject:
    try:
        dumps(auth)
    except MalformedMessage as error:
        raise MalformedContent(reason=error.reason) from None
    return auth


def _identity(user_id: UserId, seeds: Seeds) -> Identity:
    assert seeds.master and seeds.self_signing and seeds.user_signing  # noqa: S101, PT018 - they are complete
    return make_cross_signing_keys(
        user_id, master=seeds.master, self_signing=seeds.self_signing, user_signing=seeds.user_signing
    )


def _missing(seeds: Seeds) -> tuple[str, ...]:
    return tuple(usage.secret_name for usage in Usage if seeds.of(usage) is None)


async def _usable_seeds(turn: Turn, published: Identity) -> Seeds:
    """Those of the published identity, all three, which is verified by that."""
    keys = await turn[SecretsActor].ask(LookUpPrivateKeys())
    if keys.pending.complete and all(compare(keys.pending, published).values()):
        await _take_pending(turn, published)
        return keys.pending
    matches = compare(keys.seeds, published)
    missing = tuple(usage.secret_name for usage in Usage if not matches.get(usage))
    if missing:
        raise MissingCrossSigningKeys(names=missing)
    await mark_verified(turn, MarkVerified(user_id=published.user_id, master_key=published.master.public_key))
    return keys.seeds


async def _take_pending(turn: Turn, published: Identity) -> None:
    await turn[SecretsActor].ask(PendingPublished())
    await mark_verified(turn, MarkVerified(user_id=published.user_id, master_key=published.master.public_key))
    await tell_of_private_keys(turn, published.user_id)


async def _upload_device_keys(turn: Turn, device_keys: JsonObject) -> Step:
    """Wait for this process's upload of keys, or, if there is none, upload those of the device alone."""
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.KEYS_UPLOAD))
    waiting = tuple(each.request_id for each in pending if each.own)
    if not waiting:
        request = NewRequest(
            kind=RequestKind.KEYS_UPLOAD,
            method="POST",
            path=f"{_API}/upload",
            body=json.dumps({"device_keys": device_keys}).encode(),
            subjects=(UPLOAD,),
            context=json.dumps({"key_ids": []}).encode(),
        )
        waiting = await turn[RequestsActor].ask(PutRequests(requests=(request,), now=turn.now))
    return Step(kind=RequestKind.KEYS_UPLOAD, request_ids=waiting)


async def _step(turn: Turn, kind: RequestKind, path: str, body: JsonObject, *, anew: JsonObject | None = None) -> Step:
    """A request, or this process's that waits already; with ``anew``, which that one lacks, a new one."""
    pending = await turn[RequestsActor].ask(PendingRequests(kind=kind))
    waiting = tuple(each.request_id for each in pending if each.own and OWN in each.subjects)
    if waiting and anew is None:
        return Step(kind=kind, request_ids=waiting)
    request = NewRequest(
        kind=kind, method="POST", path=f"{_API}/{path}", body=json.dumps(body).encode(), subjects=(OWN,)
    )
    return Step(kind=kind, request_ids=await turn[RequestsActor].ask(PutRequests(requests=(request,), now=turn.now)))


# --- answers ------------------------------------------------------------------------------------------------


async def take_signing_keys_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:  # noqa: ARG001 - an answer's function
    """The homeserver has taken our identity."""
    body = json.loads(answered.body)
    user_id = (await turn[AccountActor].ask(LookUpOwnDevice())).identity.user_id
    published = check_identity(user_id, *(body[usage.field] for usage in Usage))
    changed = await turn[IdentitiesActor].ask(StoreIdentities(identities=(published,)))
    if changed:
        turn.events.append(IdentitiesChanged(users=changed))
    pending = (await turn[SecretsActor].ask(LookUpPrivateKeys())).pending
    if pending.complete and all(compare(pending, published).values()):
        await _take_pending(turn, published)


async def signing_keys_refused(turn: Turn, refused: AnsweredRequest, why: Refused) -> None:
    """The homeserver hasn't taken it: for good, or until the user has authenticated."""
    pending = (await turn[SecretsActor].ask(LookUpPrivateKeys())).pending
    meant = json.loads(refused.body)[Usage.MASTER.field]["keys"].values()
    if why.challenge is None and pending.master is not None and public_key(pending.master) in meant:
        await turn[SecretsActor].ask(DropPending())
        await tell_of_private_keys(turn, (await turn[AccountActor].ask(LookUpOwnDevice())).identity.user_id)


async def take_keys_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:  # noqa: ARG001 - an answer's function
    """The homeserver has this device's keys: a query shows them."""
    if "device_keys" in json.loads(answered.body):
        await refresh_own_identity(turn, RefreshOwnIdentity())


async def take_signatures_answer(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:  # noqa: ARG001 - an answer's function
    """Signatures are seen by a query only: have one made."""
    await turn[DeviceListsActor].ask(Invalidated(users=tuple(map(UserId, json.loads(answered.body)))))


def refused_signature(response: JsonObject) -> OlmStateError | None:
    """A signature that the homeserver says that it didn't take."""
    try:
        found = refusals(response)
    except MalformedMessage:
        return None  # it says nothing; a query shows which signatures there are
    for refusal in found:
        return SignatureRefused(user_id=refusal.user_id, signed_id=refusal.signed_id, errcode=refusal.errcode)
    return None
