"""What the identities actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.messages import Ed25519Key, UserId
from olmstate.storage import Table


class IdentityRecord(Record, kw_only=True, frozen=True):
    """A user's public cross-signing keys, checked, and what is known about them."""

    table: ClassVar[Table] = Table.IDENTITIES

    user_id: UserId
    master: bytes | None = None
    """Canonical JSON of the whole object."""
    self_signing: bytes | None = None
    user_signing: bytes | None = None
    trusted_master_key: Ed25519Key | None = None
    """Our own: the one that this device has verified, made or imported."""
    trusted_signers: tuple[Ed25519Key, ...] = ()
    """Our own: its user-signing keys while it was verified."""
    pinned_master_key: Ed25519Key | None = None
    """Another's: the first one, or the one that our user has agreed to."""
    was_verified: bool = False
    """Another's: once it was, and our user hasn't withdrawn that."""
    withdrawn_signer: Ed25519Key | None = None
    """Another's: the last of our user-signing keys whose signatures our user has given up."""
    compared_again: Ed25519Key | None = None
    """Another's: the master key that our user has compared since then."""
    unusable: bool = False
    """Our own: one is published that isn't whole, or isn't rightly signed; none was taken before."""
