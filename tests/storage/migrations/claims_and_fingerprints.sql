-- new
CREATE INDEX "idx_room_key_claims_generation"
    ON "room_key_claims" ("generation");
-- new
CREATE INDEX room_key_claims_marks ON room_key_claims (generation) WHERE value IS NULL;
-- new
CREATE TABLE "room_key_claims" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE device_fingerprints (key BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
