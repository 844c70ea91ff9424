// Verification: SAS and QR codes, through to-device events and in rooms.
//
// A flow goes: request_verification (or request_content_for_room + request_in_room) → accept_verification →
// sas_start, sas_accept, sas_confirm, or qr_show on one side and qr_scan on the other, then qr_confirm.
// `verification_state` tells where it is. Each step's answer has the request, or requests, that it takes. The other user
// must be tracked: a request from an unknown device is dropped.
import { base64, bytes, cancelInfo, device, need, request, room, snake, text, user } from "./plain.mjs";
import { identityOf } from "./trust.mjs";
import * as R from "@matrix-org/matrix-sdk-crypto-wasm";

const METHODS = {
  sas: R.VerificationMethod.SasV1,
  qr_scan: R.VerificationMethod.QrCodeScanV1,
  qr_show: R.VerificationMethod.QrCodeShowV1,
  reciprocate: R.VerificationMethod.ReciprocateV1,
};
const methods = (a) => (a.methods ?? Object.keys(METHODS)).map((name) => need(METHODS[name], "method " + name));
const PHASES = ["created", "requested", "ready", "transitioned", "done", "cancelled"];

// The machine forgets a flow at the first sync after its end. Whoever has seen it before can still ask how it ended.
const seen = new WeakMap(); // machine -> flow id -> {request, now}
function look(m, a) {
  if (!seen.has(m)) seen.set(m, new Map());
  const flows = seen.get(m);
  const before = flows.get(a.flow_id) ?? {};
  const flow = {
    request: m.getVerificationRequest(user(a.user_id), a.flow_id) ?? before.request,
    now: m.getVerification(user(a.user_id), a.flow_id) ?? before.now,
  };
  flows.set(a.flow_id, flow);
  return flow;
}
const flow = (m, a) => need(look(m, a).request, "verification request");
const started = (m, a) => need(look(m, a).now, "verification");

function requestState(v) {
  if (!v) return null;
  return {
    flow_id: v.flowId,
    phase: PHASES[v.phase()],
    we_started: v.weStarted(),
    other_user: v.otherUserId.toString(),
    other_device: v.otherDeviceId?.toString() ?? null,
    cancel: cancelInfo(v.cancelInfo),
  };
}

function sasState(sas) {
  return {
    flow_id: sas.flowId,
    we_started: sas.weStarted(),
    from_request: sas.startedFromRequest(),
    other_user: sas.otherUserId.toString(),
    other_device: sas.otherDeviceId.toString(),
    accepted: sas.hasBeenAccepted(),
    can_be_presented: sas.canBePresented(),
    supports_emoji: sas.supportsEmoji(),
    decimals: sas.decimals() ? [...sas.decimals()] : null,
    emoji_index: sas.emojiIndex() ? [...sas.emojiIndex()] : null,
    emoji: sas.emoji()?.map((emoji) => emoji.description) ?? null,
    confirmed: sas.haveWeConfirmed(),
    done: sas.isDone(),
    cancelled: sas.isCancelled(),
    cancel: cancelInfo(sas.cancelInfo()),
  };
}

function qrState(qr) {
  return {
    state: snake(R.QrState[qr.state()]),
    we_started: qr.weStarted(),
    scanned: qr.hasBeenScanned(),
    confirmed: qr.hasBeenConfirmed(),
    done: qr.isDone(),
    cancelled: qr.isCancelled(),
    cancel: cancelInfo(qr.cancelInfo()),
  };
}

export const commands = {
  // To one device, or to all of a user's.
  request_verification: async (m, a) => {
    const other = a.device_id
      ? need(await m.getDevice(user(a.user_id), device(a.device_id)), "device")
      : await identityOf(m, a);
    const [made, out] = await other.requestVerification(methods(a));
    look(m, { ...a, flow_id: made.flowId });
    return { ...requestState(made), request: request(out) };
  },
  // In a room: send this content as an m.room.message, then name its event.
  request_content_for_room: async (m, a) => JSON.parse((await identityOf(m, a)).verificationRequestContent(methods(a))),
  request_in_room: async (m, a) =>
    requestState((await identityOf(m, a)).requestVerification(room(a.room_id), new R.EventId(a.event_id), methods(a))),
  // An event of a verification that came in a room, decrypted.
  receive_in_room: (m, a) => m.receiveVerificationEvent(text(a.event), room(a.room_id)),

  verification_requests: async (m, a) => m.getVerificationRequests(user(a.user_id)).map(requestState),
  verification_state: async (m, a) => {
    const { request, now } = look(m, a);
    return {
      request: requestState(request),
      sas: now instanceof R.Sas ? sasState(now) : null,
      qr: now instanceof R.Qr ? qrState(now) : null,
    };
  },
  accept_verification: async (m, a) => {
    const v = flow(m, a);
    const out = request(v.acceptWithMethods(methods(a)));
    return { ...requestState(v), request: out };
  },
  cancel_verification: async (m, a) => {
    const { now } = look(m, a);
    const cancel = () => (a.code ? now.cancelWithCode(a.code) : now.cancel());
    return { request: request(now ? cancel() : flow(m, a).cancel()) };
  },

  sas_start: async (m, a) => {
    const made = await flow(m, a).startSas();
    return made ? { ...sasState(made[0]), request: request(made[1]) } : null;
  },
  sas_accept: async (m, a) => {
    const sas = started(m, a);
    const out = request(sas.accept());
    return { ...sasState(sas), request: out };
  },
  sas_confirm: async (m, a) => {
    const sas = started(m, a);
    const out = (await sas.confirm()).map(request);
    return { ...sasState(sas), requests: out };
  },

  // `data`: the code's bytes in base64
  qr_show: async (m, a) => {
    const qr = need(await flow(m, a).generateQrCode(), "QR code");
    return { data: base64(qr.toBytes()), ...qrState(qr) };
  },
  qr_scan: async (m, a) => {
    const qr = await flow(m, a).scanQrCode(R.QrCodeScan.fromBytes(new Uint8ClampedArray(bytes(a.data))));
    const out = request(qr.reciprocate());
    return { ...qrState(qr), request: out };
  },
  qr_confirm: async (m, a) => {
    const qr = started(m, a);
    const out = request(qr.confirmScanning());
    return { ...qrState(qr), request: out };
  },
};

export const withoutMachine = {};
