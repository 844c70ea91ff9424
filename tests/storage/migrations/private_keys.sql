-- new
CREATE INDEX "idx_secrets_generation"
    ON "secrets" ("generation");
-- new
CREATE INDEX secrets_marks ON secrets (generation) WHERE value IS NULL;
-- new
CREATE TABLE "secrets" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
