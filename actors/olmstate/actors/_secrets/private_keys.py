"""Our user's private keys as they stand against what is published: taken in, told of, and given out."""

from __future__ import annotations

from collections.abc import Mapping

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import Identity, Usage
from olmstate.actors._identities.operations import MarkVerified, known_identities, mark_verified
from olmstate.actors._identities.signing import Seeds, compare, seed_from_base64
from olmstate.messages import (
    ImportCrossSigningKeys,
    MismatchedSecret,
    PrivateCrossSigningKeys,
    PrivateCrossSigningKeysChanged,
    PrivateKey,
    SecretOrigin,
    UnknownIdentity,
    UserId,
)

from .actor import BACKUP_KEY, LookUpPrivateKeys, PrivateKeys, SecretsActor, StoreSeeds
from .points import PRIVATE_KEYS_LEARNT


async def published_identity(turn: Turn, user_id: UserId) -> Identity | None:
    """A user's identity, as far as it is known."""
    known = (await known_identities(turn, (user_id,)))[user_id]
    return None if known is None else known.identity


async def import_cross_signing_keys(turn: Turn, command: ImportCrossSigningKeys) -> PrivateCrossSigningKeys:
    """Read them, and take them in."""
    texts = {usage: getattr(command.seeds, usage.value) for usage in Usage}
    seeds = Seeds(**{usage.value: seed_from_base64(text, usage) for usage, text in texts.items() if text is not None})
    return await take_seeds(turn, seeds, SecretOrigin.IMPORTED)


async def take_seeds(turn: Turn, seeds: Seeds, origin: SecretOrigin) -> PrivateCrossSigningKeys:
    """Compare private keys with what is published, and store them; with the master key, our identity is verified.

    Raises:
        UnknownIdentity: Our user has none.
        MismatchedSecret: One isn't the published key's: none is stored.
    """
    user_id = (await own_device(turn)).identity.user_id
    published = await published_identity(turn, user_id)
    if published is None:
        raise UnknownIdentity(user_id=user_id)
    matches = compare(seeds, published)
    for usage, right in matches.items():
        if not right:
            raise MismatchedSecret(name=usage.secret_name)
    await turn[SecretsActor].ask(StoreSeeds(seeds=seeds, origin=origin))
    if seeds.master is not None:
        await mark_verified(turn, MarkVerified(user_id=user_id, master_key=published.master.public_key))
    return await tell_of_private_keys(turn, user_id)


async def usable_secrets(turn: Turn) -> dict[str, bytes]:
    """What is here and of use, by name: the private keys of the published identity, and the backup key."""
    keys = await turn[SecretsActor].ask(LookUpPrivateKeys())
    return usable(keys, await published_identity(turn, (await own_device(turn)).identity.user_id))


def usable(keys: PrivateKeys, published: Identity | None) -> dict[str, bytes]:
    """The same, of what is known."""
    matches: Mapping[Usage, bool] = {} if published is None else compare(keys.seeds, published)
    found = {
        usage.secret_name: seed
        for usage, is_right in matches.items()
        if is_right and (seed := keys.seeds.of(usage)) is not None
    }
    return found if keys.backup_key is None else {**found, BACKUP_KEY: keys.backup_key}


async def tell_of_private_keys(turn: Turn, user_id: UserId) -> PrivateCrossSigningKeys:
    """Have subscribers, and capabilities, hear which private keys are there."""
    keys = await turn[SecretsActor].ask(LookUpPrivateKeys())
    status = status_of(keys, await published_identity(turn, user_id))
    turn.events.append(PrivateCrossSigningKeysChanged(keys=status))
    for learn in turn.additions[PRIVATE_KEYS_LEARNT]:
        await learn(turn)
    return status


def status_of(keys: PrivateKeys, published: Identity | None) -> PrivateCrossSigningKeys:
    """Which are there, and whether they are those of what is published."""
    matches: Mapping[Usage, bool] = {} if published is None else compare(keys.seeds, published)
    private = {
        usage: None if origin is None else PrivateKey(origin=origin, matches=matches.get(usage))
        for usage in Usage
        for origin in (keys.origins.get(usage),)
    }
    return PrivateCrossSigningKeys(
        master=private[Usage.MASTER],
        self_signing=private[Usage.SELF_SIGNING],
        user_signing=private[Usage.USER_SIGNING],
        published=published is not None,
        pending=keys.pending.complete,
    )
