"""Cross-signing and secret storage on Synapse: by commands, seen by matrix-rust-sdk, and the other way round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from olmstate.actors import open_supervisor
from olmstate.http import open_transport
from olmstate.messages import (
    BootstrapCrossSigning,
    CreateAccount,
    CreateSecretStorage,
    CrossSigningSeeds,
    CrossSigningStatus,
    Ed25519Key,
    ExportCrossSigningKeys,
    Identity,
    IdentityState,
    JsonObject,
    ReadSecret,
    RecoverFromSecretStorage,
    ResetCrossSigning,
    SignDevice,
    UpdateDevices,
    VerifyUser,
)
from tests.interop.homeserver import Homeserver, HttpSession
from tests.interop.program import Program
from tests.interop.rust_device import RustDevice, rust_device
from tests.peer.secret_storage import description, encrypt, recovery_key
from tests.peer.session import API

KEY = bytes(range(32))
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("OLMSTATE_")}


async def olmstate(*arguments: str | Path, typed: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run the program."""
    return await trio.run_process(
        [sys.executable, "-m", "olmstate", *map(str, arguments)],
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=typed.encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


class Bot:
    """A device of the library's, whose store programs share."""

    def __init__(self, session: HttpSession, folder: Path) -> None:
        self.session = session
        self.store = folder / f"store-{session.device_id}"
        self.token = folder / f"token-{session.device_id}"
        self.token.write_text(f"{session.token}\n")

    async def ask(self, message: Any) -> Any:  # noqa: ANN401 - whatever it answers
        """Open the store, ask, and close it."""
        async with (
            open_transport(self.session.url, self.session.token) as transport,
            open_supervisor(
                self.store,
                user_id=self.session.user_id,
                device_id=self.session.device_id,
                key=None,
                transport=transport,
            ) as supervisor,
        ):
            return await supervisor.ask(message)

    async def run(self, command: str, *more: str | Path) -> JsonObject:
        """Run a command on the store; what it said to programs."""
        ran = await self.try_to_run(command, "--json", *more)
        assert ran.returncode == 0, ran.stderr.decode()
        answer: JsonObject = json.loads(ran.stdout.splitlines()[-1])
        return answer

    async def try_to_run(self, command: str, *more: str | Path) -> subprocess.CompletedProcess[bytes]:
        options = ("--homeserver", self.session.url, "--token-file", self.token)
        return await olmstate(command, self.store, *options, *more)


async def new_bot(session: HttpSession, folder: Path) -> Bot:
    bot = Bot(session, folder)
    await bot.ask(CreateAccount())
    return bot


async def own_device(rust: RustDevice, session: HttpSession) -> JsonObject:
    """How a machine sees a device."""
    await rust.send_request(await rust.ask("query_keys_for_users", users=[session.user_id]))
    known: JsonObject = await rust.ask("get_device", user_id=session.user_id, device_id=session.device_id)
    return known


async def test_a_fresh_account_is_set_up_by_one_command_and_its_next_device_signed_in_by_another(
    homeserver: Homeserver, rust: Program, tmp_path: Path
) -> None:
    first = await new_bot(await homeserver.register("bot"), tmp_path)
    password = tmp_path / "password"
    password.write_text(f"password of {first.session.user_id[1:].split(':')[0]}")
    said = await first.run("bootstrap", "--password-file", password)
    assert said["published"]

    again = await first.try_to_run("bootstrap")
    assert (1, b"") == (again.returncode, again.stdout)
    assert b"recover" in again.stderr

    second = await new_bot(await homeserver.log_in(first.session.user_id), tmp_path)
    key_file = tmp_path / "recovery-key"
    key_file.write_text(said["recovery_key"])
    recovered = await second.run("recover", "--recovery-key-file", key_file)
    assert second.session.device_id == recovered["device_id"]
    assert said["recovery_key"] not in json.dumps(recovered)
    assert (await second.ask(CrossSigningStatus())).complete

    # and matrix-rust-sdk, with the same private keys, sees both as cross-signed by a verified identity
    third = await rust_device(rust, await homeserver.log_in(first.session.user_id))
    seeds: CrossSigningSeeds = await second.ask(ExportCrossSigningKeys())
    await own_device(third, first.session)
    imported = await third.ask(
        "import_cross_signing", master=seeds.master, self_signing=seeds.self_signing, user_signing=seeds.user_signing
    )
    assert {"master": True, "self_signing": True, "user_signing": True} == imported
    identity = await third.ask("get_identity", user_id=first.session.user_id)
    assert identity["verified"]
    for session in (first.session, second.session):
        known = await own_device(third, session)
        assert (True, True) == (known["cross_signed_by_owner"], known["verified"]), known


async def test_a_wrong_recovery_key_is_one_line(homeserver: Homeserver, tmp_path: Path) -> None:
    bot = await new_bot(await homeserver.register("bot"), tmp_path)
    key_file = tmp_path / "recovery-key"
    key_file.write_text(recovery_key(KEY))
    ran = await bot.try_to_run("recover", "--recovery-key-file", key_file)
    assert (1, b"") == (ran.returncode, ran.stdout)
    assert b"there is no secret storage" in ran.stderr
    assert 1 == len(ran.stderr.splitlines())


async def test_an_identity_of_the_rust_sdks_signs_our_device_by_secret_storage(
    homeserver: Homeserver, rust: Program, tmp_path: Path
) -> None:
    session = await homeserver.register("human")
    human = await rust_device(rust, session)
    await human.do("bootstrap_cross_signing")
    seeds = await human.ask("export_cross_signing")
    path = f"{API}/user/{session.user_id}/account_data"
    await session.request("PUT", f"{path}/m.secret_storage.default_key", {"key": "theirs"})
    await session.request("PUT", f"{path}/m.secret_storage.key.theirs", description(KEY))
    for usage, seed in seeds.items():
        name = f"m.cross_signing.{usage}"
        stored = {"encrypted": {"theirs": encrypt(KEY, name, seed, bytes(16))}}
        await session.request("PUT", f"{path}/{name}", stored)

    bot = await new_bot(await homeserver.log_in(session.user_id), tmp_path)
    await bot.ask(RecoverFromSecretStorage(key=recovery_key(KEY)))
    known = await own_device(human, bot.session)
    assert (True, True) == (known["cross_signed_by_owner"], known["verified"])


async def test_users_who_have_verified_each_other_see_that_on_both_sides(
    homeserver: Homeserver, rust: Program, tmp_path: Path
) -> None:
    bot = await new_bot(await homeserver.register("bot"), tmp_path)
    await bot.ask(BootstrapCrossSigning())
    human = await rust_device(rust, await homeserver.register("human"))
    await human.do("bootstrap_cross_signing")
    users = [bot.session.user_id, human.session.user_id]
    await human.track(*users)
    await bot.ask(UpdateDevices(users=(human.session.user_id,)))

    theirs = await bot.ask(Identity(user_id=human.session.user_id))
    (master,) = (await human.ask("get_identity", user_id=human.session.user_id))["master"]["keys"].values()
    assert (master, IdentityState.PINNED) == (theirs.master_key, theirs.state)
    await bot.ask(VerifyUser(user_id=human.session.user_id, master_key=Ed25519Key(master)))
    assert IdentityState.VERIFIED is (await bot.ask(Identity(user_id=human.session.user_id))).state

    assert not (await human.ask("get_identity", user_id=bot.session.user_id))["verified"]
    await human.do("verify_identity", user_id=bot.session.user_id)
    await human.send_request(await human.ask("query_keys_for_users", users=users))
    assert (await human.ask("get_identity", user_id=bot.session.user_id))["verified"]


async def test_a_device_of_the_rust_sdks_is_signed_by_ours_and_a_reset_is_seen(
    homeserver: Homeserver, rust: Program, tmp_path: Path
) -> None:
    bot = await new_bot(await homeserver.register("bot"), tmp_path)
    await bot.ask(BootstrapCrossSigning())
    session = await homeserver.log_in(bot.session.user_id)
    other = await rust_device(rust, session)
    assert not (await own_device(other, session))["cross_signed_by_owner"]
    await bot.ask(SignDevice(device_id=session.device_id, ed25519=other.identity["ed25519"]))
    assert (await own_device(other, session))["cross_signed_by_owner"]

    before = await bot.ask(Identity(user_id=session.user_id))
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": session.user_id},
        "password": f"password of {session.user_id[1:].split(':')[0]}",
    }
    await bot.ask(ResetCrossSigning(auth=auth))
    after = await bot.ask(Identity(user_id=session.user_id))
    assert IdentityState.VERIFIED is after.state
    assert before.master_key != after.master_key
    assert not (await own_device(other, session))["cross_signed_by_owner"]
    assert (await own_device(other, bot.session))["cross_signed_by_owner"]


@pytest.mark.parametrize("secret", ["what I know", "ü 🎉"])
async def test_what_is_in_secret_storage_is_read_as_the_spec_says(
    homeserver: Homeserver, tmp_path: Path, secret: str
) -> None:
    session = await homeserver.register("bot")
    bot = await new_bot(session, tmp_path)
    created = await bot.ask(CreateSecretStorage())
    path = f"{API}/user/{session.user_id}/account_data"
    default = await session.request("GET", f"{path}/m.secret_storage.default_key", None)
    assert {"key": created.key.key_id} == default
    key_id = "another"
    await session.request("PUT", f"{path}/m.secret_storage.key.{key_id}", description(KEY))
    stored = {"encrypted": {key_id: encrypt(KEY, "m.mine", secret, bytes(16))}}
    await session.request("PUT", f"{path}/m.mine", stored)
    assert secret == await bot.ask(ReadSecret(name="m.mine", key=recovery_key(KEY), key_id=key_id))
