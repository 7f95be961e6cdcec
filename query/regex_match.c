/* The Pike machine. */
#include "query/regex_private.h"
#include "query/text_private.h"

enum { CANCEL_EVERY = 1 << 12, NO_CHARACTER = 0x110000 };

/* A list of threads in order of priority: program counters, each at most once, and the slots of each. */
typedef struct thread_list {
    uint32_t n;
    uint32_t *pcs;
    uint32_t *where; /* sparse set: pc is in the list if where[pc] < n and pcs[where[pc]] == pc */
    size_t *slots;   /* n_slots for each thread */
} thread_list;

typedef struct pending { /* of the stack in follow(): a pc, or a slot to be put back */
    uint32_t pc;
    uint32_t slot; /* UINT32_MAX: pc is meant */
    size_t old;
} pending;

typedef struct gn_regex_matcher {
    const gn_regex *regex;
    gn_bytes text;
    uint32_t n_spans;
    uint32_t n_slots; /* 1 at least: where the match began */
    thread_list now, next;
    pending *stack;
    size_t *current; /* slots of the thread being followed */
    size_t at;
    uint32_t before, after; /* characters on both sides of `at` */
    bool found;
    size_t *best; /* slots of the best match, and its end */
    size_t best_end;
} machine;

static bool listed(const thread_list *list, uint32_t pc)
{
    return list->where[pc] < list->n && list->pcs[list->where[pc]] == pc;
}

static bool word_at(uint32_t c)
{
    return c != NO_CHARACTER && gn_regex_word_character(c);
}

static bool holds(const machine *m, gn_regex_op op)
{
    bool lines = m->regex->newline_anchor, left = word_at(m->before), right = word_at(m->after);
    switch (op) {
    case GN_R_LINE_BEGIN:
        return m->before == NO_CHARACTER || (lines && m->before == '\n');
    case GN_R_LINE_END:
        return m->after == NO_CHARACTER || (lines && m->after == '\n');
    case GN_R_TEXT_BEGIN:
        return m->before == NO_CHARACTER;
    case GN_R_TEXT_END:
        return m->after == NO_CHARACTER;
    case GN_R_WORD_EDGE:
        return left != right;
    case GN_R_NOT_WORD_EDGE:
        return left == right;
    case GN_R_WORD_BEGIN:
        return !left && right;
    default:
        return left && !right;
    }
}

/* Adds the thread at pc, and all that it reaches without reading, in order of priority. m->current has its slots. */
static void follow(machine *m, thread_list *list, uint32_t start)
{
    uint32_t depth = 0;
    m->stack[depth++] = (pending){.pc = start, .slot = UINT32_MAX};
    while (depth > 0) {
        pending todo = m->stack[--depth];
        if (todo.slot != UINT32_MAX) {
            m->current[todo.slot] = todo.old;
            continue;
        }
        if (listed(list, todo.pc))
            continue;
        const gn_regex_inst *inst = &m->regex->program[todo.pc];
        list->where[todo.pc] = list->n;
        list->pcs[list->n++] = todo.pc;
        switch (inst->op) {
        case GN_R_CHAR:
        case GN_R_ANY:
        case GN_R_SET:
        case GN_R_MATCH:
            memcpy(list->slots + (size_t)(list->n - 1) * m->n_slots, m->current, m->n_slots * sizeof(size_t));
            break;
        case GN_R_SPLIT:
            m->stack[depth++] = (pending){.pc = inst->other, .slot = UINT32_MAX};
            m->stack[depth++] = (pending){.pc = inst->next, .slot = UINT32_MAX};
            break;
        case GN_R_JUMP:
            m->stack[depth++] = (pending){.pc = inst->next, .slot = UINT32_MAX};
            break;
        case GN_R_SAVE:
            if (inst->value < m->n_slots) {
                m->stack[depth++] = (pending){.slot = inst->value, .old = m->current[inst->value]};
                m->current[inst->value] = m->at;
            }
            m->stack[depth++] = (pending){.pc = inst->next, .slot = UINT32_MAX};
            break;
        default:
            if (holds(m, inst->op))
                m->stack[depth++] = (pending){.pc = inst->next, .slot = UINT32_MAX};
        }
    }
}

static bool reads(const machine *m, const gn_regex_inst *inst, uint32_t c, uint32_t folded)
{
    switch (inst->op) {
    case GN_R_CHAR:
        return inst->value == folded;
    case GN_R_ANY:
        return !(inst->value && c == '\n');
    case GN_R_SET:
        return gn_regex_set_has(inst->set, c, m->regex->icase);
    default:
        return false;
    }
}

/* A thread that began later than the best match, or as late when the shortest is wanted, is of no use. */
static bool superseded(const machine *m, const size_t *slots)
{
    return m->found && (slots[0] > m->best[0] || (slots[0] == m->best[0] && m->regex->shortest));
}

static void record_matches(machine *m)
{
    for (uint32_t i = 0; i < m->now.n; i++) {
        if (m->regex->program[m->now.pcs[i]].op != GN_R_MATCH)
            continue;
        const size_t *slots = m->now.slots + (size_t)i * m->n_slots;
        if (superseded(m, slots))
            continue;
        m->found = true;
        m->best_end = m->at;
        memcpy(m->best, slots, m->n_slots * sizeof(size_t));
    }
}

/* One character further. */
static void step(machine *m, uint32_t c)
{
    uint32_t folded = m->regex->icase ? gn_lower_character(c) : c;
    m->next.n = 0;
    for (uint32_t i = 0; i < m->now.n; i++) {
        const gn_regex_inst *inst = &m->regex->program[m->now.pcs[i]];
        const size_t *slots = m->now.slots + (size_t)i * m->n_slots;
        if (inst->op > GN_R_SET || !reads(m, inst, c, folded) || superseded(m, slots))
            continue;
        memcpy(m->current, slots, m->n_slots * sizeof(size_t));
        follow(m, &m->next, inst->next);
    }
    thread_list swap = m->now;
    m->now = m->next;
    m->next = swap;
}

static uint32_t character_before(gn_bytes text, size_t at)
{
    size_t len;
    if (at == 0)
        return NO_CHARACTER;
    do
        at--;
    while (!gn_utf8_starts(text.data[at]));
    return gn_utf8_decode(text.data + at, &len);
}

/* Sets m->at, a place where a character begins, and what lies on both sides. Gives the length of the one behind. */
static size_t stand_at(machine *m, size_t at)
{
    size_t len = 0;
    m->at = at;
    m->before = character_before(m->text, at);
    m->after = at < m->text.len ? gn_utf8_decode(m->text.data + at, &len) : NO_CHARACTER;
    return len;
}

/* No thread lives: on to the next place where a match may begin. SIZE_MAX: there is none. */
static size_t next_start(const machine *m)
{
    if (m->regex->first_byte < 0)
        return m->at;
    const uint8_t *p =
        m->at < m->text.len ? memchr(m->text.data + m->at, m->regex->first_byte, m->text.len - m->at) : NULL;
    return p ? (size_t)(p - m->text.data) : SIZE_MAX;
}

static gn_code run(machine *m, size_t from, const _Atomic bool *cancel, gn_error *err)
{
    size_t len = stand_at(m, from);
    m->now.n = 0;
    m->found = false;
    for (uint32_t steps = 1;; steps++) {
        if (m->now.n == 0 && !m->found) {
            size_t start = next_start(m);
            if (start == SIZE_MAX)
                break;
            if (start > m->at)
                len = stand_at(m, start);
        }
        if (!m->found && (!m->regex->anchored || m->at == 0)) { /* a thread that begins here, behind all others */
            memset(m->current, 0xff, m->n_slots * sizeof(size_t));
            m->current[0] = m->at;
            follow(m, &m->now, 0);
        }
        record_matches(m);
        if (m->now.n == 0 && (m->found || m->regex->anchored))
            break;
        if (m->at == m->text.len || (m->n_spans == 0 && m->found))
            break;
        if (steps % CANCEL_EVERY == 0 && cancel && *cancel)
            return gn_error_set(err, GN_CANCELED, "canceling statement due to user request");
        uint32_t c = m->after;
        m->at += len;
        m->before = c;
        m->after = m->at < m->text.len ? gn_utf8_decode(m->text.data + m->at, &len) : NO_CHARACTER;
        step(m, c);
    }
    return GN_OK;
}

static bool list_alloc(thread_list *list, uint32_t n, uint32_t n_slots, gn_arena *arena)
{
    list->pcs = gn_arena_alloc(arena, n * sizeof *list->pcs);
    list->where = gn_arena_calloc(arena, n, sizeof *list->where);
    list->slots = gn_arena_alloc(arena, (size_t)n * n_slots * sizeof *list->slots);
    return list->pcs && list->where && list->slots;
}

gn_code gn_regex_matcher_create(const gn_regex *regex, uint32_t n_spans, gn_arena *arena, gn_regex_matcher **out,
                                gn_error *err)
{
    GN_ASSERT(n_spans <= GN_REGEX_GROUPS);
    uint32_t n_slots = n_spans > 1 ? 2 * n_spans : 1;
    machine *m = gn_arena_calloc(arena, 1, sizeof *m);
    if (m) {
        m->regex = regex;
        m->n_spans = n_spans;
        m->n_slots = n_slots;
        m->stack = gn_arena_alloc(arena, (2 * (size_t)regex->n + 2) * sizeof *m->stack);
        m->current = gn_arena_alloc(arena, n_slots * sizeof *m->current);
        m->best = gn_arena_alloc(arena, n_slots * sizeof *m->best);
    }
    if (!m || !m->stack || !m->current || !m->best || !list_alloc(&m->now, regex->n, n_slots, arena) ||
        !list_alloc(&m->next, regex->n, n_slots, arena))
        return gn_error_oom(err, gn_arena_account(arena));
    *out = m;
    return GN_OK;
}

gn_code gn_regex_search(gn_regex_matcher *m, gn_bytes text, size_t from, gn_regex_span *spans,
                        const _Atomic bool *cancel, bool *found, gn_error *err)
{
    GN_ASSERT(from <= text.len);
    m->text = text;
    gn_code code = run(m, from, cancel, err);
    if (!code && m->found && m->n_spans) {
        spans[0] = (gn_regex_span){m->best[0], m->best_end};
        for (uint32_t i = 1; i < m->n_spans; i++) {
            bool took_part = m->best[2 * i] != SIZE_MAX && m->best[2 * i + 1] != SIZE_MAX;
            spans[i] =
                took_part ? (gn_regex_span){m->best[2 * i], m->best[2 * i + 1]} : (gn_regex_span){SIZE_MAX, SIZE_MAX};
        }
    }
    if (!code)
        *found = m->found;
    return code;
}
