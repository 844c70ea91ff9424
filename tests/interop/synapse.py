"""A Synapse of our own: a process on a free loopback port, with a fresh database, and no limits on how fast one asks.

Owns: its configuration, its process, its log.
Rule: what was started here is stopped here. Nothing leaves 127.0.0.1: no federation, no key servers, no statistics.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import attrs

SERVER_NAME = "lab.test"
PATIENCE = 60
"""Seconds until it answers: it takes three here."""
UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}


@attrs.frozen(kw_only=True)
class Synapse:
    """A running one."""

    url: str
    registration_secret: str = attrs.field(repr=False)
    log: Path


class SynapseFailed(Exception):
    """It didn't start."""


@contextmanager
def running_synapse(command: tuple[str, ...], folder: Path) -> Generator[Synapse]:
    """Run a Synapse that keeps its files in ``folder`` until the block is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    secret = secrets.token_hex(16)
    configuration = folder / "homeserver.json"  # JSON is YAML
    configuration.write_text(json.dumps(_configuration(folder, port, secret)))
    seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    (folder / "signing.key").write_text(f"ed25519 a_test {seed}\n")
    synapse = Synapse(url=f"http://127.0.0.1:{port}", registration_secret=secret, log=folder / "synapse.log")
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, str(configuration)], stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=folder
        )
    try:
        _wait_until_it_answers(process, synapse, folder / "output")
        yield synapse
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _wait_until_it_answers(process: subprocess.Popen[bytes], synapse: Synapse, output: Path) -> None:
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with ask(f"{synapse.url}/_matrix/client/versions", timeout=PATIENCE):
                return
        except urllib.error.URLError as refused:
            if process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
                continue
            log = synapse.log.read_text()[-4_000:] if synapse.log.exists() else ""
            raise SynapseFailed(f"ended with {process.poll()}: {output.read_text()}\n{log}") from refused


def _configuration(folder: Path, port: int, secret: str) -> dict[str, object]:
    listener = {"port": port, "type": "http", "tls": False, "bind_addresses": ["127.0.0.1"]}
    log = folder / "log.json"
    log.write_text(json.dumps(_log_configuration(folder)))
    return {
        "server_name": SERVER_NAME,
        "pid_file": str(folder / "pid"),
        "report_stats": False,
        "listeners": [{**listener, "resources": [{"names": ["client"], "compress": False}]}],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
        "log_config": str(log),
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "registration_shared_secret": secret,
        "macaroon_secret_key": secret,
        "form_secret": secret,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "federation_domain_whitelist": [],
        "presence": {"enabled": False},
        "bcrypt_rounds": 4,  # the least: a login takes no third of a second
        **_no_limits(),
    }


def _no_limits() -> dict[str, object]:
    names = ("message", "registration", "admin_redaction", "joins_per_room", "3pid_validation", "key_requests")
    more = ("room_creation", "media_create", "delayed_event_mgmt", "user_directory", "profile")
    return {
        **{f"rc_{name}": UNLIMITED for name in (*names, *more)},
        "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), UNLIMITED),
        "rc_joins": dict.fromkeys(("local", "remote"), UNLIMITED),
        "rc_invites": dict.fromkeys(("per_room", "per_user", "per_issuer"), UNLIMITED),
        "rc_presence": {"per_user": UNLIMITED},
    }


def _log_configuration(folder: Path) -> dict[str, object]:
    line = "%(asctime)s %(name)s %(lineno)d %(levelname)s %(message)s"
    file = {"class": "logging.FileHandler", "formatter": "line", "filename": str(folder / "synapse.log")}
    return {
        "version": 1,
        "formatters": {"line": {"format": line}},
        "handlers": {"file": file},
        "root": {"level": "WARNING", "handlers": ["file"]},
        "disable_existing_loggers": False,
    }
