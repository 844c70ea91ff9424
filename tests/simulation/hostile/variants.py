"""The product with one of its checks taken out: what the judge must find out, or it proves nothing.

Owns: `BROKEN`, and which rules must find what is missing.
Rule: the product has no switch for any of this. A function is replaced while a run lasts.
"""

# what is replaced is what nobody else may call
# pyright: reportPrivateUsage=false

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import attrs
import msgspec

from olmstate.actors._devices.actor import UserDevices
from olmstate.actors._devices.senders import KnownSender
from olmstate.actors._engine.cache import Cache
from olmstate.actors._room_keys import claims
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor, RoomKeyEntry
from olmstate.actors._room_keys.claims import Attribution, Claim
from olmstate.actors._room_keys.copies import RoomKeyCopy, add_copy
from olmstate.actors._room_keys.message_indices import EventHashes
from olmstate.actors._wire import payload
from olmstate.actors._wire.payload import KnownKeys, Payload, check_payload
from olmstate.actors._wire.signatures import check_device_keys
from olmstate.messages import (
    Curve25519Key,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    Ed25519Key,
    EventId,
    JsonObject,
    MegolmSessionId,
    RoomId,
    RoomKeyChange,
    SenderState,
    UnknownSender,
    UserId,
)
from tests.simulation.hostile.broken import broken_in

RECEIVING = "olmstate.actors._to_device.receiving"
PAYLOAD = "olmstate.actors._wire.payload"
SENDERS = "olmstate.actors._devices.senders"
OPERATIONS = "olmstate.actors._devices.operations"
DEVICES = "olmstate.actors._devices.actor"
CLAIMS = "olmstate.actors._room_keys.claims"
ROOM_KEYS = "olmstate.actors._room_keys.actor"
INDICES = "olmstate.actors._room_keys.message_indices"
OLM = "olmstate.actors._to_device.actor"
CACHE = "olmstate.actors._engine.cache"


broken = broken_in(globals())


def _nothing(*_: object) -> None:
    return


def _no(*_: object) -> bool:
    return False


def _yes(*_: object) -> bool:
    return True


# --- letters ------------------------------------------------------------------------------------------------

_check_sent = payload._check_sender_device_keys


def _without_own_name(
    sent: DeviceKeys, sender_key: Curve25519Key, ed25519: Ed25519Key, own: DeviceIdentity, known: KnownKeys
) -> None:
    _check_sent(sent, sender_key, ed25519, attrs.evolve(own, device_id=DeviceId("other")), known)


def _believing_everybody(
    plaintext: bytes, *, sender: str, sender_key: Curve25519Key, own: DeviceIdentity, known: KnownKeys
) -> Payload:
    try:
        return check_payload(plaintext, sender=sender, sender_key=sender_key, own=own, known=known)
    except UnknownSender:
        said: JsonObject = msgspec.json.decode(plaintext)
        ed25519 = Ed25519Key(said["keys"]["ed25519"])
        return Payload(type=said["type"], content=said["content"], sender=UserId(sender), ed25519=ed25519, device=None)


def _naming_whoever_sends_keys(
    plaintext: bytes, *, sender: str, sender_key: Curve25519Key, own: DeviceIdentity, known: KnownKeys
) -> Payload:
    believed = check_payload(plaintext, sender=sender, sender_key=sender_key, own=own, known=known)
    sent = msgspec.json.decode(plaintext).get("sender_device_keys")
    if believed.device is not None or sent is None:
        return believed
    keys = check_device_keys(believed.sender, sent["device_id"], sent)
    device = DeviceIdentity(
        user_id=keys.user_id, device_id=keys.device_id, curve25519=keys.curve25519, ed25519=keys.ed25519
    )
    return msgspec.structs.replace(believed, device=device)


def _in_any_name(
    plaintext: bytes, *, sender: str, sender_key: Curve25519Key, own: DeviceIdentity, known: KnownKeys
) -> Payload:
    named = msgspec.json.decode(plaintext).get("sender", sender)
    return check_payload(plaintext, sender=named, sender_key=sender_key, own=own, known=known)


async def _nobodys(*_: object) -> frozenset[Ed25519Key]:
    return frozenset()


# --- whose a room key is ------------------------------------------------------------------------------------

_Claims: TypeAlias = tuple[tuple[Claim, ...], bool, bool]

_add_claim = InboundGroupSessionsActor._add_claim
_guard = InboundGroupSessionsActor._guard
_guards = InboundGroupSessionsActor._guards


def _only_four(
    self: InboundGroupSessionsActor, entry: RoomKeyEntry, room_id: RoomId, session_id: MegolmSessionId, new: Claim
) -> _Claims:
    if len({claim.sender for claim in entry.claims} | {new.sender}) > 4:
        return entry.claims, False, False
    return _add_claim(self, entry, room_id, session_id, new)


def _only_the_first(
    self: InboundGroupSessionsActor, entry: RoomKeyEntry, room_id: RoomId, session_id: MegolmSessionId, new: Claim
) -> _Claims:
    return entry.claims or (new,), False, False


def _nothing_exported(
    copies: tuple[RoomKeyCopy, ...], new: RoomKeyCopy, claims: Sequence[Claim] = ()
) -> tuple[tuple[RoomKeyCopy, ...], RoomKeyChange]:
    merged, change = add_copy(copies, new, claims)
    if not claims:
        return merged, change
    return tuple(msgspec.structs.replace(copy, exported=()) for copy in merged), change


def _everybodys_indices(
    self: InboundGroupSessionsActor,
    guards: Sequence[bytes],
    index: int,
    event_id: EventId,
    sender: str | None,
    *,
    own_only: bool,
) -> None:
    _guard(self, guards, index, event_id, sender, own_only=False)


def _no_common_guard(
    self: InboundGroupSessionsActor, room_id: RoomId, session_id: str, sender: str | None, block: int, *, exported: bool
) -> list[bytes]:
    return _guards(self, room_id, session_id, sender, block, exported=False)


def _one_guard(
    self: InboundGroupSessionsActor, room_id: RoomId, session_id: str, sender: str | None, block: int, *, exported: bool
) -> list[bytes]:
    return [self._block_name(block, room_id, session_id)]


def _short_hash(self: EventHashes, event_id: EventId, sender: str | None = None) -> str:
    return hashlib.blake2b(event_id.encode(), digest_size=8).hexdigest()


_attribution: Callable[..., Attribution] = claims._attribution  # pyright: ignore[reportPrivateUsage]


def _vouched_for(*keys: object, **identities: object) -> Attribution:
    found = _attribution(*keys, **identities)
    device = found.info.claimed_device
    state = SenderState.UNKNOWN_DEVICE if device is None else SenderState.DEVICE
    return attrs.evolve(found, info=attrs.evolve(found.info, sender_state=state, sender_device=device))


# --- devices ------------------------------------------------------------------------------------------------


def _forget(
    self: UserDevices, device_id: DeviceId, *, known: DeviceKeys | None = None, gone: DeviceKeys | None = None
) -> None:
    self.by_id.pop(device_id, None)
    if known is not None:
        self.by_id[device_id] = known
    self.changed.add(device_id)
    self._sender = None


def _another_fingerprint(before: DeviceKeys, now: DeviceKeys) -> bool:
    return before.ed25519 != now.ed25519


_with_both_keys = KnownSender.device


def _by_identity_key(self: KnownSender, curve25519: Curve25519Key, ed25519: Ed25519Key) -> DeviceIdentity | None:
    named = [keys for keys in self._devices if keys[0] == curve25519]
    found = max(named, key=lambda keys: keys[1] != ed25519, default=None)  # a wrong one, if there is any
    return None if found is None else _with_both_keys(self, *found)


_invalidate: Callable[[Cache[object], Collection[bytes] | None], None] = Cache[object].invalidate


def _never_dropped(self: Cache[object], partitions: Collection[bytes] | None) -> None:
    if not self.view:
        _invalidate(self, partitions)


BROKEN = (
    broken(
        "this device's name is anybody's",
        "lies are refused",
        seed=16,
        PAYLOAD___check_sender_device_keys=_without_own_name,
    ),
    broken(
        "another's fingerprint is no contradiction",
        "lies are refused",
        seed=4,
        SENDERS__KnownSender__contradicts=_no,
    ),
    broken(
        "strangers may have a known fingerprint",
        "lies are refused",
        seed=9,
        RECEIVING__fingerprints_of_others=_nobodys,
    ),
    broken("unknown senders are believed", "lies are refused", seed=12, RECEIVING__check_payload=_believing_everybody),
    broken(
        "whoever sends keys along is named",
        "attributed to its maker",
        RECEIVING__check_payload=_naming_whoever_sends_keys,
    ),
    broken("a payload may name another sender", "lies are refused", seed=3, RECEIVING__check_payload=_in_any_name),
    broken(
        "device keys that are sent along are not compared",
        "lies are refused",
        seed=16,
        PAYLOAD___check_sender_device_keys=_nothing,
    ),
    broken(
        "an identity key is enough", "attributed to its maker", seed=34, SENDERS__KnownSender__device=_by_identity_key
    ),
    broken(
        "an Olm session is for anybody",
        "what we encrypt is read",
        seed=18,
        OLM__OlmSession__may_encrypt_for=_yes,
    ),
    broken(
        "four claims and no more",
        "honest messages are read",
        ROOM_KEYS__InboundGroupSessionsActor___add_claim=_only_four,
    ),
    broken(
        "the first claim counts",
        "honest messages are read",
        ROOM_KEYS__InboundGroupSessionsActor___add_claim=_only_the_first,
    ),
    broken(
        "a claim drops what exports say", "honest messages are read", seed=24, ROOM_KEYS__add_copy=_nothing_exported
    ),
    broken(
        "an index is whose event comes first",
        "honest messages are read",
        seed=71,
        ROOM_KEYS__InboundGroupSessionsActor___guard=_everybodys_indices,
    ),
    broken(
        "an index is guarded for all",
        "honest messages are read",
        seed=12,
        ROOM_KEYS__InboundGroupSessionsActor___guards=_one_guard,
    ),
    broken(
        "nobody's indices are not guarded",
        "nothing twice",
        seed=12,
        ROOM_KEYS__InboundGroupSessionsActor___guards=_no_common_guard,
    ),
    broken("event ids have a short hash", "nothing twice", seed=19, INDICES__EventHashes__of=_short_hash),
    broken("an export is as good as a device", "attributed to its maker", CLAIMS___attribution=_vouched_for),
    broken("what was told once is told again", "attribution stays", seed=15, CACHE__Cache__invalidate=_never_dropped),
    broken(
        "a device that is gone is forgotten", "devices keep their keys", seed=89, DEVICES__UserDevices__change=_forget
    ),
    broken(
        "the server says who this device is",
        "devices keep their keys",
        seed=73,
        OPERATIONS___refuse_other_own=_nothing,
    ),
    broken(
        "a device may change its identity key",
        "devices keep their keys",
        DEVICES___other_keys=_another_fingerprint,
    ),
)
