"""A child that is forked makes its own keys, though it has inherited the random bytes that its parent had in store."""

from __future__ import annotations

import os

from vodozemac import Account, GroupSession

import olmstate.actors

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
