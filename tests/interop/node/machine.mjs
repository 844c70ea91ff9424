// Syncs, requests, devices, and messages in rooms.
import {
  decryptionSettings,
  device,
  deviceState,
  encryptionInfo,
  encryptionSettings,
  need,
  request,
  requestType,
  room,
  text,
  toDeviceOutcome,
  user,
  users,
} from "./plain.mjs";
import * as R from "@matrix-org/matrix-sdk-crypto-wasm";

const LOCAL_TRUST = { verified: 0, blacklisted: 1, ignored: 2, unset: 3 };
const knownDevice = async (m, a) => need(await m.getDevice(user(a.user_id), device(a.device_id)), "device");

// A missing count of one-time keys means zero to `receiveSyncChanges`, and "unchanged" to the other.
async function receiveSync(m, { to_device, changed, left, key_counts, unused_fallback_keys, trust }) {
  const receive = key_counts ? "receiveSyncChanges" : "receiveSyncChangesMsc4186";
  const outcomes = await m[receive](
    text(to_device ?? []),
    new R.DeviceLists(users(changed), users(left)),
    new Map(Object.entries(key_counts ?? {})),
    unused_fallback_keys ? new Set(unused_fallback_keys) : undefined,
    decryptionSettings(trust),
  );
  return outcomes.map(toDeviceOutcome);
}

export const commands = {
  // the parts of a sync's answer
  receive_sync: receiveSync,
  // a sync's answer as it came
  receive_full_sync: (m, { sync, trust }) =>
    receiveSync(m, {
      to_device: sync.to_device?.events,
      changed: sync.device_lists?.changed,
      left: sync.device_lists?.left,
      key_counts: sync.device_one_time_keys_count ?? {},
      unused_fallback_keys: sync.device_unused_fallback_key_types,
      trust,
    }),

  outgoing_requests: async (m) => (await m.outgoingRequests()).map(request),
  mark_request_sent: (m, a) => m.markRequestAsSent(a.request_id, requestType(a.type), text(a.response)),

  update_tracked_users: (m, a) => m.updateTrackedUsers(users(a.users)),
  tracked_users: async (m) => [...(await m.trackedUsers())].map(String),
  mark_all_outdated: (m) => m.markAllTrackedUsersAsDirty(),
  query_keys_for_users: async (m, a) => request(m.queryKeysForUsers(users(a.users))),
  get_device: async (m, a) => deviceState(await m.getDevice(user(a.user_id), device(a.device_id), a.timeout_s)),
  get_user_devices: async (m, a) =>
    (await m.getUserDevices(user(a.user_id), a.timeout_s)).devices().map(deviceState),
  set_local_trust: async (m, a) => (await knownDevice(m, a)).setLocalTrust(LOCAL_TRUST[a.trust]),
  device_encrypt: async (m, a) => JSON.parse(await (await knownDevice(m, a)).encryptToDeviceEvent(a.type, a.content)),

  get_missing_sessions: async (m, a) => request(await m.getMissingSessions(users(a.users))),
  share_room_key: async (m, a) =>
    (await m.shareRoomKey(room(a.room_id), users(a.users), encryptionSettings(a.settings))).map(request),
  discard_room_key: (m, a) => m.invalidateGroupSession(room(a.room_id)),
  set_room_key_requests: async (m, a) => {
    if (a.requests !== undefined) m.roomKeyRequestsEnabled = a.requests;
    if (a.forwarding !== undefined) m.roomKeyForwardingEnabled = a.forwarding;
  },

  encrypt: async (m, a) => JSON.parse(await m.encryptRoomEvent(room(a.room_id), a.type, text(a.content))),
  encrypt_state: async (m, a) =>
    JSON.parse(await m.encryptStateEvent(room(a.room_id), a.type, a.state_key ?? "", text(a.content))),
  decrypt: async (m, a) => {
    const read = await m.decryptRoomEvent(text(a.event), room(a.room_id), decryptionSettings(a.trust));
    return { event: JSON.parse(read.event), ...encryptionInfo(read, a.strict) };
  },
  encryption_info: async (m, a) =>
    encryptionInfo(await m.getRoomEventEncryptionInfo(text(a.event), room(a.room_id)), a.strict),
};

export const withoutMachine = {};
