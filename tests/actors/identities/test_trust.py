"""How far an identity is trusted: every state from stored facts, and what changes them."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._identities.trust import OtherFacts, OtherState, OwnFacts, OwnState

A, B = "key A", "key B"


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (OwnFacts(), OwnState.ABSENT),
        (OwnFacts(trusted_master_key=A), OwnState.ABSENT),
        (OwnFacts(master_key=A), OwnState.NEVER_VERIFIED),
        (OwnFacts(master_key=A, trusted_master_key=A), OwnState.VERIFIED),
        (OwnFacts(master_key=B, trusted_master_key=A), OwnState.VIOLATION),
    ],
)
def test_our_own_identity_is_what_the_facts_say(facts: OwnFacts, state: OwnState) -> None:
    assert state is facts.state


OTHERS = """
# published pinned  was_verified | signed: no                 yes
  None      None    no             ABSENT                     ABSENT
  None      A       no             ABSENT                     ABSENT
  None      A       yes            ABSENT                     ABSENT
  A         None    no             PIN_VIOLATION              VERIFIED
  A         A       no             PINNED                     VERIFIED
  A         B       no             PIN_VIOLATION              VERIFIED
  A         None    yes            VERIFICATION_VIOLATION     VERIFIED
  A         A       yes            VERIFICATION_VIOLATION     VERIFIED
  A         B       yes            VERIFICATION_VIOLATION     VERIFIED
"""


@pytest.mark.parametrize("row", [line.split() for line in OTHERS.strip().splitlines()[1:]], ids=" ".join)
def test_another_users_identity_is_what_the_facts_say(row: list[str]) -> None:
    names = {"None": None, "A": A, "B": B}
    facts = OtherFacts(master_key=names[row[0]], pinned_master_key=names[row[1]], was_verified=row[2] == "yes")
    for own, signed in product(OwnState, (False, True)):
        # a signature of ours counts only while our own identity is verified
        expected = OtherState[row[4 if signed and own is OwnState.VERIFIED else 3]]
        assert expected is facts.state(own=own, signed_by_us=signed)


def state_of(facts: OtherFacts, *, signed: bool = False) -> OtherState:
    return facts.state(own=OwnState.VERIFIED, signed_by_us=signed)


def test_the_first_identity_is_pinned_and_another_is_a_violation_until_the_user_agrees() -> None:
    facts = OtherFacts().seen(A)
    assert OtherState.PINNED is state_of(facts)
    facts = facts.seen(B)
    assert OtherState.PIN_VIOLATION is state_of(facts)
    # the first one again: nothing has happened
    assert OtherState.PINNED is state_of(facts.seen(A))
    assert OtherState.PINNED is state_of(facts.pinned())
    assert OtherState.PIN_VIOLATION is state_of(facts.pinned().seen(A))


def test_a_verified_identity_that_changes_is_a_violation_that_pinning_does_not_mend() -> None:
    facts = OtherFacts().seen(A).verified(A)
    assert OtherState.VERIFIED is state_of(facts, signed=True)
    facts = facts.seen(B)
    assert OtherState.VERIFICATION_VIOLATION is state_of(facts)
    assert OtherState.VERIFICATION_VIOLATION is state_of(facts.pinned())
    assert OtherState.PINNED is state_of(facts.withdrawn())
    assert OtherState.VERIFIED is state_of(facts.verified(B), signed=True)


def test_a_verified_identity_whose_signature_a_server_leaves_out_is_a_violation() -> None:
    facts = OtherFacts().seen(A).verified(A)
    assert OtherState.VERIFICATION_VIOLATION is state_of(facts, signed=False)


def test_our_own_identity_that_is_replaced_takes_its_signatures_along() -> None:
    others = OtherFacts().seen(A).verified(A)
    own = OwnFacts().seen(A).verified(A)
    assert OtherState.VERIFIED is others.state(own=own.state, signed_by_us=True)
    own = own.seen(B)
    assert OwnState.VIOLATION is own.state
    assert OtherState.VERIFICATION_VIOLATION is others.state(own=own.state, signed_by_us=True)
    assert OwnState.VERIFIED is own.verified(B).state


words = st.lists(st.sampled_from(["seen A", "seen B", "pinned"]), max_size=8)


@given(words)
def test_nothing_that_a_server_says_makes_an_identity_verified_or_mends_a_violation(said: list[str]) -> None:
    facts = OtherFacts().seen(A).verified(A).seen(B)
    own = OwnFacts().seen(A)
    for word in said:
        key = A if word == "seen A" else B
        facts = facts.pinned() if word == "pinned" else facts.seen(key)
        own = own.seen(key)
        assert OtherState.VERIFICATION_VIOLATION is state_of(facts)
        assert OwnState.NEVER_VERIFIED is own.state


def test_facts_are_a_row() -> None:
    for facts in (OwnFacts().seen(A).verified(A), OtherFacts().seen(A).verified(A)):
        assert facts == msgspec.json.decode(msgspec.json.encode(facts), type=type(facts))
