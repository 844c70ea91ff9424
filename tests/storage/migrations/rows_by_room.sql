-- gone
CREATE TABLE "inbound_group_sessions" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- gone
CREATE TABLE "room_key_claims" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
) STRICT;
-- new
CREATE INDEX inbound_group_sessions_grouped ON inbound_group_sessions (grouped, key);
-- new
CREATE INDEX room_key_claims_grouped ON room_key_claims (grouped, key);
-- new
CREATE TABLE "inbound_group_sessions" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
, grouped BLOB) STRICT;
-- new
CREATE TABLE "room_key_claims" (
   "key" BLOB PRIMARY KEY NOT NULL,
   "value" BLOB,
   "generation" INTEGER NOT NULL
, grouped BLOB) STRICT;
