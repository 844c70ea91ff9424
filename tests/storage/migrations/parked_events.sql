-- new
CREATE INDEX "idx_parked_contents_generation"
    ON "parked_contents" ("generation");
-- new
CREATE INDEX "idx_parked_events_generation"
    ON "parked_events" ("generation");
-- new
CREATE INDEX parked_contents_marks ON parked_contents (generation) WHERE value IS NULL;
-- new
CREATE INDEX parked_events_marks ON parked_events (generation) WHERE value IS NULL;
-- new
CREATE TABLE "parked_contents" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "parked_events" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
