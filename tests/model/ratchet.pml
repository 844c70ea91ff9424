/* P processes send messages on one Megolm ratchet that they share through one store.

   Owns the library's half: the turn (lock, revalidate, encrypt, fenced commit, hand over), the cache, and the indices that
   a commit made ours. One rule orders all of it: an index belongs to a process once the store says so durably, and leaves
   the process only after that. Every step here is one lock call, one SQL statement or one reply; a kill fits between any
   two. Encrypting is no step of its own, for it touches nothing that others see.

   How much there is to explore:
     P, MESSAGES, BATCH, FAULTS   processes; messages each wants to send; most of them in one turn; faults in all
   What the library does besides:
     RESERVE=n   a commit reserves n indices, which then leave without a commit; a clean release gives the rest back
     QUERIES     a process answers a question from its cache, without the lock
     QUEUE       the turn file, and how the lock is handed over; without it, keeping the lock and letting it go are both
                 always possible, which allows every order that a queue allows, and more
   What may be broken, one flag for one rule that is taken away:
     NO_REVALIDATION     a cache is used without a look at the generation
     NO_FENCE            COMMIT is right for any generation (so it is if :seen is read inside the transaction)
     NO_ROLLBACK         a turn that the fence turned away leaves the cache as it is
     NO_STAMP            a row does not carry the generation that wrote it
     EMIT_BEFORE_COMMIT  ciphertext leaves first, the commit follows
     EMIT_ON_UNKNOWN     a COMMIT that raised is taken for one that happened
     KEEP_REGARDLESS     the holder keeps the lock without a look at the queue
     BARGE               a process takes the lock past the queue
     NO_BYPASS           nobody goes around a head of the queue that does not move
     GIVE_BACK_BLINDLY   the rest of a block is given back though others went on behind it
     FORGET_LATE         the rest of a block is forgotten only when giving it back is known to have happened
   What is asserted:
     by default  no index leaves twice; an index leaves only when the disk has a next index beyond it; an answer is never
                 older than its question; nobody is stuck (no invalid end state)
     REUSE_ONLY  no index leaves twice: what is found then is a message that really was sent on a used index
     LIVENESS    every run ends with everybody through, if faults stop: endless retries are ruled out as well */

#ifndef P
#define P 2
#endif
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef BATCH
#define BATCH 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif

#include "machine.pml"

#if defined(QUEUE) && !defined(KEEP_REGARDLESS)
#define MAY_KEEP_LOCK (head == NOBODY)
#else
#define MAY_KEEP_LOCK true
#endif

#ifdef GIVE_BACK_BLINDLY
#define MAY_GIVE_BACK true
#else
#define MAY_GIVE_BACK (ratchet == mine_end)
#endif

#define INDICES 32		/* as many as `emitted` has bits */

int emitted;			/* the indices that left some process, a bit each: the world remembers, whatever fails */
byte todo[P];			/* messages still to send: the callers' wish, which outlives a crash and is tried again */
#ifdef QUEUE
byte overtaken;			/* turns that others began since the head of the queue got there */
#endif

/* Ciphertext leaves the library. What a crash keeps from leaving stays in `todo`, and is sent on a later index. */
inline emit(index)
{
	assert(index < INDICES);
	assert(!(emitted & (1 << index)));
#ifndef REUSE_ONLY
	assert(index < synced.next);
#endif
	emitted = emitted | (1 << index);
	todo[me]--
}

inline forget_turn()
{
	first = 0;
	target = 0
}

inline forget_block()
{
	mine = 0;
	mine_end = 0
}

inline drop_cache()
{
	cached = false;
	ratchet = 0
}

/* One small query: the generation, and whether our row was written since. A row that was not is as good as one read
   now, so it moves up to the new generation. */
inline revalidate()
{
	atomic {
		if
#ifdef NO_REVALIDATION
		:: cached
		:: !cached -> seen = stored.generation
#else
		:: cached && stored.written > seen -> drop_cache(); seen = stored.generation
		:: else -> seen = stored.generation
#endif
		fi
	}
}

/* Lazy, so later than the look at the generation: where the lock is lost the row may be newer than `seen`, never older. */
inline load()
{
	if
	:: d_step { !cached -> ratchet = stored.next; cached = true }
	:: cached
	fi
}

/* What this turn's transaction makes of the store. `seen` is what the fence compared. */
inline write(where)
{
	where.next = target;
#ifndef NO_STAMP
	where.written = seen + 1;
#endif
	where.generation = seen + 1
}

/* Trying the lock and having it are one step: the retry loop around it adds nothing that others can see. */
inline take_lock()
{
	atomic { lock == NOBODY -> lock = me }
}

inline acquire()
{
#ifdef QUEUE
	if
	:: atomic { head == NOBODY -> head = me; overtaken = 0 };
#ifdef FREEZE
		if
		:: atomic { faults < FAULTS -> faults++; goto end_frozen }
		:: true
		fi;
#endif
		take_lock();
		let_go(head, me)
#ifdef BARGE
	:: take_lock()
#endif
#if defined(FREEZE) && !defined(NO_BYPASS)
	:: atomic { head != NOBODY && lock == NOBODY -> lock = me }
#endif
	fi
#else
	take_lock()
#endif
}

proctype Process(byte me)
{
	/* All of this is memory, and gone with the process. */
	bool cached;
	byte ratchet;		/* the cached row: the next index to encrypt on */
	byte seen;		/* the generation that the cache is known to be right at */
	byte first, target;	/* this turn's transaction writes next = target, and so makes [first, target) ours */
	byte mine, mine_end;	/* the indices that are ours and have not left yet */
#ifdef RESERVE
	bool used;		/* a message has left on the present block */
	bool giving;		/* this turn gives the rest of the block back */
#endif
#ifdef QUERIES
	bool asked;
	byte began;		/* the store's next index when the question came */
#endif

boot:
	{
		do
		:: todo[me] == 0 -> break

#ifdef QUERIES
		:: d_step { !asked -> asked = true; began = stored.next };
			revalidate();
			load();
			d_step { assert(ratchet >= began); began = 0 }
#endif

#ifdef RESERVE
		/* An index of our block leaves: no lock, no commit, whoever has the lock. */
		:: atomic { mine < mine_end && todo[me] > 0 -> emit(mine); mine++; used = true }
		/* Only a block in use is given back: a process that reserves and gives back for ever does no work. */
		:: atomic { used && mine < mine_end -> used = false; giving = true };
			acquire();
			goto refresh
		:: atomic { mine == mine_end && todo[me] > 0 -> used = false; forget_block() };
#else
		:: todo[me] > 0 ->
#endif
			acquire();
refresh:
			revalidate();
running:
			/* A turn begins, at a generation just read or left by our own commit under the same lock. */
#ifdef QUEUE
			atomic {
				if
				:: head != NOBODY && head != me -> overtaken++
				:: else
				fi;
#ifndef FREEZE
				assert(overtaken <= 1)
#endif
			};
#endif
			load();

#ifdef RESERVE
			if
			:: atomic { !giving -> first = ratchet; target = ratchet + RESERVE }
			:: atomic { giving && !MAY_GIVE_BACK -> giving = false; forget_block(); goto handover }
			:: atomic {
				giving && MAY_GIVE_BACK -> giving = false;
				first = mine;
				target = mine;
#ifndef FORGET_LATE
				forget_block()
#endif
			}
			fi;
#else
			atomic {
				first = ratchet;
				target = ratchet + 1;
				do
				:: target - first < BATCH && target - first < todo[me] -> target++
				:: break
				od
			};
#endif

#ifdef EMIT_BEFORE_COMMIT
			mine = first;
			do
			:: atomic { mine < target -> emit(mine); mine++ }
			:: atomic { mine == target -> mine = 0; break }
			od;
#endif

			/* BEGIN IMMEDIATE; UPDATE meta SET generation = generation + 1 WHERE generation = :seen */
			atomic {
				writer == NOBODY -> writer = me;
#ifdef NO_FENCE
				seen = stored.generation
#else
				if
				:: seen != stored.generation ->
					writer = NOBODY;
#ifndef NO_ROLLBACK
					drop_cache();
#endif
					forget_turn();
					goto handover
				:: else
				fi
#endif
			};

			/* COMMIT: first on the disk, then in sight of the others, then the call returns. */
			if
#ifndef NO_FSYNC
			:: d_step { true -> write(synced) }
#else
			:: true
#endif
#ifdef UNKNOWN_COMMIT
			:: atomic { faults < FAULTS -> faults++; goto unknown }
#endif
			fi;
			if
			:: d_step { true -> write(stored); let_go(writer, me) }
#ifdef UNKNOWN_COMMIT
			:: atomic { faults < FAULTS -> faults++; write(stored); goto unknown }
			:: atomic { faults < FAULTS -> faults++; goto unknown }
#endif
			fi;
committed:
			atomic {
				seen++;
				ratchet = target;
#ifndef EMIT_BEFORE_COMMIT
				mine = first;
				mine_end = target;
#endif
				forget_turn()
			};
#ifndef RESERVE
			do
			:: atomic { mine < mine_end -> emit(mine); mine++ }
			:: atomic { mine == mine_end -> forget_block(); break }
			od;
#endif
handover:
			/* With more to do and nobody waiting the lock may stay, and a second look at the generation is optional. */
			if
			:: todo[me] > 0 && mine == mine_end && MAY_KEEP_LOCK ->
				if
				:: cached -> goto running
				:: goto refresh
				fi
			:: let_go(lock, me)
			fi
		od;
		atomic { finished[me] = true; through++ };
		goto exited;

#ifdef UNKNOWN_COMMIT
unknown:
		/* Neither done nor failed: nothing leaves, and nothing that we remember counts. */
		atomic {
			let_go(writer, me);
#ifdef EMIT_ON_UNKNOWN
			goto committed
#else
			drop_cache();
			forget_turn();
			goto handover
#endif
		}
#endif
	} unless {
		atomic {
			dead[me] -> dead[me] = false;
			drop_cache();
			seen = 0;
			forget_turn();
			forget_block();
#ifdef RESERVE
			used = false;
			giving = false;
#endif
#ifdef QUERIES
			asked = false;
			began = 0;
#endif
			goto boot
		}
	};
#ifdef FREEZE
end_frozen:
	false;
#endif
exited:
	skip
}

init {
	byte victim;
	atomic {
		for (victim : 0 .. P - 1) {
			todo[victim] = MESSAGES;
			run Process(victim)
		}
		victim = 0
	};
	let_faults_strike()
}

#ifdef LIVENESS
ltl everybody_gets_through { <> (through == P) }
#endif
