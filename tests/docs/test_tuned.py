"""The table of tuned numbers says of each what the code says, and names jobs and folders that there are."""

from __future__ import annotations

from docs.extensions.tuned import ROOT, read_tuned

from tests.bench.jobs import CHECKED, SHOWN


def test_each_number_has_its_value_and_what_it_means() -> None:
    found = list(read_tuned())
    assert len(found) >= 30
    assert [] == [tuned.name for tuned in found if not tuned.value or not tuned.text]


def test_what_is_to_be_run_is_a_job_of_the_bench_or_a_folder_of_tests() -> None:
    named = {name for tuned in read_tuned() for name in tuned.run.split(", ")} - {"—"}
    jobs = {*CHECKED, *SHOWN}
    assert {name for name in named if name not in jobs} == {name for name in named if (ROOT / name).is_dir()}
