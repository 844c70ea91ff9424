"""Sessions on a real homeserver, over HTTP.

Owns: the HTTP client, and the names of the users that it has registered: each is new, so that tests share a server and
    nothing else.
Rule: an answer other than 200 is `RequestRefused`, an answer that doesn't come or isn't JSON is `NoAnswer`. Nothing is
    asked a second time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from functools import partial
from typing import Any

import attrs
import httpx2

from olmstate.messages import DeviceId, JsonObject, UserId
from tests.interop.synapse import Synapse
from tests.peer.session import API, RequestRefused, Session

TIMEOUT = 60
"""Seconds for an answer: a sync waits less."""


class NoAnswer(Exception):
    """The request may have been carried out, or not."""


@attrs.frozen(kw_only=True)
class HttpSession(Session):
    """A session, and what a program that makes its own requests logs in with."""

    url: str
    token: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Homeserver:
    """A Synapse, as its users see it."""

    synapse: Synapse
    client: httpx2.AsyncClient = attrs.field(repr=False)

    async def register(self, name: str = "user") -> HttpSession:
        """A new user with one device."""
        username = f"{name}-{secrets.token_hex(4)}"
        target = "/_synapse/admin/v1/register"
        url = self.synapse.url
        nonce: str = (await self._request(url, None, "GET", target, None))["nonce"]
        password = f"password of {username}"
        signed = f"{nonce}\0{username}\0{password}\0notadmin".encode()
        mac = hmac.new(self.synapse.registration_secret.encode(), signed, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": username, "password": password, "admin": False, "mac": mac}
        return self._session(await self._request(url, None, "POST", target, body), url)

    async def log_in(self, user_id: UserId) -> HttpSession:
        """Another device of a user."""
        body: JsonObject = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": f"password of {user_id[1:].split(':')[0]}",
        }
        url = self.synapse.url
        return self._session(await self._request(url, None, "POST", f"{API}/login", body), url)

    def through(self, url: str, session: HttpSession) -> HttpSession:
        """The same device, its requests sent to another URL: a proxy's."""
        request = partial(self._request, url, session.token)
        return attrs.evolve(session, url=url, request=request)

    def _session(self, answer: JsonObject, url: str) -> HttpSession:
        token: str = answer["access_token"]
        user_id, device_id = UserId(answer["user_id"]), DeviceId(answer["device_id"])
        request = partial(self._request, url, token)
        return HttpSession(user_id=user_id, device_id=device_id, request=request, url=url, token=token)

    async def _request(
        self, url: str, token: str | None, method: str, target: str, body: JsonObject | None
    ) -> JsonObject:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        content: Any = None if body is None else json.dumps(body).encode()
        try:
            answer = await self.client.request(method, url + target, headers=headers, content=content, timeout=TIMEOUT)
        except httpx2.TransportError as error:
            raise NoAnswer(f"{method} {target}: {error!r}") from error
        try:
            parsed: JsonObject = answer.json()
        except ValueError as error:
            raise NoAnswer(f"{method} {target}: {answer.status_code}, but no JSON") from error
        if answer.status_code != 200:
            raise RequestRefused(answer.status_code, parsed)
        return parsed
