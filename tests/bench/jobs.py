"""All jobs, by name."""

from __future__ import annotations

from tests.bench.beside_nio import one_message
from tests.bench.callers import callers
from tests.bench.capacities import capacities
from tests.bench.encryption import encryption
from tests.bench.growth import growth
from tests.bench.hostile import sync_hostile
from tests.bench.job import Job
from tests.bench.members import device_query, encrypt_for_room, share_first
from tests.bench.processes import processes, processes_by_number
from tests.bench.resources import housekeeping, idle, memory
from tests.bench.rooms import decrypt, encrypt, encrypt_together
from tests.bench.send_program import send_program
from tests.bench.sizes import sizes
from tests.bench.stall import stall
from tests.bench.stores import first_answer, open_and_decrypt
from tests.bench.to_device import share_100, share_1000, sync_new_sessions, sync_one_session

CHECKED: dict[str, Job] = {
    "decrypt": decrypt,
    "encrypt": encrypt,
    "encrypt-together": encrypt_together,
    "encrypt-for-room": encrypt_for_room,
    "processes-2": processes(2),
    "processes-4": processes(4),
    "sync-one-session": sync_one_session,
    "sync-new-sessions": sync_new_sessions,
    "share-100": share_100,
    "share-1000": share_1000,
    "share-first": share_first,
    "device-query": device_query,
    "sync-hostile": sync_hostile,
    "send-program": send_program,
    "first-answer": first_answer,
    "open": open_and_decrypt,
    "memory": memory,
    "idle": idle,
    "housekeeping": housekeeping,
    "stall": stall,
    "growth": growth,
}
"""Those with targets."""

SHOWN: dict[str, Job] = {
    "one-message": one_message,
    "sizes": sizes,
    "processes": processes_by_number,
    "callers": callers,
    "encryption": encryption,
    "capacities": capacities,
}
"""Those that only show how things are."""
