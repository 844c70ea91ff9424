"""Events reach subscribers in every process of the store, in the order of the commits; who was away gets what it missed."""

from __future__ import annotations

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import olmstate.messages
from olmstate.actors import Options
from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._engine import stream, subscriptions
from olmstate.actors._engine.stream import EventsRecord, StreamReader, row_key, to_record
from olmstate.actors._engine.subscriptions import BUFFER
from olmstate.actors.testing import USER, Faults, MemoryDisk, MemoryStore
from olmstate.messages import (
    CreateAccount,
    CrossSigningOrigin,
    DeviceAddress,
    DeviceId,
    DevicesChanged,
    Ed25519Key,
    Event,
    IdentitiesChanged,
    Lagged,
    MegolmSessionId,
    OwnDeviceReplaced,
    PrivateCrossSigningKeys,
    PrivateCrossSigningKeysChanged,
    PrivateKey,
    RequestGivenUp,
    RequestKind,
    RoomId,
    RoomKeyImportProgress,
    RoomKeysReceived,
    SharedEvent,
    StoreFull,
    SyncToken,
    VerificationChanged,
    VerificationStage,
)
from olmstate.storage import START, Table
from tests.actors.peers import Peer, Room, keys_query
from tests.actors.supervised import runner_of, supervised
