// Room keys in files and on the server, and attachments.
import { base64, bytes, request, text } from "./plain.mjs";
import { createCipheriv } from "node:crypto";
import * as R from "@matrix-org/matrix-sdk-crypto-wasm";

export const commands = {
  export_room_keys: async (m, a) => {
    const wanted = (key) =>
      (!a.room_id || key.roomId.toString() === a.room_id) && (!a.session_id || key.sessionId === a.session_id);
    return JSON.parse(await m.exportRoomKeys(wanted));
  },
  import_room_keys: async (m, a) => {
    const done = await m.importExportedRoomKeys(text(a.keys), () => {});
    return { imported: done.importedCount, total: done.totalCount };
  },
  room_key_counts: async (m) => {
    const counts = await m.roomKeyCounts();
    return { total: counts.total, backed_up: counts.backedUp };
  },

  backup_enable: (m, a) => m.enableBackupV1(a.public, a.version),
  backup_disable: (m) => m.disableBackup(),
  backup_save_key: (m, a) => m.saveBackupDecryptionKey(R.BackupDecryptionKey.fromBase64(a.private), a.version),
  backup_keys: async (m) => {
    const keys = await m.getBackupKeys();
    return { private: keys.decryptionKeyBase64 ?? null, version: keys.backupVersion ?? null };
  },
  backup_room_keys: async (m) => request(await m.backupRoomKeys()),
};

const publicKey = (key) => key.megolmV1PublicKey.publicKeyBase64;

export const withoutMachine = {
  encrypt_export: async (a) => R.OlmMachine.encryptExportedRoomKeys(text(a.keys), a.passphrase, a.rounds ?? 10000),
  decrypt_export: async (a) => JSON.parse(R.OlmMachine.decryptExportedRoomKeys(a.data, a.passphrase)),

  backup_create_key: async () => {
    const key = R.BackupDecryptionKey.createRandomKey();
    return { private: key.toBase64(), public: publicKey(key), algorithm: key.megolmV1PublicKey.algorithm };
  },
  backup_public_key: async (a) => publicKey(R.BackupDecryptionKey.fromBase64(a.private)),
  backup_decrypt: async (a) =>
    JSON.parse(R.BackupDecryptionKey.fromBase64(a.private).decryptV1(a.ephemeral, a.mac, a.ciphertext)),

  // data is base64
  attachment_encrypt: async (a) => {
    const encrypted = R.Attachment.encrypt(bytes(a.data));
    return { data: base64(encrypted.encryptedData), info: JSON.parse(encrypted.mediaEncryptionInfo) };
  },
  attachment_decrypt: async (a) =>
    base64(R.Attachment.decrypt(new R.EncryptedAttachment(bytes(a.data), JSON.stringify(a.info)))),

  aes_ctr: async (a) => {
    const cipher = createCipheriv("aes-256-ctr", bytes(a.key), bytes(a.iv));
    return base64(Buffer.concat([cipher.update(bytes(a.data)), cipher.final()]));
  },
};
