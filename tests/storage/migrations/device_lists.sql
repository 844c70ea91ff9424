-- new
CREATE INDEX "idx_outdated_users_generation"
    ON "outdated_users" ("generation");
-- new
CREATE INDEX "idx_tracked_users_generation"
    ON "tracked_users" ("generation");
-- new
CREATE INDEX outdated_users_marks ON outdated_users (generation) WHERE value IS NULL;
-- new
CREATE INDEX tracked_users_marks ON tracked_users (generation) WHERE value IS NULL;
-- new
CREATE TABLE "outdated_users" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
-- new
CREATE TABLE "tracked_users" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
