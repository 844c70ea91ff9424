"""Which keys a flow is about: what is put under its MACs and in its codes, and what each of them proves.

Rule: keys are those of the flow's beginning, by value. A key's id never stands for it: device ids and cross-signing
keys share one space of names, and the homeserver hands both out (spec: Key and signature security).
"""

from __future__ import annotations

from msgspec.structs import replace

from olmstate.messages import Curve25519Key, DeviceAddress

from . import sas
from .effects import Verified
from .qr import Mode, QrCode
from .record import Flow, Keys, Party


def fix(flow: Flow, keys: Keys, device_id: str) -> dict[str, Party]:
    """The two parties' keys as they are now, for the rest of the flow."""
    own = replace(flow.own, ed25519=keys.own_ed25519, master_key=keys.own_master_key)
    return {"own": own, "peer": party(flow.peer_user_id, device_id, keys)}


def own_party(own: DeviceAddress, keys: Keys) -> Party:
    """This side."""
    return Party(
        user_id=own.user_id,
        device_id=own.device_id,
        ed25519=keys.own_ed25519,
        master_key=keys.own_master_key,
    )


def party(user_id: str, device_id: str, keys: Keys) -> Party:
    """The peer, whose device is known."""
    if keys.peer_ed25519 is None:
        raise AssertionError("the peer's device must be known")
    return Party(user_id=user_id, device_id=device_id, ed25519=keys.peer_ed25519, master_key=keys.peer_master_key)


def have_changed(flow: Flow, keys: Keys) -> bool:
    """Whether a key isn't the one that the flow began with."""
    if flow.peer is None:
        return False
    began = (flow.own.ed25519, flow.own.master_key, flow.peer.ed25519, flow.peer.master_key)
    now = (keys.own_ed25519, keys.own_master_key, keys.peer_ed25519, keys.peer_master_key)
    return began != now or keys.clashing


def clash(keys: Keys, device_id: str) -> bool:
    """Whether a device id could be taken for a cross-signing key: then nothing may be verified."""
    return keys.clashing or device_id == keys.peer_master_key


# --- SAS ----------------------------------------------------------------------------------------------------------


def sas_bytes(flow: Flow) -> bytes:
    """What the string is made of, once both ephemeral keys are known."""
    peer = known_peer(flow)
    ours = sas.Side(user_id=flow.own.user_id, device_id=flow.own.device_id, key=sas.public_key(flow.ephemeral))
    theirs = sas.Side(user_id=peer.user_id, device_id=peer.device_id, key=flow.peer_key)
    starter, accepter = (ours, theirs) if flow.we_started else (theirs, ours)
    return sas.sas_bytes(_secret(flow), starter=starter, accepter=accepter, flow_id=flow.flow_id or "")


def own_macs(flow: Flow, keys: Keys) -> sas.Macs:
    """What we vouch for: this device, and the master key if we trust it ourselves."""
    ours = {f"ed25519:{flow.own.device_id}": flow.own.ed25519}
    if flow.own.master_key is not None and keys.own_master_trusted:
        ours[f"ed25519:{flow.own.master_key}"] = flow.own.master_key
    return sas.macs_of(_context(flow, flow.own, known_peer(flow)), ours)


def vouched(flow: Flow, macs: sas.Macs) -> tuple[str, ...]:
    """The ids of the peer's keys that its MACs are right of; none: a MAC is wrong, or nothing is vouched for."""
    peer = known_peer(flow)
    theirs = {f"ed25519:{peer.device_id}": peer.ed25519}
    if peer.master_key is not None:
        theirs[f"ed25519:{peer.master_key}"] = peer.master_key
    return sas.verified_by(_context(flow, peer, flow.own), macs, theirs)


def _secret(flow: Flow) -> bytes:
    return sas.shared_secret(flow.ephemeral, Curve25519Key(flow.peer_key))


def _context(flow: Flow, sender: Party, receiver: Party) -> sas.MacContext:
    return sas.MacContext(
        method=flow.mac_method,
        secret=_secret(flow),
        sender=(sender.user_id, sender.device_id),
        receiver=(receiver.user_id, receiver.device_id),
        flow_id=flow.flow_id or "",
    )


def known_peer(flow: Flow) -> Party:
    """The peer, in a state in which there is one."""
    if flow.peer is None:
        raise AssertionError("no device has taken the request")
    return flow.peer


# --- QR -----------------------------------------------------------------------------------------------------------


def mode_to_show(flow: Flow, keys: Keys) -> Mode | None:
    """The mode of a code of ours; None: what would have to be in it isn't known, or not trusted."""
    peer = known_peer(flow)
    if flow.own.master_key is None or peer.master_key is None:
        return None
    if flow.own.user_id == flow.peer_user_id:
        return Mode.SELF_TRUSTING if keys.own_master_trusted else Mode.SELF_UNTRUSTING
    return Mode.OTHER_USER if keys.own_master_trusted else None


def keys_of_code(flow: Flow, mode: Mode) -> tuple[str, str]:
    """The two keys of a code that we show."""
    own, peer = flow.own, known_peer(flow)
    keys = {
        Mode.OTHER_USER: (own.master_key, peer.master_key),
        Mode.SELF_TRUSTING: (own.master_key, peer.ed25519),
        Mode.SELF_UNTRUSTING: (own.ed25519, own.master_key),
    }[mode]
    return keys[0] or "", keys[1] or ""


def is_right_code(flow: Flow, code: QrCode, keys: Keys) -> bool:
    """Whether a scanned code has the keys that we know, and says nothing that we can't vouch for.

    The peer will take our answer as proof of our user's master key, in the modes other than `Mode.SELF_TRUSTING`. So
    we must trust it ourselves.
    """
    own, peer = flow.own, known_peer(flow)
    between_own = own.user_id == peer.user_id
    if own.master_key is None:
        return False
    expected = {
        Mode.OTHER_USER: (peer.master_key, own.master_key),
        Mode.SELF_TRUSTING: (own.master_key, own.ed25519),
        Mode.SELF_UNTRUSTING: (peer.ed25519, own.master_key),
    }[code.mode]
    fits = (code.mode is not Mode.OTHER_USER) == between_own
    can_vouch = keys.own_master_trusted or code.mode is Mode.SELF_TRUSTING
    return fits and can_vouch and (code.first_key, code.second_key) == expected


# --- what is proved -----------------------------------------------------------------------------------------------


def verified(flow: Flow) -> Verified:
    """What a flow that is done has verified."""
    peer = known_peer(flow)
    if flow.vouched:
        device = f"ed25519:{peer.device_id}" in flow.vouched
        master = f"ed25519:{peer.master_key}" in flow.vouched
    elif flow.we_started:
        device = flow.scanned_mode is Mode.SELF_UNTRUSTING
        master = not device
    else:
        device = flow.shown_mode is Mode.SELF_TRUSTING
        master = not device
    return Verified(
        user_id=peer.user_id,
        device_id=peer.device_id if device else None,
        ed25519=peer.ed25519 if device else None,
        master_key=peer.master_key if master else None,
    )
