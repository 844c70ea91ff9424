"""matrix-nio as a program: newline-delimited JSON on stdin and stdout, as `node/rust_peer.mjs` speaks it.

Owns: one `AsyncClient` for each name (``m``), with matrix-nio's own store in the folder that `open` names.
Rule: it does what a bot on matrix-nio does, with matrix-nio's own requests; nothing of olmstate is imported. Commands
    run one after another.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

NioObject: TypeAlias = Any
"""Something of matrix-nio's: untyped here, whether it is installed or not."""
Answer: TypeAlias = Any
"""Of a command: any JSON."""

nio: NioObject = import_module("nio")
FILTER = {"room": {"timeline": {"limit": 1_000}}}


class Refused(Exception):
    """The homeserver's answer, or matrix-nio's, was an error."""


async def accepted(response: Awaitable[NioObject]) -> NioObject:
    """An answer that is no error."""
    answer = await response
    if isinstance(answer, nio.ErrorResponse):
        raise Refused(str(answer))
    return answer


class Client:
    """One device."""

    def __init__(self, client: NioObject) -> None:
        self.nio = client
        self.undecrypted: dict[str, NioObject] = {}
        self.to_device: list[dict[str, Any]] = []
        client.add_to_device_callback(self._take_to_device, nio.ToDeviceEvent)

    @classmethod
    async def open(cls, url: str, user_id: str, device_id: str, token: str, store: str) -> Client:
        """Log in with a token, and load what the store has."""
        Path(store).mkdir(exist_ok=True)
        config = nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True, pickle_key="key")
        client = nio.AsyncClient(url, user_id, device_id, store_path=store, config=config)
        client.restore_login(user_id, device_id, token)
        return cls(client)

    async def close(self) -> None:
        """Give back the connection and the store; the device goes on when it's opened again."""
        await self.nio.close()

    def _take_to_device(self, event: NioObject) -> None:
        self.to_device.append({"kind": type(event).__name__, "event": event.source})

    # --- what a bot does --------------------------------------------------------------------------------------------

    async def sync(self) -> Answer:
        """Everything new, then what there is to upload, query, claim and send.

        Returns:
            ``messages`` that could be read, and those that could ``unread`` not, each once it is so.
        """
        messages: list[Answer] = []
        response = await accepted(self.nio.sync(timeout=0, sync_filter=FILTER, full_state=not self.nio.next_batch))
        for room_id, room in response.rooms.join.items():
            for event in room.timeline.events:
                if isinstance(event, nio.MegolmEvent):
                    self.undecrypted[event.event_id] = event
                elif getattr(event, "decrypted", False):
                    messages.append(_message(room_id, event))
        await self._keep_house()
        for event_id, event in list(self.undecrypted.items()):
            try:
                read = self.nio.decrypt_event(event)
            except nio.EncryptionError:
                continue
            del self.undecrypted[event_id]
            messages.append(_message(event.room_id, read))
        return {"messages": messages, "unread": {event_id: e.session_id for event_id, e in self.undecrypted.items()}}

    async def _keep_house(self) -> None:
        if self.nio.should_upload_keys:
            await accepted(self.nio.keys_upload())
        if self.nio.should_query_keys:
            await accepted(self.nio.keys_query())
        if self.nio.should_claim_keys:
            await accepted(self.nio.keys_claim(self.nio.get_users_for_key_claiming()))
        await self.nio.send_to_device_messages()

    async def send(self, room_id: str, type: str, content: dict[str, Any]) -> Answer:  # noqa: A002 - the wire's name
        """Send to everybody's devices, trusted or not. The event's id."""
        sent = await accepted(self.nio.room_send(room_id, type, content, ignore_unverified_devices=True))
        return sent.event_id

    async def rotate(self, room_id: str) -> Answer:
        """Use a new session from now on."""
        self.nio.invalidate_outbound_session(room_id)

    async def lose_sessions(self) -> Answer:
        """Forget all Olm sessions, and don't wait for an hour before there are new ones."""
        self.nio.olm.session_store = type(self.nio.olm.session_store)()
        self.nio.olm._unwedging_interval = timedelta(0)

    async def devices(self, user_id: str) -> Answer:
        """What is known of a user's devices."""
        return [
            {
                "device_id": device.id,
                "curve25519": device.curve25519,
                "ed25519": device.ed25519,
                "trust": device.trust_state.name,
                "deleted": device.deleted,
            }
            for device in self.nio.device_store.active_user_devices(user_id)
        ]

    async def trust(self, user_id: str, device_id: str, state: str) -> Answer:
        """``verify``, ``blacklist``, ``ignore``, or any of them with ``un`` before it."""
        getattr(self.nio, f"{state}_device")(self.nio.device_store[user_id][device_id])

    async def request_key(self, event_id: str) -> Answer:
        """Ask the user's other devices for an unread event's key."""
        await accepted(self.nio.request_room_key(self.undecrypted[event_id]))

    async def share_requested(self) -> Answer:
        """Answer all requests for keys that wait for it."""
        for event in list(self.nio.olm.key_request_from_untrusted.values()):
            self.nio.continue_key_share(event)
        await self.nio.send_to_device_messages()

    async def taken_to_device(self) -> Answer:
        """The to-device events that came since the last time."""
        taken, self.to_device = self.to_device, []
        return taken

    async def export_keys(self, file: str, passphrase: str) -> Answer:
        """Room keys into a key file."""
        await self.nio.export_keys(file, passphrase)

    async def import_keys(self, file: str, passphrase: str) -> Answer:
        """Room keys from a key file."""
        await self.nio.import_keys(file, passphrase)

    async def identity(self) -> Answer:
        """This device's public keys."""
        return self.nio.olm.account.identity_keys


def _message(room_id: str, event: NioObject) -> dict[str, Any]:
    source = event.source
    return {
        "room_id": room_id,
        "event_id": event.event_id,
        "sender": event.sender,
        "type": source["type"],
        "content": source["content"],
        "session_id": event.session_id,
    }


COMMANDS: dict[str, Callable[..., Answer]] = {
    name: member for name, member in vars(Client).items() if not name.startswith("_") and callable(member)
}


async def answer(clients: dict[str, Client], cmd: str, m: str, arguments: dict[str, Any]) -> Answer:
    """Run one command."""
    if cmd == "open":
        clients[m] = await Client.open(**arguments)
        return None
    if cmd == "close":
        return await clients.pop(m).close()
    if cmd == "forget":
        return await forget(clients)
    return await COMMANDS[cmd](clients[m], **arguments)


async def forget(clients: dict[str, Client]) -> None:
    """Close all."""
    while clients:
        await clients.popitem()[1].close()


async def main() -> None:
    """Answer until stdin ends."""
    clients: dict[str, Client] = {}
    print(json.dumps({"ready": True, "versions": {"nio": version("matrix-nio")}}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        number, cmd, m = asked.pop("id"), asked.pop("cmd"), asked.pop("m", "default")
        try:
            result = await answer(clients, cmd, m, asked)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            told: dict[str, Any] = {"id": number, "ok": False, "error": str(error), "code": type(error).__name__}
        else:
            told = {"id": number, "ok": True, "result": result}
        print(json.dumps(told), flush=True)
    await forget(clients)


if __name__ == "__main__":
    asyncio.run(main())
