-- gone
CREATE TABLE "meta" (
   "id" INTEGER PRIMARY KEY,
   "schema" INTEGER NOT NULL,
   "store_id" BLOB NOT NULL,
   "user_id" TEXT NOT NULL,
   "device_id" TEXT NOT NULL,
   "generation" INTEGER NOT NULL,
   "writer" TEXT NOT NULL,
   "floor" INTEGER NOT NULL,
   "restored_generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE TABLE "meta" (
   "id" INTEGER PRIMARY KEY,
   "schema" INTEGER NOT NULL,
   "store_id" BLOB NOT NULL,
   "user_id" TEXT NOT NULL,
   "device_id" TEXT NOT NULL,
   "generation" INTEGER NOT NULL,
   "writer" TEXT NOT NULL,
   "floor" INTEGER NOT NULL,
   "restored_generation" INTEGER NOT NULL
, facts BLOB) STRICT;
