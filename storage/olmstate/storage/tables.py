"""The tables: one for each data type, owned by one actor.

A table is one line here, and one migration in `olmstate.storage.sqlite.migrations`; a test compares the two. Whatever
else must know what kind of table it is derives it from here.
"""

from __future__ import annotations

import enum
from typing import Self


class Trait(enum.Enum):
    """What is special about a table."""

    PARTITIONED = enum.auto()
    """Its rows are loaded by a partition of several."""
    BY_ROW = enum.auto()
    """Beside PARTITIONED: its rows lie by partition, but each is loaded by itself. See `unit_of`."""
    GROUPED = enum.auto()
    """Its rows have a group each, by which those of one can be found; those that an early version wrote have none."""
    KEYS_ONLY = enum.auto()
    """A row says nothing but that its key is there; its value is empty. Nobody caches it, so nobody asks what changed
    in it, or in which commit."""
    NOT_IN_BACKUPS = enum.auto()
    """A backup leaves it out: it is of no use to another store, or a danger there."""
    FOR_LIFE = enum.auto()
    """Once something is in it, something always is: found empty after that, the store is damaged."""


_PARTITIONED, _BY_ROW, _GROUPED = Trait.PARTITIONED, Trait.BY_ROW, Trait.GROUPED
_KEYS_ONLY, _NOT_IN_BACKUPS, _FOR_LIFE = Trait.KEYS_ONLY, Trait.NOT_IN_BACKUPS, Trait.FOR_LIFE


class Table(enum.StrEnum):
    """A data type's table; its owner is one actor."""

    traits: frozenset[Trait]

    def __new__(cls, name: str, *traits: Trait) -> Self:
        """A table called ``name`` in the database."""
        table = str.__new__(cls, name)
        table._value_ = name
        table.traits = frozenset(traits)
        return table

    __hash__ = str.__hash__  # an Enum's own is Python code, and tables are keys of whatever is looked up

    ACCOUNT = "account", _FOR_LIFE
    SYNC = "sync"
    """How far the device has read from the homeserver, and what the server said of its keys."""
    OLM_SESSIONS = "olm_sessions", _PARTITIONED
    OLM_MESSAGES = "olm_messages", _KEYS_ONLY
    """Hashes of pre-key messages that were decrypted on sessions dropped since: a replay could start one again."""
    INBOUND_GROUP_SESSIONS = "inbound_group_sessions", _GROUPED
    ROOM_KEY_CLAIMS = "room_key_claims", _GROUPED
    """Who says that an inbound group session is theirs, where more do than its own row has room for."""
    WITHHELD_ROOM_KEYS = "withheld_room_keys"
    """Why somebody doesn't give us a room key."""
    WITHHELD_NAMES = "withheld_names", _PARTITIONED
    """Who says so of which; all are one partition. What earlier versions wrote there is in the other table alone."""
    MESSAGE_INDICES = "message_indices", _PARTITIONED, _BY_ROW
    """Which event used which Megolm message index: the replay guard."""
    OUTBOUND_GROUP_SESSIONS = "outbound_group_sessions", _NOT_IN_BACKUPS
    ROOM_KEY_RECIPIENTS = "room_key_recipients", _PARTITIONED, _NOT_IN_BACKUPS
    DEVICES = "devices", _PARTITIONED
    DEVICE_FINGERPRINTS = "device_fingerprints", _KEYS_ONLY
    """Ed25519 keys of all devices that ever were known, whoever's."""
    TRACKED_USERS = "tracked_users"
    """Whose devices are kept up to date."""
    OUTDATED_USERS = "outdated_users", _PARTITIONED
    """Users whose devices must be queried; all are one partition."""
    ROOM_SETTINGS = "room_settings"
    """What rooms say of their encryption."""
    NO_OLM_NOTICES = "no_olm_notices", _PARTITIONED, _NOT_IN_BACKUPS
    """Devices that were told that there is no Olm session with them; all are one partition."""
    REQUESTS = "requests", _PARTITIONED, _NOT_IN_BACKUPS
    """Requests to the homeserver that wait for an answer; all are one partition."""
    REQUEST_CONTENTS = "request_contents", _NOT_IN_BACKUPS
    """What is sent; apart, since it may be large."""
    BACK_OFFS = "back_offs"
    """Servers and devices that have failed, and until when nobody asks them."""
    OLM_REPAIRS = "olm_repairs", _PARTITIONED, _NOT_IN_BACKUPS
    """What was done lately about Olm sessions that were of no use; all are one partition."""
    PARKED_EVENTS = "parked_events", _PARTITIONED
    """What is known of room events that wait for their keys; all are one partition."""
    PARKED_CONTENTS = "parked_contents"
    """The events themselves; apart, since they may be large."""
    KEY_REQUESTS = "key_requests", _PARTITIONED, _NOT_IN_BACKUPS
    """Room keys that this device has asked its user's others for; all are one partition."""
    WAITING_FORWARDS = "waiting_forwards", _PARTITIONED, _NOT_IN_BACKUPS
    """Room keys that they have asked for, and that wait for an Olm session; all are one partition."""
    SECRET_REQUESTS = "secret_requests", _PARTITIONED, _NOT_IN_BACKUPS
    """Secrets that this device has asked its user's others for; all are one partition."""
    WAITING_SECRETS = "waiting_secrets", _PARTITIONED, _NOT_IN_BACKUPS
    """Secrets that they have asked for, and that wait for an Olm session; all are one partition."""
    RECEIVED_SECRETS = "received_secrets", _PARTITIONED
    """Secrets for the app that have come, and weren't deleted; all are one partition."""
    IDENTITIES = "identities"
    """Users' public cross-signing keys, and how far each user's is trusted."""
    SECRETS = "secrets", _PARTITIONED
    """Private cross-signing keys; all are one partition."""
    ACCOUNT_DATA = "account_data", _NOT_IN_BACKUPS
    """What the homeserver has of our user's account data, of a few types."""
    VERIFICATIONS = "verifications", _PARTITIONED, _NOT_IN_BACKUPS
    """Verifications that are going on, with their secrets; all are one partition."""
    VERIFIED_DEVICES = "verified_devices", _PARTITIONED
    """Fingerprint keys that this device's user has verified."""
    INBOX = "inbox", _PARTITIONED, _NOT_IN_BACKUPS
    """What is known of to-device events that wait for the app; all are one partition."""
    INBOX_CONTENTS = "inbox_contents", _NOT_IN_BACKUPS
    """What is in them; apart, since they may be large."""
    INBOX_STATE = "inbox_state", _NOT_IN_BACKUPS
    """How far the inbox's numbers have come, and which types are kept in it."""
    EVENTS = "events", _NOT_IN_BACKUPS
    """What subscribers in all processes hear, a row a commit, by its generation."""


PARTITIONED = frozenset(table for table in Table if Trait.PARTITIONED in table.traits)
GROUPED = frozenset(table for table in Table if Trait.GROUPED in table.traits)
BY_ROW = frozenset(table for table in Table if Trait.BY_ROW in table.traits)
KEYS_ONLY = frozenset(table for table in Table if Trait.KEYS_ONLY in table.traits)
NOT_IN_BACKUPS = tuple(table for table in Table if Trait.NOT_IN_BACKUPS in table.traits)
FOR_LIFE = frozenset(table for table in Table if Trait.FOR_LIFE in table.traits)
