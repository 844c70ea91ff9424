"""Inbound group sessions: room keys, and reading room events."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._to_device.handlers import ON_DECRYPTED, ON_PLAIN, SECRETS, Handler, SecretField
from olmstate.messages import (
    AddRoomKey,
    DecryptRoomEvent,
    DecryptRoomEvents,
    EncryptionInfoOf,
    ExportKeyFile,
    ExportRoomKeys,
    ImportKeyFile,
    ImportRoomKeys,
    RoomKeysReceived,
    RoomKeysWithheld,
)

from .actor import DecryptSome, InboundGroupSessionsActor, MoreClaimsPage, RoomKeysPage
from .operations import (
    GroupChunk,
    ImportChunk,
    add_room_key,
    decrypt_room_events,
    export_key_file,
    export_room_keys,
    group_chunk,
    import_chunk,
    import_key_file,
    import_room_keys,
)
from .receiving import receive_notices, receive_room_keys

CAPABILITY = Capability(
    actor=InboundGroupSessionsActor,
    commands=(AddRoomKey.by(add_room_key), GroupChunk.by(group_chunk), ImportChunk.by(import_chunk)),
    queries=(
        DecryptRoomEvent.answered_by(InboundGroupSessionsActor),
        EncryptionInfoOf.answered_by(InboundGroupSessionsActor),
        DecryptSome.answered_by(InboundGroupSessionsActor),
        MoreClaimsPage.answered_by(InboundGroupSessionsActor),
        RoomKeysPage.answered_by(InboundGroupSessionsActor),
    ),
    additions=(
        ON_DECRYPTED.add(Handler(("m.room_key",), receive_room_keys)),
        ON_PLAIN.add(Handler(("m.room_key.withheld",), receive_notices)),
        SECRETS.add(SecretField("m.room_key", "session_key")),
        SECRETS.add(SecretField("m.forwarded_room_key", "session_key")),
    ),
    procedures=(
        DecryptRoomEvents.by(decrypt_room_events),
        ExportKeyFile.by(export_key_file),
        ExportRoomKeys.by(export_room_keys),
        ImportKeyFile.by(import_key_file),
        ImportRoomKeys.by(import_room_keys),
    ),
    events=(RoomKeysReceived, RoomKeysWithheld),
)
