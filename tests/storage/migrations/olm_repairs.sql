-- new
CREATE INDEX "idx_olm_repairs_generation"
    ON "olm_repairs" ("generation");
-- new
CREATE INDEX olm_repairs_marks ON olm_repairs (generation) WHERE value IS NULL;
-- new
CREATE TABLE "olm_repairs" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
