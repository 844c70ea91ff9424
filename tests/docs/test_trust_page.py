"""The tables of docs/trust.md are those of the code, and its example says what they say."""

from __future__ import annotations

import enum

import pytest

from olmstate.messages import (
    Curve25519Key,
    DeviceTrust,
    Ed25519Key,
    EncryptionInfo,
    IdentityState,
    RequiredTrust,
    SenderState,
    SharingStrategy,
    ShieldCode,
)
from tests.docs.pages import DOCS, example

TABLES: dict[str, type[enum.Enum]] = {
    "code": ShieldCode,
    "sender state": SenderState,
    "required trust": RequiredTrust,
    "identity state": IdentityState,
    "device trust": DeviceTrust,
    "sharing strategy": SharingStrategy,
}


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has a heading."""
    lines = (DOCS / "trust.md").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows: list[list[str]] = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("heading", TABLES)
def test_each_value_has_a_row_in_the_order_of_the_code(heading: str) -> None:
    assert [f"`{value.name}`" for value in TABLES[heading]] == [row[0] for row in table(heading)]


def info(state: SenderState) -> EncryptionInfo:
    return EncryptionInfo(
        sender_state=state,
        sender_device=None,
        claimed_sender=None,
        claimed_device=None,
        claimed_curve25519=Curve25519Key("a key"),
        claimed_ed25519=Ed25519Key("a key"),
        imported=False,
    )


def test_the_colours_are_those_of_the_shields() -> None:
    for name, _, strict, lax in table("sender state"):
        shown = info(SenderState[name.strip("`")])
        assert (shown.strict_shield.color, shown.lax_shield.color) == (strict, lax), name


def test_a_warning_is_shown_where_a_shield_is_not_none_and_every_code_has_words() -> None:
    shield = example("shield")
    assert set(ShieldCode) == set(shield.WORDS)
    for state in SenderState:
        for strict in (False, True):
            shown = info(state)
            expected = shown.strict_shield if strict else shown.lax_shield
            said = shield.beside(shown, verifies_everybody=strict)
            assert (f"{expected.color.value}: {shield.WORDS[expected.code]}" if expected.code else "") == said
    strict = shield.beside(info(SenderState.CROSS_SIGNED), verifies_everybody=True)
    assert "red: You haven't verified its sender." == strict
