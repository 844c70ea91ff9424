"""Jobs between devices: a sync full of room keys, and a room key for many devices."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    InboundGroupSession,
    PreKeyMessage,
    Session,
    SessionKey,
)

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    CreateOlmSession,
    Curve25519Key,
    DeviceId,
    DeviceIdentity,
    Ed25519Key,
    EncryptToDevice,
    IdentityKeys,
    JsonObject,
    MarkKeysPublished,
    OneTimeKeys,
    ReceiveSync,
    UserId,
)

from ._bare import BareStore
from ._device import DEVICE, ROOM, USER, device
from ._job import Outcome, Result, Setting
from ._measure import Watch, measure, ratio
from ._people import Person, keys_claim, keys_query, people

ROOM_KEYS = 100


# --- a sync -------------------------------------------------------------------------------------------------


async def sync_one_session(setting: Setting) -> Outcome:
    """100 room keys that come on one Olm session."""
    return await _sync(setting, senders=1)


async def sync_new_sessions(setting: Setting) -> Outcome:
    """100 room keys that come on 100 Olm sessions which they start."""
    return await _sync(setting, senders=ROOM_KEYS)


async def _sync(setting: Setting, *, senders: int) -> Outcome:
    new = senders > 1
    known = people(senders)
    bare = _BareReceiver(setting.folder / "bare.sqlite")
    async with device(setting.folder / "store") as supervisor:
        identity = await supervisor.ask(IdentityKeys())
        await supervisor.ask(AddDevices(response=keys_query(known)))
        sessions: dict[tuple[str, str], Session] = {}

        async def ours() -> float:
            if new or not sessions:
                for person, key in zip(known, await _published_keys(supervisor, senders), strict=True):
                    sessions["ours", person.user_id] = person.session_with(identity, key)
            events = _room_key_events(known, sessions, "ours", identity)
            watch = Watch()
            received = await supervisor.ask(ReceiveSync(sync={"next_batch": "s1", "to_device": {"events": events}}))
            seconds = watch.seconds()
            assert len(received.room_keys) == ROOM_KEYS  # noqa: S101 - or nothing was measured
            return seconds

        async def bare_loop() -> float:
            if new or not bare.sessions:
                for person, key in zip(known, bare.published_keys(senders), strict=True):
                    sessions["bare", person.user_id] = person.session_with(bare.identity, key)
            events = _room_key_events(known, sessions, "bare", bare.identity)
            watch = Watch()
            bare.receive(events)
            return watch.seconds()

        sides = {"ReceiveSync": ours, "bare loop, one commit": bare_loop}
        figures = await measure(sides, rounds=setting.rounds, units=1, progress=setting.progress)
    bare.store.close()
    label = f"sync with {ROOM_KEYS} room keys on {'as many new Olm sessions' if new else 'one Olm session'}"
    one, loop = figures.values()
    return Outcome(results=(Result(label=label, value=ratio(one, loop), target=1.5, figures=(one, loop)),))


def _room_key_events(
    known: list[Person], sessions: dict[tuple[str, str], Session], whose: str, to: DeviceIdentity
) -> list[JsonObject]:
    events: list[JsonObject] = []
    for number in range(ROOM_KEYS):
        person = known[number % len(known)]
        payload = person.payload(to, "m.room_key", person.room_key(ROOM))
        message_type, body = sessions[whose, person.user_id].encrypt(payload).to_parts()
        events.append(person.event(to, message_type, base64.b64encode(body).decode().rstrip("=")))
    return events


async def _published_keys(supervisor: Supervisor, count: int) -> list[str]:
    keys: list[str] = []
    while len(keys) < count:
        made = await supervisor.ask(OneTimeKeys())
        await supervisor.ask(MarkKeysPublished(key_ids=made.key_ids, one_time_key_counts={}))
        keys.extend(key["key"] for key in made.one_time_keys.values())
    return keys[:count]


class _BareReceiver:
    """Decrypts and stores room keys with nothing in between; checks no more than vodozemac does."""

    def __init__(self, path: Path) -> None:
        self.store = BareStore(path)
        self.account = Account()
        self.identity = DeviceIdentity(
            user_id=UserId(USER),
            device_id=DeviceId(DEVICE),
            curve25519=Curve25519Key(self.account.curve25519_key.to_base64()),
            ed25519=Ed25519Key(self.account.ed25519_key.to_base64()),
        )
        self.sessions: dict[str, Session] = {}

    def published_keys(self, count: int) -> list[str]:
        """One-time keys that are claimed at once."""
        keys: list[str] = []
        while len(keys) < count:
            self.account.generate_one_time_keys(50)
            keys.extend(key.to_base64() for key in self.account.one_time_keys.values())
            self.account.mark_keys_as_published()
        return keys[:count]

    def receive(self, events: list[JsonObject]) -> None:
        """Decrypt, parse, make the inbound sessions, and store it all in one commit."""
        values: list[tuple[str, str]] = []
        changed: dict[str, Session] = {}
        created = False
        for event in events:
            content = event["content"]
            ciphertext = content["ciphertext"][self.identity.curve25519]
            body = base64.b64decode(ciphertext["body"] + "=" * (-len(ciphertext["body"]) % 4))
            message = AnyOlmMessage.from_parts(ciphertext["type"], body)
            sender_key = content["sender_key"]
            session = self.sessions.get(sender_key)
            pre_key = message.to_pre_key()
            if pre_key is not None and (session is None or not session.session_matches(pre_key)):
                session, plaintext = self._create(sender_key, pre_key)
                created = True
            else:
                assert session is not None  # noqa: S101 - the first message starts one
                plaintext = session.decrypt(message)
            changed[sender_key] = session
            room_key = json.loads(plaintext)["content"]
            inbound = InboundGroupSession(SessionKey(room_key["session_key"]))
            values.append((inbound.session_id, inbound.pickle(self.store.pickle_key)))
        values.extend((key, session.pickle(self.store.pickle_key)) for key, session in changed.items())
        if created:
            values.append(("account", self.account.pickle(self.store.pickle_key)))
        self.store.commit(values)

    def _create(self, sender_key: str, pre_key: PreKeyMessage) -> tuple[Session, bytes]:
        identity_key = Curve25519PublicKey.from_base64(sender_key)
        session, plaintext = self.account.create_inbound_session(identity_key, pre_key)
        self.sessions[sender_key] = session
        return session, plaintext


# --- a room key for many devices ----------------------------------------------------------------------------


async def share_100(setting: Setting) -> Outcome:
    """A room key encrypted to 100 devices."""
    return await _share(setting, 100)


async def share_1000(setting: Setting) -> Outcome:
    """A room key encrypted to 1,000 devices."""
    return await _share(setting, 1000)


async def _share(setting: Setting, devices: int) -> Outcome:
    known = people(devices)
    bare_store = BareStore(setting.folder / "bare.sqlite")
    async with device(setting.folder / "store") as supervisor:
        identity = await supervisor.ask(IdentityKeys())
        await supervisor.ask(AddDevices(response=keys_query(known)))
        await supervisor.ask(CreateOlmSession(one_time_keys=keys_claim(known)))
        addresses = tuple(person.address for person in known)
        own = Person(UserId(USER))
        sessions = {person.user_id: _claimed(own.account, person) for person in known}
        own_keys = own.device_keys()

        async def ours() -> float:
            content = own.room_key(ROOM)
            watch = Watch()
            encrypted = await supervisor.ask(EncryptToDevice(devices=addresses, type="m.room_key", content=content))
            seconds = watch.seconds()
            assert not encrypted.missing  # noqa: S101 - or nothing was measured
            return seconds

        async def bare_loop() -> float:
            content = own.room_key(ROOM)
            watch = Watch()
            values: list[tuple[str, str]] = []
            for person in known:
                payload = json.dumps(
                    {
                        "type": "m.room_key",
                        "content": content,
                        "sender": USER,
                        "keys": {"ed25519": identity.ed25519},
                        "sender_device_keys": own_keys,
                        "recipient": person.user_id,
                        "recipient_keys": {"ed25519": person.user_id},
                    }
                )
                session = sessions[person.user_id]
                _, body = session.encrypt(payload.encode()).to_parts()
                base64.b64encode(body).decode()
                values.append((person.user_id, session.pickle(bare_store.pickle_key)))
            bare_store.commit(values)
            return watch.seconds()

        sides = {"EncryptToDevice": ours, "bare loop, one commit": bare_loop}
        figures = await measure(sides, rounds=setting.rounds, units=1, progress=setting.progress)
    bare_store.close()
    one, loop = figures.values()
    label = f"a room key encrypted to {devices:,} devices"
    return Outcome(results=(Result(label=label, value=ratio(one, loop), target=1.5, figures=(one, loop)),))


def _claimed(account: Account, person: Person) -> Session:
    person.account.generate_one_time_keys(1)
    ((_, key),) = person.account.one_time_keys.items()
    person.account.mark_keys_as_published()
    return account.create_outbound_session(person.account.curve25519_key, key)
