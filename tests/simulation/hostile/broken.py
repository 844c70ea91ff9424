"""Broken variants of the product: what liars must be found out with, or a judge proves nothing.

Owns: `Variant` and `Broken`.
Rule: the product has no switch for any of this. A function is replaced while a run lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext

import attrs

from tests.simulation.variants import instead


@attrs.frozen(kw_only=True)
class Variant:
    """What is put in the place of parts of the product, to see whether that is found out."""

    name: str
    patches: Callable[[], AbstractContextManager[object]] = nullcontext


PRODUCT = Variant(name="the product")


@attrs.frozen(kw_only=True)
class Broken:
    """A variant, and the rules each of which must find it out."""

    variant: Variant
    found_by: tuple[str, ...]
    seed: int
    """One that finds it out: where the short form looks first."""


def broken_in(modules: Mapping[str, object]) -> Callable[..., Broken]:
    """What makes broken variants, given the names of modules by those of constants."""

    def broken(name: str, *found_by: str, seed: int = 0, **parts: object) -> Broken:
        """A product in which functions are replaced: ``module__function=other``, the module by its constant's name."""

        def patches() -> AbstractContextManager[object]:
            stack = ExitStack()
            for where, part in parts.items():
                module, _, function = where.partition("__")
                stack.enter_context(instead(str(modules[module]), function.replace("__", "."), part)())
            return stack

        return Broken(variant=Variant(name=name, patches=patches), found_by=found_by, seed=seed)

    return broken
