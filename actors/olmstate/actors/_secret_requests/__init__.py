"""Secrets that our own devices ask each other for."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._secrets.points import PRIVATE_KEYS_LEARNT
from olmstate.actors._to_device.handlers import (
    OLM_TROUBLE,
    ON_DECRYPTED,
    ON_PLAIN,
    SECRETS,
    Handler,
    OlmTrouble,
    SecretField,
)
from olmstate.actors._verification.points import OWN_IDENTITY_VERIFIED
from olmstate.messages import (
    AcknowledgeSecrets,
    CancelSecretRequests,
    DeleteSecrets,
    RequestSecrets,
    SecretInbox,
    SecretRefused,
    SecretRequests,
    SecretsReceived,
)

from .actor import SecretRequestsActor
from .asking import (
    REQUEST,
    SEND,
    acknowledge_secrets,
    cancel_secret_requests,
    delete_secrets,
    private_keys_learnt,
    receive_secrets,
    request_missing_secrets,
    request_secrets,
)
from .serving import SECRETS_HERE

CAPABILITY = Capability(
    actor=SecretRequestsActor,
    commands=(
        AcknowledgeSecrets.by(acknowledge_secrets),
        CancelSecretRequests.by(cancel_secret_requests),
        DeleteSecrets.by(delete_secrets),
        RequestSecrets.by(request_secrets),
    ),
    queries=(SecretInbox.answered_by(SecretRequestsActor), SecretRequests.answered_by(SecretRequestsActor)),
    events=(SecretRefused, SecretsReceived),
    additions=(
        ON_DECRYPTED.add(Handler((SEND,), receive_secrets)),
        # after a verification's events of the same sync: a device may ask as soon as it is verified
        ON_PLAIN.add(Handler((REQUEST,), SECRETS_HERE.receive)),
        OLM_TROUBLE.add(OlmTrouble(renewed=SECRETS_HERE.sessions_renewed, started=SECRETS_HERE.sessions_started)),
        SECRETS.add(SecretField(SEND, "secret")),
        PRIVATE_KEYS_LEARNT.add(private_keys_learnt),
        OWN_IDENTITY_VERIFIED.add(request_missing_secrets),
    ),
)
