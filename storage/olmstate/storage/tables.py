"""The tables: one for each data type, owned by one actor."""

from __future__ import annotations

import enum


class Table(enum.StrEnum):
    """A data type's table; its owner is one actor."""

    __hash__ = str.__hash__  # an Enum's own is Python code, and tables are keys of whatever is looked up

    ACCOUNT = "account"
    SYNC = "sync"
    """How far the device has read from the homeserver, and what the server said of its keys."""
    OLM_SESSIONS = "olm_sessions"
    OLM_MESSAGES = "olm_messages"
    """Hashes of pre-key messages that were decrypted on sessions dropped since: a replay could start one again."""
    INBOUND_GROUP_SESSIONS = "inbound_group_sessions"
    WITHHELD_ROOM_KEYS = "withheld_room_keys"
    MESSAGE_INDICES = "message_indices"
    """Which event used which Megolm message index: the replay guard."""
    OUTBOUND_GROUP_SESSIONS = "outbound_group_sessions"
    ROOM_KEY_RECIPIENTS = "room_key_recipients"
    DEVICES = "devices"


PARTITIONED = frozenset({Table.OLM_SESSIONS, Table.MESSAGE_INDICES, Table.ROOM_KEY_RECIPIENTS, Table.DEVICES})
"""Tables whose rows are loaded by a partition of several."""

SETS = frozenset({Table.OLM_MESSAGES})
"""Tables of keys alone: that a key is in it is all that a row says, and its value is empty. Nobody caches them, so that
what changed in them is not asked for, nor which commit it was."""
