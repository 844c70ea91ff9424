-- new
CREATE INDEX "idx_verifications_generation"
    ON "verifications" ("generation");
-- new
CREATE INDEX "idx_verified_devices_generation"
    ON "verified_devices" ("generation");
-- new
CREATE INDEX verifications_marks ON verifications (generation) WHERE value IS NULL;
-- new
CREATE INDEX verified_devices_marks ON verified_devices (generation) WHERE value IS NULL;
-- new
CREATE TABLE "verifications" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "verified_devices" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
