"""Secrets between a device of ours and one of matrix-rust-sdk's of the same user, which have verified each other."""

from __future__ import annotations

from olmstate.messages import (
    ConfirmVerification,
    CrossSigningSeeds,
    CrossSigningStatus,
    ExportCrossSigningKeys,
    JsonObject,
    RecoverFromSecretStorage,
    SecretInbox,
    SecretOrigin,
    SecretRequests,
)
from tests.interop.program import Program
from tests.interop.verifying import Two, meeting
from tests.peer.secret_storage import description, encrypt, recovery_key
from tests.peer.session import API

BACKUP = "m.megolm_backup.v1"
USAGES = ("master", "self_signing", "user_signing")
BACKUP_KEY = "bMb7gTLxR2KqvFq/CMzFRx2I5wLzhBm8ZKcpHQLgfEU"
STORAGE_KEY = bytes(range(32))


async def verify(two: Two) -> None:
    await two.begin(we_request=True)
    await two.compare(we_start=False)
    await two.they_do("sas_confirm")
    await two.we_do(ConfirmVerification)
    await two.are_done()
    await two.sync()


async def have_a_backup_key(two: Two) -> None:
    """Out of secret storage, which another client has set up."""
    ours = await two.process.ask(ExportCrossSigningKeys())
    stored = {f"m.cross_signing.{usage}": getattr(ours, usage) for usage in USAGES} | {BACKUP: BACKUP_KEY}
    contents: dict[str, JsonObject] = {
        "m.secret_storage.default_key": {"key": "theirs"},
        "m.secret_storage.key.theirs": description(STORAGE_KEY),
        **{
            name: {"encrypted": {"theirs": encrypt(STORAGE_KEY, name, text, bytes(16))}}
            for name, text in stored.items()
        },
    }
    for data_type, content in contents.items():
        target = f"{API}/user/{two.session.user_id}/account_data/{data_type}"
        await two.session.request("PUT", target, content)
    await two.ask(RecoverFromSecretStorage(key=recovery_key(STORAGE_KEY)))


async def test_their_new_device_is_sent_our_private_keys(rust: Program) -> None:
    async with meeting(rust, one_user=True, they_have_identity=False) as two:
        await have_a_backup_key(two)
        assert not any((await two.theirs.ask("cross_signing_status")).values())
        await verify(two)
        assert dict.fromkeys(USAGES, True) == await two.theirs.ask("cross_signing_status")
        theirs = await two.theirs.ask("export_cross_signing")
        assert CrossSigningSeeds(**theirs) == await two.process.ask(ExportCrossSigningKeys())
        assert [BACKUP_KEY] == [each.rstrip("=") for each in await two.theirs.ask("secret_inbox", name=BACKUP)]


async def test_our_new_device_is_sent_their_private_keys(rust: Program) -> None:
    async with meeting(rust, one_user=True, we_have_identity=False) as two:
        await two.theirs.ask("backup_save_key", private=BACKUP_KEY, version="1")
        await verify(two)
        status = await two.process.ask(CrossSigningStatus())
        assert status.complete
        keys = (status.master, status.self_signing, status.user_signing)
        assert [SecretOrigin.OTHER_DEVICE] * 3 == [key.origin for key in keys if key is not None]
        theirs = await two.theirs.ask("export_cross_signing")
        assert CrossSigningSeeds(**theirs) == await two.process.ask(ExportCrossSigningKeys())
        (kept,) = await two.process.ask(SecretInbox())
        assert (BACKUP, BACKUP_KEY) == (kept.name, kept.secret.rstrip("="))
        assert () == await two.process.ask(SecretRequests())


async def test_their_device_is_sent_nothing_unless_it_is_verified(rust: Program) -> None:
    async with meeting(rust, one_user=True, they_have_identity=False) as two:
        await two.theirs.ask("request_missing_secrets")
        await two.theirs.keep_house()
        await two.sync()
        assert not any((await two.theirs.ask("cross_signing_status")).values())
