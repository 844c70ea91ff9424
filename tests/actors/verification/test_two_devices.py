"""Two devices of the library's, every step from a stored row: honest ones end alike, and a server gains nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from olmstate.actors._verification import events
from olmstate.actors._verification.effects import Verified
from olmstate.actors._verification.flow import ENDS, State
from olmstate.actors._wire.untrusted_json import is_array, is_object
from tests.actors.verification.pair import Device, Pair, two_devices, two_users
from tests.peer.encoding import b64
from tests.peer.formulas import BASE_POINT, x25519
from tests.peer.verifier import fake_key

KINDS: dict[str, Callable[[], tuple[Device, Device]]] = {
    "two users": two_users,
    "a new device asks": lambda: two_devices(new_one_asks=True),
    "an old device asks": lambda: two_devices(new_one_asks=False),
}
METHODS = [("sas", "sas"), ("sas", "none"), ("none", "sas"), ("show", "scan"), ("scan", "show")]


def of(device: Device) -> set[tuple[str, str]]:
    """All keys of a device and its user, by what they are keys of."""
    user_id, device_id = device.address.user_id, device.address.device_id
    return {(f"{user_id} {device_id}", device.ed25519), (user_id, device.master_key)}


def keys_in(verified: Verified) -> set[tuple[str, str]]:
    keys = {
        f"{verified.user_id} {verified.device_id}": verified.ed25519,
        verified.user_id: verified.master_key,
    }
    return {(whose, key) for whose, key in keys.items() if key is not None}


def check_ends(pair: Pair) -> None:
    """Both have verified, or neither; and nothing but the other's own keys."""
    first, second = pair.devices
    assert (first.state is State.DONE) == (second.state is State.DONE), (first.state, second.state)
    check_keys(pair)


def check_keys(pair: Pair) -> None:
    """Whoever has verified anything has verified the other's own keys."""
    for device in pair.devices:
        assert (device.state is State.DONE) == (len(device.verified) == 1)
        for verified in device.verified:
            assert set() != keys_in(verified) <= of(pair.other(device))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("methods", METHODS, ids=" and ".join)
@pytest.mark.parametrize("room", [False, True], ids=["to-device", "in a room"])
def test_two_honest_devices_verify_each_other(kind: str, methods: tuple[str, str], *, room: bool) -> None:
    if room and kind != "two users":
        return
    pair = Pair(*KINDS[kind](), room=room)
    pair.request()
    pair.finish(methods)
    assert (State.DONE, State.DONE) == tuple(device.state for device in pair.devices)
    check_ends(pair)


@given(st.data(), st.sampled_from(sorted(KINDS)), st.booleans(), st.booleans())
def test_however_they_act_and_whenever_messages_come_both_end_alike(
    data: st.DataObject,
    kind: str,
    room: bool,  # noqa: FBT001 - Hypothesis passes it so
    may_give_up: bool,  # noqa: FBT001 - the same
) -> None:
    pair = Pair(*KINDS[kind](), room=room and kind == "two users")
    pair.request()
    used: set[str] = set()
    choices = ["deliver", "deliver", "sas", "show", "scan", *(["give up"] if may_give_up else [])]
    for _ in range(data.draw(st.integers(0, 25))):
        device = pair.devices[data.draw(st.integers(0, 1))]
        match data.draw(st.sampled_from(choices)):
            case "deliver":
                pair.deliver(device)
            case "give up":
                pair.act(device, events.GiveUp())
            case method:
                wish = pair.wish(device, method)
                if wish is not None and pair.act(device, wish) and isinstance(wish, events.StartSas | events.ScanQr):
                    used.add(type(wish).__name__)
    pair.finish(("sas", "sas"))
    check_ends(pair)
    assert all(device.state in ENDS for device in pair.devices)
    codes = {device.flow.code for device in pair.devices if device.flow is not None}
    event(f"{pair.devices[0].state} {sorted(map(str, codes))}")
    if not may_give_up and len(used) < 2:
        # nobody gave up, and two starts were of one method
        assert {None} == codes


@pytest.mark.parametrize("methods", METHODS, ids=" and ".join)
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_by_both_at_once_ends_well(kind: str, methods: tuple[str, str]) -> None:
    pair = Pair(*KINDS[kind]())
    pair.request()
    first, second = pair.devices
    pair.deliver_all()
    pair.act(second, events.AcceptRequest(methods=pair.devices[0].flow.own_methods if pair.devices[0].flow else ()))
    pair.deliver_all()
    for device in (first, second):
        pair.act(device, events.ShowQr())
    wishes = [pair.wish(device, "sas" if "sas" in methods else "scan") for device in (first, second)]
    for device, wish in zip((first, second), wishes, strict=True):
        assert wish is not None
        assert pair.act(device, wish)
    pair.finish(("none", "none"))
    assert (State.DONE, State.DONE) == (first.state, second.state)
    check_ends(pair)


def test_when_both_cancel_at_once_both_have_cancelled() -> None:
    pair = Pair(*two_users())
    pair.request()
    pair.finish(("none", "none"))
    for device in pair.devices:
        assert pair.act(device, events.GiveUp())
    pair.deliver_all()
    assert [(State.CANCELLED, "m.user", True)] * 2 == [
        (device.flow.state, device.flow.code, device.flow.cancelled_by_us) for device in pair.devices if device.flow
    ]


# --- a server that changes what it carries


def messages_of(methods: tuple[str, str]) -> list[tuple[str, dict[str, Any]]]:
    pair = Pair(*two_users())
    pair.request()
    pair.finish(methods)
    return [(kind, content) for _, kind, content in pair.timeline]


def every_value(content: dict[str, Any]) -> list[tuple[str | int, ...]]:
    """Where each value is, at any depth."""
    found: list[tuple[str | int, ...]] = []
    todo: list[tuple[tuple[str | int, ...], Any]] = [((), content)]
    for path, value in todo:
        if is_object(value):
            todo += [((*path, name), inner) for name, inner in value.items()]
        elif is_array(value):
            todo += [((*path, place), inner) for place, inner in enumerate(value)]
        else:
            found.append(path)
    return found


CHANGES = [
    (methods, number, kind.rsplit(".", 1)[1], path)
    for methods in (("sas", "none"), ("show", "scan"))
    for number, (kind, content) in enumerate(messages_of(methods))
    for path in every_value(content)
]


def changed(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Another value of the same type, of the same length if it is a key."""
    if isinstance(value, int):
        return value + 1
    return fake_key(value) if len(value) == 43 else value + "x"


@pytest.mark.parametrize(("methods", "number", "kind", "path"), CHANGES, ids=str)
@pytest.mark.parametrize("left_out", [False, True])
def test_whatever_value_a_server_changes_nothing_wrong_is_verified(
    methods: tuple[str, str], number: int, kind: str, path: tuple[str | int, ...], *, left_out: bool
) -> None:
    def tamper(place: int, type_: str, content: dict[str, Any]) -> dict[str, Any]:
        del type_
        if place != number:
            return content
        content = copy.deepcopy(content)
        inner: Any = content
        for part in path[:-1]:
            inner = inner[part]
        if left_out:
            del inner[path[-1]]
        else:
            inner[path[-1]] = changed(inner[path[-1]])
        return content

    pair = Pair(*two_users(), tamper=tamper)
    pair.request()
    pair.finish(methods)
    check_keys(pair)
    if kind != "done":  # the last message's loss is the one that nobody can know of
        check_ends(pair)


@pytest.mark.parametrize(
    ("kind", "field", "code"),
    [
        ("start", "hashes", "m.mismatched_commitment"),
        ("start", "short_authentication_string", "m.mismatched_commitment"),
        ("start", "message_authentication_codes", "m.mismatched_commitment"),
        ("accept", "commitment", "m.mismatched_commitment"),
        ("accept", "message_authentication_code", "m.unknown_method"),
        ("mac", "keys", "m.key_mismatch"),
    ],
)
def test_what_a_server_changes_is_found_with_the_code_of_the_spec(kind: str, field: str, code: str) -> None:
    def tamper(number: int, type_: str, content: dict[str, Any]) -> dict[str, Any]:
        del number
        if type_ != f"m.key.verification.{kind}":
            return content
        value = content[field]
        return {**content, field: [*value, "more"] if isinstance(value, list) else changed(value)}

    pair = Pair(*two_users(), tamper=tamper)
    pair.request()
    pair.finish(("sas", "none"))
    assert [(State.CANCELLED, code)] * 2 == [
        (device.flow.state, device.flow.code) for device in pair.devices if device.flow
    ]


@pytest.mark.parametrize("sides", ["the starter's", "the accepter's", "both"])
def test_a_server_that_puts_in_its_own_keys_is_seen_by_the_users_or_the_commitment(sides: str) -> None:
    private = b"the server's private key".ljust(32)
    public = b64(x25519(private, BASE_POINT))
    seen: list[str] = []

    def tamper(number: int, type_: str, content: dict[str, Any]) -> dict[str, Any]:
        del number
        if type_ != "m.key.verification.key":
            return content
        seen.append(content["key"])
        exchanged = sides == "both" or (sides == "the starter's") == (len(seen) == 1)
        return {**content, "key": public} if exchanged else content

    pair = Pair(*two_users(), tamper=tamper)
    pair.request()
    pair.finish(("sas", "none"))
    codes = {device.flow.code for device in pair.devices if device.flow}
    assert {"m.mismatched_sas" if sides == "the starter's" else "m.mismatched_commitment"} == codes
    check_ends(pair)


def test_even_users_who_confirm_without_looking_verify_no_key_of_a_server_that_has_only_exchanged_the_mac() -> None:
    # the server doesn't know the secret, so it can't make the MAC of a key of its own
    def tamper(number: int, type_: str, content: dict[str, Any]) -> dict[str, Any]:
        del number
        if type_ != "m.key.verification.mac":
            return content
        key = fake_key("the server's master key")
        return {**content, "mac": {f"ed25519:{key}": next(iter(content["mac"].values()))}}

    pair = Pair(*two_users(), tamper=tamper)
    pair.request()
    pair.finish(("sas", "none"))
    assert [] == [verified for device in pair.devices for verified in device.verified]
    assert {"m.key_mismatch"} == {device.flow.code for device in pair.devices if device.flow}


def test_messages_between_others_that_a_server_mirrors_verify_nothing() -> None:
    # a server that hands Alice her own messages, as if they came from her other device
    alice, mirror = two_devices(new_one_asks=False)
    pair = Pair(alice, mirror)
    pair.request()
    pair.finish(("none", "none"))
    assert pair.act(alice, events.StartSas())
    for kind, content in [(kind, content) for sender, kind, content in pair.timeline if sender is alice]:
        pair.hear(alice, kind, content, events.Envelope(sender=alice.address.user_id))
    assert ([], State.STARTED) == (alice.verified, alice.state)
