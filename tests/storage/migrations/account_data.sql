-- new
CREATE INDEX "idx_account_data_generation"
    ON "account_data" ("generation");
-- new
CREATE INDEX account_data_marks ON account_data (generation) WHERE value IS NULL;
-- new
CREATE TABLE "account_data" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
