/* When the core of which group wants to hear of the time: a heap of deadlines and one timer.
 *
 * A leader's deadline is put off to the next tick of a grid of one heartbeat interval, so that the heartbeats of all
 * idle groups fall together and travel in one frame a peer. Late is harmless up to that interval; early is not: each
 * firing of the core's timeout sends followers that have not answered yet back to probing. */
#include "raft/raft_private.h"

static void heap_set(gn_raft_host *host, size_t pos, gn_raft_group *group)
{
    host->deadlines[pos - 1] = group;
    group->heap_pos = pos;
}

static gn_raft_group *heap_get(const gn_raft_host *host, size_t pos)
{
    return host->deadlines[pos - 1];
}

static void sift_up(gn_raft_host *host, size_t pos, gn_raft_group *group)
{
    while (pos > 1 && heap_get(host, pos / 2)->deadline_ms > group->deadline_ms) {
        heap_set(host, pos, heap_get(host, pos / 2));
        pos /= 2;
    }
    heap_set(host, pos, group);
}

static void sift_down(gn_raft_host *host, size_t pos, gn_raft_group *group)
{
    for (size_t child; (child = pos * 2) <= host->n_deadlines; pos = child) {
        if (child < host->n_deadlines && heap_get(host, child + 1)->deadline_ms < heap_get(host, child)->deadline_ms)
            child++;
        if (heap_get(host, child)->deadline_ms >= group->deadline_ms)
            break;
        heap_set(host, pos, heap_get(host, child));
    }
    heap_set(host, pos, group);
}

void gn_raft_deadline_remove(gn_raft_group *group)
{
    gn_raft_host *host = group->host;
    size_t pos = group->heap_pos;
    if (pos == 0)
        return;
    group->heap_pos = 0;
    gn_raft_group *last = heap_get(host, host->n_deadlines--);
    if (last == group)
        return;
    sift_down(host, pos, last);
    if (last->heap_pos == pos)
        sift_up(host, pos, last);
}

void gn_raft_deadline_update(gn_raft_group *group)
{
    gn_raft_host *host = group->host;
    if (group->stopped) /* the host may have failed over what came before this in the advance */
        return;
    uint64_t due = raft_timeout(&group->raft);
    if (raft_state(&group->raft) == RAFT_LEADER) {
        uint64_t grid = host->options.heartbeat_ms;
        due = (due + grid - 1) / grid * grid;
    }
    bool waits = group->transfer && !(group->leads && group->transfer_sent); /* else the core watches the time */
    if (waits && group->transfer_deadline_ms < due)
        due = group->transfer_deadline_ms;
    if (group->heap_pos && due == group->deadline_ms)
        return;
    gn_raft_deadline_remove(group);
    if (host->n_deadlines == host->cap_deadlines) {
        host->cap_deadlines = host->cap_deadlines ? host->cap_deadlines * 2 : 16;
        host->deadlines = gn_xrealloc(host->deadlines, host->cap_deadlines * sizeof(gn_raft_group *));
    }
    group->deadline_ms = due;
    sift_up(host, ++host->n_deadlines, group);
}

void gn_raft_deadline_arm(gn_raft_host *host)
{
    uint64_t due = host->n_deadlines ? heap_get(host, 1)->deadline_ms : 0;
    if (due == host->timer_ms && due != 0)
        return;
    host->timer_ms = due;
    if (due)
        gn_timer_start(&host->timer, due * 1000000);
    else
        gn_timer_stop(&host->timer);
}

void gn_raft_deadline_fire(gn_timer *timer)
{
    gn_raft_host *host = GN_CONTAINER(timer, gn_raft_host, timer);
    uint64_t now = gn_raft_now_ms(host);
    host->timer_ms = 0;
    while (host->n_deadlines && heap_get(host, 1)->deadline_ms <= now) {
        gn_raft_group *group = heap_get(host, 1);
        gn_raft_deadline_remove(group);
        if (raft_timeout(&group->raft) <= now)
            gn_raft_step_timeout(group);
        gn_raft_group_touch(group);
    }
    gn_raft_host_turn(host);
}
