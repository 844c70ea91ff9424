-- gone
CREATE INDEX "idx_devices_partition"
    ON "devices" ("partition");
-- gone
CREATE INDEX "idx_message_indices_partition"
    ON "message_indices" ("partition");
-- gone
CREATE INDEX "idx_olm_sessions_partition"
    ON "olm_sessions" ("partition");
-- gone
CREATE INDEX "idx_room_key_recipients_partition"
    ON "room_key_recipients" ("partition");
-- gone
CREATE TABLE "devices" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- gone
CREATE TABLE "message_indices" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- gone
CREATE TABLE "olm_sessions" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- gone
CREATE TABLE "room_key_recipients" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "devices" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "message_indices" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "olm_sessions" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "room_key_recipients" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
