"""The checker accepts what is right, and each of its rules rejects a history that breaks it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest
from vodozemac import GroupSession

from tests.faults.checker import RULES, check, name_of
from tests.faults.history import Entry, FileSink, Json, Kind, Log, digest, in_order, open_log, read_history

A, B, C, WORLD = "1-a", "2-b", "3-c", "0-world"
ACCOUNT, SYNC, OLM = "account", "sync", "olm_sessions"
INBOUND, OUTBOUND, DEVICES = "inbound_group_sessions", "outbound_group_sessions", "devices"

Row = list[Json]


def row(table: str, value: str | None, more: Json = None, *, key: str = "") -> Row:
    """A row; its partition is its key."""
    name = key or f"{table} key"
    return [table, name, name, value, more]


ACCOUNT_ROW = row(ACCOUNT, "account", {"keys": {"signed_curve25519:AAAAAQ": "one-time key"}})


def outbound(session: str, following: int) -> Row:
    """A room's outbound session."""
    return row(OUTBOUND, session, {"next": following})


@attrs.define
class Forge:
    """Makes a history up."""

    entries: list[Entry] = attrs.field(factory=list[Entry])
    asks: Callable[[], int] = attrs.field(factory=lambda: itertools.count(1).__next__)

    def write(self, process: str, kind: Kind, **data: Json) -> Entry:
        """One entry."""
        entry = Entry(10 * (len(self.entries) + 1), process, kind, data)
        self.entries.append(entry)
        return entry

    def asked(self, process: str = A, message: str = "Something") -> int:
        """Somebody asks; the ask's number."""
        ask = self.asks()
        self.write(process, "asked", ask=ask, message=message)
        return ask

    def commit(self, process: str, seen: int, *rows: Row) -> None:
        """A turn that writes."""
        self.write(process, "locked")
        self.write(process, "seen", generation=seen)
        self.write(process, "committing", seen=seen, rows=list(rows))
        self.write(process, "committed", generation=seen + 1)
        self.write(process, "unlocked")

    def answer(self, ask: int, table: str, values: Sequence[str], process: str = A) -> None:
        """What a reply says of a table's one row."""
        self.write(process, "answer", ask=ask, table=table, partition=f"{table} key", values=list(values))

    def reply(self, ask: int, generation: int, process: str = A) -> None:
        """A reply."""
        self.write(process, "replied", ask=ask, generation=generation)

    def say(self, ask: int, group: GroupSession, *, process: str = A, **changes: Json) -> None:
        """A message in a room."""
        index = group.message_index
        data = {
            "session": group.session_id,
            "index": index,
            "ciphertext": group.encrypt(json.dumps({"content": "hello"}).encode()).to_base64(),
            "digest": digest("hello"),
            **changes,
        }
        self.write(process, "sent", ask=ask, protocol="megolm", **data)

    def give_key(self, group: GroupSession, reader: str = "BOB") -> None:
        """A reader gets the key from the present index on."""
        key = group.session_key.to_base64()
        self.write(
            WORLD, "room_key", session=group.session_id, index=group.message_index, session_key=key, reader=reader
        )

    def send_to_device(self, ask: int, counter: int, *, process: str = A, read: bool = True) -> None:
        """A message to a device, which reads it."""
        name = f"{ask} {counter}"
        self.write(
            process, "sent", ask=ask, protocol="olm", ratchet_key="ratchet", counter=counter, hash=name, digest="said"
        )
        if read:
            self.write(WORLD, "read", hash=name, digest="said")


def good() -> Forge:
    """A bit of everything, by two processes."""
    forge, group = Forge(), GroupSession()
    ask = forge.asked(message="CreateAccount")
    forge.commit(A, 0, ACCOUNT_ROW)
    forge.write(A, "identity", ask=ask, curve25519="me", ed25519="my fingerprint")
    forge.write(A, "uploaded", ask=ask, key_id="signed_curve25519:AAAAAQ", key="one-time key", fallback=False)
    forge.reply(ask, 1)
    forge.write(WORLD, "batch", token="s1", room_keys=["theirs"])
    ask = forge.asked(B, "ReceiveSync")
    forge.commit(B, 1, row(SYNC, "s1"), row(INBOUND, "theirs", key="theirs"), row(OLM, "", key="olm"), ACCOUNT_ROW)
    forge.write(B, "decrypted", ask=ask, protocol="olm", hash="from bob")
    forge.write(B, "one_time_key", ask=ask, key="one-time key", session="session with bob")
    forge.write(B, "announced", sessions=["theirs"])
    forge.reply(ask, 2, B)
    ask = forge.asked(message="SyncToken")
    forge.write(A, "seen", generation=2)
    forge.answer(ask, SYNC, ["s1"])
    forge.reply(ask, 2)
    ask = forge.asked(B, "PrepareRoomKey")
    forge.commit(B, 2, outbound(group.session_id, 0), row(INBOUND, group.session_id, key="ours"))
    forge.give_key(group)
    forge.reply(ask, 3, B)
    ask = forge.asked(message="EncryptRoomEvent")
    forge.commit(A, 3, outbound(group.session_id, 8))
    forge.answer(ask, OUTBOUND, [group.session_id])
    forge.say(ask, group)
    forge.reply(ask, 4)
    ask = forge.asked(message="EncryptRoomEvent")
    forge.say(ask, group)
    forge.reply(ask, 4)
    ask = forge.asked(message="EncryptToDevice")
    forge.commit(A, 4, row(OLM, "", key="olm"))
    forge.send_to_device(ask, 0)
    forge.reply(ask, 5)
    forge.write(WORLD, "calm")
    ask = forge.asked(B, "DecryptRoomEvent")
    forge.write(B, "seen", generation=5)
    forge.write(B, "decrypted", ask=ask, protocol="megolm", session=group.session_id, index=0, event="$one")
    forge.reply(ask, 5, B)
    rows = [ACCOUNT_ROW, row(SYNC, "s1"), row(INBOUND, "theirs", key="theirs"), outbound(group.session_id, 8)]
    rows += [row(INBOUND, group.session_id, key="ours"), row(OLM, "", key="olm")]
    forge.write(WORLD, "stored", generation=5, rows=rows)
    return forge


def test_a_good_history_is_accepted() -> None:
    assert [] == check(good().entries)


# --- what each rule rejects ---------------------------------------------------------------------------------


def locked_by_two() -> Forge:
    forge = good()
    forge.write(A, "locked")
    forge.write(B, "locked")
    forge.write(A, "unlocked")
    forge.write(B, "unlocked")
    return forge


def killed_with_the_lock_but_writing_on() -> Forge:
    forge = good()
    forge.write(A, "locked")
    forge.write(B, "locked")
    forge.write(A, "seen", generation=5)
    return forge


def committed_without_the_lock() -> Forge:
    forge = good()
    forge.write(A, "committing", seen=5, rows=[])
    forge.write(A, "committed", generation=6)
    return forge


def committed_after_letting_go() -> Forge:
    forge = good()
    forge.write(A, "locked")
    forge.write(A, "committing", seen=5, rows=[])
    forge.write(A, "unlocked")
    forge.write(A, "committed", generation=6)
    return forge


def a_generation_twice() -> Forge:
    forge = good()
    forge.commit(A, 5)
    forge.commit(B, 5)
    return forge


def a_generation_skipped() -> Forge:
    forge = good()
    forge.commit(A, 6)
    return forge


def a_generation_out_of_nothing() -> Forge:
    forge = good()
    forge.write(A, "seen", generation=6)
    return forge


def refused_and_written_all_the_same() -> Forge:
    forge = good()
    forge.write(A, "locked")
    forge.write(A, "committing", seen=5, rows=[])
    forge.write(A, "refused", error="StoreFull")
    forge.write(A, "unlocked")
    forge.write(B, "seen", generation=6)
    return forge


def derived_from_an_old_generation() -> Forge:
    forge = good()
    forge.write(A, "locked")
    forge.write(A, "committing", seen=4, rows=[])
    forge.write(A, "committed", generation=6)
    forge.write(A, "unlocked")
    return forge


def an_older_store() -> Forge:
    forge = good()
    forge.write(A, "seen", generation=4)
    return forge


def a_reply_that_missed_a_commit() -> Forge:
    forge = good()
    forge.commit(B, 5)
    forge.reply(forge.asked(), 5)
    return forge


def a_stale_answer() -> Forge:
    forge = good()
    forge.commit(B, 5, row(SYNC, "s2"))
    ask = forge.asked()
    forge.answer(ask, SYNC, ["s1"])
    forge.reply(ask, 6)
    return forge


def a_stale_answer_after_a_deletion() -> Forge:
    forge = good()
    forge.commit(B, 5, row(INBOUND, None, key="theirs"))
    ask = forge.asked()
    forge.write(A, "answer", ask=ask, table=INBOUND, partition="theirs", values=["theirs"])
    forge.reply(ask, 6)
    return forge


def recovered_without_the_last_commit() -> Forge:
    forge = good()
    forge.commit(A, 5, row(SYNC, "s2"))
    forge.write(WORLD, "stored", generation=6, rows=good().entries[-1].data["rows"])
    return forge


def an_index_twice() -> Forge:
    forge, group = spoken()
    again = GroupSession.from_pickle(group.pickle(bytes(32)), bytes(32))
    forge.say(forge.asked(), group)
    forge.say(forge.asked(B), again, process=B)
    return forge


def a_counter_twice() -> Forge:
    forge = good()
    for process in (A, B):
        ask = forge.asked(process)
        forge.commit(process, 5 + (process == B), row(OLM, "", key="olm"))
        forge.send_to_device(ask, 7, process=process)
    return forge


def spoken(following: int = 8) -> tuple[Forge, GroupSession]:
    """A room in which indices are reserved."""
    forge, group = good(), GroupSession()
    forge.give_key(group)
    forge.commit(A, 5, outbound(group.session_id, following))
    return forge, group


def an_index_that_was_not_reserved() -> Forge:
    forge, group = spoken(1)
    for _ in range(2):
        forge.say(forge.asked(), group)
    return forge


def an_index_that_was_reserved_too_late() -> Forge:
    forge, group = spoken(0)
    forge.say(forge.asked(), group)
    forge.commit(A, 6, outbound(group.session_id, 8))
    return forge


def a_next_index_that_was_used() -> Forge:
    forge, group = spoken()
    for _ in range(3):
        forge.say(forge.asked(), group)
    forge.commit(B, 6, outbound(group.session_id, 2))
    return forge


def a_next_index_that_was_used_after_a_recovery() -> Forge:
    forge, group = spoken()
    forge.say(forge.asked(), group)
    rows = [*good().entries[-1].data["rows"], outbound(group.session_id, 0)]
    forge.write(WORLD, "stored", generation=6, rows=rows)
    return forge


def a_room_message_that_nobody_can_read() -> Forge:
    forge, group = good(), GroupSession()
    forge.commit(A, 5, outbound(group.session_id, 8))
    forge.say(forge.asked(), group)
    return forge


def a_room_message_that_is_damaged() -> Forge:
    forge, group = spoken()
    other = GroupSession()
    forge.say(forge.asked(), group, ciphertext=other.encrypt(b"{}").to_base64())
    return forge


def a_room_message_that_says_something_else() -> Forge:
    forge, group = spoken()
    forge.say(forge.asked(), group, digest=digest("bye"))
    return forge


def a_room_message_before_the_key() -> Forge:
    forge, group = good(), GroupSession()
    forge.commit(A, 5, outbound(group.session_id, 8))
    early = GroupSession.from_pickle(group.pickle(bytes(32)), bytes(32))
    group.encrypt(b"")
    forge.give_key(group)
    forge.say(forge.asked(), early)
    return forge


def a_device_that_cannot_read() -> Forge:
    forge = good()
    ask = forge.asked()
    forge.commit(A, 5, row(OLM, "", key="olm"))
    forge.send_to_device(ask, 9, read=False)
    return forge


def a_later_key_that_does_not_read_what_follows() -> Forge:
    forge, group = spoken()
    early = GroupSession.from_pickle(group.pickle(bytes(32)), bytes(32))
    for _ in range(3):
        group.encrypt(b"")
    forge.give_key(group, "CAROL")
    forge.say(forge.asked(), early)
    return forge


def decrypted_twice() -> Forge:
    forge = good()
    ask = forge.asked()
    forge.commit(A, 5, row(OLM, "", key="olm"))
    forge.write(A, "decrypted", ask=ask, protocol="olm", hash="from bob")
    return forge


def two_events_with_one_index() -> Forge:
    forge = good()
    for event in ("$one", "$two"):
        ask = forge.asked(B)
        forge.write(B, "decrypted", ask=ask, protocol="megolm", session="some", index=3, event=event)
    return forge


def a_one_time_key_twice() -> Forge:
    forge = good()
    ask = forge.asked()
    forge.commit(A, 5, row(OLM, "", key="olm"))
    forge.write(A, "one_time_key", ask=ask, key="one-time key", session="session with carol")
    return forge


def another_key_under_the_same_id() -> Forge:
    forge = good()
    forge.commit(A, 5, row(ACCOUNT, "account", {"keys": {"signed_curve25519:AAAAAQ": "another key"}}))
    key_id = "signed_curve25519:AAAAAQ"
    forge.write(A, "uploaded", ask=forge.asked(), key_id=key_id, key="another key", fallback=False)
    return forge


def a_used_key_handed_out_again() -> Forge:
    forge = good()
    key_id = "signed_curve25519:AAAAAQ"
    forge.write(A, "uploaded", ask=forge.asked(), key_id=key_id, key="one-time key", fallback=False)
    return forge


def a_key_handed_out_twice() -> Forge:
    forge = good()
    key_id = "signed_curve25519:AAAAAg"
    forge.commit(A, 5, row(ACCOUNT, "account", {"keys": {key_id: "new key"}}))
    for process in (A, B):
        ask = forge.asked(process)
        forge.write(process, "uploaded", ask=ask, key_id=key_id, key="new key", fallback=False)
        forge.reply(ask, 6, process)
    return forge


def another_identity() -> Forge:
    forge = good()
    forge.write(B, "identity", ask=forge.asked(B), curve25519="another", ed25519="my fingerprint")
    return forge


def sent_before_the_commit() -> Forge:
    forge = good()
    ask = forge.asked()
    forge.send_to_device(ask, 5)
    forge.commit(A, 5, row(OLM, "", key="olm"))
    return forge


def decrypted_before_the_commit() -> Forge:
    forge = good()
    forge.write(A, "decrypted", ask=forge.asked(), protocol="olm", hash="from carol")
    return forge


def a_key_handed_out_before_the_commit() -> Forge:
    forge = good()
    forge.write(A, "uploaded", ask=forge.asked(), key_id="signed_curve25519:AAAAAg", key="new key", fallback=False)
    forge.commit(A, 5, row(ACCOUNT, "account", {"keys": {"signed_curve25519:AAAAAg": "new key"}}))
    return forge


def a_room_key_announced_before_the_commit() -> Forge:
    forge = good()
    forge.write(A, "announced", sessions=["another"])
    return forge


def a_room_key_given_away_before_the_commit() -> Forge:
    forge, group = good(), GroupSession()
    key = group.session_key.to_base64()
    forge.write(A, "room_key", ask=forge.asked(), session=group.session_id, index=0, session_key=key, reader="A")
    return forge


def a_token_before_its_room_keys() -> Forge:
    forge = good()
    forge.write(WORLD, "batch", token="s2", room_keys=["theirs", "another"])
    forge.commit(A, 5, row(SYNC, "s2"))
    forge.commit(A, 6, row(INBOUND, "another", key="another"))
    return forge


def never_answered() -> Forge:
    forge = good()
    forge.asked()
    return forge


def refused_though_nothing_is_wrong() -> Forge:
    forge = good()
    forge.write(A, "failed", ask=forge.asked(), error="StoreBusy", text="")
    return forge


REJECTED: Sequence[tuple[str, Callable[[], Forge]]] = (
    ("one at a time", locked_by_two),
    ("one at a time", killed_with_the_lock_but_writing_on),
    ("commits under the lock", committed_without_the_lock),
    ("commits under the lock", committed_after_letting_go),
    ("one chain", a_generation_twice),
    ("one chain", a_generation_skipped),
    ("one chain", a_generation_out_of_nothing),
    ("one chain", refused_and_written_all_the_same),
    ("one chain", derived_from_an_old_generation),
    ("generations never go back", an_older_store),
    ("no stale reply", a_reply_that_missed_a_commit),
    ("no stale reply", a_stale_answer),
    ("no stale reply", a_stale_answer_after_a_deletion),
    ("what was committed stays", recovered_without_the_last_commit),
    ("one step one message", an_index_twice),
    ("one step one message", a_counter_twice),
    ("stored index is beyond", an_index_that_was_not_reserved),
    ("stored index is beyond", an_index_that_was_reserved_too_late),
    ("stored index is beyond", a_next_index_that_was_used),
    ("stored index is beyond", a_next_index_that_was_used_after_a_recovery),
    ("a reader reads all", a_room_message_that_nobody_can_read),
    ("a reader reads all", a_room_message_that_is_damaged),
    ("a reader reads all", a_room_message_that_says_something_else),
    ("a reader reads all", a_room_message_before_the_key),
    ("a reader reads all", a_device_that_cannot_read),
    ("a key reads what follows", a_later_key_that_does_not_read_what_follows),
    ("decrypted once", decrypted_twice),
    ("decrypted once", two_events_with_one_index),
    ("one session a one time key", a_one_time_key_twice),
    ("one key a key id", another_key_under_the_same_id),
    ("one key a key id", a_used_key_handed_out_again),
    ("a one time key is offered once", a_key_handed_out_twice),
    ("one identity", another_identity),
    ("durable before it leaves", sent_before_the_commit),
    ("durable before it leaves", decrypted_before_the_commit),
    ("durable before it leaves", a_key_handed_out_before_the_commit),
    ("durable before it leaves", a_room_key_announced_before_the_commit),
    ("durable before it leaves", a_room_key_given_away_before_the_commit),
    ("the token is never ahead", a_token_before_its_room_keys),
    ("everybody gets through", never_answered),
    ("everybody gets through", refused_though_nothing_is_wrong),
)


@pytest.mark.parametrize(("rule", "forged"), REJECTED, ids=lambda value: getattr(value, "__name__", None))
def test_a_history_that_breaks_a_rule_is_rejected(rule: str, forged: Callable[[], Forge]) -> None:
    assert rule in {violation.rule for violation in check(forged().entries)}


def test_every_rule_has_something_that_it_rejects() -> None:
    assert {name_of(rule) for rule in RULES} == {rule for rule, _ in REJECTED}


def test_a_violation_shows_what_it_was_found_in() -> None:
    (violation,) = check(an_older_store().entries)
    assert "generations never go back: generation 5 was committed before" in str(violation)
    assert "generation=4" in str(violation)


# --- what must not be held against anybody ------------------------------------------------------------------


def test_a_commit_whose_outcome_nobody_lived_to_tell_may_be_there_or_not() -> None:
    for written in (False, True):
        forge = good()
        forge.write(A, "locked")
        forge.write(A, "committing", seen=5, rows=[row(SYNC, "s2")])
        forge.commit(B, 5 + written)
        ask = forge.asked(B)
        forge.answer(ask, SYNC, ["s2" if written else "s1"], B)
        forge.reply(ask, 6 + written, B)
        assert [] == check(forge.entries), written


def test_who_was_killed_has_not_written_the_generation_that_is_anothers() -> None:
    # what it was about to write was taken for what is stored, and whoever used what he had reserved was accused
    forge, group = spoken()
    forge.write(B, "locked")
    forge.write(B, "committing", seen=5, rows=[outbound(group.session_id, 0)])
    ask = forge.asked()
    forge.say(ask, group)
    forge.reply(ask, 6)
    assert [] == check(forge.entries)


def test_of_two_who_were_killed_at_the_same_commit_it_is_the_one_that_can_have_written_it() -> None:
    # it could have been either, so nothing of it counted as stored, and whoever told of it later was accused
    forge, group = good(), GroupSession()
    forge.write(A, "locked")
    forge.write(A, "committing", seen=5, rows=[row(SYNC, "s2")])
    forge.write(B, "locked")
    forge.write(B, "seen", generation=5)
    rows = [outbound(group.session_id, 0), row(INBOUND, group.session_id, key="new")]
    forge.write(B, "committing", seen=5, rows=rows)
    ask = forge.asked(C, "PrepareRoomKey")
    forge.write(C, "seen", generation=6)
    key = group.session_key.to_base64()
    forge.write(C, "room_key", ask=ask, session=group.session_id, index=0, session_key=key, reader=f"{C} {ask}")
    forge.reply(ask, 6, C)
    assert [] == check(forge.entries)


def test_a_look_need_not_see_what_was_committed_after_it_had_begun() -> None:
    # a process that was slow to write down what it had seen was accused of having seen an old store
    forge = good()
    begun = forge.entries[-1].t + 1
    forge.commit(A, 5, ACCOUNT_ROW)
    forge.write(B, "seen", generation=5, begun=begun)
    assert [] == check(forge.entries)
    forge.write(B, "seen", generation=5, begun=begun + 100)
    assert ["generations never go back"] == [violation.rule for violation in check(forge.entries)]


def test_a_history_without_a_commit_begins_with_what_is_stored() -> None:
    # it was said to begin with an empty store, and that nobody had committed what was there
    forge = Forge()
    forge.write(WORLD, "stored", generation=3, rows=[row(SYNC, "s1")])
    ask = forge.asked(message="SyncToken")
    forge.write(A, "seen", generation=3)
    forge.answer(ask, SYNC, ["s1"])
    forge.reply(ask, 3)
    assert [] == check(forge.entries)


def test_an_answer_may_be_older_than_what_was_committed_after_it_was_asked() -> None:
    forge = good()
    ask = forge.asked()
    forge.commit(B, 5, row(SYNC, "s2"))
    forge.answer(ask, SYNC, ["s1"])
    forge.reply(ask, 5)
    assert [] == check(forge.entries)


def test_a_session_that_is_forgotten_in_the_commit_that_reserves_its_indices_is_used_by_nobody_else() -> None:
    forge, group = spoken(0)
    ask = forge.asked()
    forge.commit(A, 6, row(OUTBOUND, None))
    forge.say(ask, group)
    forge.reply(ask, 7)
    assert [] == check(forge.entries)


def test_a_fallback_key_may_make_several_sessions() -> None:
    forge = good()
    forge.commit(A, 5, row(ACCOUNT, "account", {"keys": {"signed_curve25519:AAAAAg": "fallback key"}}))
    ask = forge.asked()
    forge.write(A, "uploaded", ask=ask, key_id="signed_curve25519:AAAAAg", key="fallback key", fallback=True)
    forge.reply(ask, 6)
    for generation, session in ((6, "with carol"), (7, "with dave")):
        ask = forge.asked()
        forge.commit(A, generation, row(OLM, "", key="olm"))
        forge.write(A, "one_time_key", ask=ask, key="fallback key", session=session)
        forge.reply(ask, generation + 1)
    assert [] == check(forge.entries)


def test_what_a_killed_process_had_asked_needs_no_answer() -> None:
    forge = Forge()
    forge.asked()
    forge.write(WORLD, "calm")
    assert [] == check(forge.entries)


# --- logs ---------------------------------------------------------------------------------------------------


def test_a_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    forge = good()
    sinks: dict[str, FileSink] = {}
    for entry in forge.entries:
        sinks.setdefault(entry.process, FileSink(tmp_path, entry.process)).append(entry)
    assert 3 == len(list(tmp_path.iterdir()))
    assert forge.entries == read_history(tmp_path)


def test_a_line_that_a_kill_has_cut_short_is_left_out(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write("locked")
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"t":1,"pid":')
    assert ["locked"] == [entry.kind for entry in read_history(tmp_path)]


def test_entries_of_one_moment_stay_in_the_order_in_which_their_process_wrote_them() -> None:
    sink = good()
    sink.entries.clear()

    class Keep:
        def append(self, entry: Entry) -> None:
            sink.entries.append(entry)

    log = Log(Keep(), A, clock=lambda: 1)
    for kind in ("locked", "seen", "unlocked"):
        log.write(kind, generation=1)
    assert ["locked", "seen", "unlocked"] == [entry.kind for entry in in_order(sink.entries)]
