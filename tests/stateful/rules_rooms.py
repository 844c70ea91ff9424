"""Rules about sending to rooms."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import rule
from vodozemac import InboundGroupSession, SessionKey

from olmstate.messages import (
    DecryptRoomEvent,
    DeviceAddress,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    JsonObject,
    MarkRequestSent,
    MarkRoomKeyShared,
    MegolmSessionId,
    OlmStateError,
    OutboundRoomKey,
    PrepareRoomKey,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RotateRoomKey,
    RotationPeriod,
    SenderState,
    ShareRoomKey,
)
from tests.operations.device import known_sender
from tests.operations.peer import read_room_event
from tests.peer.requests import Messages, messages_of, reached_by
from tests.stateful.fleet import ALICE, ALICE_DEVICE
from tests.stateful.model import DAY, OutboundSession, RoomKeyState
from tests.stateful.people import Person
from tests.stateful.world import World, choices, hosts, rooms

rotations = st.sampled_from(
    [RotationPeriod(), RotationPeriod(messages=12), RotationPeriod(messages=1), RotationPeriod(milliseconds=DAY)]
)


@attrs.define(eq=False)
class Sent:
    """A room event that the device has sent."""

    room_id: RoomId
    event: JsonObject
    content: JsonObject
    index: int

    @property
    def session_id(self) -> str:
        """Its session."""
        return str(self.event["content"]["session_id"])


class RoomRules(World):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[str, InboundGroupSession] = {}
        """A reader of each of the device's own sessions, from its first index on."""
        self.sent_events: list[Sent] = []
        self.named: list[tuple[RoomId, MegolmSessionId]] = []
        """Rooms and sessions that were handed out, in order."""

    # --- keys -----------------------------------------------------------------------------------------------

    def _handed_out(self, room_key: OutboundRoomKey, rotation: RotationPeriod) -> None:
        self.rooms.handed_out(room_key, self.fleet.now, rotation.messages, rotation.milliseconds)
        self._note(room_key.room_id, room_key.session_id, room_key.session_key)
        assert room_key.message_index == InboundGroupSession(SessionKey(room_key.session_key)).first_known_index

    def _note(self, room_id: RoomId, session_id: MegolmSessionId, session_key: str) -> None:
        self.named.append((room_id, session_id))
        if session_id not in self.readers:
            self.readers[session_id] = InboundGroupSession(SessionKey(session_key))
        self.room_keys.came((room_id, session_id), RoomKeyState(0, imported=False))

    @rule(
        at=hosts,
        room_id=rooms,
        rotation=rotations,
        how=st.sampled_from(["one", "all", "rotate", "discard"]),
        marked=st.booleans(),
    )
    def room_key(self, *, at: int, room_id: RoomId, rotation: RotationPeriod, how: str, marked: bool) -> None:
        """The room's key: the present one while it may be used, the same for all, or a new one."""
        if how == "discard":
            self.ask(at, DiscardRoomKey(room_id=room_id))
            self.rooms.current.pop(room_id, None)
            return
        if how == "all":
            replies = self.ask_all(
                [(each, PrepareRoomKey(room_id=room_id, rotation=rotation)) for each in range(self.fleet.size)]
            )
        elif how == "rotate":
            replies = [self.ask(at, RotateRoomKey(room_id=room_id, rotation=rotation))]
            self.rooms.current.pop(room_id, None)
        else:
            replies = [self.ask(at, PrepareRoomKey(room_id=room_id, rotation=rotation))]
        # Askers are answered in the order of their turns, which isn't that of the list. A process with reserved indices
        # to spare may still use a session that is used up for the others: its turn was before that of the new one.
        present = self.rooms.current.get(room_id)
        room_keys = [reply for reply in replies if isinstance(reply, OutboundRoomKey)]
        assert len(replies) == len(room_keys)
        room_keys.sort(key=lambda reply: present is None or reply.session_id != present.session_id)
        for room_key in room_keys:
            self._handed_out(room_key, rotation)
        if marked:
            self._mark_shared(at + 1, *self.named[-1], [])

    @rule(at=hosts, which=choices, who=st.lists(choices, max_size=2))
    def mark(self, *, at: int, which: int, who: list[int]) -> None:
        """A session that was handed out is marked, which may not be the room's any more."""
        if not self.named:
            return
        self._mark_shared(at, *self.named[-1 - which % min(4, len(self.named))], [self.person(each) for each in who])

    def _mark_shared(self, at: int, room_id: RoomId, session_id: MegolmSessionId, people: list[Person]) -> None:
        devices = tuple(person.peer.address for person in people)
        message = MarkRoomKeyShared(room_id=room_id, session_id=session_id, devices=devices)
        session = self.rooms.current.get(room_id)
        if session is None or session.session_id != session_id:
            self.refused(at, message, RoomKeyReplaced)
            return
        self.ask(at, message)
        session.shared = True
        session.shared_with.update(devices)

    @rule(
        at=hosts, other=hosts, room_id=rooms, rotation=rotations, who=st.sets(choices, max_size=3), marked=st.booleans()
    )
    def share(
        self,
        *,
        at: int,
        other: int,
        room_id: RoomId,
        rotation: RotationPeriod,
        who: set[int],
        marked: bool,
    ) -> None:
        """The room's key goes to those who don't have it; if one has it who should not, there is a new one."""
        people = list(dict.fromkeys(self.person(each) for each in sorted(who)))
        wanted = {person.peer.address for person in people}
        before = self.rooms.usable(room_id, self.fleet.now)

        share = self.ask(
            at,
            ShareRoomKey(room_id=room_id, devices=tuple(person.peer.address for person in people), rotation=rotation),
        )

        if before is not None and (before.shared_with | before.offered) - wanted:
            session = self.rooms.replaced(
                room_id, share.session_id, self.fleet.now, rotation.messages, rotation.milliseconds
            )
        else:
            session = self.rooms.named(
                room_id, share.session_id, self.fleet.now, rotation.messages, rotation.milliseconds
            )
        has_it = session.shared_with.union(*session.under_way.values())
        pending = [person for person in people if person.peer.address not in has_it]
        new = [request for request in share.requests if request.request_id not in session.under_way]
        reached = {DeviceAddress(user_id=user, device_id=device) for user, device in reached_by(new)}
        assert {person.peer.address for person in pending if person.reachable} == reached
        assert {person.peer.address for person in pending if not person.reachable} == set(share.missing)
        self.room_keys.came((room_id, share.session_id), RoomKeyState(0, imported=False))
        self.named.append((room_id, share.session_id))
        session.offered |= reached
        if new:
            (request,) = new
            session.under_way[request.request_id] = reached
            for person in pending:
                if person.reachable:
                    self._received(person, messages_of(request), session)
        own = {request.request_id for request in share.requests}
        assert share.elsewhere == bool(session.under_way.keys() - own)
        if marked:
            for request_id in own:
                self.ask(other, MarkRequestSent(request_id=request_id, response={}))
                session.shared_with |= session.under_way.pop(request_id)
        if not session.under_way and (own or not share.missing):
            session.shared = True

    def _received(self, person: Person, messages: Messages, session: OutboundSession) -> None:
        room_key = person.read(messages[person.peer.user_id][person.peer.device_id])["content"]
        assert session.session_id == room_key["session_id"]
        reader = InboundGroupSession(SessionKey(room_key["session_key"]))
        self.rooms.exported(session, reader.first_known_index)
        self.readers.setdefault(session.session_id, reader)

    # --- messages -------------------------------------------------------------------------------------------

    @rule(at=st.none() | hosts, room_id=rooms, number=st.integers(1, 10))
    def encrypt(self, *, at: int | None, room_id: RoomId, number: int) -> None:
        """Messages by one supervisor, one after another, or by all at once: each has an index of its own."""
        if at is None:
            self._encrypt_everywhere(room_id, 1 + number // 3)
            return
        for _ in range(number):
            message = EncryptRoomEvent(room_id=room_id, type="m.sent", content={"n": len(self.sent_events)})
            self.flush(at)  # it may have a turn, or do without
            try:
                encrypted = self.ask(at, message)
            except RoomKeyNotShared:
                self.rooms.encrypted(room_id, self.fleet.now, None)
            else:
                self._sent(message, encrypted)

    def _encrypt_everywhere(self, room_id: RoomId, number: int) -> None:
        asked: list[tuple[int, EncryptRoomEvent]] = [
            (at, EncryptRoomEvent(room_id=room_id, type="m.sent", content={"n": len(self.sent_events), "at": at}))
            for at in range(self.fleet.size)
            for _ in range(number)
        ]
        refused = 0
        replies: list[EncryptedRoomEvent | OlmStateError] = self.ask_all(asked)
        for (_, message), reply in zip(asked, replies, strict=True):
            if isinstance(reply, EncryptedRoomEvent):
                self._sent(message, reply)
            else:
                assert isinstance(reply, RoomKeyNotShared)
                refused += 1
        if refused:
            self.rooms.encrypted(room_id, self.fleet.now, None)

    def _sent(self, message: EncryptRoomEvent, encrypted: EncryptedRoomEvent) -> None:
        self.rooms.encrypted(message.room_id, self.fleet.now, encrypted)
        payload = {"type": message.type, "content": message.content, "room_id": message.room_id}
        reader = self.readers.get(encrypted.session_id)
        if reader is not None and reader.first_known_index <= encrypted.message_index:
            assert (encrypted.message_index, payload) == read_room_event(reader, encrypted.content)
        event = {"event_id": f"$own{len(self.sent_events)}", "sender": ALICE, "content": encrypted.content}
        self.sent_events.append(Sent(message.room_id, event, message.content, encrypted.message_index))

    @rule(at=hosts, which=choices)
    def read_own(self, *, at: int, which: int) -> None:
        """What any supervisor has sent, all can read."""
        if self.sent_events:
            sent = self.sent_events[which % len(self.sent_events)]
            self.flush(at)
            decrypted = self.ask(at, DecryptRoomEvent(room_id=sent.room_id, event=sent.event))
            assert (sent.content, sent.index) == (decrypted.content, decrypted.message_index)
            assert SenderState.THIS_DEVICE == decrypted.encryption_info.sender_state
            device = known_sender(decrypted)
            assert device is not None
            assert (ALICE, ALICE_DEVICE) == (device.user_id, device.device_id)
            key = (sent.room_id, sent.session_id)
            assert "decrypted" == self.room_keys.outcome(at % self.fleet.size, key, sent.index, sent.event["event_id"])
