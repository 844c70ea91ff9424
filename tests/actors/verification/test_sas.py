"""The formulas of SAS: the spec's and libolm's vectors, vodozemac's own, and formulas that were written apart."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import pytest
import vodozemac
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._verification import sas
from olmstate.actors._verification.emoji import EMOJI
from olmstate.messages import Curve25519Key, MalformedMessage
from tests.peer import formulas
from tests.peer.encoding import b64, canonical, unb64

if TYPE_CHECKING:
    from collections.abc import Callable

ALICE, BOB = ("@alice:example.org", "ALICEDEVICE"), ("@bob:example.org", "BOBDEVICE")
FLOW = "a transaction"
START = {
    "from_device": "XOWLHHFSWM",
    "transaction_id": "bYxBsirjUJO9osar6ST4i2M2NjrYLA7l",
    "method": "m.sas.v1",
    "key_agreement_protocols": ["curve25519-hkdf-sha256", "curve25519"],
    "hashes": ["sha256"],
    "message_authentication_codes": ["hkdf-hmac-sha256", "hmac-sha256"],
    "short_authentication_string": ["decimal", "emoji"],
}

private_keys = st.binary(min_size=32, max_size=32)
ids = st.text(st.characters(codec="utf-8"), max_size=30)


# --- the commitment


def test_the_commitment_is_that_of_the_spec() -> None:
    key = "Q/NmNFEUS1fS+YeEmiZkjjblKTitrKOAk7cPEumcMlg"
    expected = "CCQmB4JCdB0FW21FdAnHj/Hu8+W9+Nb0vgwPEnZZQ4g"
    assert expected == sas.commitment(key, canonical(START).encode())
    assert sas.is_committed(expected, key, canonical(START).encode())


def test_a_commitment_may_be_padded() -> None:
    """It was taken for a wrong one. The spec has every reader of base64 put up with padding."""
    key = sas.public_key(b"a" * 32)
    assert sas.is_committed(sas.commitment(key, b"{}") + "=", key, b"{}")


@pytest.mark.parametrize("field", START)
def test_another_start_or_another_key_is_not_committed_to(field: str) -> None:
    key = sas.public_key(b"a" * 32)
    committed = sas.commitment(key, canonical(START).encode())
    assert not sas.is_committed(committed, key, canonical({**START, field: "other"}).encode())
    assert not sas.is_committed(committed, sas.public_key(b"b" * 32), canonical(START).encode())


@given(st.text())
def test_any_text_can_be_compared_with_a_commitment(text: str) -> None:
    assert not sas.is_committed(text, "key", b"{}")


# --- the secret


@given(private_keys, private_keys)
def test_keys_and_secret_are_those_of_the_rfc(ours: bytes, theirs: bytes) -> None:
    public = formulas.x25519(theirs, formulas.BASE_POINT)
    assert b64(formulas.x25519(ours, formulas.BASE_POINT)) == sas.public_key(ours)
    assert formulas.x25519(ours, public) == sas.shared_secret(ours, Curve25519Key(b64(public)))


# the points of small order, but for those that are the same modulo 2**255 - 19
SMALL_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (formulas.PRIME - 1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@pytest.mark.parametrize("point", SMALL_ORDER, ids=range(len(SMALL_ORDER)))
def test_a_key_that_makes_the_secret_zero_is_refused(point: bytes) -> None:
    assert bytes(32) == formulas.x25519(b"x" * 32, point)
    with pytest.raises(MalformedMessage, match="gives no secret"):
        sas.shared_secret(b"x" * 32, Curve25519Key(b64(point)))


# --- the string


def sides(ours: bytes, theirs: bytes) -> tuple[sas.Side, sas.Side]:
    return (
        sas.Side(user_id=ALICE[0], device_id=ALICE[1], key=sas.public_key(ours)),
        sas.Side(user_id=BOB[0], device_id=BOB[1], key=sas.public_key(theirs)),
    )


@given(private_keys, private_keys, ids)
def test_both_sides_see_the_string_of_the_spec(ours: bytes, theirs: bytes, flow_id: str) -> None:
    starter, accepter = sides(ours, theirs)
    seen = [
        sas.sas_bytes(
            sas.shared_secret(private, Curve25519Key(peer.key)), starter=starter, accepter=accepter, flow_id=flow_id
        )
        for private, peer in ((ours, accepter), (theirs, starter))
    ]
    secret = formulas.x25519(ours, unb64(accepter.key))
    expected = formulas.sas(secret, (*ALICE, starter.key), (*BOB, accepter.key), flow_id)
    assert [expected, expected] == seen


@pytest.mark.parametrize("changed", ["starter", "accepter", "flow_id", "swapped"])
def test_the_string_is_bound_to_both_devices_and_to_the_flow(changed: str) -> None:
    starter, accepter = sides(b"a" * 32, b"b" * 32)
    stranger = sas.Side(user_id="@eve:example.org", device_id="EVE", key=starter.key)
    right = {"starter": starter, "accepter": accepter, "flow_id": FLOW}
    other = {"starter": stranger, "accepter": stranger, "flow_id": "other"}
    wrong = {"starter": accepter, "accepter": starter} if changed == "swapped" else {changed: other[changed]}
    assert sas.sas_bytes(b"s" * 32, **right) != sas.sas_bytes(b"s" * 32, **(right | wrong))  # type: ignore[arg-type]


@given(st.binary(min_size=6, max_size=6))
def test_numbers_and_emoji_are_those_of_the_spec(octets: bytes) -> None:
    assert formulas.decimals(octets) == sas.decimals(octets)
    assert [EMOJI[number] for number in formulas.emoji_numbers(octets)] == list(sas.emoji(octets))


def test_the_least_and_the_greatest_strings() -> None:
    assert (1000, 1000, 1000) == sas.decimals(bytes(6))
    assert (9191, 9191, 9191) == sas.decimals(b"\xff" * 6)
    assert (EMOJI[0],) * 7 == sas.emoji(bytes(6))
    assert (EMOJI[63],) * 7 == sas.emoji(b"\xff" * 6)


def test_there_are_64_emoji_and_no_two_look_or_read_alike() -> None:
    assert 64 == len(EMOJI) == len({emoji.symbol for emoji in EMOJI}) == len({emoji.name for emoji in EMOJI})
    assert ("🐶", "Dog") == EMOJI[0]
    assert ("⌛", "Hourglass") == EMOJI[38]
    assert ("📌", "Pin") == EMOJI[63]


# --- MACs


def context(method: str = sas.MAC_V2, secret: bytes = b"s" * 32) -> sas.MacContext:
    return sas.MacContext(method=method, secret=secret, sender=ALICE, receiver=BOB, flow_id=FLOW)


KEYS = {"ed25519:ALICEDEVICE": "a device's key", "ed25519:master": "a master key", "ed25519:Z": "third"}
METHODS = list(sas.MAC_METHODS)


@given(private_keys, st.dictionaries(ids, ids, max_size=4))
def test_macs_are_those_of_the_spec(secret: bytes, keys: dict[str, str]) -> None:
    made = sas.macs_of(context(secret=secret), keys)
    assert formulas.macs(secret, (*ALICE, *BOB), FLOW, keys) == (made.mac, made.keys)


@pytest.mark.parametrize("method", METHODS)
def test_right_macs_vouch_for_the_keys_that_are_known_here(method: str) -> None:
    made = sas.macs_of(context(method), KEYS)
    known = {key_id: key for key_id, key in KEYS.items() if key_id != "ed25519:Z"}
    assert ("ed25519:ALICEDEVICE", "ed25519:master") == sas.verified_by(context(method), made, known)
    assert () == sas.verified_by(context(method), made, {"ed25519:another": "key"})


WRONG: dict[str, Callable[[sas.Macs], sas.Macs]] = {
    "the list's MAC is wrong": lambda macs: sas.Macs(mac=macs.mac, keys=macs.mac["ed25519:Z"]),
    "the list's MAC is empty": lambda macs: sas.Macs(mac=macs.mac, keys=""),
    "the list's MAC is no ASCII": lambda macs: sas.Macs(mac=macs.mac, keys="\ud800é"),
    "a key is left out": lambda macs: sas.Macs(mac={"ed25519:master": macs.mac["ed25519:master"]}, keys=macs.keys),
    "a key is added": lambda macs: sas.Macs(mac={**macs.mac, "ed25519:new": macs.keys}, keys=macs.keys),
    "two MACs are exchanged": lambda macs: sas.Macs(
        mac={
            **macs.mac,
            "ed25519:master": macs.mac["ed25519:ALICEDEVICE"],
            "ed25519:ALICEDEVICE": macs.mac["ed25519:master"],
        },
        keys=macs.keys,
    ),
    "one of two is wrong": lambda macs: sas.Macs(mac={**macs.mac, "ed25519:master": macs.keys}, keys=macs.keys),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_macs_vouch_for_nothing(wrong: str, method: str) -> None:
    made = sas.macs_of(context(method), KEYS)
    assert () == sas.verified_by(context(method), WRONG[wrong](made), KEYS)


@pytest.mark.parametrize("changed", ["secret", "sender", "receiver", "flow_id"])
def test_macs_are_bound_to_secret_devices_and_flow(changed: str) -> None:
    other = {"secret": b"t" * 32, "sender": BOB, "receiver": ALICE, "flow_id": "other"}
    right = {"method": sas.MAC_V2, "secret": b"s" * 32, "sender": ALICE, "receiver": BOB, "flow_id": FLOW}
    made = sas.macs_of(sas.MacContext(**right), KEYS)  # type: ignore[arg-type]
    assert () == sas.verified_by(sas.MacContext(**(right | {changed: other[changed]})), made, KEYS)  # type: ignore[arg-type]


def test_a_mac_may_be_padded() -> None:
    made = sas.macs_of(context(), KEYS)
    padded = sas.Macs(mac={key_id: mac + "=" for key_id, mac in made.mac.items()}, keys=made.keys + "=")
    assert tuple(sorted(KEYS)) == sas.verified_by(context(), padded, KEYS)


def test_every_mac_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sas.macs_of(context(), KEYS)
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spy(ours: bytes, theirs: bytes) -> bool:
        compared.append((ours, theirs))
        return real(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    wrong_first = sas.Macs(mac={**made.mac, "ed25519:ALICEDEVICE": "wrong"}, keys=made.keys)
    assert () == sas.verified_by(context(), wrong_first, KEYS)
    # the list and all three keys, although the first key was wrong
    assert 4 == len(compared)
    assert not sas.is_committed("other", "key", b"{}")
    assert 5 == len(compared)


# --- as others do it


def test_libolms_own_mac_is_read() -> None:
    # libolm's test of its C code: its MAC of "Hello world!" with the info "MAC", as it has encoded it
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    secret = sas.shared_secret(private, Curve25519Key("3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08"))
    mac = hmac.digest(formulas.hkdf(secret, b"MAC", 32), b"Hello world!", "sha256")
    assert "2nSMTXM+TStTU3RUVTNSVVZUTlNWVlpVVGxOV1ZscFY" == sas.libolm_base64(mac)


def test_48_bits_of_libolms_mac_count() -> None:
    written = sas.libolm_base64(bytes(32))
    counted = [place for place in range(32) if written != sas.libolm_base64(bytes(place) + b"\xff" + bytes(31 - place))]
    assert [0, 1, 2, 4, 5, 8] == counted


@given(private_keys, ids, ids)
def test_vodozemac_makes_the_same_string_and_the_same_macs(private: bytes, key_id: str, key: str) -> None:
    theirs = vodozemac.Sas()
    their_key = Curve25519Key(theirs.public_key.to_base64())
    established = theirs.diffie_hellman(vodozemac.Curve25519PublicKey.from_base64(sas.public_key(private)))
    secret = sas.shared_secret(private, their_key)

    starter = sas.Side(user_id=ALICE[0], device_id=ALICE[1], key=sas.public_key(private))
    accepter = sas.Side(user_id=BOB[0], device_id=BOB[1], key=their_key)
    octets = sas.sas_bytes(secret, starter=starter, accepter=accepter, flow_id=FLOW)
    parts = ("MATRIX_KEY_VERIFICATION_SAS", *ALICE, starter.key, *BOB, accepter.key, FLOW)
    shown = established.bytes("|".join(parts))
    assert shown.decimals == sas.decimals(octets)
    assert [EMOJI[number] for number in shown.emoji_indices] == list(sas.emoji(octets))

    info = "MATRIX_KEY_VERIFICATION_MAC" + "".join((*ALICE, *BOB, FLOW))
    for method, calculate in (
        (sas.MAC_V2, established.calculate_mac),
        (sas.MAC_LIBOLM, established.calculate_mac_invalid_base64),
    ):
        made = sas.macs_of(context(method, secret), {key_id: key})
        assert calculate(key, info + key_id) == made.mac[key_id]
        assert calculate(key_id, info + "KEY_IDS") == made.keys
