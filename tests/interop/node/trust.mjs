// Cross-signing identities and secrets.
import { device, need, request, text, user } from "./plain.mjs";
import * as R from "@matrix-org/matrix-sdk-crypto-wasm";

export const identityOf = async (m, a) => need(await m.getIdentity(user(a.user_id)), "identity");
const status = (s) => ({ master: s.hasMaster, self_signing: s.hasSelfSigning, user_signing: s.hasUserSigning });

export const commands = {
  // `requests`: the device's keys if they aren't uploaded yet, the public keys, the signatures; in this order.
  bootstrap_cross_signing: async (m, a) => {
    const made = await m.bootstrapCrossSigning(a.reset ?? true);
    const requests = [made.uploadKeysRequest, made.uploadSigningKeysRequest, made.uploadSignaturesRequest];
    return { requests: requests.map(request).filter((out) => out !== null) };
  },
  cross_signing_status: async (m) => status(await m.crossSigningStatus()),
  export_cross_signing: async (m) => {
    const seeds = await m.exportCrossSigningKeys();
    if (!seeds) return null;
    return {
      master: seeds.masterKey ?? null,
      self_signing: seeds.self_signing_key ?? null,
      user_signing: seeds.userSigningKey ?? null,
    };
  },
  import_cross_signing: async (m, a) =>
    status(await m.importCrossSigningKeys(a.master, a.self_signing, a.user_signing)),

  get_identity: async (m, a) => {
    const identity = await m.getIdentity(user(a.user_id));
    if (!identity) return null;
    return {
      own: identity instanceof R.OwnUserIdentity,
      verified: identity.isVerified(),
      previously_verified: identity.wasPreviouslyVerified(),
      violation: identity.hasVerificationViolation(),
      master: JSON.parse(identity.masterKey),
      self_signing: JSON.parse(identity.selfSigningKey),
    };
  },
  // Sign another user's master key, or mark the own one as verified: a request to upload the signature.
  verify_identity: async (m, a) => ({ request: request(await (await identityOf(m, a)).verify()) }),
  pin_identity: async (m, a) => (await identityOf(m, a)).pinCurrentMasterKey(),
  withdraw_verification: async (m, a) => (await identityOf(m, a)).withdrawVerification(),
  // Sign another device of the own user.
  verify_own_device: async (m, a) => {
    const own = need(await m.getDevice(m.userId, device(a.device_id)), "device");
    return { request: request(await own.verify()) };
  },
  sign: async (m, a) => JSON.parse((await m.sign(text(a.message))).asJSON()),

  request_missing_secrets: (m) => m.requestMissingSecretsIfNeeded(),
  secret_inbox: async (m, a) => [...(await m.getSecretsFromInbox(a.name))],
};

export const withoutMachine = {};
