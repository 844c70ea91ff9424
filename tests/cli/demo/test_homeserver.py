"""What the demo's homeserver sees: a ratchet step that leaves twice, a key id with two keys, what nobody can read."""

from __future__ import annotations

from typing import Any

from vodozemac import GroupSession

from olmstate.cli.demo._homeserver import Homeserver
from olmstate.cli.demo._key_server import KeyServer
from olmstate.cli.demo._report import Problem, Report
from tests.cli.demo.test_reader import ROOM, Shared, room_event, room_key


def report() -> Report:
    return Report(processes=2, messages=1, kills_wanted=0, seed=1, unsafe=False, recorded_expected=0, recorded_syncs=0)


class Sent:
    """A homeserver, and a shared device that sends to the reader behind it."""

    def __init__(self) -> None:
        self.report = report()
        self.shared = Shared()
        self.homeserver = Homeserver(self.shared.device, 1, self.report)
        self.shared.reader = self.homeserver.reader

    def to_reader(self, content: dict[str, Any]) -> dict[str, Any]:
        device = self.shared.reader.device
        return {device.user_id: {device.device_id: content}}


def test_messages_on_steps_of_their_own_are_no_problem() -> None:
    sent, group = Sent(), GroupSession()
    session = sent.shared.session()

    for _ in range(2):
        assert sent.homeserver.put_to_device(messages=sent.to_reader(sent.shared.to_device(session, room_key(group))))
    for number in range(3):
        payload = sent.homeserver.put_room_event(ROOM, room_event(group, f"text {number}"))
        assert payload is not None
        assert payload["content"] == {"body": f"text {number}"}

    assert not sent.report.problems
    assert (sent.report.sent, sent.report.to_device_sent) == (3, 2)


def test_two_messages_on_one_megolm_index_are_seen() -> None:
    sent, group = Sent(), GroupSession()
    sent.homeserver.put_to_device(
        messages=sent.to_reader(sent.shared.to_device(sent.shared.session(), room_key(group)))
    )
    copy = GroupSession.from_pickle(group.pickle(bytes(32)), bytes(32))

    sent.homeserver.put_room_event(ROOM, room_event(group, "one text"))
    sent.homeserver.put_room_event(ROOM, room_event(copy, "another"))

    assert {Problem.REUSED_INDICES: 1} == sent.report.problems


def test_two_messages_on_one_olm_counter_are_seen_and_the_second_can_not_be_read() -> None:
    sent, group = Sent(), GroupSession()
    session = sent.shared.session()
    copy = type(session).from_pickle(session.pickle(bytes(32)), bytes(32))

    sent.homeserver.put_to_device(messages=sent.to_reader(sent.shared.to_device(session, room_key(group))))
    sent.homeserver.put_to_device(messages=sent.to_reader(sent.shared.to_device(copy, room_key(GroupSession()))))

    assert {Problem.REUSED_OLM_COUNTERS: 1, Problem.UNDECRYPTABLE: 1} == sent.report.problems


def test_a_message_without_its_room_key_is_undecryptable() -> None:
    sent = Sent()

    assert sent.homeserver.put_room_event(ROOM, room_event(GroupSession(), "text")) is None
    assert {Problem.UNDECRYPTABLE: 1} == sent.report.problems


def test_a_key_id_that_comes_with_two_keys_is_seen() -> None:
    sent = Sent()
    keys = sent.homeserver.put_keys

    keys(one_time_keys={"signed_curve25519:A": {"key": "one"}}, fallback_keys={})
    keys(one_time_keys={"signed_curve25519:A": {"key": "one"}}, fallback_keys={})
    assert not sent.report.problems
    keys(one_time_keys={"signed_curve25519:A": {"key": "two"}}, fallback_keys={})
    assert {Problem.COLLIDING_KEY_IDS: 1} == sent.report.problems


def test_a_one_time_key_is_given_once_however_often_it_is_uploaded() -> None:
    server = KeyServer()
    upload = {"signed_curve25519:A": {"key": "one"}, "signed_curve25519:B": {"key": "two"}}

    assert server.upload(upload) == {"signed_curve25519": 2}
    claimed = [server.claim()]
    assert server.upload(upload) == {"signed_curve25519": 1}
    claimed += [server.claim(), server.claim()]

    assert [{"key": "one"}, {"key": "two"}, None] == claimed


def test_a_fallback_key_is_kept_and_never_given() -> None:
    server = KeyServer()

    assert server.upload({"signed_curve25519:F": {"key": "one", "fallback": True}}) == {"signed_curve25519": 0}
    assert server.claim() is None
    server.upload({"signed_curve25519:F": {"key": "two", "fallback": True}})
    assert server.collisions == ["signed_curve25519:F"]


def test_a_key_that_was_published_before_the_demo_keeps_its_id() -> None:
    server = KeyServer()
    server.know({"signed_curve25519:A": {"key": "one"}})

    server.upload({"signed_curve25519:A": {"key": "two"}})

    assert server.collisions == ["signed_curve25519:A"]
    assert server.claim() is None
