"""``python -m olmstate``: the program where no script is on PATH."""

from __future__ import annotations

from olmstate.cli import main

if __name__ == "__main__":
    main(prog_name="olmstate")
