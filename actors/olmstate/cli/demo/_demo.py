"""The demo: several processes share one device, all send and receive at once, some are killed, and an outsider checks.

Owns: the order of things. What is done: `_replay`, `_sending`, `_correspondence`; who is killed: `_kills`; who looks:
`_homeserver` and `_reader`; what was seen: `_report`.
"""

from __future__ import annotations

import random
import secrets
import sys
from pathlib import Path

import attrs
import click
import trio

from olmstate.messages import JsonObject

from . import _correspondence, _replay, _sending
from ._calls import Refused
from ._correspondence import CORRESPONDENTS, Correspondence
from ._homeserver import Homeserver
from ._kills import Kills
from ._pace import Pace
from ._progress import show_progress
from ._reader import Device
from ._recording import Recording
from ._replay import Replay
from ._report import Report
from ._sending import Sending
from ._settings import Settings
from ._sync_stream import SyncStream
from ._workers import Workers

STORE = "store"
KEY = "key"


@attrs.frozen(kw_only=True)
class Plan:
    """What the user wants."""

    processes: int
    messages: int
    kills: int
    seed: int
    unsafe: bool


async def run_demo(plan: Plan, recording: Recording, folder: Path) -> Report:
    """Run it in ``folder``, which gets the store, its key, and what crashed processes said.

    Raises:
        click.ClickException: It could not go on.
    """
    account = recording.account
    report = Report(
        processes=plan.processes,
        messages=plan.messages,
        kills_wanted=plan.kills,
        seed=plan.seed,
        unsafe=plan.unsafe,
        recorded_expected=len(recording.readable),
        recorded_syncs=len(recording.syncs),
    )
    shared = Device(
        user_id=account["user_id"],
        device_id=account["device_id"],
        curve25519=account["curve25519"],
        ed25519=account["ed25519"],
    )
    homeserver = Homeserver(shared, CORRESPONDENTS, report)
    homeserver.keys.know({**account["published_one_time_keys"], **account["fallback_keys"]})
    key = secrets.token_bytes(32)
    (folder / KEY).touch(mode=0o600)
    (folder / KEY).write_bytes(key)
    settings = Settings(
        folder=str(folder / STORE),
        user_id=shared.user_id,
        device_id=shared.device_id,
        key=key.hex(),
        reader=(homeserver.reader.device.user_id, homeserver.reader.device.device_id),
        rotation=_sending.ROTATION,
        unsafe=plan.unsafe,
    )
    workers = Workers(plan.processes, settings, homeserver.serve, folder, report)
    started = trio.current_time()
    async with workers.running(), trio.open_nursery() as nursery:
        nursery.start_soon(show_progress, report, workers, sys.stderr)
        await _import(recording, homeserver, workers, random.Random(f"{plan.seed} import"))
        await _everything_at_once(plan, recording, homeserver, workers, report)
        nursery.cancel_scope.cancel()
    report.seconds = trio.current_time() - started
    return report


async def _import(recording: Recording, homeserver: Homeserver, workers: Workers, rng: random.Random) -> None:
    """Give the store the recorded account, and everybody's device keys, by random processes."""
    account = recording.account
    sessions = [
        {"sender_key": session["sender_key"], "pickle": session["pickle"]} for session in account["olm_sessions"]
    ]
    try:
        identity: JsonObject = await workers.anyone(
            rng,
            "import_account",
            pickle=account["account_pickle"],
            pickle_key=account["pickle_key"],
            olm_sessions=sessions,
        )
        for response in (recording.keys_query, homeserver.query_keys()):
            await workers.anyone(rng, "add_devices", response=response)
    except Refused as error:
        raise click.ClickException(f"the recorded account can't be imported: {error}") from error
    if identity["curve25519"] != homeserver.shared.curve25519:
        raise click.ClickException("the recorded account isn't the recorded device's")


async def _everything_at_once(
    plan: Plan, recording: Recording, homeserver: Homeserver, workers: Workers, report: Report
) -> None:
    def rng(purpose: str) -> random.Random:
        return random.Random(f"{plan.seed} {purpose}")

    lanes = {
        _replay.LANE: len(recording.syncs),
        _sending.LANE: plan.messages,
        _correspondence.LANE: _correspondence.rounds(plan.messages),
    }
    pace = Pace(lanes)
    async with trio.open_nursery() as nursery:
        kills = Kills(nursery, workers, rng=rng("kills"), lanes=lanes, report=report)
        stream = SyncStream(workers, homeserver, kills, report, rng("syncs"))
        replay = Replay(recording, workers, stream, pace, report=report, rng=rng(_replay.LANE))
        sending = Sending(workers, homeserver, kills, pace, report=report, rng=rng(_sending.LANE))
        correspondence = Correspondence(workers, homeserver, stream, pace, report=report, rng=rng(_correspondence.LANE))
        nursery.start_soon(replay.run)
        nursery.start_soon(sending.run)
        nursery.start_soon(correspondence.run)
