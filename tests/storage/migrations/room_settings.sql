-- new
CREATE INDEX "idx_room_settings_generation"
    ON "room_settings" ("generation");
-- new
CREATE INDEX room_settings_marks ON room_settings (generation) WHERE value IS NULL;
-- new
CREATE TABLE "room_settings" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
