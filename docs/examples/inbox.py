"""An app's own to-device events: each is dealt with, and acknowledged."""

from __future__ import annotations

import olmstate.messages as m
from olmstate.actors import Supervisor

LETTER, ANSWER = "org.example.letter", "org.example.answer"


async def answer_letters(device: Supervisor) -> None:
    """Answer each letter that comes, and those that wait."""
    with device.subscribe(m.InboxReceived, m.Lagged) as news:
        while True:
            page = await device.ask(m.Inbox(types=(LETTER,)))
            for each in page.events:
                await answer(device, each.event)
                await device.ask(m.AcknowledgeInbox(numbers=(each.number,)))
            if not page.more:
                await news.receive()


async def answer(device: Supervisor, letter: m.InboxContent) -> None:
    """Send one back to a device that is known."""
    if not isinstance(letter, m.DecryptedToDevice) or letter.sender_device is None:
        return  # anybody can have sent that
    sender = m.DeviceAddress(
        user_id=letter.sender_device.user_id, device_id=letter.sender_device.device_id
    )
    text = f"thanks for {letter.content.get('text')}"
    message = m.SendToDevice(devices=(sender,), type=ANSWER, content={"text": text})
    await device.ask(message)
