"""A user's new device is sent the secrets that it lacks by the old one, or takes them out of secret storage.

Owns: `gossip` and `recover`, which go on wherever they were left (`two_devices`).
"""

from __future__ import annotations

from pathlib import Path

from olmstate.messages import (
    BootstrapCrossSigning,
    CrossSigningStatus,
    DeviceAddress,
    DeviceId,
    Devices,
    DeviceTrust,
    Ed25519Key,
    ExportCrossSigningKeys,
    JsonObject,
    RecoverFromSecretStorage,
    RequestSecrets,
    SecretInbox,
    SecretRequests,
    SetDeviceTrust,
    SignDevice,
    SignedDeviceKeys,
    UpdateDevices,
    UserId,
)
from tests.faults.two_devices import Devices as Pair
from tests.faults.two_devices import Player, new_players, play_on
from tests.peer.identity import USAGES
from tests.peer.secret_storage import description, encrypt, recovery_key
from tests.peer.session import API

ALICE = UserId("@alice:example.org")
OLD, NEW = (DeviceAddress(user_id=ALICE, device_id=DeviceId(name)) for name in ("OLD", "NEW"))
BOTH: Pair = (OLD, NEW)
BACKUP, BACKUP_KEY = "m.megolm_backup.v1", "A" * 43
STORAGE_KEY = bytes(range(32))
SEEDS = "seeds"
"""A file: the private keys that the old device has."""


async def prepare(folder: Path) -> None:
    """An old device has all secrets, which are in secret storage too, and has signed the new one, which trusts it."""
    async with new_players(folder, BOTH) as (old, new):
        await old.ask(BootstrapCrossSigning())
        await _store_secrets(old)
        await old.ask(RecoverFromSecretStorage(key=recovery_key(STORAGE_KEY)))
        for player in (old, new):
            await player.ask(UpdateDevices(users=(ALICE,)))
        await old.ask(SignDevice(device_id=NEW.device_id, ed25519=await _ed25519(new)))
        trust = SetDeviceTrust(user_id=ALICE, device_id=OLD.device_id, trust=DeviceTrust.VERIFIED)
        await new.ask(trust)
        (folder / SEEDS).write_text(repr(await _private_keys(old)))


async def _private_keys(player: Player) -> list[str]:
    seeds = await player.supervisor.ask(ExportCrossSigningKeys())
    return [getattr(seeds, usage) for usage in USAGES]


async def _ed25519(player: Player) -> Ed25519Key:
    keys = await player.supervisor.ask(SignedDeviceKeys())
    return Ed25519Key(keys["keys"][f"ed25519:{player.session.device_id}"])


async def _store_secrets(player: Player) -> None:
    seeds = await player.supervisor.ask(ExportCrossSigningKeys())
    stored = {f"m.cross_signing.{usage}": getattr(seeds, usage) for usage in USAGES} | {BACKUP: BACKUP_KEY}
    contents: dict[str, JsonObject] = {
        "m.secret_storage.default_key": {"key": "key"},
        "m.secret_storage.key.key": description(STORAGE_KEY),
        **{name: {"encrypted": {"key": encrypt(STORAGE_KEY, name, text, bytes(16))}} for name, text in stored.items()},
    }
    for data_type, content in contents.items():
        await player.session.request("PUT", f"{API}/user/{ALICE}/account_data/{data_type}", content)


async def _has_private_keys(player: Player) -> None:
    assert (await player.supervisor.ask(CrossSigningStatus())).complete
    assert (player.folder / SEEDS).read_text() == repr(await _private_keys(player))


# --- from the other device ----------------------------------------------------------------------------------


async def _ask_for_secrets(player: Player) -> bool:
    """The new device does, once; whether there was anything to be done."""
    is_asking, kept = await player.supervisor.ask(SecretRequests()), await player.supervisor.ask(SecretInbox())
    has_keys = (await player.supervisor.ask(CrossSigningStatus())).complete
    if player.other == NEW or is_asking or (has_keys and kept):
        return False
    asked = await player.supervisor.ask(RequestSecrets())
    assert (OLD.device_id,) == asked.devices
    return True


async def _was_sent_secrets(player: Player) -> None:
    await _has_private_keys(player)
    if player.other == OLD:
        (kept,) = await player.supervisor.ask(SecretInbox())
        assert (BACKUP, BACKUP_KEY, OLD.device_id) == (kept.name, kept.secret.rstrip("="), kept.device_id)
        assert () == await player.supervisor.ask(SecretRequests())


async def gossip(folder: Path) -> None:
    """Go on until nothing happens any more; the new device must have each secret once then."""
    await play_on(folder, BOTH, _ask_for_secrets, _was_sent_secrets)


# --- out of secret storage ----------------------------------------------------------------------------------


async def _recover(player: Player) -> bool:
    """The new device does; whether there was anything to be done."""
    if player.other == NEW or (await player.supervisor.ask(CrossSigningStatus())).complete:
        return False
    await player.ask(RecoverFromSecretStorage(key=recovery_key(STORAGE_KEY)))
    return True


async def _is_signed_in(player: Player) -> None:
    await _has_private_keys(player)
    await player.ask(UpdateDevices(users=(ALICE,)))
    signers = {each.cross_signed_by for each in await player.supervisor.ask(Devices(user_id=ALICE))}
    assert 1 == len(signers)
    assert None not in signers


async def recover(folder: Path) -> None:
    """Go on until nothing happens any more; the new device must be signed in then."""
    await play_on(folder, BOTH, _recover, _is_signed_in)
