"""Messages about secrets that our user's devices ask each other for (spec: Secrets, Sharing).

Only verified devices of our own user are asked, and only they are answered: verified by our user (`SetDeviceTrust`, or
a verification), or signed by our user's verified identity. They are sent the private cross-signing keys that are those
of the published identity, and the backup key, if these are here.

A private cross-signing key that comes is compared with the published one, and goes where `BootstrapCrossSigning` keeps
its own. All other secrets are the app's, and go to an inbox, which any process can read.
"""

from __future__ import annotations

import enum

import attrs

from ._events import SharedEvent
from ._field_types import checked
from ._ids import DeviceId, RequestId
from ._message import Command, Query


@attrs.frozen(kw_only=True)
class SecretsRequested:
    """Who was asked for which secrets."""

    names: tuple[str, ...]
    devices: tuple[DeviceId, ...]
    """Our user's other verified devices. If there are none, nobody was asked, and nothing is stored."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class RequestSecrets(Command[SecretsRequested]):
    """Ask our user's other verified devices for secrets.

    The requests are stored; a transport sends them, and with the first secret that is accepted goes a cancellation to
    the others. Asking again for the same name repeats the request under its id. At most 100 are open; the oldest are
    forgotten then. A verification that makes our own identity verified asks for what is missing by itself.

    Returns:
        SecretsRequested: Who was asked for which secrets.

    Raises:
        NoAccount: The store is empty.
    """

    names: tuple[str, ...] | None = None
    """As in account data, ``m.cross_signing.master``. None: the private cross-signing keys of the published identity
    that aren't here, and the backup key, ``m.megolm_backup.v1``, unless it is here or in the inbox."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class CancelSecretRequests(Command[None]):
    """Ask no longer for these secrets. Of others, nothing happens.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        NoAccount: The store is empty.
    """

    names: tuple[str, ...]


@attrs.frozen(kw_only=True)
class SecretRequest:
    """A request for a secret, still open."""

    name: str
    request_id: RequestId
    """As in ``m.secret.request``."""
    made: int
    """Milliseconds since 1970: when it was last sent."""
    devices: tuple[DeviceId, ...]
    """Who was asked, and may still answer."""


@attrs.frozen(kw_only=True)
class SecretRequests(Query[tuple[SecretRequest, ...]]):
    """The requests for secrets that are still open, oldest first.

    Returns:
        tuple[SecretRequest, ...]
    """


class SecretRefusal(enum.StrEnum):
    """Why a secret that one of our devices has sent wasn't taken."""

    MALFORMED = "malformed"
    """It is no text, one of more than 64 KiB, or no private key."""
    MISMATCHED = "mismatched"
    """It isn't the private key of the published one."""
    UNPUBLISHED = "unpublished"
    """No such key of our user's is known to be published, so there is nothing to compare it with."""


@attrs.frozen(kw_only=True)
class SecretRefused(SharedEvent):
    """One of our user's verified devices has sent a secret that was asked for, and that is of no use.

    The request stays open for the other devices that were asked.
    """

    name: str
    device_id: DeviceId
    reason: SecretRefusal


@attrs.frozen(kw_only=True)
class SecretsReceived(SharedEvent):
    """Secrets have come that are the app's: `SecretInbox` has them.

    For private cross-signing keys, subscribe to `PrivateCrossSigningKeysChanged`.
    """

    secrets: tuple[tuple[str, RequestId], ...]
    """The name of each, and its id in the inbox."""


@attrs.frozen(kw_only=True)
class ReceivedSecret:
    """A secret that another of our user's devices has sent."""

    request_id: RequestId
    """Of the request that it answers; its id in the inbox."""
    name: str
    secret: str = attrs.field(repr=False)
    """As it came. Compare it with what it should open before you use it."""
    device_id: DeviceId
    """Who has sent it."""
    received: int
    """When: milliseconds since 1970."""
    acknowledged: bool


@attrs.frozen(kw_only=True, field_transformer=checked)
class SecretInbox(Query[tuple[ReceivedSecret, ...]]):
    """The secrets that have come and weren't deleted, oldest first.

    At most 100 are kept: of more, those that were acknowledged go first, and then the oldest.

    Returns:
        tuple[ReceivedSecret, ...]
    """

    name: str | None = None
    """Only those of this name."""
    unacknowledged: bool = False
    """Only those that weren't acknowledged."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class AcknowledgeSecrets(Command[None]):
    """The app has taken note of these. They stay until they are deleted; of others, nothing happens.

    Returns:
        None: It was done, and is on the disk.
    """

    request_ids: tuple[RequestId, ...]


@attrs.frozen(kw_only=True, field_transformer=checked)
class DeleteSecrets(Command[None]):
    """Delete these from the inbox. Of others, nothing happens.

    Returns:
        None: It was done, and is on the disk.
    """

    request_ids: tuple[RequestId, ...]
