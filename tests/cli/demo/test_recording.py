"""Recordings: read from the package or from a file, and refused if they are none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import click
import pytest

from olmstate.cli.demo._recording import Progress, Recording, RoomEvent, load_recording
from olmstate.messages import Json

LARGE = Path(__file__).parents[2] / "recordings" / "large-2.json.gz"


@pytest.fixture(scope="module")
def small() -> Recording:
    return load_recording(None)


def all_events(recording: Recording) -> list[tuple[int, RoomEvent]]:
    return [(sync, event) for sync in range(len(recording.syncs)) for event in recording.room_events(sync)]


def test_the_small_one_comes_with_the_package(small: Recording) -> None:
    assert (25, 113) == (len(small.syncs), len(small.readable))


def test_any_other_one_can_be_read_from_its_file() -> None:
    large = load_recording(LARGE)

    assert (213, 2797) == (len(large.syncs), len(large.readable))


@pytest.mark.parametrize("path", [None, LARGE])
def test_every_event_is_judged(path: Path | None) -> None:
    recording = load_recording(path)
    to_device = [event for sync in range(len(recording.syncs)) for event in recording.to_device(sync)]
    assert {"decrypted", "plain", "replay", "undecryptable"} == {event.outcome for event in to_device}
    assert len(to_device) == sum(len(sync.get("to_device", {}).get("events", ())) for sync in recording.syncs)

    start, end = Progress(syncs=0, imports=0), Progress(syncs=len(recording.syncs), imports=1000)
    for sync, event in all_events(recording):
        assert not recording.is_readable(event, start)
        assert recording.is_readable(event, end) == recording.may_become_readable(event)
        arrival = Progress(syncs=sync + 1, imports=sum(len(recording.imports(before)) for before in range(sync)))
        if not recording.is_readable(event, arrival):
            assert recording.reason(event) not in ("", "None")


def test_an_event_whose_key_comes_later_is_readable_just_from_then_on(small: Recording) -> None:
    late = [
        (sync, event) for sync, event in all_events(small) if "needs_sync" in small.readable.get(event.event_id, {})
    ]
    assert late
    for _, event in late:
        needed: int = small.readable[event.event_id]["needs_sync"]
        assert not small.is_readable(event, Progress(syncs=needed, imports=0))
        assert small.is_readable(event, Progress(syncs=needed + 1, imports=0))


def test_an_event_whose_key_is_imported_is_readable_just_from_then_on(small: Recording) -> None:
    imported = [event for _, event in all_events(small) if "needs_import" in small.readable.get(event.event_id, {})]
    assert imported
    for event in imported:
        assert not small.is_readable(event, Progress(syncs=25, imports=0))
        assert small.is_readable(event, Progress(syncs=25, imports=1))


def test_a_sender_that_is_no_text_names_nobody() -> None:
    large = load_recording(LARGE)
    events = [event for sync in range(len(large.syncs)) for event in large.to_device(sync)]

    nobodys = [event for event in events if not isinstance(event.event.get("sender"), str)]
    assert any(event.event.get("sender") is not None for event in nobodys)
    assert {None} == {event.sender for event in nobodys}


def test_each_field_that_differs_is_named(small: Recording) -> None:
    _, event = next(each for each in all_events(small) if small.may_become_readable(each[1]))
    known = small.readable[event.event_id]

    assert [] == small.differences(event, known)
    assert ["sender", "content"] == small.differences(event, {**known, "sender": "@mallory", "content": {}})


ALICE: dict[str, Json] = {
    "user_id": "@alice:example.org",
    "device_id": "ALICE",
    "pickle_key": "",
    "account_pickle": "",
    "olm_sessions": [],
}


def changed(**changes: Json) -> bytes:
    raw: dict[str, Json] = {
        "format": 1,
        "alice": ALICE,
        "keys_query": {},
        "syncs": [],
        "imports": [],
        "expected": {},
        "undecryptable": {},
        "to_device_expected": [],
    }
    return gzip.compress(json.dumps({**raw, **changes}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        changed()[:-12],
        gzip.compress(b"no JSON"),
        gzip.compress(b"\xff\xfe\xfd"),
        gzip.compress(b"[]"),
        gzip.compress(b"{}"),
        gzip.compress(b"[" * 100_000),
        changed(format=2),
        changed(syncs=[{"to_device": {"events": [{}]}}]),
        changed(syncs=[7]),
        changed(syncs=None),
        # once, these were found when half of the demo was done, and ended it with a traceback
        gzip.compress(b"7"),
        changed(alice={}),
        changed(alice={**ALICE, "pickle_key": "?"}),
        changed(alice={**ALICE, "olm_sessions": [{}]}),
        changed(keys_query=None),
        changed(syncs=[{}]),
        changed(syncs=[{"next_batch": "a", "rooms": {"join": {"!a": {}}}}]),
        changed(syncs=[{"next_batch": "a", "rooms": {"join": {"!a": {"timeline": {"events": [{"event_id": "$a"}]}}}}}]),
        changed(imports=[{"after_sync": True, "keys": []}]),
        changed(expected={"$a": {"sync": 0}}),
        changed(to_device_expected=[{}]),
    ],
)
def test_what_is_no_recording_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recording.json.gz"
    path.write_bytes(content)

    with pytest.raises(click.ClickException, match="is no recording"):
        load_recording(path)


def test_a_recording_with_nothing_in_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "recording.json.gz"
    path.write_bytes(changed())

    assert [] == load_recording(path).syncs
