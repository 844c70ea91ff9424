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


def http_session(client: httpx2.AsyncClient, url: str, user_id: UserId, device_id: DeviceId, token: str) -> HttpSession:
    """A device that has logged in."""
    request = _Caller(client, url, token)
    return HttpSession(user_id=user_id, device_id=device_id, request=request, url=url, token=token)


@attrs.frozen(kw_only=True)
class Homeserver:
    """A Synapse, as its users see it."""

    synapse: Synapse
    client: httpx2.AsyncClient = attrs.field(repr=False)

    async def register(self, name: str = "user") -> HttpSession:
        """A new user with one device."""
        username = f"{name}-{secrets.token_hex(4)}"
        target = "/_synapse/admin/v1/register"
        nonce: str = (await self._request("GET", target, None))["nonce"]
        password = self.password(username)
        signed = f"{nonce}\0{username}\0{password}\0notadmin".encode()
        mac = hmac.new(self.synapse.registration_secret.encode(), signed, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": username, "password": password, "admin": False, "mac": mac}
        return self._session(await self._request("POST", target, body))

    def password(self, user: str) -> str:
        """Of a user by id, or by name."""
        return f"password of {user.removeprefix('@').split(':')[0]}"

    async def log_in(self, user_id: UserId) -> HttpSession:
        """Another device of a user."""
        body: JsonObject = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": self.password(user_id),
        }
        return self._session(await self._request("POST", f"{API}/login", body))

    def through(self, url: str, session: HttpSession) -> HttpSession:
        """The same device, its requests sent to another URL: a proxy's."""
        return http_session(self.client, url, session.user_id, session.device_id, session.token)

    def _session(self, answer: JsonObject) -> HttpSession:
        user_id, device_id = UserId(answer["user_id"]), DeviceId(answer["device_id"])
        return http_session(self.client, self.synapse.url, user_id, device_id, answer["access_token"])

    async def _request(self, method: str, target: str, body: JsonObject | None) -> JsonObject:
        return await _Caller(self.client, self.synapse.url)(method, target, body)


@attrs.frozen
class _Caller:
    """Makes requests as somebody, or as nobody."""

    client: httpx2.AsyncClient
    url: str
    token: str | None = None

    async def __call__(self, method: str, target: str, body: JsonObject | None) -> JsonObject:
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        content = None if body is None else json.dumps(body).encode()
        url = self.url + target
        try:
            answer = await self.client.request(method, url, headers=headers, content=content, timeout=TIMEOUT)
        except httpx2.TransportError as error:
            raise NoAnswer(f"{method} {target}: {error!r}") from error
        try:
            parsed: JsonObject = answer.json()
        except ValueError as error:
            raise NoAnswer(f"{method} {target}: {answer.status_code}, but no JSON") from error
        if answer.status_code != 200:
            raise RequestRefused(answer.status_code, parsed)
        return parsed
