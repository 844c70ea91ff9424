-- new
CREATE INDEX "idx_back_offs_generation"
    ON "back_offs" ("generation");
-- new
CREATE INDEX "idx_request_contents_generation"
    ON "request_contents" ("generation");
-- new
CREATE INDEX "idx_requests_generation"
    ON "requests" ("generation");
-- new
CREATE INDEX back_offs_marks ON back_offs (generation) WHERE value IS NULL;
-- new
CREATE INDEX request_contents_marks ON request_contents (generation) WHERE value IS NULL;
-- new
CREATE INDEX requests_marks ON requests (generation) WHERE value IS NULL;
-- new
CREATE TABLE "back_offs" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "request_contents" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "requests" (
   "key" BLOB NOT NULL,
   "partition" BLOB NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL,
   PRIMARY KEY ("partition", "key")
) STRICT;
