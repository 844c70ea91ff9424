"""What a flow shows to people, worked out from its row: any process can show it."""

from __future__ import annotations

from olmstate.messages import Ed25519Key

from . import keying, qr, sas
from .effects import ShowSas
from .flow import State
from .record import Flow

_WITH_SAS = frozenset({State.COMPARING, State.MAC_RECEIVED, State.CONFIRMED})
_WITH_QR = frozenset({State.QR_SHOWN, State.SCANNED, State.SCANNER_DONE})


def sas_of(flow: Flow) -> ShowSas | None:
    """The string to compare; None: there is none now."""
    if flow.state not in _WITH_SAS:
        return None
    octets = keying.sas_bytes(flow)
    return ShowSas(
        emoji=sas.emoji(octets) if sas.EMOJI_METHOD in flow.sas_methods else None,
        decimals=sas.decimals(octets) if sas.DECIMAL in flow.sas_methods else None,
    )


def qr_code_of(flow: Flow) -> bytes | None:
    """The bytes of the code that we show; None: we show none now."""
    if flow.state not in _WITH_QR or flow.shown_mode is None or flow.flow_id is None:
        return None
    first, second = keying.keys_of_code(flow, flow.shown_mode)
    return qr.encode(
        qr.QrCode(
            mode=flow.shown_mode,
            flow_id=flow.flow_id,
            first_key=Ed25519Key(first),
            second_key=Ed25519Key(second),
            secret=flow.shown_secret,
        )
    )
