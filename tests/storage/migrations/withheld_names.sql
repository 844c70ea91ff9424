-- new
CREATE INDEX "idx_withheld_names_generation"
    ON "withheld_names" ("generation");
-- new
CREATE INDEX withheld_names_marks ON withheld_names (generation) WHERE value IS NULL;
-- new
CREATE TABLE "withheld_names" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
