"""The product with one of its checks of trust taken out: what the judge must find out, or it proves nothing.

Owns: `BROKEN`, and which rules must find what is missing.
Rule: the product has no switch for any of this. A function is replaced while a run lasts (`hostile.broken`).
"""

# what is replaced is what nobody else may call
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from olmstate.actors._devices.senders import sender_state
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.actor import AgreeToIdentity, IdentitiesActor
from olmstate.actors._identities.identity import CrossSigningKey, Usage, check_identity, is_signed_by_key, parse_key
from olmstate.actors._identities.identity import Identity as Keys
from olmstate.actors._identities.known import KnownIdentity
from olmstate.actors._identities.operations import known_identities
from olmstate.actors._identities.signing import Seeds
from olmstate.actors._identities.trust import OtherFacts, OtherState, OwnFacts, OwnState
from olmstate.actors._key_requests.own_devices import other_own_devices
from olmstate.actors._rooms.strategies import Owners
from olmstate.actors._secrets.vouching import vouch_for_user
from olmstate.actors._verification import sas
from olmstate.messages import (
    DeviceId,
    DeviceKeys,
    Ed25519Key,
    IdentityState,
    InvalidSignature,
    Json,
    JsonObject,
    RequestId,
    SenderState,
    UserId,
)
from tests.simulation.hostile.broken import broken_in
from tests.simulation.trust.judge import ACTS, CHANGES, ENDS, KEYS, SECRETS, SIGNED, SIGNING

IDENTITIES = "olmstate.actors._identities.operations"
OWNER = "olmstate.actors._identities.actor"
KNOWN = "olmstate.actors._identities.known"
TRUST = "olmstate.actors._identities.trust"
DEVICES = "olmstate.actors._devices.operations"
SENDERS = "olmstate.actors._to_device.receiving"
CLAIMS = "olmstate.actors._room_keys.claims"
ASKING = "olmstate.actors._secret_requests.asking"
PRIVATE = "olmstate.actors._secrets.private_keys"
SEEDS = "olmstate.actors._secrets.operations"
ANSWERING = "olmstate.actors._key_requests.answering"
SAS = "olmstate.actors._verification.sas"
KEYING = "olmstate.actors._verification.keying"
MOVES = "olmstate.actors._verification.moves"
STRATEGIES = "olmstate.actors._rooms.strategies"

broken = broken_in(globals())


def _yes(*_: object) -> bool:
    return True


# --- identities ---------------------------------------------------------------------------------------------


def _without_check_of(usage: Usage) -> object:
    def check(user_id: UserId, master: Json, self_signing: Json, user_signing: Json | None = None) -> Keys:
        try:
            return check_identity(user_id, master, self_signing, user_signing)
        except InvalidSignature:
            left = {Usage.SELF_SIGNING: self_signing, Usage.USER_SIGNING: user_signing}
            del left[usage]
            root = parse_key(master, user_id, Usage.MASTER)
            for each, key in left.items():
                if key is not None and not is_signed_by_key(parse_key(key, user_id, each), user_id, root.public_key):
                    raise
            return Keys(
                user_id=user_id,
                master=root,
                self_signing=parse_key(self_signing, user_id, Usage.SELF_SIGNING),
                user_signing=None if user_signing is None else parse_key(user_signing, user_id, Usage.USER_SIGNING),
            )

    return check


def _is_named(key: CrossSigningKey, user_id: UserId, public_key: Ed25519Key) -> bool:
    """Whether there is something in the place of the signature."""
    return _has_a_signature(key.json, user_id, public_key)


def _is_signed_by_name(identity: Keys, device_keys: JsonObject) -> bool:
    return _has_a_signature(device_keys, identity.user_id, identity.self_signing.public_key)


def _has_a_signature(obj: JsonObject, user_id: UserId, public_key: Ed25519Key) -> bool:
    return f"ed25519:{public_key}" in obj.get("signatures", {}).get(user_id, {})


def _pins_all(self: OtherFacts, master_key: str) -> OtherFacts:
    return replace(self, master_key=master_key, pinned_master_key=master_key)


def _forgetful(self: KnownIdentity, identity: Keys, own: KnownIdentity | None) -> KnownIdentity:
    del own
    return replace(
        self, identity=identity, other=replace(self.other, was_verified=False).seen(identity.master.public_key)
    )


_agree = IdentitiesActor._agree


def _to_whichever_is_there(self: IdentitiesActor, message: AgreeToIdentity) -> None:
    there = self._known(message.user_id).identity
    _agree(self, message if there is None else replace(message, master_key=there.master.public_key))


_other_state = OtherFacts.state


def _by_whichever_identity(self: OtherFacts, *, own: OwnState, signed_by_us: bool) -> OtherState:
    return _other_state(self, own=OwnState.VERIFIED if own is not OwnState.ABSENT else own, signed_by_us=signed_by_us)


def _once_is_always(self: OwnFacts) -> OwnState:
    if self.master_key is None:
        return OwnState.ABSENT
    return OwnState.NEVER_VERIFIED if self.trusted_master_key is None else OwnState.VERIFIED


# --- devices ------------------------------------------------------------------------------------------------


def _no_violations(device: DeviceKeys | None, identity: KnownIdentity | None, own: KnownIdentity | None) -> SenderState:
    state = sender_state(device, identity, own)
    return SenderState.CROSS_SIGNED if state is SenderState.VIOLATION else state


def _trust_everybody(self: Owners, user_id: UserId) -> IdentityState | None:
    return None if self._identities.get(user_id) is None else IdentityState.VERIFIED


async def _all_own_devices(turn: Turn) -> dict[DeviceId, DeviceKeys]:
    return await other_own_devices(turn)


# --- our user's signatures, and private keys ----------------------------------------------------------------


async def _what_is_known(turn: Turn, user_id: UserId, master_key: Ed25519Key) -> tuple[RequestId, ...]:
    known = (await known_identities(turn, (user_id,)))[user_id]
    there = master_key if known is None or known.identity is None else known.identity.master.public_key
    return await vouch_for_user(turn, user_id, there)


def _all_match(seeds: Seeds, identity: Keys) -> Mapping[Usage, bool]:
    del identity
    return {usage: True for usage in Usage if seeds.of(usage) is not None}


# --- verifications ------------------------------------------------------------------------------------------


def _macs_of_whatever(context: sas.MacContext, macs: sas.Macs, keys: Mapping[str, str]) -> tuple[str, ...]:
    del context
    return tuple(sorted(set(keys).intersection(macs.mac)))


BROKEN = (
    broken(
        "anybody may be the self-signing key",
        SIGNED,
        seed=5,
        IDENTITIES__check_identity=_without_check_of(Usage.SELF_SIGNING),
    ),
    broken(
        "anybody may be the user-signing key",
        ACTS,
        IDENTITIES__check_identity=_without_check_of(Usage.USER_SIGNING),
    ),
    broken("a device is signed if it says so", SIGNED, seed=8, DEVICES__has_signed_device=_is_signed_by_name),
    broken("a user is verified if a signature is shown", ACTS, seed=6, KNOWN___is_signed=_is_named),
    broken(
        "a message isn't marked whose sender was verified once",
        CHANGES,
        seed=10,
        SENDERS__sender_state=_no_violations,
        CLAIMS__sender_state=_no_violations,
    ),
    broken(
        "whatever identity is shown as ours may verify others",
        ACTS,
        seed=10,
        TRUST__OtherFacts__state=_by_whichever_identity,
    ),
    broken("our own identity is verified for ever", ACTS, seed=3, TRUST__OwnFacts__state=property(_once_is_always)),
    broken("each identity is pinned", CHANGES, TRUST__OtherFacts__seen=_pins_all),
    broken(
        "whichever identity is there is agreed to",
        CHANGES,
        seed=3,
        OWNER__IdentitiesActor___agree=_to_whichever_is_there,
    ),
    broken("that a user was verified is forgotten", CHANGES, KNOWN__KnownIdentity__seen=_forgetful),
    broken("what is known is signed, not what was compared", SIGNING, SEEDS__vouch_for_user=_what_is_known),
    broken("any private key is ours", SECRETS, ASKING__compare=_all_match, PRIVATE__compare=_all_match),
    broken(
        "all devices in our user's name are sent secrets", SECRETS, ANSWERING__verified_own_devices=_all_own_devices
    ),
    broken("MACs aren't checked", ENDS, seed=7, SAS__verified_by=_macs_of_whatever),
    broken("keys in a code aren't checked", ACTS, seed=21, KEYING__is_right_code=_yes),
    broken("whoever says so has scanned the code", ENDS, seed=5, MOVES___has_our_secret=_yes),
    broken(
        "everybody is verified where room keys are shared", KEYS, seed=52, STRATEGIES__Owners__state=_trust_everybody
    ),
)
