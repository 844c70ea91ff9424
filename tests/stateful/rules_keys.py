"""Rules about the device's own keys and others' devices."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from olmstate.messages import (
    AddDevices,
    CreateOlmSessions,
    DeviceAddress,
    Devices,
    KeyId,
    MarkKeysPublished,
    OlmStateError,
    PrepareOneTimeKeys,
    UnknownDevice,
    UnpublishedKeys,
    UserId,
)
from tests.operations.peer import claimed, keys_query
from tests.stateful.people import MOST_SESSIONS
from tests.stateful.world import World, choices, hosts


class KeyRules(World):
    """See the module."""

    @rule(at=hosts, other=hosts, taken=st.integers(0, 60), marked=st.booleans(), counted=st.booleans())
    def upload_some(self, *, at: int, other: int, taken: int, marked: bool, counted: bool) -> None:
        """One is handed keys; the server takes some, and its answer reaches any of them, or none."""
        answers = self.ask_all([(each, PrepareOneTimeKeys()) for each in range(self.fleet.size)])
        replies = [(each, reply) for each, reply in enumerate(answers) if isinstance(reply, UnpublishedKeys)]
        assert self.fleet.size == len(replies)
        # whoever was handed keys was the first: after that, all others wait
        for each, reply in sorted(replies, key=lambda found: -len(found[1].one_time_keys)):
            self.handed_out(each, reply)
        keys = self.ask(at, PrepareOneTimeKeys())
        self.handed_out(at, keys)
        handed = UnpublishedKeys(
            one_time_keys={key_id: key for _, reply in replies for key_id, key in reply.one_time_keys.items()}
            | keys.one_time_keys,
            fallback_keys=keys.fallback_keys,
        )
        ids = handed.key_ids[:taken]
        one_time_keys = {key_id: key for key_id, key in handed.one_time_keys.items() if key_id in ids}
        fallback_keys = {key_id: key for key_id, key in handed.fallback_keys.items() if key_id in ids}
        self.server.take({"one_time_keys": one_time_keys, "fallback_keys": fallback_keys})
        if marked:
            self._mark_published(other, ids, len(self.server.one_time_keys) if counted else None)

    def _mark_published(self, at: int, key_ids: tuple[KeyId, ...], count: int | None) -> None:
        counts = None if count is None else {"signed_curve25519": count}
        self.ask(at, MarkKeysPublished(key_ids=key_ids, one_time_key_counts=counts))
        self.keys.marked(key_ids, count, self.fleet.now)

    @rule(at=hosts, other=hosts, phone=st.booleans(), desk=st.booleans(), carol=st.booleans())
    def query_devices(self, *, at: int, other: int, phone: bool, desk: bool, carol: bool) -> None:
        """A /keys/query response names some of bob's devices, and carol's or nothing of her."""
        reported = [person for person, named in zip(self.folks, (phone, desk, carol), strict=True) if named]
        response = keys_query(*(person.peer for person in reported))
        response["device_keys"].setdefault(self.folks[0].peer.user_id, {})
        told = self.folks if carol else self.folks[:2]
        added = {person.peer.address for person in reported if not person.known}
        removed = {person.peer.address for person in told if person.known and person not in reported}

        reply = self.ask(at, AddDevices(response=response))

        assert (added, removed, {}) == (set(reply.added), set(reply.removed), reply.rejected)
        for person in told:
            person.known = person in reported
        self._check_devices(other)

    def _check_devices(self, at: int) -> None:
        for user_id in {person.peer.user_id for person in self.folks}:
            devices = self.ask(at, Devices(user_id=UserId(user_id)))
            known = {person.peer.address for person in self.folks if person.known and person.peer.user_id == user_id}
            assert known == {DeviceAddress(user_id=device.user_id, device_id=device.device_id) for device in devices}

    @rule(at=hosts, other=hosts, who=choices)
    def start_session(self, *, at: int, other: int, who: int) -> None:
        """The device claims a key of somebody's; the next message comes on the new session."""
        person = self.person(who)
        if len(person.sessions) >= MOST_SESSIONS:
            return
        created = self.ask(at, CreateOlmSessions(one_time_keys=claimed([person.peer])))
        if not person.known:
            error: OlmStateError = created.rejected[person.peer.address]
            assert isinstance(error, UnknownDevice)
            return
        assert (person.peer.address,) == created.created
        person.starting = True
        self.send_to([(other, [person])])
