"""Jobs between devices: a sync full of room keys, and a room key for many devices; beside bare loops and matrix-nio."""

from __future__ import annotations

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

from olmstate.messages import Curve25519Key, DeviceId, DeviceIdentity, Ed25519Key, JsonObject, UserId
from tests.bench.bare import BareStore
from tests.bench.device import DEVICE, ROOM, USER
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Side, Watch, measure, ratio
from tests.bench.nio import NAME, NioDevice, beside_nio, matrix_nio
from tests.bench.people import Senders, newcomers, olm_message, people, room_key
from tests.bench.work import Place, Work, receiving, sending
from tests.operations.peer import Peer
from tests.peer.encoding import b64

ROOM_KEYS = 100
BARE = "bare loop, one commit"
FASTER_RECEIVING, FASTER_SENDING = 20, 10
"""Times that matrix-nio should take."""


async def sync_one_session(setting: Setting) -> Outcome:
    """100 room keys that come on one Olm session."""
    return await _sync(setting, new_sessions=False)


async def sync_new_sessions(setting: Setting) -> Outcome:
    """100 room keys that come on 100 Olm sessions which they start."""
    return await _sync(setting, new_sessions=True)


async def share_100(setting: Setting) -> Outcome:
    """A room key encrypted to 100 devices."""
    return await _share(setting, setting.scaled(100), rounds=setting.short_rounds)


async def share_1000(setting: Setting) -> Outcome:
    """A room key encrypted to 1,000 devices."""
    # matrix-nio takes seconds for each round
    return await _share(setting, setting.scaled(1000), rounds=(setting.rounds + 1) // 2)


# --- a sync -------------------------------------------------------------------------------------------------


async def _sync(setting: Setting, *, new_sessions: bool) -> Outcome:
    room_keys = setting.scaled(ROOM_KEYS)
    bare = _BareReceiver(setting.folder / "bare.sqlite")
    others: dict[str, Side] = {BARE: _bare_receiving(bare, room_keys, new_sessions=new_sessions)}
    nio = matrix_nio()
    peer = None if nio is None else NioDevice(nio, setting.folder / "nio")
    if peer is not None:
        others[NAME] = _nio_receiving(peer, room_keys, new_sessions=new_sessions)
    work = receiving(room_keys, new_sessions=new_sessions)
    outcome = await _beside(work, others, setting, rounds=setting.short_rounds, faster=FASTER_RECEIVING)
    bare.store.close()
    if peer is not None:
        peer.close()
    return outcome


async def _beside(work: Work, others: dict[str, Side], setting: Setting, *, rounds: int, faster: float) -> Outcome:
    """Measure a piece of work beside a bare loop, and beside matrix-nio if it is there."""
    async with work.begin(Place(folder=setting.folder / "store")) as ours:
        sides: dict[str, Side] = {"olmstate": ours, **others}
        figures = await measure(sides, rounds=rounds, units=1, progress=setting.progress)
    one, loop = figures["olmstate"], figures[BARE]
    return Outcome(
        results=(
            Result(label=work.name, value=ratio(one, loop), target=1.5, figures=(one, loop)),
            beside_nio(work.name, one, figures.get(NAME), faster),
        )
    )


def _bare_receiving(bare: _BareReceiver, room_keys: int, *, new_sessions: bool) -> Side:
    others = newcomers(room_keys, bare.identity)
    one = Senders(people(1), bare.identity)
    one.join([bare.greet(person) for person in one.known])

    async def side() -> float:
        senders = one
        if new_sessions:
            senders = next(others)
            senders.start(bare.published_keys(room_keys))
        events = senders.room_keys(ROOM, room_keys)
        watch = Watch()
        bare.receive(events)
        return watch.seconds()

    return side


def _nio_receiving(peer: NioDevice, room_keys: int, *, new_sessions: bool) -> Side:
    others = newcomers(room_keys, peer.identity)
    one = Senders(people(1), peer.identity)
    peer.know(one.known)
    one.join([peer.greet(person) for person in one.known])

    async def side() -> float:
        senders = one
        if new_sessions:
            senders = next(others)
            peer.know(senders.known)
            senders.start(peer.published_keys(room_keys))
        events = senders.room_keys(ROOM, room_keys)
        had = peer.room_keys()
        watch = Watch()
        peer.receive(events)
        seconds = watch.seconds()
        assert peer.room_keys() - had == room_keys
        return seconds

    return side


class _BareReceiver:
    """Decrypts, stores and keeps room keys with nothing in between; checks no more than vodozemac does."""

    def __init__(self, path: Path) -> None:
        self.store = BareStore(path)
        self.account = Account()
        self.identity = DeviceIdentity(
            user_id=UserId(USER),
            device_id=DeviceId(DEVICE),
            curve25519=Curve25519Key(self.account.curve25519_key.to_base64()),
            ed25519=Ed25519Key(self.account.ed25519_key.to_base64()),
        )
        self._sessions: dict[str, Session] = {}
        self._inbound: dict[str, InboundGroupSession] = {}
        self._syncs = 0

    def greet(self, person: Peer) -> tuple[int, bytes]:
        """Start an Olm session; the type and the body of a message on it."""
        session = self._sessions[person.curve25519] = _claimed(self.account, person)
        return session.encrypt(b"{}").to_parts()

    def published_keys(self, count: int) -> list[str]:
        """One-time keys that are claimed at once."""
        keys: list[str] = []
        while len(keys) < count:
            self.account.generate_one_time_keys(50)
            keys.extend(key.to_base64() for key in self.account.one_time_keys.values())
            self.account.mark_keys_as_published()
        return keys[:count]

    def receive(self, events: list[JsonObject]) -> None:
        """Decrypt, parse, make the inbound sessions, and store it all, with the sync's token, in one commit."""
        values: list[tuple[str, str]] = []
        changed: dict[str, Session] = {}
        created = False
        for event in events:
            content = event["content"]
            message = AnyOlmMessage.from_parts(*olm_message(content, self.identity.curve25519))
            sender_key = content["sender_key"]
            session = self._sessions.get(sender_key)
            pre_key = message.to_pre_key()
            if pre_key is not None and (session is None or not session.session_matches(pre_key)):
                session, plaintext = self._create(sender_key, pre_key)
                created = True
            else:
                assert session is not None
                plaintext = session.decrypt(message)
            changed[sender_key] = session
            room_key = json.loads(plaintext)["content"]
            inbound = InboundGroupSession(SessionKey(room_key["session_key"]))
            self._inbound[inbound.session_id] = inbound
            values.append((inbound.session_id, inbound.pickle(self.store.pickle_key)))
        values.extend((key, session.pickle(self.store.pickle_key)) for key, session in changed.items())
        if created:
            values.append(("account", self.account.pickle(self.store.pickle_key)))
        self._syncs += 1
        values.append(("token", f"s{self._syncs}"))
        self.store.commit(values)

    def _create(self, sender_key: str, pre_key: PreKeyMessage) -> tuple[Session, bytes]:
        identity_key = Curve25519PublicKey.from_base64(sender_key)
        session, plaintext = self.account.create_inbound_session(identity_key, pre_key)
        self._sessions[sender_key] = session
        return session, plaintext


# --- a room key for many devices ----------------------------------------------------------------------------


async def _share(setting: Setting, devices: int, *, rounds: int) -> Outcome:
    bare_store = BareStore(setting.folder / "bare.sqlite")
    others: dict[str, Side] = {BARE: bare_sending(bare_store, people(devices))}
    nio = matrix_nio()
    peer = None if nio is None else NioDevice(nio, setting.folder / "nio")
    if peer is not None:
        known = people(devices)
        peer.know(known)
        others[NAME] = _nio_sending(peer, known)
    outcome = await _beside(sending(devices), others, setting, rounds=rounds, faster=FASTER_SENDING)
    bare_store.close()
    if peer is not None:
        peer.close()
    return outcome


def bare_sending(store: BareStore, known: list[Peer], *, keep: bool = False) -> Side:
    """A loop over devices, with or without the body of its request, sealed, among what it commits."""
    own = Peer(USER, DEVICE)
    own_keys, own_ed25519, own_curve25519 = own.device_keys(), own.ed25519, own.curve25519
    sessions = [(person, person.ed25519, person.curve25519, _claimed(own.account, person)) for person in known]

    async def side() -> float:
        content = room_key(own, ROOM)
        watch = Watch()
        values: list[tuple[str, str | bytes]] = []
        messages: dict[str, JsonObject] = {}
        for person, ed25519, curve25519, session in sessions:
            payload = json.dumps(
                {
                    "type": "m.room_key",
                    "content": content,
                    "sender": USER,
                    "keys": {"ed25519": own_ed25519},
                    "sender_device_keys": own_keys,
                    "recipient": person.user_id,
                    "recipient_keys": {"ed25519": ed25519},
                }
            )
            message_type, body = session.encrypt(payload.encode()).to_parts()
            ciphertext = {"type": message_type, "body": b64(body)}
            messages[person.user_id] = {"sender_key": own_curve25519, "ciphertext": {curve25519: ciphertext}}
            values.append((person.user_id, session.pickle(store.pickle_key)))
        if keep:
            values.append(("request", store.seal("request", json.dumps({"messages": messages}))))
        store.commit(values)
        return watch.seconds()

    return side


def _nio_sending(peer: NioDevice, known: list[Peer]) -> Side:
    users: list[str] = [person.user_id for person in known]

    async def side() -> float:
        peer.new_room_key(ROOM)
        watch = Watch()
        shared = peer.share(ROOM, users)
        seconds = watch.seconds()
        assert shared == len(users)
        return seconds

    return side


def _claimed(account: Account, person: Peer) -> Session:
    (key,) = person.one_time_key().values()
    return account.create_outbound_session(person.account.curve25519_key, Curve25519PublicKey.from_base64(key["key"]))
