/* The same random operations on a table whose group is here and on one whose group is elsewhere: each must give the
 * same rows and the same codes. */
#include "remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 200, SEEDS_OF_A_WORLD = 25, STEPS = 60, IDS = 40, MARKS = 5, MOST_WRITES = 12 };

/* One side. */
typedef struct side {
    char table[32];
    gn_dtxn *txn;
    gn_dtxn_mark *marks[MARKS];
    gn_code code; /* of the last operation */
    gn_error err;
    char *text; /* what it read */
} side;

typedef struct run {
    remote *r;
    side sides[2]; /* here, there */
    int n_marks;
    uint64_t seed;
} run;

static int64_t draw(run *x, uint64_t n)
{
    return (int64_t)gn_sim_random(x->r->sim, n);
}

static void begin_both(run *x)
{
    bool several = draw(x, 4) > 0;
    for (int i = 0; i < 2; i++)
        x->sides[i].txn = begin_with(x->r, &(gn_dtxn_options){.several = several});
}

static void end_both(run *x, bool commits)
{
    for (int i = 0; i < 2; i++) {
        side *s = &x->sides[i];
        for (int m = 0; m < x->n_marks; m++)
            gn_dtxn_mark_free(s->marks[m]);
        gn_error_clear(&s->err);
        if (commits)
            s->code = commit(s->txn, &s->err);
        else
            gn_dtxn_abort(s->txn);
        s->txn = NULL;
    }
    x->n_marks = 0;
}

static void compare(run *x, const char *what)
{
    side *a = &x->sides[0], *b = &x->sides[1];
    bool same = a->code == b->code && !a->text == !b->text && (!a->text || strcmp(a->text, b->text) == 0);
    if (!same)
        fail_msg("seed %d, %s: %s (%s) %s\nand elsewhere %s (%s) %s", (int)x->seed, what, gn_code_name(a->code),
                 a->err.message, a->text ? a->text : "", gn_code_name(b->code), b->err.message, b->text ? b->text : "");
    for (int i = 0; i < 2; i++) {
        free(x->sides[i].text);
        x->sides[i].text = NULL;
    }
}

/* ---- writes ---- */

typedef struct write {
    int kind;
    int64_t id;
    row row;
    char name[16];
    float v[DIMENSIONS];
} write_op;

static void draw_write(run *x, write_op *w)
{
    *w = (write_op){.kind = (int)draw(x, 5), .id = draw(x, IDS)};
    w->row = (row){.id = draw(x, 3) ? w->id : draw(x, IDS), .n = draw(x, 1000)};
    snprintf(w->name, sizeof w->name, "%d", (int)draw(x, 3 * IDS));
    w->row.name = draw(x, 4) ? w->name : NULL;
    for (int i = 0; i < DIMENSIONS; i++)
        w->v[i] = (float)draw(x, 100);
    w->row.v = draw(x, 2) ? w->v : NULL;
}

/* An update or delete of a row that is not there is nothing that a statement does: it scans first. */
static bool is_there(side *s, int64_t id)
{
    gn_code code;
    char *text = rows(s->txn, s->table, &(look){.ranged = true, .lo = id, .hi = id}, &code, &s->err);
    bool there = code == GN_OK && text[0];
    free(text);
    return there;
}

static gn_code apply(side *s, const write_op *w)
{
    if (w->kind < 3)
        return insert(s->txn, s->table, &w->row, &s->err);
    return w->kind == 3 ? update(s->txn, s->table, w->id, &w->row, &s->err) : erase(s->txn, s->table, w->id, &s->err);
}

/* As a statement that writes several rows. Here it stops at the row that is refused; what is elsewhere hears of all of
 * them up to that one. */
static void write_some(run *x)
{
    write_op writes[MOST_WRITES];
    int n = (int)draw(x, MOST_WRITES) + 1, done = 0;
    side *here = &x->sides[0], *there = &x->sides[1];
    here->code = there->code = GN_OK;
    for (int i = 0; i < n; i++)
        draw_write(x, &writes[i]);
    bool last = false;
    while (done < n && here->code == GN_OK && !last) {
        const write_op *w = &writes[done];
        if (w->kind >= 3 && !is_there(here, w->id))
            last = true;
        else
            here->code = apply(here, &writes[done++]);
    }
    for (int i = 0; i < done && there->code == GN_OK; i++)
        there->code = apply(there, &writes[i]);
    if (there->code == GN_OK)
        there->code = gn_dtxn_flush(there->txn, &there->err);
    if (here->code == GN_OK)
        here->code = gn_dtxn_flush(here->txn, &here->err);
    compare(x, "writes");
}

/* ---- reads ---- */

static void read_some(run *x)
{
    look how = {.by_name = draw(x, 3) == 0,
                .reverse = draw(x, 2),
                .ordered = draw(x, 2),
                .ranged = draw(x, 2),
                .limit = draw(x, 2) ? (uint64_t)draw(x, 10) : 0};
    how.lo = draw(x, IDS);
    how.hi = draw(x, 3) ? how.lo + draw(x, 10) : how.lo;
    for (int i = 0; i < 2; i++) {
        side *s = &x->sides[i];
        s->text = rows(s->txn, s->table, &how, &s->code, &s->err);
    }
    compare(x, "rows");
}

static void search(run *x)
{
    float q[DIMENSIONS];
    uint32_t k = (uint32_t)draw(x, 10) + 1;
    for (int i = 0; i < DIMENSIONS; i++)
        q[i] = (float)draw(x, 100) + 0.25F;
    for (int i = 0; i < 2; i++) {
        side *s = &x->sides[i];
        s->text = nearest(s->txn, s->table, q, k, &s->code, &s->err);
    }
    compare(x, "nearest");
}

/* ---- savepoints, others, ends ---- */

static void mark(run *x)
{
    if (x->n_marks == MARKS)
        return;
    for (int i = 0; i < 2; i++)
        x->sides[i].marks[x->n_marks] = gn_dtxn_mark_take(x->sides[i].txn);
    x->n_marks++;
}

/* Back to one of them; those after it are no more. */
static void go_back(run *x)
{
    if (x->n_marks == 0)
        return;
    int to = (int)draw(x, (uint64_t)x->n_marks);
    for (int i = 0; i < 2; i++) {
        side *s = &x->sides[i];
        for (int m = to + 1; m < x->n_marks; m++)
            gn_dtxn_mark_free(s->marks[m]);
        s->code = gn_dtxn_rollback_to(s->txn, s->marks[to], &s->err);
    }
    x->n_marks = to + 1;
    compare(x, "rollback");
}

/* Another transaction changes the same row of both tables and commits: this one may be refused. */
static void meddle(run *x)
{
    int64_t id = draw(x, IDS), n = draw(x, 1000);
    for (int i = 0; i < 2; i++) {
        side other = {.txn = begin(x->r)};
        memcpy(other.table, x->sides[i].table, sizeof other.table);
        if (is_there(&other, id))
            update(other.txn, other.table, id, &(row){.id = id, .n = n}, &other.err);
        x->sides[i].code = commit(other.txn, &other.err);
    }
    compare(x, "another's commit");
}

static void step(run *x)
{
    switch (draw(x, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        write_some(x);
        break;
    case 5:
        search(x);
        break;
    case 6:
    case 7:
        mark(x);
        break;
    case 8:
    case 9:
        go_back(x);
        break;
    case 10:
        end_both(x, draw(x, 4) > 0);
        compare(x, "commit");
        begin_both(x);
        break;
    case 11:
        meddle(x);
        break;
    default:
        read_some(x);
    }
}

static void run_seed(remote *r, uint64_t seed)
{
    run x = {.r = r, .seed = seed};
    for (int i = 0; i < 2; i++) {
        snprintf(x.sides[i].table, sizeof x.sides[i].table, "%s%d", i ? "there" : "here", (int)seed);
        make_table(r, x.sides[i].table, i ? r->there : r->here);
    }
    begin_both(&x);
    for (int i = 0; i < STEPS; i++)
        step(&x);
    end_both(&x, true);
    compare(&x, "the last commit");
    begin_both(&x);
    read_some(&x);
    end_both(&x, false);
}

static void what_is_elsewhere_is_as_what_is_here(void **state)
{
    (void)state;
    const char *one = getenv("GN_SEED"), *many = getenv("GN_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one ? first : many ? strtoull(many, NULL, 10) : SEEDS;
    remote *r = NULL;
    for (uint64_t seed = first; seed <= last; seed++) {
        if (!r || seed % SEEDS_OF_A_WORLD == 1) {
            if (r)
                remote_stop(r);
            r = remote_start(seed);
            if (seed / SEEDS_OF_A_WORLD % 2) /* frames are lost, doubled, overtake each other */
                gn_sim_link_set(r->sim, 0, 0,
                                &(gn_sim_link){.loss = 0.1, .duplicate = 0.1, .min_ns = MS / 10, .max_ns = 20 * MS});
        }
        run_seed(r, seed);
    }
    gn_sim_run_for(r->sim, 5 * SECOND);
    assert_int_equal(parts_at(r, B), 0);
    remote_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_elsewhere_is_as_what_is_here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
