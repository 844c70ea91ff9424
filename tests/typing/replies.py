# pyright: reportUnnecessaryTypeIgnoreComment=error
"""What `Supervisor.ask` gives for each message: checked by both type checkers, never run.

A test beside this file makes sure that no message is missing here.
"""

from __future__ import annotations

from typing import assert_type

from olmstate.actors import Supervisor
from olmstate.messages import (
    AcceptVerification,
    AcknowledgeInbox,
    AcknowledgeSecrets,
    AddDevices,
    AddRoomKey,
    BootstrapCrossSigning,
    CancelRoomKeyRequests,
    CancelSecretRequests,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    CreateOlmSessions,
    CreateSecretStorage,
    CrossSigningSeeds,
    CrossSigningStatus,
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeleteSecrets,
    DescribeSecretStorage,
    DeviceIdentity,
    DeviceKeys,
    Devices,
    DevicesAdded,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptedToDevice,
    EncryptForRoom,
    EncryptionInfo,
    EncryptionInfoOf,
    EncryptionSettings,
    EncryptRoomEvent,
    EncryptToDevice,
    EventsParked,
    ExportCrossSigningKeys,
    ExportKeyFile,
    ExportRoomKeys,
    ForgetParkedEvents,
    Identity,
    IdentityKeys,
    ImportAccount,
    ImportCrossSigningKeys,
    ImportKeyFile,
    ImportRoomKeys,
    Inbox,
    InboxPage,
    JsonObject,
    KeepInInbox,
    MarkKeysPublished,
    MarkRequestFailed,
    MarkRequestSent,
    MarkRoomKeyShared,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    MissingSessions,
    OlmSessionsCreated,
    OpenSecretStorage,
    OutboundRoomKey,
    OutdatedUsers,
    OutgoingRequests,
    ParkedEvent,
    ParkedEvents,
    ParkEvents,
    PinIdentity,
    PrepareAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    PrivateCrossSigningKeys,
    PublishAccount,
    ReadSecret,
    ReceivedSecret,
    ReceiveSync,
    ReceiveVerificationEvent,
    Recovered,
    RecoverFromSecretStorage,
    RemoveSecretStorageKey,
    Request,
    RequestRoomKeys,
    RequestSecrets,
    RequestVerification,
    ResetCrossSigning,
    RoomKeyChange,
    RoomKeyRequest,
    RoomKeyRequests,
    RoomKeyShare,
    RoomKeysImported,
    RoomKeysRequested,
    RoomSettings,
    RotateRoomKey,
    ScanQrCode,
    SecretInbox,
    SecretRequest,
    SecretRequests,
    SecretsRequested,
    SecretStorageCreated,
    SecretStorageInfo,
    SecretStorageKey,
    SendToDevice,
    SentToDevice,
    SessionsMissing,
    SetBackupWanted,
    SetDefaultSecretStorageKey,
    SetDeviceTrust,
    SetRoomSettings,
    ShareRoomKey,
    ShowQrCode,
    SignDevice,
    SignedDeviceKeys,
    StartSas,
    Statistics,
    SupervisorStatistics,
    SyncReceived,
    SyncToken,
    ToDeviceOutcome,
    TrackUsers,
    UnpublishedKeys,
    UpdateDevices,
    UserId,
    UserIdentity,
    Verification,
    VerificationMessage,
    VerificationMessages,
    Verifications,
    VerifyUser,
    WithdrawVerification,
    WriteSecret,
)


async def account(
    supervisor: Supervisor, import_account: ImportAccount, mark_keys_published: MarkKeysPublished
) -> None:
    assert_type(await supervisor.ask(CreateAccount()), DeviceIdentity)
    assert_type(await supervisor.ask(PrepareAccount()), DeviceIdentity)
    assert_type(await supervisor.ask(PublishAccount()), DeviceIdentity)
    assert_type(await supervisor.ask(import_account), DeviceIdentity)
    assert_type(await supervisor.ask(IdentityKeys()), DeviceIdentity)
    assert_type(await supervisor.ask(SignedDeviceKeys()), JsonObject)
    assert_type(await supervisor.ask(PrepareOneTimeKeys()), UnpublishedKeys)
    assert_type(await supervisor.ask(mark_keys_published), None)


async def devices(supervisor: Supervisor, add_devices: AddDevices, of_user: Devices) -> None:
    assert_type(await supervisor.ask(add_devices), DevicesAdded)
    assert_type(await supervisor.ask(of_user), tuple[DeviceKeys, ...])


async def olm(
    supervisor: Supervisor,
    *,
    create: CreateOlmSessions,
    encrypt: EncryptToDevice,
    decrypt: DecryptToDevice,
    sync: ReceiveSync,
    missing: MissingSessions,
) -> None:
    assert_type(await supervisor.ask(missing), SessionsMissing)
    assert_type(await supervisor.ask(create), OlmSessionsCreated)
    assert_type(await supervisor.ask(encrypt), EncryptedToDevice)
    assert_type(await supervisor.ask(decrypt), tuple[ToDeviceOutcome, ...])
    assert_type(await supervisor.ask(sync), SyncReceived)
    assert_type(await supervisor.ask(SyncToken()), str | None)


async def rooms(
    supervisor: Supervisor,
    *,
    room_key: PrepareRoomKey,
    rotate: RotateRoomKey,
    discard: DiscardRoomKey,
    share: ShareRoomKey,
    mark_shared: MarkRoomKeyShared,
    encrypt: EncryptRoomEvent,
    encrypt_for_room: EncryptForRoom,
    settings: RoomSettings,
    set_settings: SetRoomSettings,
) -> None:
    assert_type(await supervisor.ask(room_key), OutboundRoomKey)
    assert_type(await supervisor.ask(rotate), OutboundRoomKey)
    assert_type(await supervisor.ask(discard), None)
    assert_type(await supervisor.ask(share), RoomKeyShare)
    assert_type(await supervisor.ask(mark_shared), None)
    assert_type(await supervisor.ask(encrypt), EncryptedRoomEvent)
    assert_type(await supervisor.ask(encrypt_for_room), EncryptedRoomEvent)
    assert_type(await supervisor.ask(settings), EncryptionSettings | None)
    assert_type(await supervisor.ask(set_settings), None)


async def room_keys(
    supervisor: Supervisor,
    *,
    add: AddRoomKey,
    decrypt_one: DecryptRoomEvent,
    info: EncryptionInfoOf,
    decrypt_many: DecryptRoomEvents,
    import_keys: ImportRoomKeys,
    import_file: ImportKeyFile,
    export_file: ExportKeyFile,
) -> None:
    assert_type(await supervisor.ask(add), RoomKeyChange)
    assert_type(await supervisor.ask(decrypt_one), DecryptedRoomEvent)
    assert_type(await supervisor.ask(info), EncryptionInfo)
    assert_type(await supervisor.ask(decrypt_many), tuple[DecryptedRoomEvent | DecryptionError, ...])
    assert_type(await supervisor.ask(import_keys), RoomKeysImported)
    assert_type(await supervisor.ask(import_file), RoomKeysImported)
    assert_type(await supervisor.ask(ExportRoomKeys()), tuple[JsonObject, ...])
    assert_type(await supervisor.ask(export_file), str)


async def device_lists(
    supervisor: Supervisor, *, track: TrackUsers, update: UpdateDevices, trust: SetDeviceTrust
) -> None:
    assert_type(await supervisor.ask(OutdatedUsers()), tuple[UserId, ...])
    assert_type(await supervisor.ask(track), tuple[UserId, ...])
    assert_type(await supervisor.ask(update), tuple[UserId, ...])
    assert_type(await supervisor.ask(trust), None)


async def identities(
    supervisor: Supervisor, of_user: Identity, pin: PinIdentity, give_up: WithdrawVerification
) -> None:
    assert_type(await supervisor.ask(of_user), UserIdentity | None)
    assert_type(await supervisor.ask(pin), None)
    assert_type(await supervisor.ask(give_up), None)


async def private_keys(
    supervisor: Supervisor,
    *,
    bootstrap: BootstrapCrossSigning,
    import_keys: ImportCrossSigningKeys,
    verify: VerifyUser,
    sign: SignDevice,
    recover: RecoverFromSecretStorage,
) -> None:
    assert_type(await supervisor.ask(verify), None)
    assert_type(await supervisor.ask(bootstrap), None)
    assert_type(await supervisor.ask(import_keys), PrivateCrossSigningKeys)
    assert_type(await supervisor.ask(sign), None)
    assert_type(await supervisor.ask(ResetCrossSigning()), None)
    assert_type(await supervisor.ask(recover), Recovered)
    assert_type(await supervisor.ask(CrossSigningStatus()), PrivateCrossSigningKeys)
    assert_type(await supervisor.ask(ExportCrossSigningKeys()), CrossSigningSeeds)


async def secret_storage(
    supervisor: Supervisor,
    *,
    open_it: OpenSecretStorage,
    read: ReadSecret,
    write: WriteSecret,
    default: SetDefaultSecretStorageKey,
    remove: RemoveSecretStorageKey,
) -> None:
    assert_type(await supervisor.ask(CreateSecretStorage()), SecretStorageCreated)
    assert_type(await supervisor.ask(DescribeSecretStorage()), SecretStorageInfo)
    assert_type(await supervisor.ask(open_it), SecretStorageKey)
    assert_type(await supervisor.ask(read), str)
    assert_type(await supervisor.ask(write), None)
    assert_type(await supervisor.ask(default), None)
    assert_type(await supervisor.ask(remove), None)
    assert_type(await supervisor.ask(SetBackupWanted(wanted=True)), None)


async def requests(supervisor: Supervisor, *, sent: MarkRequestSent, failed: MarkRequestFailed) -> None:
    assert_type(await supervisor.ask(OutgoingRequests()), tuple[Request, ...])
    assert_type(await supervisor.ask(sent), None)
    assert_type(await supervisor.ask(failed), None)


async def verification(
    supervisor: Supervisor,
    *,
    request: RequestVerification,
    accept: AcceptVerification,
    start: StartSas,
    show: ShowQrCode,
    scan: ScanQrCode,
    confirm: ConfirmVerification,
    cancel: CancelVerification,
) -> None:
    assert_type(await supervisor.ask(request), Verification)
    assert_type(await supervisor.ask(accept), Verification)
    assert_type(await supervisor.ask(start), Verification)
    assert_type(await supervisor.ask(show), Verification)
    assert_type(await supervisor.ask(scan), Verification)
    assert_type(await supervisor.ask(confirm), Verification)
    assert_type(await supervisor.ask(cancel), Verification)
    assert_type(await supervisor.ask(Verifications()), tuple[Verification, ...])


async def verification_in_rooms(
    supervisor: Supervisor,
    *,
    receive: ReceiveVerificationEvent,
    sent: MarkVerificationMessageSent,
    refused: MarkVerificationMessageRefused,
) -> None:
    assert_type(await supervisor.ask(receive), Verification | None)
    assert_type(await supervisor.ask(VerificationMessages()), tuple[VerificationMessage, ...])
    assert_type(await supervisor.ask(sent), None)
    assert_type(await supervisor.ask(refused), None)


async def statistics(supervisor: Supervisor) -> None:
    assert_type(await supervisor.ask(Statistics()), SupervisorStatistics)


async def parked_events(supervisor: Supervisor, park: ParkEvents, forget: ForgetParkedEvents) -> None:
    assert_type(await supervisor.ask(park), EventsParked)
    assert_type(await supervisor.ask(ParkedEvents()), tuple[ParkedEvent, ...])
    assert_type(await supervisor.ask(forget), None)


async def inbox(supervisor: Supervisor, acknowledge: AcknowledgeInbox, keep: KeepInInbox) -> None:
    assert_type(await supervisor.ask(Inbox()), InboxPage)
    assert_type(await supervisor.ask(acknowledge), None)
    assert_type(await supervisor.ask(keep), None)


async def to_device(supervisor: Supervisor, send: SendToDevice) -> None:
    assert_type(await supervisor.ask(send), SentToDevice)


async def key_requests(supervisor: Supervisor, request: RequestRoomKeys, cancel: CancelRoomKeyRequests) -> None:
    assert_type(await supervisor.ask(request), RoomKeysRequested)
    assert_type(await supervisor.ask(cancel), None)
    assert_type(await supervisor.ask(RoomKeyRequests()), tuple[RoomKeyRequest, ...])


async def secret_requests(
    supervisor: Supervisor, cancel: CancelSecretRequests, acknowledge: AcknowledgeSecrets, delete: DeleteSecrets
) -> None:
    assert_type(await supervisor.ask(RequestSecrets()), SecretsRequested)
    assert_type(await supervisor.ask(cancel), None)
    assert_type(await supervisor.ask(SecretRequests()), tuple[SecretRequest, ...])
    assert_type(await supervisor.ask(SecretInbox()), tuple[ReceivedSecret, ...])
    assert_type(await supervisor.ask(acknowledge), None)
    assert_type(await supervisor.ask(delete), None)
