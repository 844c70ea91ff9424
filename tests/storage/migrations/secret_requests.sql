-- new
CREATE INDEX "idx_received_secrets_generation"
    ON "received_secrets" ("generation");
-- new
CREATE INDEX "idx_secret_requests_generation"
    ON "secret_requests" ("generation");
-- new
CREATE INDEX "idx_waiting_secrets_generation"
    ON "waiting_secrets" ("generation");
-- new
CREATE INDEX received_secrets_marks ON received_secrets (generation) WHERE value IS NULL;
-- new
CREATE INDEX secret_requests_marks ON secret_requests (generation) WHERE value IS NULL;
-- new
CREATE INDEX waiting_secrets_marks ON waiting_secrets (generation) WHERE value IS NULL;
-- new
CREATE TABLE "received_secrets" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "secret_requests" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "waiting_secrets" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
