"""To-device events for the app, kept until it has dealt with them."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._to_device.handlers import ON_DECRYPTED, ON_PLAIN, Handler
from olmstate.messages import AcknowledgeInbox, Inbox, InboxReceived, KeepInInbox

from .actor import InboxActor
from .operations import acknowledge_inbox, keep_in_inbox, receive_decrypted, receive_plain

CAPABILITY = Capability(
    actor=InboxActor,
    commands=(AcknowledgeInbox.by(acknowledge_inbox), KeepInInbox.by(keep_in_inbox)),
    queries=(Inbox.answered_by(InboxActor),),
    events=(InboxReceived,),
    additions=(
        ON_DECRYPTED.add(Handler(None, receive_decrypted)),
        ON_PLAIN.add(Handler(None, receive_plain)),
    ),
)
