/* Which thread serves which connection next. There are as many threads as connections, so that whatever sessions wait
 * for, another one's next message finds a thread; but a thread belongs to a connection for one turn only: from the
 * message that came until all that has come is answered. Between turns connections rest in one epoll set.
 *
 * No more turns run at a time than there are processors: what comes meanwhile waits for the end of one, and whoever
 * ends a turn takes what came without going to sleep. Eight runnable threads on two processors spend more on changing
 * places, and on waking clients that sit on the other processor, than a short statement takes. Windows' I/O completion
 * ports limit concurrency in this way; the rules here:
 *
 *  - A turn counts while it works: not while it sleeps in gn_event_wait or for its client in the middle of a statement,
 *    and no more once it has taken long.
 *  - A connection whose last turn slept is not held back: its next one most likely gives up the processor soon, as a
 *    commit does, and many of those together make one write of the log. One whose last turn took long is not either,
 *    and its next one does not count, so that long statements leave the places to short ones.
 *  - While fewer turns run than may, some thread watches the set. Threads woken for a turn that may not begin are
 *    parked; the one that was parked first looks from time to time for turns that take long. While nobody watches, who
 *    comes is noticed when a turn ends, sleeps or takes long. */
#ifndef GN_NODE_DISPATCHER_H
#define GN_NODE_DISPATCHER_H

#include "base/world.h"
#include "node/busy_poll.h"

#include <stdatomic.h>

typedef struct gn_dispatcher gn_dispatcher;

/* A connection as the dispatcher sees it, embedded in it; all zero but for the first three. Touched by the thread whose
 * turn it is. */
typedef struct gn_caller {
    int fd; /* open until the caller's end was given back */
    /* One turn: receives what is there, works through it, answers. False: the connection is over. */
    bool (*serve)(struct gn_caller *caller);
    /* Receives without waiting. True: there is something to serve, or the end. */
    bool (*look)(struct gn_caller *caller);
    /* the dispatcher's */
    struct gn_caller *next;
    uint64_t rests_since_ns, last_rest_ns;
    bool registered;        /* in the epoll set */
    bool slept;             /* in its last turn */
    bool was_long;          /* its last turn */
    _Atomic unsigned rests; /* 1 or 0; in a word of its own, as others' words are read by other threads */
} gn_caller;

typedef struct gn_dispatcher_options {
    uint64_t busy_poll_us;  /* node/busy_poll.h */
    unsigned turns_at_once; /* 0: one for each processor */
    uint64_t long_us;       /* a turn that has worked so long counts no more; 0: 5 ms */
} gn_dispatcher_options;

gn_code gn_dispatcher_open(gn_world *world, const gn_dispatcher_options *options, gn_dispatcher **out, gn_error *err);
void gn_dispatcher_close(gn_dispatcher *dispatcher); /* when no strand works any more */

/* On a strand of its own for each connection: serves `first`, a new connection, and then whoever comes, until a
 * connection is over, which is returned: it is the strand's to end. (It is over, too, when the kernel has no room to
 * watch it; that is logged.) */
gn_caller *gn_dispatcher_work(gn_dispatcher *dispatcher, gn_caller *first);

typedef struct gn_dispatcher_counts {
    unsigned working;  /* turns that count */
    unsigned watching; /* threads that wait for callers: while there are none, who comes is not even noticed */
    unsigned held;     /* callers that have come and wait for a turn to end */
} gn_dispatcher_counts;
gn_dispatcher_counts gn_dispatcher_count(gn_dispatcher *dispatcher);

/* Around a call that blocks in the middle of a turn, outside of gn_event_wait; nothing on any other thread. */
void gn_dispatcher_sleeps(void);
void gn_dispatcher_wakes(void);

#endif
