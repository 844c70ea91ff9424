-- new
CREATE INDEX "idx_key_requests_generation"
    ON "key_requests" ("generation");
-- new
CREATE INDEX "idx_waiting_forwards_generation"
    ON "waiting_forwards" ("generation");
-- new
CREATE INDEX key_requests_marks ON key_requests (generation) WHERE value IS NULL;
-- new
CREATE INDEX waiting_forwards_marks ON waiting_forwards (generation) WHERE value IS NULL;
-- new
CREATE TABLE "key_requests" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "waiting_forwards" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
