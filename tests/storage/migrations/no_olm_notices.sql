-- new
CREATE INDEX "idx_no_olm_notices_generation"
    ON "no_olm_notices" ("generation");
-- new
CREATE INDEX no_olm_notices_marks ON no_olm_notices (generation) WHERE value IS NULL;
-- new
CREATE TABLE "no_olm_notices" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
