-- new
CREATE INDEX "idx_events_generation"
    ON "events" ("generation");
-- new
CREATE INDEX events_marks ON events (generation) WHERE value IS NULL;
-- new
CREATE TABLE "events" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
