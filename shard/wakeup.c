#include "shard/shard_private.h"

void gn_wakeup_init(gn_wakeup *w, gn_world *world)
{
    *w = (gn_wakeup){.world = world};
    pthread_mutex_init(&w->lock, NULL);
    gn_event_init(&w->event, world);
}

void gn_wakeup_close(gn_wakeup *w)
{
    pthread_mutex_destroy(&w->lock);
}

void gn_wakeup_post(gn_wakeup *w)
{
    pthread_mutex_lock(&w->lock);
    w->pending = true;
    if (w->waiting && !w->signalled) {
        w->signalled = true;
        gn_event_signal(&w->event);
    }
    pthread_mutex_unlock(&w->lock);
}

/* The event is one-shot and is made anew under the lock, when no post can be signalling it. */
void gn_wakeup_wait(gn_wakeup *w, uint64_t deadline_ns)
{
    pthread_mutex_lock(&w->lock);
    if (!w->pending) {
        gn_event_init(&w->event, w->world);
        w->waiting = true;
        w->signalled = false;
        pthread_mutex_unlock(&w->lock);
        gn_event_wait(&w->event, deadline_ns);
        pthread_mutex_lock(&w->lock);
        w->waiting = false;
    }
    w->pending = false;
    pthread_mutex_unlock(&w->lock);
}
