#include "base/buf.h"
#include "base/memory.h"
#include "base/sim.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define SECOND 1000000000ull

/* ---- a busy cluster, for determinism ---- */

typedef struct chatter {
    gn_sim *sim;
    gn_world *world;
    gn_queue *queue, *other;
    gn_timer timer;
    gn_task hop;
    bool hopping;
    gn_log_disk *disk;
    gn_disk_write write;
    gn_disk_op op;
    bool writing;
    char text[32];
    unsigned heard, ticks, waits, n_nodes;
    bool stop;
    gn_event stopped;
    gn_strand *strand;
} chatter;

static void chatter_hop(gn_task *task)
{
    chatter *c = GN_CONTAINER(task, chatter, hop);
    c->hopping = false;
}

static void chatter_heard(void *ctx, gn_node_id from, gn_bytes frame)
{
    chatter *c = ctx;
    c->heard++;
    if (frame.len < 20 && gn_random_u64(c->world) % 3) {
        uint8_t longer[21];
        memcpy(longer, frame.data, frame.len);
        longer[frame.len] = (uint8_t)gn_random_u64(c->world);
        gn_net_send(c->world, from, 1, gn_bytes_of(longer, frame.len + 1));
    }
    if (!c->hopping) {
        c->hopping = true;
        gn_queue_post(c->other, &c->hop);
    }
}

static void chatter_written(gn_disk_write *write, gn_code code, const char *message)
{
    chatter *c = GN_CONTAINER(write, chatter, write);
    assert_int_equal(code, GN_OK);
    assert_string_equal(message, "");
    c->writing = false;
}

static void chatter_tick(gn_timer *timer)
{
    chatter *c = GN_CONTAINER(timer, chatter, timer);
    c->ticks++;
    for (gn_node_id to = 1; to <= c->n_nodes; to++)
        gn_net_send(c->world, to, 1, gn_bytes_str("hi"));
    if (!c->writing) {
        c->writing = true;
        snprintf(c->text, sizeof c->text, "tick %u", c->ticks);
        c->op = (gn_disk_op){.kind = GN_DISK_PUT, .key = gn_bytes_str(c->text), .value = gn_bytes_str(c->text)};
        c->write = (gn_disk_write){.ops = &c->op, .n = 1, .sync = true, .queue = c->queue, .done = chatter_written};
        gn_log_disk_write(c->disk, &c->write);
    }
    if (c->stop) {
        gn_timer_close(timer);
        gn_net_listen(c->world, 1, c->queue, NULL, NULL);
        gn_event_signal(&c->stopped);
    } else {
        gn_timer_start(timer, gn_now_ns(c->world) + gn_random_u64(c->world) % (5 * MS));
    }
}

typedef struct first_tick {
    gn_task task;
    chatter *chatter;
} first_tick;

static void run_first_tick(gn_task *task)
{
    chatter_tick(&GN_CONTAINER(task, first_tick, task)->chatter->timer);
}

static void chatter_main(void *arg)
{
    chatter *c = arg;
    assert_int_equal(gn_log_disk_open(c->world, "log", &c->disk, NULL), GN_OK);
    c->queue = gn_queue_create(c->world, "chatter");
    c->other = gn_queue_create(c->world, "other");
    gn_event_init(&c->stopped, c->world);
    gn_timer_init(&c->timer, c->queue, chatter_tick);
    gn_net_listen(c->world, 1, c->queue, chatter_heard, c);
    first_tick first = {.task.run = run_first_tick, .chatter = c};
    gn_queue_post(c->queue, &first.task);
    while (gn_event_wait(&c->stopped, gn_now_ns(c->world) + 3 * MS) == GN_TIMEOUT)
        c->waits++;
    gn_log_disk_close(c->disk);
    gn_queue_destroy(c->queue);
    gn_queue_destroy(c->other);
}

static chatter *chatter_start(gn_sim *sim, gn_world *world, unsigned n_nodes)
{
    chatter *c = gn_xcalloc(1, sizeof *c);
    c->sim = sim;
    c->world = world;
    c->n_nodes = n_nodes;
    c->hop.run = chatter_hop;
    c->strand = gn_strand_start(world, "main", chatter_main, c);
    assert_non_null(c->strand);
    return c;
}

static void chatter_end(chatter *c)
{
    c->stop = true;
    gn_strand_join(c->strand);
    free(c);
}

static uint64_t busy_run(uint64_t seed)
{
    enum { N = 3 };
    gn_sim *sim = gn_sim_create(seed, N);
    gn_sim_link lossy = {.loss = 0.1, .duplicate = 0.1, .min_ns = 100000, .max_ns = 20 * MS};
    gn_sim_link_set(sim, 0, 0, &lossy);
    chatter *chatters[N];
    for (unsigned i = 0; i < N; i++)
        chatters[i] = chatter_start(sim, gn_sim_world(sim, i + 1), N);
    for (int round = 0; round < 5; round++) {
        gn_sim_run_for(sim, 100 * MS);
        unsigned i = (unsigned)gn_sim_random(sim, N);
        gn_sim_crash(sim, i + 1, gn_sim_chance(sim, 0.5) ? GN_SIM_TEAR : GN_SIM_FORGET);
        chatter_end(chatters[i]);
        chatters[i] = chatter_start(sim, gn_sim_restart(sim, i + 1), N);
    }
    gn_sim_run_for(sim, 50 * MS);
    for (unsigned i = 0; i < N; i++) {
        assert_true(chatters[i]->heard > 3 && chatters[i]->waits > 3);
        chatter_end(chatters[i]);
    }
    uint64_t hash = gn_sim_trace_hash(sim);
    gn_sim_destroy(sim);
    return hash;
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    uint64_t a = busy_run(1), b = busy_run(2);
    assert_true(a != b);
    assert_true(a == busy_run(1));
    assert_true(b == busy_run(2));
}

/* ---- order ---- */

typedef struct letter {
    gn_task task;
    char c;
    char *text;
} letter;

static void write_letter(gn_task *task)
{
    letter *l = GN_CONTAINER(task, letter, task);
    l->text[strlen(l->text)] = l->c;
}

static void the_seed_draws_the_order_but_each_queue_keeps_its_own(void **state)
{
    (void)state;
    char first_seen[16] = "";
    bool differ = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        gn_sim *sim = gn_sim_create(seed, 1);
        gn_queue *queues[2];
        letter letters[6];
        char text[16] = "";
        for (int i = 0; i < 2; i++)
            queues[i] = gn_queue_create(gn_sim_world(sim, 1), "q");
        for (int i = 0; i < 6; i++) {
            letters[i] = (letter){.task.run = write_letter, .c = (char)((i % 2 ? 'a' : 'A') + i / 2), .text = text};
            gn_queue_post(queues[i % 2], &letters[i].task);
        }
        for (int i = 0; i < 2; i++)
            gn_queue_destroy(queues[i]);
        assert_int_equal(strlen(text), 6);
        assert_true(strchr(text, 'A') < strchr(text, 'B') && strchr(text, 'B') < strchr(text, 'C'));
        assert_true(strchr(text, 'a') < strchr(text, 'b') && strchr(text, 'b') < strchr(text, 'c'));
        if (!*first_seen)
            strcpy(first_seen, text);
        differ |= strcmp(first_seen, text) != 0;
        gn_sim_destroy(sim);
    }
    assert_true(differ);
}

/* ---- time ---- */

typedef struct clockwork {
    gn_world *world;
    gn_queue *queue;
    gn_timer timer, stopped;
    gn_task task;
    uint64_t due;
    bool fired;
    gn_event done;
} clockwork;

static void clockwork_fired(gn_timer *timer)
{
    clockwork *c = GN_CONTAINER(timer, clockwork, timer);
    assert_true(gn_now_ns(c->world) >= c->due);
    c->fired = true;
    gn_timer_close(timer);
    gn_timer_close(&c->stopped);
    gn_event_signal(&c->done);
}

static void must_not_fire(gn_timer *timer)
{
    (void)timer;
    fail_msg("a stopped timer fired");
}

static void clockwork_start(gn_task *task)
{
    clockwork *c = GN_CONTAINER(task, clockwork, task);
    gn_timer_init(&c->timer, c->queue, clockwork_fired);
    gn_timer_init(&c->stopped, c->queue, must_not_fire);
    c->due = gn_now_ns(c->world) + 1800 * SECOND;
    gn_timer_start(&c->timer, c->due - 900 * SECOND);
    gn_timer_start(&c->stopped, c->due - 1);
    gn_timer_start(&c->timer, c->due);
    gn_timer_stop(&c->stopped);
}

static void time_passes_at_once_and_timers_keep_to_it(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(3, 1);
    clockwork c = {.world = gn_sim_world(sim, 1), .task.run = clockwork_start};
    c.queue = gn_queue_create(c.world, "clock");
    gn_event_init(&c.done, c.world);
    gn_queue_post(c.queue, &c.task);
    assert_int_equal(gn_event_wait(&c.done, gn_now_ns(c.world) + 100 * SECOND), GN_TIMEOUT);
    assert_int_equal(gn_event_wait(&c.done, UINT64_MAX), GN_OK);
    uint64_t wall = gn_wall_us(c.world), now = gn_sim_now_ns(sim);
    assert_true(now >= 1800 * SECOND);
    gn_sim_wall_jump(sim, 1, -5000000);
    assert_true(gn_wall_us(c.world) == wall - 5000000);
    gn_sim_run_for(sim, SECOND);
    assert_true(gn_sim_now_ns(sim) == now + SECOND);
    assert_false(gn_sim_step(sim));
    gn_queue_destroy(c.queue);
    gn_sim_destroy(sim);
}

/* ---- strands ---- */

typedef struct baton {
    gn_event *mine, *next;
    char *text;
    char c;
    gn_world *world;
} baton;

static void pass_baton(void *arg)
{
    baton *b = arg;
    assert_int_equal(gn_event_wait(b->mine, UINT64_MAX), GN_OK);
    b->text[strlen(b->text)] = b->c;
    volatile char deep[100000]; /* the stack is a real one */
    deep[0] = deep[sizeof deep - 1] = 1;
    if (b->next)
        gn_event_signal(b->next);
}

static void start_two_and_join(void *arg)
{
    baton *batons = arg;
    gn_strand *a = gn_strand_start(batons[0].world, "a", pass_baton, &batons[0]);
    gn_strand *b = gn_strand_start(batons[1].world, "b", pass_baton, &batons[1]);
    gn_event never;
    gn_event_init(&never, batons[0].world);
    uint64_t deadline = gn_now_ns(batons[0].world) + 50 * MS;
    assert_int_equal(gn_event_wait(&never, deadline), GN_TIMEOUT);
    assert_true(gn_now_ns(batons[0].world) >= deadline);
    assert_int_equal(gn_event_wait(&never, 0), GN_TIMEOUT);
    gn_event_signal(batons[0].mine);
    gn_strand_join(b);
    gn_strand_join(a);
}

static void strands_wait_for_each_other_and_for_deadlines(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        gn_sim *sim = gn_sim_create(seed, 1);
        gn_world *world = gn_sim_world(sim, 1);
        gn_event events[2];
        gn_event_init(&events[0], world);
        gn_event_init(&events[1], world);
        char text[4] = "";
        baton batons[2] = {{.mine = &events[0], .next = &events[1], .text = text, .c = 'a', .world = world},
                           {.mine = &events[1], .text = text, .c = 'b', .world = world}};
        gn_strand *strand = gn_strand_start(world, "main", start_two_and_join, batons);
        gn_strand_join(strand);
        assert_string_equal(text, "ab");
        gn_sim_destroy(sim);
    }
}

/* ---- the network ---- */

typedef struct ear {
    gn_queue *queue;
    char heard[256];
    gn_node_id last_from;
} ear;

static void hear(void *ctx, gn_node_id from, gn_bytes frame)
{
    ear *e = ctx;
    size_t n = strlen(e->heard);
    assert_int_equal(frame.len, 1);
    assert_true(n + 1 < sizeof e->heard);
    e->heard[n] = (char)frame.data[0];
    e->last_from = from;
}

static void ear_open(ear *e, gn_world *world)
{
    *e = (ear){.queue = gn_queue_create(world, "ear")};
    gn_net_listen(world, 4, e->queue, hear, e);
}

static void ear_close(ear *e)
{
    gn_queue_destroy(e->queue);
}

static void say(gn_sim *sim, gn_node_id from, gn_node_id to, const char *letters)
{
    for (; *letters; letters++)
        gn_net_send(gn_sim_world(sim, from), to, 4, gn_bytes_of(letters, 1));
}

static void frames_arrive_as_the_link_lets_them(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(5, 2);
    ear ears[2];
    for (unsigned i = 0; i < 2; i++)
        ear_open(&ears[i], gn_sim_world(sim, i + 1));
    say(sim, 1, 2, "x");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(ears[1].heard, "x");
    assert_int_equal(ears[1].last_from, 1);

    gn_sim_link_set(sim, 1, 2, &(gn_sim_link){.loss = 1, .min_ns = MS, .max_ns = MS});
    say(sim, 1, 2, "lost");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(ears[1].heard, "x");

    gn_sim_link_set(sim, 1, 2, &(gn_sim_link){.duplicate = 1, .min_ns = MS, .max_ns = MS});
    say(sim, 1, 2, "ab");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(ears[1].heard, "xaabb"); /* equal delays keep the order */

    gn_sim_cut(sim, 1, 2, true); /* one way */
    say(sim, 1, 2, "no");
    say(sim, 2, 1, "y");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(ears[1].heard, "xaabb");
    assert_string_equal(ears[0].heard, "y");
    gn_sim_cut(sim, 0, 0, false);
    say(sim, 1, 2, "c");
    gn_sim_cut(sim, 1, 2, true); /* before it arrives */
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(ears[1].heard, "xaabb");
    gn_sim_cut(sim, 1, 2, false);
    gn_net_send(gn_sim_world(sim, 1), 9, 4, gn_bytes_str("u")); /* unknown node */
    gn_net_send(gn_sim_world(sim, 1), 2, 5, gn_bytes_str("u")); /* nobody listens */
    gn_net_listen(gn_sim_world(sim, 2), 4, ears[1].queue, NULL, NULL);
    say(sim, 1, 2, "d");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(ears[1].heard, "xaabb");
    for (int i = 0; i < 2; i++)
        ear_close(&ears[i]);
    gn_sim_destroy(sim);
}

static void frames_overtake_each_other_where_delays_vary(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(6, 2);
    ear e;
    ear_open(&e, gn_sim_world(sim, 2));
    gn_sim_link_set(sim, 1, 2, &(gn_sim_link){.min_ns = 0, .max_ns = SECOND});
    say(sim, 1, 2, "abcdefghijklmnopqrstuvwxyz");
    gn_sim_run_for(sim, 2 * SECOND);
    assert_int_equal(strlen(e.heard), 26);
    assert_string_not_equal(e.heard, "abcdefghijklmnopqrstuvwxyz");
    ear_close(&e);
    gn_sim_destroy(sim);
}

static void a_crashed_node_hears_nothing_and_its_ghost_says_nothing(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(7, 2);
    gn_world *ghost = gn_sim_world(sim, 2);
    ear one, two, again;
    ear_open(&one, gn_sim_world(sim, 1));
    ear_open(&two, ghost);
    say(sim, 1, 2, "a");
    gn_sim_crash(sim, 2, GN_SIM_FORGET);
    assert_null(gn_sim_world(sim, 2));
    gn_net_send(ghost, 1, 4, gn_bytes_str("g"));
    say(sim, 1, 2, "b");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(one.heard, "");
    assert_string_equal(two.heard, "");
    ear_open(&again, gn_sim_restart(sim, 2));
    say(sim, 1, 2, "c");
    say(sim, 2, 1, "d");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(again.heard, "c");
    assert_string_equal(two.heard, "");
    assert_string_equal(one.heard, "d");
    ear_close(&one);
    ear_close(&two);
    ear_close(&again);
    gn_sim_destroy(sim);
}

static void a_paused_node_does_nothing_until_it_is_resumed(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(8, 2);
    ear e;
    ear_open(&e, gn_sim_world(sim, 2));
    gn_sim_pause(sim, 2, true);
    say(sim, 1, 2, "a");
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(e.heard, "");
    gn_sim_pause(sim, 2, false);
    gn_sim_run_for(sim, SECOND);
    assert_string_equal(e.heard, "a");
    say(sim, 1, 2, "b");
    gn_sim_run_for(sim, 1);
    gn_sim_pause(sim, 2, true);
    gn_sim_crash(sim, 2, GN_SIM_FORGET); /* the ghost of a paused node can be closed all the same */
    ear_close(&e);
    gn_sim_destroy(sim);
}

/* ---- the disk ---- */

typedef struct platter {
    gn_sim *sim;
    gn_queue *queue;
    gn_log_disk *disk;
    struct store_write {
        gn_disk_write write;
        gn_disk_op op;
        char key[8];
        bool done;
        gn_code code;
    } writes[64];
    size_t n;
} platter;

static void platter_open(platter *p, gn_sim *sim)
{
    gn_world *world = gn_sim_world(sim, 1);
    *p = (platter){.sim = sim, .queue = gn_queue_create(world, "disk")};
    assert_int_equal(gn_log_disk_open(world, "log", &p->disk, NULL), GN_OK);
}

static void platter_close(platter *p)
{
    gn_log_disk_close(p->disk);
    gn_queue_destroy(p->queue);
}

static void platter_written(gn_disk_write *write, gn_code code, const char *message)
{
    struct store_write *w = GN_CONTAINER(write, struct store_write, write);
    assert_true((code == GN_OK) == (*message == '\0'));
    w->done = true;
    w->code = code;
}

static struct store_write *platter_put(platter *p, const char *key, bool sync)
{
    struct store_write *w = &p->writes[p->n++];
    snprintf(w->key, sizeof w->key, "%s", key);
    w->op = (gn_disk_op){.kind = GN_DISK_PUT, .key = gn_bytes_str(w->key), .value = gn_bytes_str("value")};
    w->write = (gn_disk_write){.ops = &w->op, .n = 1, .sync = sync, .queue = p->queue, .done = platter_written};
    gn_log_disk_write(p->disk, &w->write);
    return w;
}

static bool all_written(void *ctx)
{
    platter *p = ctx;
    for (size_t i = 0; i < p->n; i++) {
        if (!p->writes[i].done)
            return false;
    }
    return true;
}

static void platter_wait(platter *p)
{
    assert_true(gn_sim_run_until(p->sim, all_written, p, SECOND));
}

static bool add_key(void *ctx, gn_bytes key, gn_bytes value)
{
    (void)value;
    strncat(ctx, (const char *)key.data, key.len);
    return true;
}

static const char *platter_keys(platter *p)
{
    static char keys[256];
    keys[0] = '\0';
    assert_int_equal(gn_log_disk_scan(p->disk, gn_bytes_str(""), gn_bytes_str("~"), add_key, keys, NULL), GN_OK);
    return keys;
}

/* Crashes the node, closes the ghost, opens the disk again. */
static void platter_crash(platter *p, gn_sim_tear tear)
{
    gn_sim *sim = p->sim;
    gn_sim_crash(sim, 1, tear);
    platter_close(p);
    gn_sim_restart(sim, 1);
    platter_open(p, sim);
}

static void a_crash_keeps_what_was_synced_and_forgets_the_rest(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(9, 1);
    platter p;
    platter_open(&p, sim);
    platter_put(&p, "a", false);
    platter_wait(&p);
    platter_put(&p, "b", true); /* syncs a too */
    platter_wait(&p);
    platter_put(&p, "c", false);
    platter_wait(&p);
    assert_string_equal(platter_keys(&p), "abc");
    platter_put(&p, "d", true); /* on its way when the power goes */
    platter_crash(&p, GN_SIM_FORGET);
    assert_string_equal(platter_keys(&p), "ab");
    platter_close(&p);
    platter_open(&p, sim); /* an orderly close and open loses nothing */
    platter_put(&p, "e", false);
    platter_wait(&p);
    platter_close(&p);
    platter_open(&p, sim);
    assert_string_equal(platter_keys(&p), "abe");
    platter_close(&p);
    gn_sim_destroy(sim);
}

static void a_tearing_crash_keeps_a_prefix_of_whole_writes(void **state)
{
    (void)state;
    bool seen[6] = {0};
    for (uint64_t seed = 0; seed < 60; seed++) {
        gn_sim *sim = gn_sim_create(seed, 1);
        platter p;
        platter_open(&p, sim);
        platter_put(&p, "a", true);
        platter_wait(&p);
        platter_put(&p, "b", false);
        platter_put(&p, "c", false);
        platter_wait(&p);
        platter_put(&p, "d", true);
        platter_put(&p, "e", true);
        platter_crash(&p, GN_SIM_TEAR);
        const char *keys = platter_keys(&p);
        assert_memory_equal(keys, "abcde", strlen(keys));
        seen[strlen(keys)] = true;
        platter_close(&p);
        gn_sim_destroy(sim);
    }
    for (int n = 1; n <= 5; n++)
        assert_true(seen[n]);
    assert_false(seen[0]);
}

static void the_nth_write_fails_and_all_after_it(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(10, 1);
    platter p;
    platter_open(&p, sim);
    gn_sim_disk_faults faults = gn_sim_disk_good;
    faults.fail_write = 3;
    faults.fail_code = GN_DISK_FULL;
    gn_sim_disk_set(sim, 1, &faults);
    const char *keys[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        platter_put(&p, keys[i], true);
        platter_wait(&p);
        assert_int_equal(p.writes[i].code, i < 2 ? GN_OK : GN_DISK_FULL);
    }
    assert_string_equal(platter_keys(&p), "ab");
    platter_crash(&p, GN_SIM_FORGET);
    assert_string_equal(platter_keys(&p), "ab");
    platter_put(&p, "e", true); /* a new start may try again */
    platter_wait(&p);
    assert_int_equal(p.writes[0].code, GN_OK);
    platter_close(&p);
    gn_sim_destroy(sim);
}

static void a_disk_can_fail_a_read_flip_a_bit_and_lie(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(11, 1);
    platter p;
    platter_open(&p, sim);
    assert_false(gn_sim_disk_flip(sim, 1));
    platter_put(&p, "a", true);
    platter_wait(&p);
    gn_sim_disk_faults faults = gn_sim_disk_good;
    faults.fail_read = 1;
    gn_sim_disk_set(sim, 1, &faults);
    gn_buf value;
    gn_buf_init(&value, NULL, 100);
    assert_int_equal(gn_log_disk_get(p.disk, gn_bytes_str("a"), &value, NULL), GN_IO);
    assert_int_equal(gn_log_disk_get(p.disk, gn_bytes_str("a"), &value, NULL), GN_OK);
    assert_true(gn_bytes_eq(gn_buf_bytes(&value), gn_bytes_str("value")));
    assert_int_equal(gn_log_disk_get(p.disk, gn_bytes_str("b"), &value, NULL), GN_NO_DATA);
    assert_true(gn_sim_disk_flip(sim, 1));
    for (int i = 0; i < 2; i++) {
        gn_buf_clear(&value);
        assert_int_equal(gn_log_disk_get(p.disk, gn_bytes_str("a"), &value, NULL), GN_OK);
        assert_false(gn_bytes_eq(gn_buf_bytes(&value), gn_bytes_str("value")));
        platter_crash(&p, GN_SIM_FORGET);
    }
    gn_buf_close(&value);
    faults.fail_read = 0;
    faults.lies = true;
    gn_sim_disk_set(sim, 1, &faults);
    platter_put(&p, "b", true);
    platter_wait(&p);
    assert_int_equal(p.writes[0].code, GN_OK);
    platter_crash(&p, GN_SIM_FORGET);
    assert_string_equal(platter_keys(&p), "a");
    gn_log_disk *second;
    gn_error err = {0};
    assert_int_equal(gn_log_disk_open(gn_sim_world(sim, 1), "log", &second, &err), GN_LOCKED);
    platter_close(&p);
    gn_sim_destroy(sim);
}

static void a_ghost_writes_to_nobodys_disk(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(12, 1);
    platter ghost, p;
    platter_open(&ghost, sim);
    platter_put(&ghost, "a", true);
    platter_wait(&ghost);
    gn_sim_crash(sim, 1, GN_SIM_FORGET);
    gn_sim_restart(sim, 1);
    platter_open(&p, sim); /* not locked by the ghost */
    platter_put(&ghost, "g", true);
    platter_put(&p, "b", true);
    platter_wait(&ghost);
    platter_wait(&p);
    assert_string_equal(platter_keys(&ghost), "ag");
    assert_string_equal(platter_keys(&p), "ab");
    platter_close(&ghost);
    platter_close(&p);
    gn_sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(the_seed_draws_the_order_but_each_queue_keeps_its_own),
        cmocka_unit_test(time_passes_at_once_and_timers_keep_to_it),
        cmocka_unit_test(strands_wait_for_each_other_and_for_deadlines),
        cmocka_unit_test(frames_arrive_as_the_link_lets_them),
        cmocka_unit_test(frames_overtake_each_other_where_delays_vary),
        cmocka_unit_test(a_crashed_node_hears_nothing_and_its_ghost_says_nothing),
        cmocka_unit_test(a_paused_node_does_nothing_until_it_is_resumed),
        cmocka_unit_test(a_crash_keeps_what_was_synced_and_forgets_the_rest),
        cmocka_unit_test(a_tearing_crash_keeps_a_prefix_of_whole_writes),
        cmocka_unit_test(the_nth_write_fails_and_all_after_it),
        cmocka_unit_test(a_disk_can_fail_a_read_flip_a_bit_and_lie),
        cmocka_unit_test(a_ghost_writes_to_nobodys_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
