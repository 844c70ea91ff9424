// From the machine's objects to JSON and back.
import * as R from "@matrix-org/matrix-sdk-crypto-wasm";

export function need(value, what) {
  if (value === undefined || value === null) throw new Error("no such " + what);
  return value;
}

export const user = (id) => new R.UserId(id);
export const device = (id) => new R.DeviceId(id);
export const room = (id) => new R.RoomId(id);
export const users = (ids) => (ids ?? []).map(user); // made anew for each call, which consumes them
export const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
export const base64 = (bytes) => Buffer.from(bytes).toString("base64");
export const bytes = (string) => new Uint8Array(Buffer.from(string, "base64"));
export const snake = (name) => name.replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();

const TRUST = { untrusted: 0, cross_signed_or_legacy: 1, cross_signed: 2 };
export const decryptionSettings = (trust) => new R.DecryptionSettings(TRUST[trust ?? "untrusted"]);

// --- requests to the homeserver -------------------------------------------------------------------------------------

const TYPES = Object.fromEntries(
  Object.entries(R.RequestType)
    .filter(([name]) => isNaN(name)) // the enum has its numbers as names, too
    .map(([name, number]) => [snake(name), number]),
);
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, number]) => [number, name]));
export const requestType = (name) => need(TYPES[name], "type of request");

const V3 = "/_matrix/client/v3";
const part = encodeURIComponent;
const TARGETS = {
  keys_upload: () => ["POST", `${V3}/keys/upload`],
  keys_query: () => ["POST", `${V3}/keys/query`],
  keys_claim: () => ["POST", `${V3}/keys/claim`],
  signature_upload: () => ["POST", `${V3}/keys/signatures/upload`],
  upload_signing_keys: () => ["POST", `${V3}/keys/device_signing/upload`],
  to_device: (r) => ["PUT", `${V3}/sendToDevice/${part(r.event_type)}/${part(r.txn_id)}`],
  room_message: (r) => ["PUT", `${V3}/rooms/${part(r.room_id)}/send/${part(r.event_type)}/${part(r.txn_id)}`],
  keys_backup: (r) => ["PUT", `${V3}/room_keys/keys?version=${part(r.version)}`],
};

export function request(made) {
  if (made === undefined || made === null) return null;
  const type = made.type === undefined ? "upload_signing_keys" : NAMES[made.type];
  const [method, path] = TARGETS[type](made);
  const out = { id: made.id ?? null, type, method, path, body: JSON.parse(made.body) };
  // A message in a room is in clear: who sends it, encrypts it first, if the room is encrypted.
  if (type === "room_message") Object.assign(out, { room_id: made.room_id, event_type: made.event_type });
  return out;
}

// --- devices, events, settings --------------------------------------------------------------------------------------

export function deviceState(known) {
  if (!known) return null;
  return {
    user_id: known.userId.toString(),
    device_id: known.deviceId.toString(),
    display_name: known.displayName ?? null,
    curve25519: known.curve25519Key?.toBase64() ?? null,
    ed25519: known.ed25519Key?.toBase64() ?? null,
    verified: known.isVerified(),
    locally_trusted: known.isLocallyTrusted(),
    cross_signed_by_owner: known.isCrossSignedByOwner(),
    cross_signing_trusted: known.isCrossSigningTrusted(),
    blacklisted: known.isBlacklisted(),
    dehydrated: known.isDehydrated,
  };
}

export function toDeviceOutcome(outcome) {
  const told = { kind: snake(R.ProcessedToDeviceEventType[outcome.type]), event: JSON.parse(outcome.rawEvent) };
  const info = outcome.encryptionInfo;
  if (info) {
    told.info = {
      sender: info.sender.toString(),
      sender_device: info.senderDevice?.toString() ?? null,
      curve25519: info.senderCurve25519Key,
      verified: info.isSenderVerified(),
    };
  }
  if (outcome.utdInfo) told.reason = R.ToDeviceUnableToDecryptReason[outcome.utdInfo.reason];
  return told;
}

export function encryptionInfo(info, strict = true) {
  const shield = info.shieldState(strict);
  return {
    sender: info.sender.toString(),
    sender_device: info.senderDevice?.toString() ?? null,
    curve25519: info.senderCurve25519Key,
    claimed_ed25519: info.senderClaimedEd25519Key ?? null,
    shield: {
      color: R.ShieldColor[shield.color],
      code: shield.code === undefined ? null : R.ShieldStateCode[shield.code],
      message: shield.message ?? null,
    },
  };
}

const STRATEGIES = {
  all_devices: () => R.CollectStrategy.allDevices(),
  identity_based: () => R.CollectStrategy.identityBasedStrategy(),
  only_trusted: () => R.CollectStrategy.onlyTrustedDevices(),
  error_on_verified_user_problem: () => R.CollectStrategy.errorOnUnverifiedUserProblem(),
};

export function encryptionSettings({ rotation_messages, rotation_ms, history_visibility, strategy } = {}) {
  const settings = new R.EncryptionSettings();
  if (rotation_messages !== undefined) settings.rotationPeriodMessages = BigInt(rotation_messages);
  if (rotation_ms !== undefined) settings.rotationPeriod = BigInt(rotation_ms) * 1000n; // in microseconds there
  if (history_visibility) {
    settings.historyVisibility = R.HistoryVisibility[history_visibility[0].toUpperCase() + history_visibility.slice(1)];
  }
  settings.sharingStrategy = need(STRATEGIES[strategy ?? "all_devices"], "strategy")();
  return settings;
}

export const cancelInfo = (info) =>
  info ? { code: info.cancelCode(), reason: info.reason(), by_us: info.cancelledbyUs() } : null;
