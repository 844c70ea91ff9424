"""A test that was cancelled from outside has failed.

Why: pytest-trio takes a `trio.Cancelled` that comes out of a test for the end of it, so whatever lets one escape from
its scope would make every test pass.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator

import pytest
import trio


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Turn a cancellation that leaves a test into a failure."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        test = item.obj

        @functools.wraps(test)
        async def judged(**fixtures: object) -> None:
            try:
                await test(**fixtures)
            except trio.Cancelled:
                pytest.fail("the test was cancelled")

        item.obj = judged
    return (yield)
