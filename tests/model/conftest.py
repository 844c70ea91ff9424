"""Where the model's tests get spin from, and what becomes of them where there is none.

Owns: the `spin` fixture.
Rule: a missing tool may pass unnoticed on a developer's machine, never in CI or in a full run.
Why: a reliability table with a harness that quietly did not run is worth less than none.
"""

from __future__ import annotations

import os

import pytest

from tests.model.spin import Spin, SpinError


@pytest.fixture
def spin(pytestconfig: pytest.Config) -> Spin:
    """Give spin and a C compiler; without them fail in CI and under `--full`, and skip elsewhere."""
    try:
        return Spin.find()
    except SpinError as missing:
        if os.environ.get("CI") or pytestconfig.getoption("--full"):
            pytest.fail(f"the model can't be checked: {missing}", pytrace=False)
        pytest.skip(f"the model can't be checked: {missing}")
