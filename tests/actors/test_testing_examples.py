"""Every example in the documentation of `olmstate.actors.testing` runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import olmstate.actors.testing as package

MODULES = [package.__name__, *(f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__))]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_print_what_they_say(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("name", ["ActorsUnderTest", "MemoryDisk", "MemoryStore"])
def test_what_is_made_by_users_has_an_example(name: str) -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(package, name), name)
    assert found.examples
