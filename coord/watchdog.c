/* statement_timeout. A timer may be touched only from its queue, and a statement may last a microsecond; so the timer
 * is left running between statements and looks, when it fires, at the deadline that the session has written meanwhile.
 * A statement posts to the queue only when no timer would fire by its deadline. */
#include "coord/session_private.h"

#include <stdatomic.h>

static void arm(gn_watchdog *w, uint64_t deadline)
{
    w->due_ns = deadline;
    gn_timer_start(&w->timer, deadline);
}

static void look(gn_timer *timer)
{
    gn_watchdog *w = GN_CONTAINER(timer, gn_watchdog, timer);
    w->due_ns = 0; /* before the deadline is read: a statement that begins now posts anew */
    uint64_t deadline = w->deadline_ns;
    if (!deadline)
        return;
    if (gn_now_ns(w->world) < deadline) {
        arm(w, deadline);
    } else if (atomic_compare_exchange_strong(&w->deadline_ns, &deadline, 0)) {
        *w->timed_out = true;
        *w->cancel = true;
    }
}

static void start(gn_task *task)
{
    gn_watchdog *w = GN_CONTAINER(task, gn_watchdog, start);
    w->posted = false;
    if (!w->created) {
        gn_timer_init(&w->timer, w->queue, look);
        w->created = true;
    }
    uint64_t deadline = w->deadline_ns, due = w->due_ns;
    if (deadline && (!due || deadline < due))
        arm(w, deadline);
}

static void stop(gn_task *task)
{
    gn_watchdog *w = GN_CONTAINER(task, gn_watchdog, stop);
    if (w->created) {
        gn_timer_stop(&w->timer);
        gn_timer_close(&w->timer);
    }
    gn_event_signal(&w->stopped);
}

void gn_watchdog_init(gn_watchdog *w, gn_db *db, _Atomic bool *cancel, _Atomic bool *timed_out)
{
    w->world = db->world;
    w->queue = db->timers;
    w->start = (gn_task){.run = start};
    w->stop = (gn_task){.run = stop};
    w->cancel = cancel;
    w->timed_out = timed_out;
}

void gn_watchdog_close(gn_watchdog *w)
{
    gn_event_init(&w->stopped, w->world);
    gn_queue_post(w->queue, &w->stop);
    gn_event_wait(&w->stopped, UINT64_MAX);
}

void gn_watchdog_begin(gn_watchdog *w, uint64_t timeout_ms)
{
    if (!timeout_ms)
        return;
    w->deadline_ns = gn_now_ns(w->world) + timeout_ms * 1000000u;
    uint64_t due = w->due_ns;
    if ((!due || w->deadline_ns < due) && !atomic_exchange(&w->posted, true))
        gn_queue_post(w->queue, &w->start);
}

void gn_watchdog_end(gn_watchdog *w)
{
    if (w->deadline_ns)
        w->deadline_ns = 0;
}

void gn_session_statement_begins(gn_session *s)
{
    s->cancel = false;
    s->timed_out = false;
    gn_watchdog_begin(&s->watchdog, s->settings.statement_timeout_ms);
}

void gn_session_statement_ends(gn_session *s)
{
    gn_watchdog_end(&s->watchdog);
}
