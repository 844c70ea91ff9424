"""Private cross-signing keys, and secret storage."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, REFUSALS, Answer, Refusal
from olmstate.messages import (
    BootstrapCrossSigning,
    CrossSigningStatus,
    ExportCrossSigningKeys,
    ImportCrossSigningKeys,
    PrivateCrossSigningKeysChanged,
    RequestKind,
    VerifyUser,
)

from .actor import CommittedPrivateKeys, SecretsActor
from .operations import (
    PrepareNextStep,
    RefreshOwnIdentity,
    SignUser,
    import_cross_signing_keys,
    prepare_next_step,
    refresh_own_identity,
    refused_signature,
    sign_user,
    signing_keys_refused,
    take_keys_answer,
    take_signatures_answer,
    take_signing_keys_answer,
)
from .procedures import bootstrap_cross_signing, cross_signing_status, export_cross_signing_keys, verify_user

CAPABILITY = Capability(
    actor=SecretsActor,
    commands=(
        ImportCrossSigningKeys.by(import_cross_signing_keys),
        PrepareNextStep.by(prepare_next_step),
        RefreshOwnIdentity.by(refresh_own_identity),
        SignUser.by(sign_user),
    ),
    queries=(CommittedPrivateKeys.answered_by(SecretsActor),),
    procedures=(
        BootstrapCrossSigning.by(bootstrap_cross_signing),
        CrossSigningStatus.by(cross_signing_status),
        ExportCrossSigningKeys.by(export_cross_signing_keys),
        VerifyUser.by(verify_user),
    ),
    additions=(
        ANSWERS.add(Answer(kind=RequestKind.KEYS_UPLOAD, take=take_keys_answer)),
        ANSWERS.add(Answer(kind=RequestKind.SIGNING_KEYS_UPLOAD, take=take_signing_keys_answer)),
        REFUSALS.add(Refusal(kind=RequestKind.SIGNING_KEYS_UPLOAD, take=signing_keys_refused)),
        ANSWERS.add(
            Answer(kind=RequestKind.SIGNATURES_UPLOAD, take=take_signatures_answer, complaint=refused_signature)
        ),
    ),
    events=(PrivateCrossSigningKeysChanged,),
)
