#include "shard/wait_room_private.h"

enum { LOOK_UP_NS = 20000000 };

void gn_wait_room_init(gn_wait_room *room, gn_world *world)
{
    *room = (gn_wait_room){.world = world};
    pthread_mutex_init(&room->lock, NULL);
}

void gn_wait_room_close(gn_wait_room *room)
{
    pthread_mutex_destroy(&room->lock);
}

/* A waiter is taken out under the lock by whoever wakes it, who signals before leaving the lock; so when it is out, or
 * has been taken out here, nobody touches it any more. */
static void leave(gn_wait_room *room, gn_waiter *w)
{
    for (gn_waiter **at = &room->first; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            return;
        }
}

gn_code gn_wait_room_wait(gn_wait_room *room, uint64_t target, const gn_patience *patience)
{
    uint64_t now = gn_now_ns(room->world), until = now + LOOK_UP_NS;
    if (patience->cancel && *patience->cancel)
        return GN_CANCELED;
    if (patience->deadline_ns && now >= patience->deadline_ns)
        return GN_TIMEOUT;
    if (patience->deadline_ns && until > patience->deadline_ns)
        until = patience->deadline_ns;
    gn_waiter w = {.next = room->first, .target = target, .waits = true};
    gn_event_init(&w.event, room->world);
    room->first = &w;
    pthread_mutex_unlock(&room->lock);
    gn_event_wait(&w.event, until);
    pthread_mutex_lock(&room->lock);
    if (w.waits)
        leave(room, &w);
    return GN_OK;
}

void gn_wait_room_wake(gn_wait_room *room, uint64_t up_to)
{
    for (gn_waiter **at = &room->first; *at;) {
        gn_waiter *w = *at;
        if (w->target > up_to) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->waits = false;
        gn_event_signal(&w->event);
    }
}
