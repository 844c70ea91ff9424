"""``python -m tests.bench``, which is what ``make bench`` runs."""

from __future__ import annotations

from tests.bench.bench import bench

bench(prog_name="bench")
