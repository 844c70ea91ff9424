"""A child that is forked makes its own keys, though it has inherited the random bytes that its parent had in store."""
# pyright: reportPrivateUsage=false

from __future__ import annotations

import os

import pytest
from vodozemac import Account, GroupSession

import olmstate.actors
from olmstate.actors._wire import inherited_randomness

assert olmstate.actors.__name__ == "olmstate.actors"  # who uses the library has imported it


def test_forked_children_make_other_keys_than_their_parent_and_one_another() -> None:
    # wherever in its buffer of random bytes the generator is when the process forks
    for _ in range(8):
        Account()
        made = [*(_keys_of_child() for _ in range(3)), _keys()]
        assert all(len(set(keys)) == len(made) for keys in zip(*made, strict=True))


def _keys() -> list[str]:
    first, second = Account(), Account()
    return [first.ed25519_key.to_base64(), second.curve25519_key.to_base64(), GroupSession().session_id]


def _keys_of_child() -> list[str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(_keys()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        keys = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return keys.split()


def test_ctrl_c_in_the_hook_leaves_none_of_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python passes over an exception in a hook, and the child would go on with its parent's bytes
    made: list[int] = []

    def make() -> None:
        made.append(len(made))
        if len(made) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(inherited_randomness, "GroupSession", make)
    with pytest.raises(KeyboardInterrupt):
        inherited_randomness._use_up()
    assert inherited_randomness.SESSIONS + 1 == len(made)
