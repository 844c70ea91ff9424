"""Records a store as the present version writes it, for the tests of all later versions.

    python -m tests.recordings.stores.record

writes ``schema-N.sqlite.gz`` beside this file, the database of a device that has lived a little, and ``schema-N.json``:
what its peers need to go on, and what can be expected of it. Run it before a release with another schema. What a
release has recorded stays as it is.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from vodozemac import GroupSession, InboundGroupSession

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.messages import (
    AddDevices,
    CreateAccount,
    DecryptRoomEvent,
    DeviceId,
    DeviceIdentity,
    DiscardRoomKey,
    EncryptRoomEvent,
    IdentityKeys,
    ImportRoomKeys,
    JsonObject,
    MarkRoomKeyShared,
    PrepareRoomKey,
    ReceiveSync,
    RoomId,
    ShareRoomKey,
    UserId,
)
from olmstate.storage import inspect_store
from tests.operations.device import ALICE, ALICE_DEVICE, KEY, ROOM, Clock, KeyServer, claim, decrypt, meet
from tests.operations.peer import MEGOLM, Peer, exported, keys_query
from tests.peer.requests import messages_of
from tests.recordings.stores.recorded import FOLDER

PICKLE_KEY = bytes(32)
"""Of the peers' pickles."""
LEFT_ROOM = RoomId("!left:example.org")
MOST_SESSIONS = 10
"""With one device; the pre-key messages of one that is dropped for others are remembered apart."""


async def record(folder: Path) -> JsonObject:
    """Live a little in ``folder``; what is to be known of it."""
    options = Options(wall_clock=Clock())
    async with open_supervisor(folder, user_id=ALICE, device_id=ALICE_DEVICE, key=KEY, options=options) as alice:
        await alice.ask(CreateAccount())
        return await _live(alice, await alice.ask(IdentityKeys()))


async def _live(alice: Supervisor, me: DeviceIdentity) -> JsonObject:
    server = KeyServer()
    bob, carol = Peer(), Peer(UserId("@carol:example.org"), DeviceId("CAROLDEV"))
    gone = Peer(UserId("@gone:example.org"), DeviceId("GONEDEV"))
    await alice.ask(AddDevices(response=keys_query(bob, carol, gone)))
    await alice.ask(AddDevices(response={"device_keys": {gone.user_id: {}}}))
    dropped = await _meet_often(alice, me, bob, server)
    await claim(alice, carol)

    group, withheld, imported = GroupSession(), GroupSession(), GroupSession()
    room_key = bob.event(me, "m.room_key", bob.room_key(ROOM, group))
    notice = {"algorithm": MEGOLM, "room_id": ROOM, "session_id": withheld.session_id, "code": "m.unverified"}
    sync = {
        "next_batch": "the token",
        "to_device": {
            "events": [
                room_key,
                {
                    "type": "m.room_key.withheld",
                    "sender": bob.user_id,
                    "content": {**notice, "sender_key": bob.curve25519},
                },
            ]
        },
        "device_one_time_keys_count": server.counts,
        "device_unused_fallback_key_types": ["signed_curve25519"],
    }
    await alice.ask(ReceiveSync(sync=sync))
    read = bob.room_event(ROOM, group, event_id="$read")
    await alice.ask(DecryptRoomEvent(room_id=ROOM, event=read))
    key = exported(carol, ROOM, InboundGroupSession(imported.session_key))
    await alice.ask(ImportRoomKeys(keys=(key,)))

    await alice.ask(PrepareRoomKey(room_id=LEFT_ROOM))
    await alice.ask(DiscardRoomKey(room_id=LEFT_ROOM))
    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=(bob.address, carol.address)))
    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=share.session_id, devices=(bob.address,)))
    (request,) = share.requests
    messages = messages_of(request)
    bob.read(messages[bob.user_id][bob.device_id])
    shared = carol.read(messages[carol.user_id][carol.device_id])
    sent = await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "$sent"}))
    return {
        "identity": {"curve25519": me.curve25519, "ed25519": me.ed25519},
        "bob": _pickled(bob),
        "carol": _pickled(carol),
        "one_time_key": server.claim_key(),
        "replayed": [dropped, room_key],
        "session_key": shared["content"]["session_key"],
        "message_index": sent.message_index,
        "read": read,
        "unread": [
            bob.room_event(ROOM, group, event_id="$unread"),
            carol.room_event(ROOM, imported, event_id="$imported"),
            {"event_id": "$sent", "sender": ALICE, "content": sent.content},
        ],
        "withheld": bob.room_event(ROOM, withheld, event_id="$withheld"),
    }


async def _meet_often(alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer) -> JsonObject:
    """Have so many sessions with a device that the first are dropped; a pre-key message on one of those."""
    await meet(alice, bob, server)
    dropped = bob.event(me, session=bob.start_session(me, server.claim_key()))
    await decrypt(alice, dropped)
    for _ in range(MOST_SESSIONS):
        bob.start_session(me, server.claim_key())
        await decrypt(alice, bob.event(me))
    return dropped


def _pickled(peer: Peer) -> JsonObject:
    return {
        "user_id": peer.user_id,
        "device_id": peer.device_id,
        "account": peer.account.pickle(PICKLE_KEY),
        "session": peer.sessions[-1].pickle(PICKLE_KEY),
    }


def main() -> None:
    """Record a store of the present schema."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "store"
        facts = trio.run(record, folder)
        inspection = inspect_store(folder)
        facts["rows"] = {table.value: rows for table, rows in inspection.rows.items()}
        target = FOLDER / f"schema-{inspection.info.schema}"
        target.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        target.with_suffix(".sqlite.gz").write_bytes(gzip.compress((folder / "olmstate.sqlite").read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
