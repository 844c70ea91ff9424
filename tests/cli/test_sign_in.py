"""What `olmstate bootstrap` and `recover` want, and where from; what they do is in tests/interop/test_signing_in.py."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import trio

from olmstate.actors import open_supervisor
from olmstate.cli._secrets import Secret
from olmstate.cli._sign_in import _password_auth  # pyright: ignore[reportPrivateUsage]
from olmstate.messages import JsonObject, OpenSecretStorage
from tests.cli.conftest import ALICE, KEY, PHONE, Olmstate, complaint
from tests.cli.served import serving
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver

HOMESERVER = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have some."""
    for variable in ("OLMSTATE_ACCESS_TOKEN", "OLMSTATE_RECOVERY_KEY", "OLMSTATE_ACCOUNT_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("token\n")
    return path


@pytest.mark.parametrize("command", ["bootstrap", "recover"])
def test_whoever_gives_no_access_token_is_told_where_it_may_come_from(
    command: str, store: Path, key_file: Path, olmstate: Olmstate
) -> None:
    ran = olmstate(command, store, "--key-file", key_file, "--homeserver", HOMESERVER, typed="")
    assert "--token-file" in complaint(ran)
    assert "OLMSTATE_ACCESS_TOKEN" in complaint(ran)


def test_whoever_gives_no_recovery_key_is_told_where_it_may_come_from(
    store: Path, key_file: Path, token_file: Path, olmstate: Olmstate, tmp_path: Path
) -> None:
    options = ("--key-file", key_file, "--homeserver", HOMESERVER, "--token-file", token_file)
    assert "OLMSTATE_RECOVERY_KEY" in complaint(olmstate("recover", store, *options, typed=""))
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert "empty" in complaint(olmstate("recover", store, *options, "--recovery-key-file", empty))


def test_without_an_http_client_the_program_says_what_to_install(
    store: Path, key_file: Path, token_file: Path, olmstate: Olmstate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "olmstate.http", None)
    options = ("--key-file", key_file, "--homeserver", HOMESERVER, "--token-file", token_file)
    assert "olmstate[http]" in complaint(olmstate("bootstrap", store, *options))


@pytest.mark.parametrize(
    "homeserver", ["", "matrix.example.org", "ftp://example.org", "http://[::1", "http://a\nb", "http://"]
)
@pytest.mark.parametrize("command", ["bootstrap", "recover", "verify"])
def test_a_homeserver_that_is_none_is_told_before_anything_is_asked_for(
    command: str, homeserver: str, store: Path, olmstate: Olmstate
) -> None:
    # some were tracebacks; with others, each request failed, again and again
    ran = olmstate(command, store, "--homeserver", homeserver, typed="")
    assert (2, "") == (ran.exit_code, ran.stdout)
    assert "as https://matrix.example.org" in ran.stderr


def test_an_access_token_that_can_not_be_sent_is_told(
    store: Path, key_file: Path, token_file: Path, olmstate: Olmstate
) -> None:
    options = ("--key-file", key_file, "--homeserver", HOMESERVER, "--token-file", token_file)
    for token in ("\n", "two words", "tok\r\nen"):
        token_file.write_text(token)
        ran = olmstate("bootstrap", store, *options)
        assert 2 == ran.exit_code
        assert "access_token must be" in ran.stderr
        assert token.strip() not in ran.stderr or not token.strip()


@pytest.mark.parametrize("output", ["/dev/full", "&-"], ids=["full", "closed"])
async def test_a_recovery_key_that_can_not_be_written_is_not_lost(
    output: str, store: Path, key_file: Path, token_file: Path
) -> None:
    # secret storage was made, and what opens it was nowhere
    session = Homeserver(lambda: 0).log_in(ALICE, PHONE)
    async with serving({"token": session}) as url:
        options = ("--key-file", key_file, "--homeserver", url, "--token-file", token_file)
        command = (sys.executable, "-m", "olmstate", "bootstrap", *map(str, (store, *options)))
        ran = await trio.run_process(
            ["/bin/sh", "-c", f'exec "$@" >{output}', "sh", *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_stderr=True,
            check=False,
        )
        said = ran.stderr.decode()
        assert 1 == ran.returncode, said
        assert "Traceback" not in said
        (key,) = re.findall(r"The recovery key: (.+)", said)
        async with open_supervisor(
            store, user_id=ALICE, device_id=PHONE, key=KEY, transport=transport_of(session)
        ) as supervisor:
            assert (await supervisor.ask(OpenSecretStorage(key=key))).key_id


def test_a_challenge_is_answered_with_a_password_if_that_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLMSTATE_ACCOUNT_PASSWORD", "correct horse")
    password = Secret(what="Password", variable="OLMSTATE_ACCOUNT_PASSWORD", option="--password-file")
    challenge: JsonObject = {"session": "xyz", "flows": [{"stages": ["m.oauth"]}, {"stages": ["m.login.password"]}]}
    assert {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "@alice:example.org"},
        "password": "correct horse",
        "session": "xyz",
    } == _password_auth("@alice:example.org", challenge, password)
    for flows in (None, ["m.login.password"], [{"stages": ["m.oauth"]}], [{"stages": ["m.login.password", "m.more"]}]):
        with pytest.raises(Exception, match="something else"):
            _password_auth("@alice:example.org", {"flows": flows}, password)
