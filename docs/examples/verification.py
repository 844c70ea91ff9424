"""Answer whoever asks to verify: take the request, and have the user compare."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from olmstate.actors import Supervisor
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    StartSas,
    Verification,
    VerificationChanged,
    VerificationError,
    Verifications,
    VerificationStage,
)

Ask = Callable[[str], Awaitable[bool]]


async def answer_requests(supervisor: Supervisor, ask: Ask) -> None:
    """Until cancelled. ``ask`` puts a question to the user."""
    with supervisor.subscribe(VerificationChanged) as changes:
        async for _ in changes:
            for flow in await supervisor.ask(Verifications()):
                # an error: it has gone on meanwhile, which is another change
                with contextlib.suppress(VerificationError):
                    await next_step(supervisor, flow, ask)


async def next_step(supervisor: Supervisor, flow: Verification, ask: Ask) -> None:
    user_id, flow_id = flow.user_id, flow.flow_id
    cancel = CancelVerification(user_id=user_id, flow_id=flow_id)
    accept = AcceptVerification(user_id=user_id, flow_id=flow_id)
    match flow.stage:
        case VerificationStage.ASKED:
            agreed = await ask(f"{flow.device_id} of {user_id} asks to verify. Do you?")
            await supervisor.ask(accept if agreed else cancel)
        case VerificationStage.READY:
            await supervisor.ask(StartSas(user_id=user_id, flow_id=flow_id))
        case VerificationStage.COMPARING:
            confirm = ConfirmVerification(user_id=user_id, flow_id=flow_id)
            differ = CancelVerification(user_id=user_id, flow_id=flow_id, mismatch=True)
            emoji = " ".join(each.symbol for each in flow.emoji or ())
            # not all have emoji
            shown = emoji or " ".join(map(str, flow.decimals or ()))
            same = await ask(f"Does the other device show {shown}?")
            await supervisor.ask(confirm if same else differ)
        case _:
            pass
