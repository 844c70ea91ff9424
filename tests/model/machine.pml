/* The machine under the library: its locks, its disk, SQLite, and what goes wrong with them.

   Owns everything that outlives a process. Nothing here is the library's doing, so no broken variant of the library
   changes this file. Where the machine breaks a promise, that is a fault, and has a flag:

     LOCK_LOSS         somebody unlinks the lock file: its holder goes on, and the next one locks a new file
     SQLITE_LOCK_LOSS  SQLite's own write lock vanishes (POSIX drops it when any descriptor of the file is closed)
     POWER_LOSS        every process dies, and the store falls back to what the disk holds
     UNKNOWN_COMMIT    COMMIT raises, and whether it happened is not known
     FREEZE            a process stops for good while it heads the queue for the lock
     NO_FSYNC          COMMIT returns before the disk has it (synchronous=NORMAL)
     STALE_LOCK        the lock is the existence of a file, which the kernel does not take away from the dead

   kill -9 may always happen. All faults together are at most FAULTS, and at any time they may stop for good.
   FOREIGN_WRITES=n is no fault: a peer commits n times to rows that are not the ratchet's. */

#define NOBODY 255

/* The ratchet's row and the store's generation: read in one snapshot, written in one transaction. */
typedef Snapshot {
	byte next;		/* the first index that belongs to nobody yet */
	byte generation;	/* one up with every commit */
	byte written		/* the generation that last wrote the row: "what changed since" asks for it */
};

Snapshot stored;		/* what readers see, and what kill -9 leaves behind */
Snapshot synced;		/* what a disk without power still holds */

byte lock = NOBODY;		/* who holds the lock file by the kernel's account, which a holder may be wrong about */
byte head = NOBODY;		/* who holds the turn file: the head of the queue for the lock (with QUEUE) */
byte writer = NOBODY;		/* who holds SQLite's write lock, from BEGIN IMMEDIATE to COMMIT */

bool dead[P];			/* killed, and not started again yet */
bool finished[P];		/* has sent all it wanted to, and has exited */
byte through;			/* how many have finished */
byte faults;
#ifdef FOREIGN_WRITES
byte foreign_writes;
#endif

inline copy(into, from)
{
	into.next = from.next;
	into.generation = from.generation;
	into.written = from.written
}

/* Frees a lock only if it really is `who`'s: after LOCK_LOSS the old holder must not free it from under the new one. */
inline let_go(which, who)
{
	atomic {
		if
		:: which == who -> which = NOBODY
		:: else
		fi
	}
}

/* The kernel closes the dead process's files. */
inline kill(victim)
{
	if
	:: finished[victim]
	:: else ->
		dead[victim] = true;
		let_go(head, victim);
#ifndef STALE_LOCK
		let_go(lock, victim);
#endif
#ifndef NO_FSYNC
		/* A commit that is on the disk and was never shown: recovery may find it in the log, now or after any later
		   death (SQLite has fewer occasions), unless a writer overwrites it there first. */
		if
		:: writer == victim || writer == NOBODY -> copy(stored, synced)
		:: true
		fi;
#endif
		let_go(writer, victim)
	fi
}

inline lose_power()
{
	for (victim : 0 .. P - 1) {
		dead[victim] = !finished[victim]
	}
	head = NOBODY;
	lock = NOBODY;
	writer = NOBODY;
	copy(stored, synced)
}

inline let_faults_strike()
{
	do
	:: atomic {
		faults < FAULTS && through < P ->
		faults++;
		select(victim : 0 .. P - 1);
		kill(victim);
		victim = 0
	}
#ifdef LOCK_LOSS
	:: d_step { faults < FAULTS && lock != NOBODY -> faults++; lock = NOBODY }
#endif
#ifdef SQLITE_LOCK_LOSS
	:: d_step { faults < FAULTS && writer != NOBODY -> faults++; writer = NOBODY }
#endif
#ifdef POWER_LOSS
	:: atomic { faults < FAULTS && through < P -> faults++; lose_power(); victim = 0 }
#endif
#ifdef FOREIGN_WRITES
	/* A peer's whole turn in one step: nothing in it meets the ratchet but the generation. */
	:: d_step {
		foreign_writes < FOREIGN_WRITES && lock == NOBODY && writer == NOBODY ->
		foreign_writes++;
		stored.generation++;
		copy(synced, stored)
	}
#endif
	:: break
	od
}
