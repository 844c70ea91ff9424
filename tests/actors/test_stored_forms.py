"""What is stored, byte for byte: whoever changes a record sees here what it does to the rows that people have.

A record may gain a field with a default: then its example gains it too, and the bytes from before go to `EARLIER`.
Everything else makes old rows unreadable, and wants a migration.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import olmstate.actors
from olmstate.actors._account.stored import AccountRecord, FallbackRecord, SyncRecord, UploadRecord
from olmstate.actors._account_data.stored import AccountDataRecord
from olmstate.actors._device_lists.stored import OutdatedUserRecord, TrackedUserRecord
from olmstate.actors._devices.stored import DeviceRecord
from olmstate.actors._engine.records import Record, dumps, loads
from olmstate.actors._engine.stream import EventRecord, EventsRecord
from olmstate.actors._identities.stored import IdentityRecord
from olmstate.actors._inbox.stored import InboxContentRecord, InboxRecord, InboxStateRecord
from olmstate.actors._key_requests.stored import KeyRequestRecord, WaitingForwardRecord
from olmstate.actors._parked_events.stored import ParkedContentRecord, ParkedEventRecord
from olmstate.actors._requests.stored import BackOffRecord, RequestContentRecord, RequestRecord
from olmstate.actors._room_keys.stored import (
    ClaimedKeysRecord,
    ClaimsRecord,
    CopyRecord,
    MessageIndicesRecord,
    RoomKeyRecord,
    WithheldNameRecord,
    WithheldRecord,
)
from olmstate.actors._room_settings.stored import RoomSettingsRecord
from olmstate.actors._rooms.stored import OutboundSessionRecord, RecipientsRecord, RotationRecord
from olmstate.actors._secret_requests.stored import ReceivedSecretRecord, SecretRequestRecord, WaitingSecretRecord
from olmstate.actors._secrets.stored import SecretRecord
from olmstate.actors._to_device.actor import STEPS_FOR_ANYBODY
from olmstate.actors._to_device.stored import OlmSessionRecord
from olmstate.actors._unwedging.stored import RepairRecord
from olmstate.actors._verification.flow import State
from olmstate.actors._verification.qr import Mode
from olmstate.actors._verification.record import Flow, Party
from olmstate.actors._verification.stored import (
    RoomMessageRecord,
    VerificationRecord,
    VerifiedDeviceRecord,
    WaitingEventRecord,
)
from olmstate.actors._withheld.stored import NoOlmNoticeRecord
from olmstate.messages import (
    Curve25519Key,
    DeviceId,
    DeviceTrust,
    Ed25519Key,
    EventId,
    MegolmSessionId,
    RoomId,
    StoreCorrupt,
    UserId,
)
from olmstate.storage import START, Row, Table, open_store
from olmstate.storage.tables import KEYS_ONLY
from tests.operations.device import KEY
from tests.recordings.stores.recorded import RECORDED, unpack

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")

_REQUEST = RequestRecord(
    request_id="a request",
    kind="keys_query",
    owner="0123456789abcdef",
    subjects=("@bob:example.org",),
    made=1_700_000_000_000,
    number=7,
    failures=1,
    not_before=1_700_000_015_000,
    unreachable=False,
    released=0,
    instead_of=(),
)
_KEY_REQUEST = KeyRequestRecord(
    request_id="a request",
    room_id=RoomId("!room:example.org"),
    session_id=MegolmSessionId("a session"),
    made=1_700_000_000_000,
    number=3,
    devices=[DeviceId("BOB")],
    refused={DeviceId("BOB"): "m.unavailable"},
)
_OFFERED = RecipientsRecord(offered=[(BOB, DeviceId("BOB"), Curve25519Key("a curve"))])

EXAMPLES: list[tuple[Record, bytes]] = [
    (
        AccountRecord(
            pickle="a pickle",
            one_time_keys={"signed_curve25519:AAAAAQ": {"key": "a key", "signatures": {}}},
            fallback_keys={"signed_curve25519:AAAAAg": {"key": "another", "fallback": True}},
            fallback_made=1_700_000_000_000,
            mark="0123abcd",
            upload=UploadRecord(keys={"signed_curve25519:AAAAAw": "a third"}, owner="a handle", begun=9, count=7),
            in_doubt={"signed_curve25519:AAAABA": "a fourth"},
            published=["a fifth", "a sixth"],
            fallback=FallbackRecord(number=3, published=1_700_000_000_002, was_unused=False, in_doubt=True),
        ),
        (
            b'{"pickle":"a pickle",'
            b'"one_time_keys":{"signed_curve25519:AAAAAQ":{"key":"a key","signatures":{}}},'
            b'"fallback_keys":{"signed_curve25519:AAAAAg":{"key":"another","fallback":true}},'
            b'"fallback_made":1700000000000,"mark":"0123abcd",'
            b'"upload":{"keys":{"signed_curve25519:AAAAAw":"a third"},"owner":"a handle","begun":9,"count":7},'
            b'"in_doubt":{"signed_curve25519:AAAABA":"a fourth"},"published":["a fifth","a sixth"],'
            b'"fallback":{"number":3,"published":1700000000002,"was_unused":false,"in_doubt":true}}'
        ),
    ),
    (
        EventsRecord(
            events=(EventRecord(event="RoomKeysReceived", fields={"room_keys": [["!room:example.org", "a session"]]}),),
            commits=9,
            trimmed=7,
        ),
        (
            b'{"events":[{"event":"RoomKeysReceived","fields":{"room_keys":[["!room:example.org","a session"]]}}],'
            b'"commits":9,"trimmed":7}'
        ),
    ),
    (
        SyncRecord(next_batch="s1", one_time_key_count=50, fallback_key_unused=True, highest_count=51, silent_since=1),
        (b'{"next_batch":"s1","one_time_key_count":50,"fallback_key_unused":true,"highest_count":51,"silent_since":1}'),
    ),
    (
        DeviceRecord(
            user_id=BOB,
            device_id=DeviceId("BOB"),
            curve25519=Curve25519Key("a curve"),
            ed25519=Ed25519Key("a fingerprint"),
            algorithms=("m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"),
            gone=True,
            listed=True,
            cross_signed_by=Ed25519Key("a self-signing key"),
            signed_json=b"{}",
            trust=DeviceTrust.BLOCKED,
        ),
        (
            b'{"user_id":"@bob:example.org","device_id":"BOB","curve25519":"a curve","ed25519":"a fingerprint",'
            b'"algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"gone":true,"listed":true,'
            b'"cross_signed_by":"a self-signing key","signed_json":"e30=","trust":"blocked"}'
        ),
    ),
    (
        OlmSessionRecord(
            pickle="a pickle",
            rank=7,
            decrypt_only=True,
            claimed_from=BOB,
            decrypted=b"digests",
            pre_key_messages=b"more digests",
            in_set=False,
            owner=BOB,
            steps_for_anybody=3,
            room_keys={RoomId("!room:example.org"): MegolmSessionId("a session")},
        ),
        (
            b'{"pickle":"a pickle","rank":7,"decrypt_only":true,"claimed_from":"@bob:example.org",'
            b'"decrypted":"ZGlnZXN0cw==","pre_key_messages":"bW9yZSBkaWdlc3Rz","in_set":false,'
            b'"owner":"@bob:example.org","steps_for_anybody":3,"room_keys":{"!room:example.org":"a session"}}'
        ),
    ),
    (
        RoomKeyRecord(
            room_id=RoomId("!room:example.org"),
            copies=[
                CopyRecord(
                    session_key="a session key",
                    sender_key=Curve25519Key("a curve"),
                    sender_ed25519=Ed25519Key("a fingerprint"),
                    imported=True,
                    signed=False,
                    forwarding_chain=("another curve",),
                ),
                CopyRecord(
                    session_key="another session key",
                    sender_key=Curve25519Key("a curve"),
                    sender_ed25519=Ed25519Key("a fingerprint"),
                    sender=BOB,
                    own=True,
                ),
            ],
            more_claims=True,
        ),
        (
            b'{"room_id":"!room:example.org","copies":[{"session_key":"a session key","sender_key":"a curve",'
            b'"sender_ed25519":"a fingerprint","imported":true,"signed":false,"forwarding_chain":["another curve"]},'
            b'{"session_key":"another session key","sender_key":"a curve","sender_ed25519":"a fingerprint",'
            b'"sender":"@bob:example.org","own":true}],"more_claims":true}'
        ),
    ),
    (
        ClaimsRecord(
            room_id=RoomId("!room:example.org"),
            session_id=MegolmSessionId("a session"),
            sender=BOB,
            claims=[
                ClaimedKeysRecord(
                    sender_key=Curve25519Key("a curve"),
                    sender_ed25519=Ed25519Key("a fingerprint"),
                    forwarding_chain=("another",),
                )
            ],
        ),
        (
            b'{"room_id":"!room:example.org","session_id":"a session","sender":"@bob:example.org",'
            b'"claims":[{"sender_key":"a curve","sender_ed25519":"a fingerprint","forwarding_chain":["another"]}]}'
        ),
    ),
    (
        WithheldRecord(code="m.unverified", reason="not yet"),
        b'{"code":"m.unverified","reason":"not yet"}',
    ),
    (
        WithheldNameRecord(
            room_id=RoomId("!room:example.org"), session_id=MegolmSessionId("a session"), sender=BOB, number=7
        ),
        b'{"room_id":"!room:example.org","session_id":"a session","sender":"@bob:example.org","number":7}',
    ),
    (
        MessageIndicesRecord(number=1, events={256: "0123456789abcdef", 511: "uC1mT3mnSPmNW2ezUyRkRw"}),
        b'{"number":1,"events":{"256":"0123456789abcdef","511":"uC1mT3mnSPmNW2ezUyRkRw"}}',
    ),
    (
        OutboundSessionRecord(
            pickle="a pickle",
            session_id=MegolmSessionId("a session"),
            made=1_700_000_000_000,
            rotation=RotationRecord(messages=100, milliseconds=604_800_000),
            shared=True,
            reserved=8,
            epoch=1,
            shared_history=True,
        ),
        (
            b'{"pickle":"a pickle","session_id":"a session","made":1700000000000,'
            b'"rotation":{"messages":100,"milliseconds":604800000},"shared":true,"reserved":8,"epoch":1,"shared_history":true}'
        ),
    ),
    (
        RecipientsRecord(
            offered=[(ALICE, DeviceId("ALICE"), Curve25519Key("a curve"))],
            session_key="a session key",
            withheld=[(BOB, DeviceId("BLOCKED"), "m.blacklisted")],
            devices=[(BOB, DeviceId("BOB"))],
        ),
        (
            b'{"offered":[["@alice:example.org","ALICE","a curve"]],"session_key":"a session key",'
            b'"withheld":[["@bob:example.org","BLOCKED","m.blacklisted"]],"devices":[["@bob:example.org","BOB"]]}'
        ),
    ),
    (
        RoomSettingsRecord(algorithm="m.megolm.v1.aes-sha2", messages=7, milliseconds=8, shared_history=True),
        b'{"algorithm":"m.megolm.v1.aes-sha2","messages":7,"milliseconds":8,"shared_history":true}',
    ),
    (
        NoOlmNoticeRecord(user_id=BOB, device_id=DeviceId("BOB")),
        b'{"user_id":"@bob:example.org","device_id":"BOB"}',
    ),
    (
        RepairRecord(user_id=BOB, device_id=DeviceId("BOB"), wanted=7, begun=8, shared_again=[9, 10]),
        b'{"user_id":"@bob:example.org","device_id":"BOB","wanted":7,"begun":8,"shared_again":[9,10]}',
    ),
    (
        ParkedEventRecord(
            room_id=RoomId("!room:example.org"),
            event_id=EventId("$event"),
            session_id=MegolmSessionId("a session"),
            sender=BOB,
            message_index=3,
            parked=1_700_000_000_000,
            number=7,
            size=500,
            readable=True,
            withheld="m.unverified",
            withheld_reason="not yet",
            first_known_index=2,
        ),
        (
            b'{"room_id":"!room:example.org","event_id":"$event","session_id":"a session","sender":"@bob:example.org",'
            b'"message_index":3,"parked":1700000000000,"number":7,"size":500,"readable":true,'
            b'"withheld":"m.unverified","withheld_reason":"not yet","first_known_index":2}'
        ),
    ),
    (
        replace(_KEY_REQUEST, sender=ALICE, message_index=5, answered=True),
        (
            b'{"request_id":"a request","room_id":"!room:example.org","session_id":"a session","made":1700000000000,'
            b'"number":3,"devices":["BOB"],"refused":{"BOB":"m.unavailable"},"sender":"@alice:example.org",'
            b'"message_index":5,"answered":true}'
        ),
    ),
    (
        WaitingForwardRecord(
            device_id=DeviceId("BOB"),
            request_id="a request",
            room_id=RoomId("!room:example.org"),
            session_id=MegolmSessionId("a session"),
        ),
        b'{"device_id":"BOB","request_id":"a request","room_id":"!room:example.org","session_id":"a session"}',
    ),
    (
        SecretRequestRecord(
            name="org.example.secret",
            request_id="a request",
            made=1_700_000_000_000,
            number=3,
            devices=[DeviceId("BOB")],
        ),
        (b'{"name":"org.example.secret","request_id":"a request","made":1700000000000,"number":3,"devices":["BOB"]}'),
    ),
    (
        WaitingSecretRecord(device_id=DeviceId("BOB"), request_id="a request", name="m.cross_signing.master"),
        b'{"device_id":"BOB","request_id":"a request","name":"m.cross_signing.master"}',
    ),
    (
        ReceivedSecretRecord(
            request_id="a request",
            name="org.example.secret",
            secret="a secret",
            device_id=DeviceId("BOB"),
            received=1_700_000_000_000,
            number=3,
            acknowledged=True,
        ),
        (
            b'{"request_id":"a request","name":"org.example.secret","secret":"a secret","device_id":"BOB",'
            b'"received":1700000000000,"number":3,"acknowledged":true}'
        ),
    ),
    (ParkedContentRecord(event="{}"), b'{"event":"{}"}'),
    (
        InboxRecord(
            number=1_700_000_000_001,
            type="m.call.invite",
            received=1_700_000_000_000,
            size=2,
            sender=BOB,
            encrypted=True,
        ),
        (
            b'{"number":1700000000001,"type":"m.call.invite","received":1700000000000,"size":2,'
            b'"sender":"@bob:example.org","encrypted":true}'
        ),
    ),
    (
        InboxContentRecord(json="{}", sender_key=Curve25519Key("a curve"), ed25519=Ed25519Key("an edwards")),
        b'{"json":"{}","sender_key":"a curve","ed25519":"an edwards"}',
    ),
    (
        InboxStateRecord(last=1_700_000_000_001, lost=2, kept={"m.room_key": True}),
        b'{"last":1700000000001,"lost":2,"kept":{"m.room_key":true}}',
    ),
    (
        replace(_REQUEST, unreachable=True, released=1, instead_of=("the whole",)),
        (
            b'{"request_id":"a request","kind":"keys_query","owner":"0123456789abcdef",'
            b'"subjects":["@bob:example.org"],"made":1700000000000,"number":7,"failures":1,"not_before":1700000015000,'
            b'"repeatable":true,"unreachable":true,"released":1,"instead_of":["the whole"]}'
        ),
    ),
    (
        RequestContentRecord(method="PUT", path="/_matrix", body=b"{}", context=b"why", event_type="m.dummy"),
        b'{"method":"PUT","path":"/_matrix","body":"e30=","context":"d2h5","event_type":"m.dummy"}',
    ),
    (TrackedUserRecord(user_id=BOB), b'{"user_id":"@bob:example.org"}'),
    (
        OutdatedUserRecord(user_id=BOB, invalidation="0123456789abcdef"),
        b'{"user_id":"@bob:example.org","invalidation":"0123456789abcdef"}',
    ),
    (
        IdentityRecord(
            user_id=BOB,
            master=b"{}",
            self_signing=b"{}",
            user_signing=b"{}",
            trusted_master_key=Ed25519Key("a master key"),
            trusted_signers=(Ed25519Key("a user-signing key"),),
            pinned_master_key=Ed25519Key("another"),
            was_verified=True,
            withdrawn_signer=Ed25519Key("one more"),
            compared_again=Ed25519Key("another"),
            unusable=True,
        ),
        (
            b'{"user_id":"@bob:example.org","master":"e30=","self_signing":"e30=","user_signing":"e30=",'
            b'"trusted_master_key":"a master key","trusted_signers":["a user-signing key"],'
            b'"pinned_master_key":"another","was_verified":true,"withdrawn_signer":"one more",'
            b'"compared_again":"another","unusable":true}'
        ),
    ),
    (
        SecretRecord(name="m.cross_signing.master", value=b"{}", origin="made_here", pending=True),
        b'{"name":"m.cross_signing.master","value":"e30=","origin":"made_here","pending":true}',
    ),
    (
        VerificationRecord(
            user_id=BOB,
            flow_id="flow",
            flow=Flow(
                flow_id="flow",
                room_id=None,
                txn_id=None,
                own=Party(user_id="@alice:example.org", device_id="ALICE", ed25519="a", master_key=None),
                peer_user_id=BOB,
                peer=Party(user_id=BOB, device_id="BOB", ed25519="b", master_key="m"),
                recipients=("BOB",),
                we_requested=True,
                requested=True,
                own_methods=("m.sas.v1",),
                peer_methods=("m.sas.v1",),
                created_at=1_700_000_000_000,
                deadline=1_700_000_600_000,
                prompt_until=None,
                touched_at=1_700_000_001_000,
                state=State.COMPARING,
                sent=3,
                taken=("digest",),
                we_started=True,
                start_content=b"{}",
                mac_method="hkdf-hmac-sha256.v2",
                sas_methods=("decimal",),
                ephemeral=b"secret",
                commitment="c",
                peer_key="k",
                vouched=("ed25519:BOB",),
                shown_mode=Mode.OTHER_USER,
                shown_secret=b"shown",
                scanned_mode=None,
            ),
            waiting=(
                WaitingEventRecord(
                    type="m.key",
                    content=b"{}",
                    sender_device="BOB",
                    came=1_700_000_002_000,
                    room_id="!r",
                    event_id="$e",
                    timestamp=1_700_000_001_000,
                ),
            ),
            unsent=(RoomMessageRecord(transaction_id="t", type="m.key", content=b"{}"),),
        ),
        (
            b'{"user_id":"@bob:example.org","flow_id":"flow","flow":{"flow_id":"flow","room_id":null,"txn_id":nu'
            b'll,"own":{"user_id":"@alice:example.org","device_id":"ALICE","ed25519":"a","master_key":null},"pee'
            b'r_user_id":"@bob:example.org","peer":{"user_id":"@bob:example.org","device_id":"BOB","ed25519":"b"'
            b',"master_key":"m"},"recipients":["BOB"],"we_requested":true,"requested":true,"own_methods":["m.sas'
            b'.v1"],"peer_methods":["m.sas.v1"],"created_at":1700000000000,"deadline":1700000600000,"prompt_unti'
            b'l":null,"touched_at":1700000001000,"state":"comparing","code":null,"reason":"","cancelled_by_us":f'
            b'alse,"echoed":false,"sent":3,"taken":["digest"],"we_started":true,"start_content":"e30=","mac_meth'
            b'od":"hkdf-hmac-sha256.v2","sas_methods":["decimal"],"ephemeral":"c2VjcmV0","commitment":"c","peer_'
            b'key":"k","vouched":["ed25519:BOB"],"shown_mode":0,"shown_secret":"c2hvd24=","scanned_mode":null,"s'
            b'canned_secret":""},"waiting":[{"type":"m.key","content":"e30=","sender_device":"BOB","came":170000'
            b'0002000,"room_id":"!r","event_id":"$e","timestamp":1700000001000}],"unsent":[{"transaction_id":"t",'
            b'"type":"m.key","content":"e30="}]}'
        ),
    ),
    (
        VerifiedDeviceRecord(
            user_id=BOB, device_id=DeviceId("BOB"), ed25519=Ed25519Key("e"), verified=1_700_000_000_000
        ),
        b'{"user_id":"@bob:example.org","device_id":"BOB","ed25519":"e","verified":1700000000000}',
    ),
    (AccountDataRecord(content=b"{}"), b'{"content":"e30="}'),
    (
        BackOffRecord(failures=2, until=1_700_000_030_000, unreachable=True, released=1),
        b'{"failures":2,"until":1700000030000,"unreachable":true,"released":1}',
    ),
]

EARLIER: list[tuple[bytes, Record]] = [
    (
        b'{"method":"PUT","path":"/_matrix","body":"e30=","context":"d2h5"}',
        RequestContentRecord(method="PUT", path="/_matrix", body=b"{}", context=b"why"),
    ),
    # without what an outage was the cause of
    (b'{"failures":2,"until":1700000030000}', BackOffRecord(failures=2, until=1_700_000_030_000)),
    (
        b'{"pickle":"p","one_time_keys":{},"fallback_keys":{},"fallback_made":null}',
        AccountRecord(pickle="p", one_time_keys={}, fallback_keys={}, fallback_made=None),
    ),
    (b"{}", SyncRecord()),
    (
        b'{"user_id":"@bob:example.org","pinned_master_key":"a master key","withdrawn_signer":"a user-signing key"}',
        IdentityRecord(
            user_id=BOB,
            pinned_master_key=Ed25519Key("a master key"),
            withdrawn_signer=Ed25519Key("a user-signing key"),
        ),
    ),
    (b'{"code":"m.unverified"}', WithheldRecord(code="m.unverified")),
    (
        (
            b'{"request_id":"a request","room_id":"!room:example.org","session_id":"a session","made":1700000000000,'
            b'"number":3,"devices":["BOB"],"first_known_index":5,"refused":{"BOB":"m.unavailable"}}'
        ),
        _KEY_REQUEST,
    ),
    (
        (
            b'{"room_id":"!room:example.org","session_id":"a session","sender":null,'
            b'"claims":[{"sender_key":"a curve","sender_ed25519":"a fingerprint"}]}'
        ),
        ClaimsRecord(
            room_id=RoomId("!room:example.org"),
            session_id=MegolmSessionId("a session"),
            sender=None,
            claims=[ClaimedKeysRecord(sender_key=Curve25519Key("a curve"), sender_ed25519=Ed25519Key("a fingerprint"))],
        ),
    ),
    (
        (
            b'{"room_id":"!room:example.org","event_id":"$event","session_id":"a session","sender":"@bob:example.org",'
            b'"message_index":3,"parked":1700000000000,"number":7,"size":500,"readable":true,'
            b'"withheld":"m.unverified","first_known_index":2}'
        ),
        ParkedEventRecord(
            room_id=RoomId("!room:example.org"),
            event_id=EventId("$event"),
            session_id=MegolmSessionId("a session"),
            sender=BOB,
            message_index=3,
            parked=1_700_000_000_000,
            number=7,
            size=500,
            readable=True,
            withheld="m.unverified",
            first_known_index=2,
        ),
    ),
    (
        b'{"pickle":"p","rank":1}',
        OlmSessionRecord(pickle="p", rank=1, in_set=True, owner=None, steps_for_anybody=STEPS_FOR_ANYBODY),
    ),
    (b'{"devices":[]}', RecipientsRecord()),
    (b'{"offered":[["@bob:example.org","BOB","a curve"]],"devices":[]}', _OFFERED),
    (
        b'{"pickle":"p","rank":1,"in_set":false,"owner":null,"steps_for_anybody":3}',
        OlmSessionRecord(pickle="p", rank=1, in_set=False, steps_for_anybody=3),
    ),
    (
        (
            b'{"user_id":"@bob:example.org","flow_id":"f","flow":null,'
            b'"waiting":[{"type":"m.key","content":"e30=","sender_device":null,"came":1}]}'
        ),
        VerificationRecord(
            user_id=BOB,
            flow_id="f",
            waiting=(WaitingEventRecord(type="m.key", content=b"{}", sender_device=None, came=1),),
        ),
    ),
    (
        b'{"user_id":"@bob:example.org","device_id":"BOB","curve25519":"c","ed25519":"e","algorithms":[]}',
        DeviceRecord(user_id=BOB, device_id=DeviceId("BOB"), curve25519=Curve25519Key("c"), ed25519=Ed25519Key("e")),
    ),
    (
        (
            b'{"user_id":"@bob:example.org","device_id":"BOB","curve25519":"c","ed25519":"e","algorithms":[],'
            b'"gone":false,"listed":true,"cross_signed_by":null,"signed_json":null}'
        ),
        DeviceRecord(
            user_id=BOB,
            device_id=DeviceId("BOB"),
            curve25519=Curve25519Key("c"),
            ed25519=Ed25519Key("e"),
            listed=True,
            trust=DeviceTrust.UNSET,
        ),
    ),
    (
        (
            b'{"room_id":"!r","copies":[{"session_key":"k","sender_key":"c","sender_ed25519":"e",'
            b'"sender":"@bob:example.org","sender_device":"BOB","imported":true,"signed":false,"forwarding_chain":[]}]}'
        ),
        RoomKeyRecord(
            room_id=RoomId("!r"),
            copies=[
                CopyRecord(
                    session_key="k",
                    sender_key=Curve25519Key("c"),
                    sender_ed25519=Ed25519Key("e"),
                    sender=BOB,
                    sender_device=DeviceId("BOB"),
                    imported=True,
                    signed=False,
                )
            ],
        ),
    ),
    (
        (
            b'{"user_id":"@bob:example.org","device_id":"BOB","curve25519":"c","ed25519":"e",'
            b'"algorithms":[],"gone":false,"listed":true}'
        ),
        DeviceRecord(
            user_id=BOB,
            device_id=DeviceId("BOB"),
            curve25519=Curve25519Key("c"),
            ed25519=Ed25519Key("e"),
            listed=True,
            cross_signed_by=None,
            signed_json=None,
        ),
    ),
    (
        (
            b'{"request_id":"a request","kind":"keys_query","owner":"0123456789abcdef",'
            b'"subjects":["@bob:example.org"],"made":1700000000000,"number":7,"failures":1,"not_before":1700000015000,"repeatable":true}'
        ),
        _REQUEST,
    ),
    (
        b'{"number":0,"events":{"7":"0123456789abcdef"}}',
        MessageIndicesRecord(number=0, events={7: "0123456789abcdef"}),
    ),
]
"""What earlier versions wrote, and how it reads now."""

examples = pytest.mark.parametrize(
    ("record", "stored"), EXAMPLES, ids=[type(record).__name__ for record, _ in EXAMPLES]
)


def row(stored: bytes) -> Row:
    return Row(b"key", b"partition", stored)


def _subclasses(cls: type[Record]) -> Iterator[type[Record]]:
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)


def record_classes() -> Iterator[type[Record]]:
    """All that any actor of ours stores; a base of several kinds has no table."""
    for module in pkgutil.walk_packages(olmstate.actors.__path__, "olmstate.actors."):
        if module.name.endswith(".stored"):
            importlib.import_module(module.name)
    yield from (cls for cls in _subclasses(Record) if cls.__module__.startswith("olmstate.") and "table" in vars(cls))


def test_there_is_an_example_of_each_record_and_a_record_for_each_table_with_values() -> None:
    ours = set(record_classes())
    assert ours == {type(record) for record, _ in EXAMPLES}
    assert sorted(set(Table) - KEYS_ONLY) == sorted(cls.table for cls in ours)
    assert len(ours) == len(EXAMPLES)


@examples
def test_a_record_is_written_as_it_always_was(record: Record, stored: bytes) -> None:
    assert stored == dumps(record)


@examples
def test_stored_bytes_are_read_as_they_always_were(record: Record, stored: bytes) -> None:
    assert record == loads(row(stored), type(record))


@examples
def test_what_a_later_version_has_added_does_no_harm(record: Record, stored: bytes) -> None:
    later = json.dumps({**json.loads(stored), "a_later_field": {"with": ["anything", None]}}).encode()
    assert record == loads(row(later), type(record))


@pytest.mark.parametrize(("stored", "record"), EARLIER)
def test_what_an_earlier_version_has_not_written_has_a_default(stored: bytes, record: Record) -> None:
    assert record == loads(row(stored), type(record))


@examples
@pytest.mark.parametrize("damaged", [b"", b"\xff", b"{", b"[]", b"null", b'{"pickle":1,"code":1,"number":"x"}'])
def test_what_is_no_record_is_a_damaged_store(record: Record, stored: bytes, damaged: bytes) -> None:
    if isinstance(record, SyncRecord | RecipientsRecord | EventsRecord) and damaged.startswith(b'{"'):
        return  # all of their fields have defaults
    with pytest.raises(StoreCorrupt) as caught:
        loads(row(damaged), type(record))
    assert caught.value.reason == f"a value in {record.table} can't be read"


@pytest.mark.parametrize("version", RECORDED)
async def test_every_row_of_a_recorded_store_is_read(tmp_path: Path, version: int) -> None:
    facts = unpack(version, tmp_path / "store")
    store = await open_store(tmp_path / "store", key=KEY)
    for cls in record_classes():
        records = [loads(row, cls) for row in await store.page(cls.table, START, 1000)]
        assert facts["rows"].get(cls.table, 0) == len(records)
    await store.aclose()
