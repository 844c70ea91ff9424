-- new
CREATE INDEX "idx_inbox_contents_generation"
    ON "inbox_contents" ("generation");
-- new
CREATE INDEX "idx_inbox_generation"
    ON "inbox" ("generation");
-- new
CREATE INDEX "idx_inbox_state_generation"
    ON "inbox_state" ("generation");
-- new
CREATE INDEX inbox_contents_marks ON inbox_contents (generation) WHERE value IS NULL;
-- new
CREATE INDEX inbox_marks ON inbox (generation) WHERE value IS NULL;
-- new
CREATE INDEX inbox_state_marks ON inbox_state (generation) WHERE value IS NULL;
-- new
CREATE TABLE "inbox" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "inbox_contents" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "inbox_state" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
