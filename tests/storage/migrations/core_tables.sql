-- new
CREATE INDEX "idx_account_generation"
    ON "account" ("generation");
-- new
CREATE INDEX "idx_devices_generation"
    ON "devices" ("generation");
-- new
CREATE INDEX "idx_devices_partition"
    ON "devices" ("partition");
-- new
CREATE INDEX "idx_inbound_group_sessions_generation"
    ON "inbound_group_sessions" ("generation");
-- new
CREATE INDEX "idx_message_indices_generation"
    ON "message_indices" ("generation");
-- new
CREATE INDEX "idx_message_indices_partition"
    ON "message_indices" ("partition");
-- new
CREATE INDEX "idx_olm_sessions_generation"
    ON "olm_sessions" ("generation");
-- new
CREATE INDEX "idx_olm_sessions_partition"
    ON "olm_sessions" ("partition");
-- new
CREATE INDEX "idx_outbound_group_sessions_generation"
    ON "outbound_group_sessions" ("generation");
-- new
CREATE INDEX "idx_room_key_recipients_generation"
    ON "room_key_recipients" ("generation");
-- new
CREATE INDEX "idx_room_key_recipients_partition"
    ON "room_key_recipients" ("partition");
-- new
CREATE INDEX "idx_sync_generation"
    ON "sync" ("generation");
-- new
CREATE INDEX "idx_withheld_room_keys_generation"
    ON "withheld_room_keys" ("generation");
-- new
CREATE INDEX account_marks ON account (generation) WHERE value IS NULL;
-- new
CREATE INDEX devices_marks ON devices (generation) WHERE value IS NULL;
-- new
CREATE INDEX inbound_group_sessions_marks ON inbound_group_sessions (generation) WHERE value IS NULL;
-- new
CREATE INDEX message_indices_marks ON message_indices (generation) WHERE value IS NULL;
-- new
CREATE INDEX olm_sessions_marks ON olm_sessions (generation) WHERE value IS NULL;
-- new
CREATE INDEX outbound_group_sessions_marks ON outbound_group_sessions (generation) WHERE value IS NULL;
-- new
CREATE INDEX room_key_recipients_marks ON room_key_recipients (generation) WHERE value IS NULL;
-- new
CREATE INDEX sync_marks ON sync (generation) WHERE value IS NULL;
-- new
CREATE INDEX withheld_room_keys_marks ON withheld_room_keys (generation) WHERE value IS NULL;
-- new
CREATE TABLE "account" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "devices" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "inbound_group_sessions" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "message_indices" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "meta" (
   "id" INTEGER PRIMARY KEY,
   "schema" INTEGER NOT NULL,
   "store_id" BLOB NOT NULL,
   "user_id" TEXT NOT NULL,
   "device_id" TEXT NOT NULL,
   "generation" INTEGER NOT NULL,
   "writer" TEXT NOT NULL,
   "floor" INTEGER NOT NULL,
   "restored_generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "olm_sessions" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "outbound_group_sessions" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "room_key_recipients" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "sync" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "withheld_room_keys" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "wrapping" (
   "id" INTEGER PRIMARY KEY,
   "kind" TEXT NOT NULL,
   "salt" BLOB NOT NULL,
   "iterations" INTEGER NOT NULL,
   "lanes" INTEGER NOT NULL,
   "memory_kib" INTEGER NOT NULL,
   "data_key" BLOB NOT NULL
) STRICT;
-- new
CREATE TABLE olm_messages (key BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
