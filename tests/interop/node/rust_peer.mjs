// matrix-rust-sdk's OlmMachine as a program: newline-delimited JSON on stdin and stdout, logs on stderr.
//
//   first line  {"ready": true, "versions": {...}}
//   request     {"id": any, "cmd": "name", "m": "machine, or absent where none is needed", ...arguments}
//   answer      {"id": the same, "ok": true, "result": ...}
//               {"id": the same, "ok": false, "error": "...", "code": "...", "withheld": "..."}
//
// Commands run strictly one after another. One process holds as many machines as you like; `init` makes one. A request
// to the homeserver comes out as {id, type, method, path, body}: send it, and answer with `mark_request_sent`.
// A panic in Rust is an error with the code "Panic", and ends the process.
//
// Options: --idb        makes `store` and `passphrase` of `init` work, within this process
//          --log=LEVEL  Rust's tracing to stderr: warn, info, debug or trace
import { createInterface } from "node:readline";

for (const level of ["log", "info", "debug", "warn"]) {
  console[level] = (...words) => process.stderr.write(words.map(String).join(" ") + "\n");
}
const options = process.argv.slice(2);
if (options.includes("--idb")) await import("fake-indexeddb/auto");

const R = await import("@matrix-org/matrix-sdk-crypto-wasm");
await R.initAsync();
const { need } = await import("./plain.mjs");
const modules = [import("./machine.mjs"), import("./keys.mjs"), import("./trust.mjs"), import("./verification.mjs")];

const level = options.find((option) => option.startsWith("--log="))?.slice("--log=".length);
if (level) new R.Tracing(R.LoggerLevel[level[0].toUpperCase() + level.slice(1)]).turnOn();

const commands = {}; // (OlmMachine, arguments) -> result
const withoutMachine = {}; // (arguments) -> result
const machines = new Map(); // name -> {machine, events}
for (const module of await Promise.all(modules)) {
  Object.assign(commands, module.commands);
  Object.assign(withoutMachine, module.withoutMachine);
}

withoutMachine.commands = async () => [...Object.keys(commands), ...Object.keys(withoutMachine)].sort();

withoutMachine.init = async ({ m, user_id, device_id, store, passphrase }) => {
  if (machines.has(m)) throw new Error("there is a machine " + m);
  const machine = await R.OlmMachine.initialize(new R.UserId(user_id), new R.DeviceId(device_id), store, passphrase);
  machines.set(m, { machine, events: watch(machine) });
  const keys = machine.identityKeys;
  return { user_id, device_id, curve25519: keys.curve25519.toBase64(), ed25519: keys.ed25519.toBase64() };
};

// Of all machines, until `forget`.
const now = Date.now.bind(Date);
withoutMachine.advance_clock = async ({ milliseconds }) => {
  Date.now = () => now() + milliseconds;
};

withoutMachine.close = async ({ m }) => {
  need(machines.get(m), "machine " + m).machine.close();
  machines.delete(m);
};

withoutMachine.forget = async () => {
  for (const { machine } of machines.values()) machine.close();
  machines.clear();
  Date.now = now;
};

// What the machine has told its listeners since the last time.
withoutMachine.events = async ({ m }) => {
  await new Promise((done) => setImmediate(done)); // listeners run in tasks of their own
  return need(machines.get(m), "machine " + m).events.splice(0);
};

function watch(machine) {
  const events = [];
  machine.registerRoomKeyUpdatedCallback(async (keys) => {
    for (const key of keys) {
      events.push({
        event: "room_key",
        room_id: key.roomId.toString(),
        session_id: key.sessionId,
        sender_key: key.senderKey.toBase64(),
      });
    }
  });
  machine.registerRoomKeysWithheldCallback(async (notices) => {
    for (const notice of notices) {
      events.push({
        event: "withheld",
        room_id: notice.roomId.toString(),
        session_id: notice.sessionId,
        sender: notice.sender.toString(),
        code: notice.withheldCode,
      });
    }
  });
  machine.registerDevicesUpdatedCallback(async (users) => {
    events.push({ event: "devices_updated", users: [...users].map(String) });
  });
  machine.registerUserIdentityUpdatedCallback(async (user) => {
    events.push({ event: "identity_updated", user_id: user.toString() });
  });
  machine.registerReceiveSecretCallback(async (name, value) => {
    events.push({ event: "secret", name, value });
  });
  return events;
}

// --- the loop -------------------------------------------------------------------------------------------------------

function plain(_key, value) {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  return value;
}
const print = (answer, done) => process.stdout.write(JSON.stringify(answer, plain) + "\n", done);

// A panic comes as an exception outside of the promise that waits for it.
let pending = null;
process.on("uncaughtException", (error) => {
  process.stderr.write(String(error?.stack ?? error) + "\n");
  const why = "panic: " + (error?.message ?? error);
  print({ id: pending, ok: false, error: why, code: "Panic" }, () => process.exit(70));
});

async function answer({ id = null, cmd, ...args }) {
  pending = id;
  try {
    let result;
    if (cmd in withoutMachine) {
      result = await withoutMachine[cmd](args);
    } else {
      const run = need(commands[cmd], "command " + cmd);
      result = await run(need(machines.get(args.m), "machine " + args.m).machine, args);
    }
    print({ id, ok: true, result: result ?? null });
  } catch (error) {
    const why = { id, ok: false, error: error?.description ?? error?.message ?? String(error) };
    if (error instanceof R.MegolmDecryptionError) {
      why.code = R.DecryptionErrorCode[error.code];
      why.withheld = error.withheldCode ?? null;
    }
    print(why);
  }
}

const versions = R.getVersions();
print({ ready: true, versions: { matrix_sdk_crypto: versions.matrix_sdk_crypto, vodozemac: versions.vodozemac } });
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim()) await answer(JSON.parse(line));
}
process.exit(0);
