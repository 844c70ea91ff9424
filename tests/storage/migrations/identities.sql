-- new
CREATE INDEX "idx_identities_generation"
    ON "identities" ("generation");
-- new
CREATE INDEX identities_marks ON identities (generation) WHERE value IS NULL;
-- new
CREATE TABLE "identities" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
