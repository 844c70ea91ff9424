"""Reading a verification's events: whatever comes, a typed event or the typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._verification import events
from olmstate.actors._verification.events import Envelope, Malformed, is_verification, parse
from olmstate.actors._verification.methods import METHODS
from olmstate.messages import MalformedMessage
from tests.actors.verification.flows import BOB, NOW, ROOM
from tests.peer.verifier import Verifier

TO_DEVICE = Envelope(sender=BOB)
IN_ROOM = Envelope(sender=BOB, room_id=ROOM, event_id="$event", timestamp=NOW)
PEER = Verifier(BOB, "BOBDEVICE")
ROOM_PEER = Verifier(BOB, "BOBDEVICE", room_id=ROOM, flow_id="$request")
PEER.peer_key = ROOM_PEER.peer_key = PEER.public


def messages(peer: Verifier) -> dict[type[events.Incoming], tuple[str, dict[str, Any]]]:
    return {
        events.Request: peer.request(*METHODS, now=NOW, to="@alice:example.org"),
        events.Ready: peer.ready(*METHODS),
        events.Start: peer.start(),
        events.Accept: peer.accept({}),
        events.Key: peer.key(),
        events.Mac: peer.mac(),
        events.Done: peer.done(),
        events.Cancel: peer.cancel("m.user"),
    }


@pytest.mark.parametrize("kind", messages(PEER))
def test_a_message_is_read_with_its_flow(kind: type[events.Incoming]) -> None:
    for peer, envelope, flow_id in ((PEER, TO_DEVICE, "flow"), (ROOM_PEER, IN_ROOM, "$request")):
        event = parse(*messages(peer)[kind], envelope)
        assert kind is type(event)
        # a request's own event id is the flow's
        assert ("$event" if kind is events.Request and peer is ROOM_PEER else flow_id) == event.flow_id
        assert is_verification(*messages(peer)[kind])


@pytest.mark.parametrize("kind", messages(PEER))
def test_a_message_without_one_of_its_fields_is_malformed_and_says_of_which_flow(kind: type[events.Incoming]) -> None:
    for peer, envelope in ((PEER, TO_DEVICE), (ROOM_PEER, IN_ROOM)):
        type_, content = messages(peer)[kind]
        for field in content:
            if field in {"reason", "body", "msgtype"}:
                continue  # optional, or another event altogether
            without = {name: value for name, value in content.items() if name != field}
            if field in {"transaction_id", "m.relates_to"}:
                with pytest.raises(MalformedMessage):
                    parse(type_, without, envelope)
                continue
            for wrong in (without, {**content, field: 1.5e0 if field != "timestamp" else "now"}):
                if any(isinstance(value, float) for value in wrong.values()):
                    with pytest.raises(MalformedMessage, match="float"):
                        parse(type_, wrong, envelope)
                    continue
                event = parse(type_, wrong, envelope)
                assert isinstance(event, Malformed)
                assert field in event.reason


def test_what_isnt_a_verification_is_told_apart() -> None:
    assert not is_verification("m.room.message", {"msgtype": "m.text"})
    assert not is_verification("m.room.message", None)
    assert not is_verification("m.room_key", {})
    assert is_verification("m.key.verification.org.example.dance", {})
    with pytest.raises(MalformedMessage, match="unknown type"):
        parse("m.key.verification.org.example.dance", {"transaction_id": "flow"}, TO_DEVICE)


def test_a_relation_that_is_no_reference_is_no_flows() -> None:
    kind, content = ROOM_PEER.done()
    content["m.relates_to"]["rel_type"] = "m.thread"
    with pytest.raises(MalformedMessage, match="not a reference"):
        parse(kind, content, IN_ROOM)


@pytest.mark.parametrize("kind", messages(PEER))
def test_an_empty_id_names_no_flow(kind: type[events.Incoming]) -> None:
    """It did, of a verification that no user's message could name: a program that took it got a ValueError."""
    of_device = Verifier(BOB, "BOBDEVICE", flow_id="")
    in_room = Verifier(BOB, "BOBDEVICE", room_id=ROOM, flow_id="")
    of_device.peer_key = in_room.peer_key = PEER.public
    for peer, envelope in ((of_device, TO_DEVICE), (in_room, Envelope(sender=BOB, room_id=ROOM, event_id=""))):
        with pytest.raises(MalformedMessage, match="names no flow"):
            parse(*messages(peer)[kind], envelope)


def test_only_the_same_type_with_the_same_content_is_the_same_event() -> None:
    digests = [parse(*message, TO_DEVICE).digest for message in messages(PEER).values()]
    digests.append(parse("m.key.verification.done", {**PEER.done()[1], "more": 1}, TO_DEVICE).digest)
    digests.append(parse("m.key.verification.key", PEER.done()[1], TO_DEVICE).digest)
    assert len(digests) == len(set(digests))
    assert parse(*PEER.start(), TO_DEVICE).digest == parse(*PEER.start(), TO_DEVICE).digest


def test_an_ephemeral_key_has_one_spelling() -> None:
    spelled = [{"key": PEER.public + "=" * padding} for padding in range(3)]
    read = [parse("m.key.verification.key", {**PEER.key()[1], **key}, TO_DEVICE) for key in spelled]
    assert {PEER.public} == {event.key for event in read if isinstance(event, events.Key)}
    other = parse("m.key.verification.key", {**PEER.key()[1], "key": "/" * 42 + "8"}, TO_DEVICE)
    assert isinstance(other, Malformed)


def test_the_peers_reason_is_cut() -> None:
    kind, content = PEER.cancel("m.user")
    event = parse(kind, {**content, "reason": "x" * 10_000}, TO_DEVICE)
    assert isinstance(event, events.Cancel)
    assert 200 == len(event.reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({field for peer in (PEER, ROOM_PEER) for _, content in messages(peer).values() for field in content})


@given(
    st.sampled_from([kind for kind, _ in messages(PEER).values()] + ["m.room.message", "m.key.verification.x"]),
    json_values | st.dictionaries(st.sampled_from(FIELDS), json_values),
    st.sampled_from([TO_DEVICE, IN_ROOM, Envelope(sender=BOB, room_id=ROOM)]),
)
def test_whatever_comes_an_event_or_the_typed_error_comes_out(kind: str, content: Any, envelope: Envelope) -> None:  # noqa: ANN401
    try:
        event = parse(kind, content, envelope)
    except MalformedMessage:
        return
    assert isinstance(event, events.Incoming)
    assert isinstance(json.dumps(event.flow_id), str)
