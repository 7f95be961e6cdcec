/* Regular expressions: from the pattern to a tree, from the tree to a program. */
#include "query/regex_private.h"
#include "query/text_private.h"

enum { MAX_PROGRAM = 20000, MAX_DEPTH = 200, MAX_COUNT = 255, UNBOUNDED = UINT16_MAX };

typedef enum node_kind { EMPTY, CHARACTER, ANY, SET, ASSERTION, SEQUENCE, CHOICE, GROUP, REPEAT } node_kind;
typedef enum greed { NO_GREED, GREEDY, LAZY } greed;

typedef struct node {
    node_kind kind;
    greed greed;
    gn_regex_op assertion;
    uint32_t value; /* character, number of a group (0: does not capture) */
    uint16_t min, max;
    gn_regex_set *set;
    struct node *first, *next; /* children */
} node;

typedef struct compiler {
    const uint8_t *p, *end;
    unsigned flags;
    gn_arena *arena;
    gn_error *err;
    gn_code code; /* the first failure */
    uint32_t depth, n_groups;
    gn_regex_inst *program;
    uint32_t n, room;
} compiler;

static void fail(compiler *c, const char *why)
{
    if (!c->code)
        c->code = gn_error_set(c->err, GN_INVALID_REGEX, "invalid regular expression: %s", why);
}

static void *allocate(compiler *c, size_t size)
{
    void *p = c->code ? NULL : gn_arena_calloc(c->arena, 1, size);
    if (!p && !c->code)
        c->code = gn_error_oom(c->err, gn_arena_account(c->arena));
    return p;
}

/* ---- reading ---- */

static void skip_expanded(compiler *c)
{
    while (c->flags & GN_REGEX_EXPANDED && c->p < c->end) {
        if (*c->p == ' ' || (*c->p >= '\t' && *c->p <= '\r')) {
            c->p++;
        } else if (*c->p == '#') {
            while (c->p < c->end && *c->p != '\n')
                c->p++;
        } else {
            return;
        }
    }
}

static bool at(const compiler *c, char ch)
{
    return c->p < c->end && *c->p == (uint8_t)ch;
}

static bool take(compiler *c, char ch)
{
    if (!at(c, ch))
        return false;
    c->p++;
    return true;
}

static uint32_t take_character(compiler *c)
{
    size_t len;
    uint32_t ch = gn_utf8_decode(c->p, &len);
    c->p += len;
    return ch;
}

static bool digit_ahead(const compiler *c)
{
    return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static uint32_t take_number(compiler *c)
{
    uint32_t n = 0;
    for (; digit_ahead(c) && n <= MAX_COUNT; c->p++)
        n = n * 10 + (uint32_t)(*c->p - '0');
    return n;
}

static bool is_among(uint32_t c, uint32_t first, uint32_t n)
{
    return c - first < n;
}

/* Between min and max digits of the base. */
static uint32_t take_digits(compiler *c, int min, int max, uint32_t base)
{
    uint32_t value = 0;
    int n = 0;
    for (; n < max && c->p < c->end; n++, c->p++) {
        uint32_t ch = *c->p;
        uint32_t digit = is_among(ch, '0', 10) ? ch - '0' : is_among(ch | 32, 'a', 6) ? (ch | 32) - 'a' + 10 : 99;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    if (n < min || value > 0x10ffff)
        fail(c, "invalid escape \\ sequence");
    return value;
}

/* ---- the tree ---- */

static node *make(compiler *c, node_kind kind)
{
    node *n = allocate(c, sizeof *n);
    if (n)
        n->kind = kind;
    return n;
}

static node *parse_choice(compiler *c);

static node *make_character(compiler *c, uint32_t ch)
{
    node *n = make(c, CHARACTER);
    if (n)
        n->value = c->flags & GN_REGEX_ICASE ? gn_lower_character(ch) : ch;
    return n;
}

static node *make_assertion(compiler *c, gn_regex_op op)
{
    node *n = make(c, ASSERTION);
    if (n)
        n->assertion = op;
    return n;
}

static gn_regex_set *make_set(compiler *c)
{
    gn_regex_set *set = allocate(c, sizeof *set);
    if (set)
        set->no_newline = c->flags & GN_REGEX_NEWLINE_CLASS;
    return set;
}

static void set_finish(compiler *c, gn_regex_set *set)
{
    for (uint32_t ch = 0; ch < 128; ch++)
        if (gn_regex_set_compute(set, ch, c->flags & GN_REGEX_ICASE))
            set->ascii[ch >> 6] |= (uint64_t)1 << (ch & 63);
}

static node *make_class(compiler *c, uint32_t classes)
{
    node *n = make(c, SET);
    gn_regex_set *set = make_set(c);
    if (!n || !set)
        return NULL;
    set->classes = classes;
    set_finish(c, set);
    n->set = set;
    return n;
}

static uint32_t class_escape(uint8_t letter)
{
    switch (letter) {
    case 'd':
        return GN_R_DIGIT;
    case 'D':
        return GN_R_NOT_DIGIT;
    case 'w':
        return GN_R_WORD;
    case 'W':
        return GN_R_NOT_WORD;
    case 's':
        return GN_R_SPACE;
    case 'S':
        return GN_R_NOT_SPACE;
    default:
        return 0;
    }
}

/* An escape that stands for one character; the letter is taken already. */
static uint32_t character_escape(compiler *c, uint8_t letter)
{
    switch (letter) {
    case 'a':
        return 7;
    case 'b':
        return 8;
    case 'B':
        return '\\';
    case 'c':
        return c->p < c->end ? take_character(c) & 0x1f : (fail(c, "invalid escape \\ sequence"), 0);
    case 'e':
        return 27;
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    case 'u':
        return take_digits(c, 4, 4, 16);
    case 'U':
        return take_digits(c, 8, 8, 16);
    case 'x':
        return take_digits(c, 1, 6, 16);
    case '0':
        return take_digits(c, 0, 2, 8);
    default:
        fail(c, "invalid escape \\ sequence");
        return 0;
    }
}

static bool is_alphanumeric(uint8_t ch)
{
    return is_among(ch, '0', 10) || is_among(ch | 32u, 'a', 26);
}

static bool assertion_escape(uint8_t letter, gn_regex_op *op)
{
    static const struct {
        char letter;
        gn_regex_op op;
    } table[] = {{'A', GN_R_TEXT_BEGIN}, {'Z', GN_R_TEXT_END},  {'m', GN_R_WORD_BEGIN},
                 {'M', GN_R_WORD_END},   {'y', GN_R_WORD_EDGE}, {'Y', GN_R_NOT_WORD_EDGE}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].letter == (char)letter) {
            *op = table[i].op;
            return true;
        }
    return false;
}

static node *parse_escape(compiler *c)
{
    gn_regex_op op;
    if (c->p == c->end) {
        fail(c, "invalid escape \\ sequence");
        return NULL;
    }
    if (!is_alphanumeric(*c->p))
        return make_character(c, take_character(c));
    uint8_t letter = *c->p++;
    if (letter >= '1' && letter <= '9') {
        fail(c, "back references are not supported");
        return NULL;
    }
    if (class_escape(letter))
        return make_class(c, class_escape(letter));
    if (assertion_escape(letter, &op))
        return make_assertion(c, op);
    return make_character(c, character_escape(c, letter));
}

/* ---- [...] ---- */

static void set_add(compiler *c, gn_regex_set *set, uint32_t low, uint32_t high)
{
    if (set->n_ranges % 8 == 0) {
        void *more = allocate(c, (set->n_ranges + 8) * sizeof *set->ranges);
        if (!more)
            return;
        if (set->n_ranges)
            memcpy(more, set->ranges, set->n_ranges * sizeof *set->ranges);
        set->ranges = more;
    }
    set->ranges[set->n_ranges].low = low;
    set->ranges[set->n_ranges++].high = high;
}

/* [:name:], [.x.], [=x=]; the opening bracket and its mark are taken. True: *ch is one character. */
static bool parse_named(compiler *c, gn_regex_set *set, char mark, uint32_t *ch)
{
    const uint8_t *start = c->p;
    while (c->p + 1 < c->end && !(c->p[0] == (uint8_t)mark && c->p[1] == ']'))
        c->p++;
    gn_bytes name = gn_bytes_of(start, (size_t)(c->p - start));
    if (c->p + 1 >= c->end) {
        fail(c, "brackets [] not balanced");
        return false;
    }
    c->p += 2;
    if (mark == ':') {
        int class = gn_regex_class_named(name);
        if (class < 0)
            fail(c, "invalid character class");
        else
            set->classes |= (uint32_t)1 << (GN_R_CLASS_SHIFT + class);
        return false;
    }
    size_t len = 0;
    if (name.len)
        *ch = gn_utf8_decode(name.data, &len);
    if (len == 0 || len != name.len)
        fail(c, "invalid collating element");
    return len != 0;
}

/* One member of a bracket expression. True: a character, which may begin a range. */
static bool parse_member(compiler *c, gn_regex_set *set, uint32_t *ch)
{
    if (at(c, '[') && c->p + 1 < c->end && strchr(":.=", c->p[1])) {
        char mark = (char)c->p[1];
        c->p += 2;
        return parse_named(c, set, mark, ch);
    }
    if (!at(c, '\\')) {
        *ch = take_character(c);
        return true;
    }
    c->p++;
    if (c->p == c->end) {
        fail(c, "invalid escape \\ sequence");
        return false;
    }
    if (!is_alphanumeric(*c->p)) {
        *ch = take_character(c);
        return true;
    }
    uint8_t letter = *c->p++;
    if (class_escape(letter)) {
        set->classes |= class_escape(letter);
        return false;
    }
    *ch = character_escape(c, letter);
    return true;
}

static node *parse_bracket(compiler *c)
{
    node *n = make(c, SET);
    gn_regex_set *set = make_set(c);
    if (!n || !set)
        return NULL;
    set->negated = take(c, '^');
    for (bool first = true; !c->code && (first || !at(c, ']')); first = false) {
        uint32_t low = 0, high;
        if (c->p == c->end) {
            fail(c, "brackets [] not balanced");
            return NULL;
        }
        bool character = parse_member(c, set, &low);
        bool range = c->p + 1 < c->end && c->p[0] == '-' && c->p[1] != ']';
        if (!character) {
            if (range)
                fail(c, "invalid character range");
            continue;
        }
        high = low;
        if (range) {
            c->p++;
            if (!parse_member(c, set, &high) || high < low)
                fail(c, "invalid character range");
        }
        set_add(c, set, low, high);
    }
    if (!take(c, ']'))
        fail(c, "brackets [] not balanced");
    if (c->code)
        return NULL;
    set_finish(c, set);
    n->set = set;
    return n;
}

/* ---- atoms and their quantifiers ---- */

static node *parse_group(compiler *c)
{
    uint32_t number = 0;
    if (take(c, '?')) {
        if (at(c, '=') || at(c, '!') || at(c, '<')) {
            fail(c, "look-around constraints are not supported");
            return NULL;
        }
        if (!take(c, ':')) {
            fail(c, "quantifier operand invalid");
            return NULL;
        }
    } else {
        number = ++c->n_groups;
    }
    if (++c->depth > MAX_DEPTH) {
        fail(c, "regular expression is too complex");
        return NULL;
    }
    node *inside = parse_choice(c);
    c->depth--;
    if (!take(c, ')')) {
        fail(c, "parentheses () not balanced");
        return NULL;
    }
    node *n = make(c, GROUP);
    if (!n || !inside)
        return NULL;
    n->value = number < GN_REGEX_GROUPS ? number : 0;
    n->first = inside;
    n->greed = inside->greed;
    return n;
}

static bool quantifier_ahead(const compiler *c)
{
    if (c->p == c->end)
        return false;
    return *c->p == '*' || *c->p == '+' || *c->p == '?' ||
           (*c->p == '{' && c->p + 1 < c->end && c->p[1] >= '0' && c->p[1] <= '9');
}

static node *parse_atom(compiler *c)
{
    if (quantifier_ahead(c)) {
        fail(c, "quantifier operand invalid");
        return NULL;
    }
    if (take(c, '('))
        return parse_group(c);
    if (take(c, '['))
        return parse_bracket(c);
    if (take(c, '\\'))
        return parse_escape(c);
    if (take(c, '^'))
        return make_assertion(c, GN_R_LINE_BEGIN);
    if (take(c, '$'))
        return make_assertion(c, GN_R_LINE_END);
    if (take(c, '.'))
        return make(c, ANY);
    return make_character(c, take_character(c));
}

static void parse_counts(compiler *c, node *n)
{
    uint32_t min, max;
    if (take(c, '*')) {
        min = 0;
        max = UNBOUNDED;
    } else if (take(c, '+')) {
        min = 1;
        max = UNBOUNDED;
    } else if (take(c, '?')) {
        min = 0;
        max = 1;
    } else {
        c->p++; /* '{' */
        min = max = take_number(c);
        if (take(c, ','))
            max = digit_ahead(c) ? take_number(c) : UNBOUNDED;
        if (!take(c, '}'))
            fail(c, c->p == c->end ? "braces {} not balanced" : "invalid repetition count(s)");
        else if (min > MAX_COUNT || (max != UNBOUNDED && (max > MAX_COUNT || min > max)))
            fail(c, "invalid repetition count(s)");
    }
    n->min = (uint16_t)min;
    n->max = (uint16_t)max;
    bool lazy = take(c, '?');
    if (min == max)
        n->greed = n->first->greed;
    else
        n->greed = lazy ? LAZY : GREEDY;
}

static node *parse_piece(compiler *c)
{
    node *atom = parse_atom(c);
    skip_expanded(c);
    if (!atom || !quantifier_ahead(c))
        return atom;
    if (atom->kind == ASSERTION) {
        fail(c, "quantifier operand invalid");
        return NULL;
    }
    node *n = make(c, REPEAT);
    if (!n)
        return NULL;
    n->first = atom;
    parse_counts(c, n);
    skip_expanded(c);
    if (quantifier_ahead(c))
        fail(c, "quantifier operand invalid");
    return n;
}

static node *parse_sequence(compiler *c)
{
    node *n = make(c, SEQUENCE);
    if (!n)
        return NULL;
    node **tail = &n->first;
    for (skip_expanded(c); !c->code && c->p < c->end && !at(c, '|') && !at(c, ')'); skip_expanded(c)) {
        node *piece = parse_piece(c);
        if (!piece)
            return NULL;
        if (n->greed == NO_GREED)
            n->greed = piece->greed;
        *tail = piece;
        tail = &piece->next;
    }
    return n;
}

static node *parse_choice(compiler *c)
{
    node *branch = parse_sequence(c);
    if (!branch || !at(c, '|'))
        return branch;
    node *n = make(c, CHOICE);
    if (!n)
        return NULL;
    n->greed = GREEDY;
    n->first = branch;
    while (take(c, '|')) {
        branch->next = parse_sequence(c);
        branch = branch->next;
        if (!branch)
            return NULL;
    }
    return n;
}

/* "***=" and "***:" and "(?flags)" at the very beginning. */
static void parse_prefix(compiler *c)
{
    if (c->end - c->p >= 4 && memcmp(c->p, "***", 3) == 0) {
        if (c->p[3] == '=')
            c->flags |= GN_REGEX_LITERAL;
        else if (c->p[3] != ':')
            fail(c, "quantifier operand invalid");
        c->p += 4;
    }
    if (c->flags & GN_REGEX_LITERAL || c->end - c->p < 3 || c->p[0] != '(' || c->p[1] != '?' ||
        !is_among(c->p[2] | 32u, 'a', 26))
        return;
    for (c->p += 2; c->p < c->end && *c->p != ')'; c->p++)
        switch (*c->p) {
        case 'c':
            c->flags &= ~(unsigned)GN_REGEX_ICASE;
            break;
        case 'i':
            c->flags |= GN_REGEX_ICASE;
            break;
        case 'm':
        case 'n':
            c->flags |= GN_REGEX_NEWLINE_CLASS | GN_REGEX_NEWLINE_ANCHOR;
            break;
        case 'p':
            c->flags |= GN_REGEX_NEWLINE_CLASS;
            break;
        case 'w':
            c->flags |= GN_REGEX_NEWLINE_ANCHOR;
            break;
        case 's':
            c->flags &= ~(unsigned)(GN_REGEX_NEWLINE_CLASS | GN_REGEX_NEWLINE_ANCHOR);
            break;
        case 'q':
            c->flags |= GN_REGEX_LITERAL;
            break;
        case 'x':
            c->flags |= GN_REGEX_EXPANDED;
            break;
        case 'e':
        case 't':
            break;
        default:
            fail(c, "invalid embedded option");
            return;
        }
    if (!take(c, ')'))
        fail(c, "invalid embedded option");
}

static node *parse_literal(compiler *c)
{
    node *n = make(c, SEQUENCE);
    node **tail = n ? &n->first : NULL;
    while (!c->code && c->p < c->end) {
        *tail = make_character(c, take_character(c));
        if (*tail)
            tail = &(*tail)->next;
    }
    return n;
}

/* ---- the program ---- */

/* The new instruction's number; its next is the one behind it. */
static uint32_t emit(compiler *c, gn_regex_op op, uint32_t value)
{
    if (c->n == MAX_PROGRAM)
        fail(c, "regular expression is too complex");
    if (!c->code && c->n == c->room) {
        uint32_t room = c->room ? 2 * c->room : 32;
        gn_regex_inst *more = allocate(c, room * sizeof *more);
        if (more && c->n)
            memcpy(more, c->program, c->n * sizeof *more);
        c->program = more ? more : c->program;
        c->room = more ? room : c->room;
    }
    if (c->code)
        return 0;
    c->program[c->n] = (gn_regex_inst){.op = op, .next = c->n + 1, .value = value};
    return c->n++;
}

static void generate(compiler *c, const node *n);

static void generate_choice(compiler *c, const node *n)
{
    uint32_t jump = UINT32_MAX; /* the chain of jumps to the end, by `other` */
    for (const node *branch = n->first; branch && !c->code; branch = branch->next) {
        uint32_t split = branch->next ? emit(c, GN_R_SPLIT, 0) : 0;
        generate(c, branch);
        if (!branch->next || c->code)
            break;
        uint32_t end = emit(c, GN_R_JUMP, 0);
        if (c->code)
            return;
        c->program[end].other = jump;
        jump = end;
        c->program[split].other = c->n;
    }
    while (!c->code && jump != UINT32_MAX) {
        uint32_t before = c->program[jump].other;
        c->program[jump].next = c->n;
        jump = before;
    }
}

/* Makes a split whose way into the body comes first when greedy. `out` is patched later by split_exit. */
static uint32_t emit_split(compiler *c, uint32_t body, bool greedy)
{
    uint32_t split = emit(c, GN_R_SPLIT, greedy);
    if (!c->code)
        *(greedy ? &c->program[split].next : &c->program[split].other) = body;
    return split;
}

static void split_exit(compiler *c, uint32_t split, uint32_t to)
{
    if (!c->code)
        *(c->program[split].value ? &c->program[split].other : &c->program[split].next) = to;
}

static void generate_repeat(compiler *c, const node *n)
{
    bool greedy = n->greed != LAZY;
    uint32_t splits[MAX_COUNT], n_splits = 0, start = c->n;
    for (uint32_t i = 0; i < n->min && !c->code; i++) {
        start = c->n;
        generate(c, n->first);
    }
    if (n->max == UNBOUNDED && n->min > 0) { /* once more from the last copy */
        uint32_t split = emit_split(c, start, greedy);
        split_exit(c, split, c->n);
        return;
    }
    if (n->max == UNBOUNDED) {
        uint32_t split = emit_split(c, c->n + 1, greedy);
        generate(c, n->first);
        uint32_t jump = emit(c, GN_R_JUMP, 0);
        if (!c->code)
            c->program[jump].next = split;
        split_exit(c, split, c->n);
        return;
    }
    for (uint32_t i = n->min; i < n->max && !c->code; i++) {
        splits[n_splits++] = emit_split(c, c->n + 1, greedy);
        generate(c, n->first);
    }
    for (uint32_t i = 0; i < n_splits; i++)
        split_exit(c, splits[i], c->n);
}

static void generate(compiler *c, const node *n)
{
    uint32_t at_set;
    switch (n->kind) {
    case EMPTY:
        break;
    case CHARACTER:
        emit(c, GN_R_CHAR, n->value);
        break;
    case ANY:
        emit(c, GN_R_ANY, (c->flags & GN_REGEX_NEWLINE_CLASS) != 0);
        break;
    case SET:
        at_set = emit(c, GN_R_SET, 0);
        if (!c->code)
            c->program[at_set].set = n->set;
        break;
    case ASSERTION:
        emit(c, n->assertion, 0);
        break;
    case SEQUENCE:
        for (const node *child = n->first; child && !c->code; child = child->next)
            generate(c, child);
        break;
    case CHOICE:
        generate_choice(c, n);
        break;
    case GROUP:
        if (n->value)
            emit(c, GN_R_SAVE, 2 * n->value);
        generate(c, n->first);
        if (n->value)
            emit(c, GN_R_SAVE, 2 * n->value + 1);
        break;
    case REPEAT:
        generate_repeat(c, n);
        break;
    }
}

static bool begins_anchored(const compiler *c, const node *tree)
{
    const node *first = tree->kind == SEQUENCE ? tree->first : NULL;
    if (!first || first->kind != ASSERTION)
        return false;
    return first->assertion == GN_R_TEXT_BEGIN ||
           (first->assertion == GN_R_LINE_BEGIN && !(c->flags & GN_REGEX_NEWLINE_ANCHOR));
}

/* The byte that every match begins with, if the program begins by reading one character. */
static int first_byte(const gn_regex_inst *program, bool icase)
{
    uint32_t pc = 0;
    uint8_t bytes[4];
    while (program[pc].op == GN_R_SAVE || program[pc].op == GN_R_JUMP)
        pc = program[pc].next;
    if (icase || program[pc].op != GN_R_CHAR)
        return -1;
    gn_utf8_encode(program[pc].value, bytes);
    return bytes[0];
}

gn_code gn_regex_compile(gn_bytes pattern, unsigned flags, gn_arena *arena, const gn_regex **out, gn_error *err)
{
    compiler c = {.p = pattern.data, .end = pattern.data + pattern.len, .flags = flags, .arena = arena, .err = err};
    parse_prefix(&c);
    node *tree = c.code ? NULL : c.flags & GN_REGEX_LITERAL ? parse_literal(&c) : parse_choice(&c);
    if (tree && !c.code && c.p < c.end) /* what parse_choice leaves is a ')' */
        fail(&c, "parentheses () not balanced");
    if (tree && !c.code)
        generate(&c, tree);
    emit(&c, GN_R_MATCH, 0);
    gn_regex *regex = allocate(&c, sizeof *regex);
    if (!regex || c.code)
        return c.code;
    *regex = (gn_regex){.program = c.program,
                        .n = c.n,
                        .n_groups = c.n_groups < GN_REGEX_GROUPS ? c.n_groups : GN_REGEX_GROUPS - 1,
                        .icase = c.flags & GN_REGEX_ICASE,
                        .newline_anchor = c.flags & GN_REGEX_NEWLINE_ANCHOR,
                        .shortest = tree->greed == LAZY,
                        .anchored = begins_anchored(&c, tree),
                        .first_byte = first_byte(c.program, c.flags & GN_REGEX_ICASE)};
    *out = regex;
    return GN_OK;
}

uint32_t gn_regex_groups(const gn_regex *regex)
{
    return regex->n_groups;
}
