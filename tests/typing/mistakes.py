# pyright: reportUnnecessaryTypeIgnoreComment=error
"""Mistakes that a type checker finds before anything runs; checked by both, never run.

Each line that is wrong is marked. A mark without a mistake is an error itself, so a mistake that is no longer found
fails the check.
"""

from __future__ import annotations

from typing import Any, TypeAlias, assert_never

import attrs

from olmstate.actors import Supervisor
from olmstate.actors._account.actor import AccountActor, Create, MakeKeys
from olmstate.actors._devices.actor import DevicesActor, LookUp
from olmstate.actors._engine.capability import Capability, WithoutTurn
from olmstate.actors._engine.turn import Turn
from olmstate.actors._rooms.actor import GiveBack
from olmstate.actors._rooms.room_encryption import RoomEncryption
from olmstate.actors.testing import ActorsUnderTest
from olmstate.messages import (
    Command,
    CreateAccount,
    DecryptedToDevice,
    Devices,
    DevicesChanged,
    DiscardRoomKey,
    ExportKeyFile,
    IdentityKeys,
    Message,
    PlainToDevice,
    PrepareRoomKey,
    Query,
    ReplayedToDevice,
    Reply,
    RoomId,
    Route,
    SyncToken,
    ToDeviceOutcome,
    UserId,
)

# --- asking -------------------------------------------------------------------------------------------------


async def ask_for_what_is_no_message(supervisor: Supervisor) -> None:
    await supervisor.ask("token")  # type: ignore[arg-type]
    await supervisor.ask(SyncToken)  # type: ignore[arg-type]


async def forget_to_await(supervisor: Supervisor) -> None:
    token: str | None = supervisor.ask(SyncToken())  # type: ignore[assignment]
    del token


async def forget_that_there_may_be_no_token(supervisor: Supervisor) -> str:
    return await supervisor.ask(SyncToken())  # type: ignore[arg-type]


async def take_one_reply_for_another(supervisor: Supervisor) -> None:
    identity = await supervisor.ask(CreateAccount())
    print(identity.one_time_keys)  # type: ignore[attr-defined]


async def run_what_runs_by_itself(supervisor: Supervisor) -> None:
    await supervisor.run()  # type: ignore[attr-defined]
    await supervisor.close()  # type: ignore[attr-defined]
    supervisor.publish(DevicesChanged(added=(), removed=()))  # type: ignore[attr-defined]


# --- messages -----------------------------------------------------------------------------------------------


def give_a_plain_string_for_an_id(text: str) -> None:
    PrepareRoomKey(room_id=text)  # type: ignore[arg-type]
    PrepareRoomKey(room_id=UserId(text))  # type: ignore[arg-type]


def leave_the_name_of_a_field_out() -> None:
    PrepareRoomKey(RoomId("!room:example.org"))  # type: ignore[call-arg]


def leave_a_field_out() -> None:
    PrepareRoomKey()  # type: ignore[call-arg]


def change_a_message(message: PrepareRoomKey) -> None:
    message.room_id = RoomId("!other:example.org")  # type: ignore[misc]


# --- actors -------------------------------------------------------------------------------------------------


async def ask_the_wrong_actor(actors: ActorsUnderTest) -> None:
    await actors.devices.ask(IdentityKeys())  # type: ignore[arg-type]
    await actors.account.ask(Devices(user_id=UserId("@bob:example.org")))  # type: ignore[arg-type]
    await actors.account.ask(LookUp(users=()))  # type: ignore[arg-type]
    await actors.olm_sessions.ask(MakeKeys(now=0))  # type: ignore[arg-type]
    await actors.inbound_group_sessions.ask(GiveBack())  # type: ignore[arg-type]
    await actors.outbound_group_sessions.ask(SyncToken())  # type: ignore[arg-type]


async def ask_an_actor_what_the_supervisor_does(actors: ActorsUnderTest) -> None:
    await actors.account.ask(CreateAccount())  # type: ignore[arg-type]


# --- routes -------------------------------------------------------------------------------------------------


async def discard(turn: Turn, command: DiscardRoomKey) -> None: ...


async def make_and_say_nothing(turn: Turn, command: CreateAccount) -> None: ...


async def export_in_a_turn(turn: Turn, procedure: ExportKeyFile) -> str:
    return ""


def give_a_message_to_what_takes_another() -> tuple[Route[Turn], ...]:
    return (
        DiscardRoomKey.by(discard),
        PrepareRoomKey.by(discard),  # type: ignore[arg-type]
        Devices.answered_by(DevicesActor),  # type: ignore[return-value]
    )


def give_another_reply() -> Route[Turn]:
    return CreateAccount.by(make_and_say_nothing)  # type: ignore[arg-type]


def leave_a_query_to_an_actor_that_does_not_know_it() -> None:
    Devices.answered_by(AccountActor)  # type: ignore[arg-type]


def route_a_procedure_as_if_it_ran_in_a_turn() -> Capability:
    return Capability(procedures=(ExportKeyFile.by(export_in_a_turn),))  # type: ignore[arg-type]


def do_without_a_turn_what_takes_another_message(make: type[RoomEncryption]) -> WithoutTurn[RoomEncryption]:
    return WithoutTurn(make, (PrepareRoomKey.by(make.encrypt),))  # type: ignore[arg-type]


async def take_one_actor_for_another(turn: Turn) -> None:
    await turn[AccountActor].ask(LookUp(users=()))  # type: ignore[arg-type]
    turn[DevicesActor].own_device  # type: ignore[attr-defined]  # noqa: B018 - it is the mistake


# --- answering ----------------------------------------------------------------------------------------------


def answer_with_a_value_of_another_type(token: SyncToken, create: Create) -> None:
    token.reply(5)  # type: ignore[arg-type]
    create.reply(None)  # type: ignore[arg-type]


@attrs.frozen
class Greet(Query[str]):
    """Answered with text."""

    name: str


@attrs.frozen
class Count(Command[int]):
    """Answered with a number."""


Asked: TypeAlias = Greet | Count


def handle_all(asked: Asked) -> Reply:
    match asked:
        case Greet(name=name):
            return asked.reply(f"hello {name}")
        case Count():
            return asked.reply(1)
        case _:
            assert_never(asked)


def forget_a_case(asked: Asked) -> Reply:
    match asked:
        case Greet(name=name):
            return asked.reply(f"hello {name}")
        case _:
            assert_never(asked)  # type: ignore[arg-type]


def answer_one_with_what_is_anothers(asked: Asked) -> Reply:
    match asked:
        case Greet():
            return asked.reply(1)  # type: ignore[arg-type]
        case Count():
            return asked.reply("hello")  # type: ignore[arg-type]


def answer_without_a_reply(asked: Greet) -> Reply:
    return asked.name  # type: ignore[return-value]


def forget_an_outcome(outcome: ToDeviceOutcome) -> str:
    match outcome:
        case DecryptedToDevice():
            return outcome.type
        case PlainToDevice() | ReplayedToDevice():
            return ""
        case _:
            assert_never(outcome)  # type: ignore[arg-type]


def widen_a_reply(message: Message[str]) -> Message[object]:
    return message  # type: ignore[return-value]


# --- events -------------------------------------------------------------------------------------------------


def subscribe_to_what_is_no_event(supervisor: Supervisor) -> None:
    supervisor.subscribe(SyncToken)  # type: ignore[type-var]


async def expect_another_event(supervisor: Supervisor) -> None:
    with supervisor.subscribe(DevicesChanged) as events:
        event = await events.receive()
        print(event.room_keys)  # type: ignore[attr-defined]


def forget_what_a_message_may_be(message: Message[Any]) -> Query[Any]:
    return message  # type: ignore[return-value]
