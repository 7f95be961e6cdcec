/* Which function a call means: PostgreSQL's rules (documentation, chapter 10 "Type Conversion"; 10.2 operators, 10.3
 * functions, 10.5 UNION, CASE and related). The steps carry the documentation's numbers. */
#include "query/function_private.h"

#include <stdio.h>

enum { CANDIDATES = 96 };

static bool is_pseudo(gn_type t)
{
    return t.id >= GN_T_COUNT;
}

static bool is_unknown(gn_type t)
{
    return gn_type_is(t, GN_T_UNKNOWN);
}

static char category(gn_type t)
{
    return is_pseudo(t) ? 'P' : gn_type_category(t);
}

bool gn_type_preferred(gn_type t)
{
    return gn_type_is(t, GN_T_BOOL) || gn_type_is(t, GN_T_FLOAT8) || gn_type_is(t, GN_T_TEXT) ||
           gn_type_is(t, GN_T_TIMESTAMPTZ) || gn_type_is(t, GN_T_INTERVAL) || gn_type_is(t, GN_T_VARBIT) ||
           gn_type_is(t, GN_T_VECTOR); /* not PostgreSQL's: so that '[1,2]' <-> '[3,4]' is one of vectors */
}

bool gn_type_coercible(gn_type from, gn_type to)
{
    if (gn_type_same(from, to))
        return true;
    switch (to.id) {
    case GN_T_ANY:
    case GN_T_ANYELEMENT:
    case GN_T_ANYCOMPATIBLE:
        return true;
    case GN_T_ANYNONARRAY:
        return !from.is_array;
    case GN_T_ANYARRAY:
    case GN_T_ANYCOMPATIBLEARRAY:
        return from.is_array || is_unknown(from);
    default:
        return is_unknown(from) || gn_cast_allowed(from, to, GN_CAST_IMPLICIT);
    }
}

static gn_type signature_arg(const gn_signature *s, uint32_t i)
{
    return s->args[i < s->n_args ? i : s->n_args - 1];
}

/* ---- polymorphic types ---- */

/* The element type that anyelement, anynonarray and anyarray stand for; NONE when only unknown literals say. False:
 * the arguments contradict each other. */
static bool settle_exact(const gn_signature *s, const gn_type *args, uint32_t n, gn_type *element)
{
    gn_type found = gn_type_of(GN_T_NONE);
    for (uint32_t i = 0; i < n; i++) {
        gn_type want = signature_arg(s, i), have = args[i];
        bool scalar = want.id == GN_T_ANYELEMENT || want.id == GN_T_ANYNONARRAY;
        if (is_unknown(have) || (!scalar && want.id != GN_T_ANYARRAY))
            continue;
        if (!scalar)
            have.is_array = false;
        have.typmod = -1;
        if (found.id == GN_T_NONE)
            found = have;
        else if (!gn_type_same(found, have))
            return false;
    }
    *element = found;
    return true;
}

/* As above for the anycompatible family: the common type of all that take part. */
static bool settle_common(const gn_signature *s, const gn_type *args, uint32_t n, gn_type *element)
{
    gn_type types[GN_CALL_ARGS];
    uint32_t n_types = 0;
    bool known = false;
    for (uint32_t i = 0; i < n; i++) {
        gn_type want = signature_arg(s, i), have = args[i];
        bool array = want.id == GN_T_ANYCOMPATIBLEARRAY;
        if (!array && want.id != GN_T_ANYCOMPATIBLE)
            continue;
        if (is_unknown(have))
            continue;
        if (array)
            have.is_array = false;
        known = true;
        types[n_types++] = have;
    }
    *element = gn_type_of(GN_T_NONE);
    return !known || gn_type_common(types, n_types, element, NULL) == GN_OK;
}

static bool polymorphic_ok(const gn_signature *s, const gn_type *args, uint32_t n)
{
    gn_type element;
    return settle_exact(s, args, n, &element) && settle_common(s, args, n, &element);
}

gn_code gn_signature_settle(const gn_signature *s, gn_type declared, const gn_type *args, uint32_t n,
                            gn_type *arg_types, gn_type *result, gn_error *err)
{
    gn_type exact, common, text = gn_type_of(GN_T_TEXT);
    bool ok = settle_exact(s, args, n, &exact) && settle_common(s, args, n, &common);
    GN_ASSERT(ok);
    for (uint32_t i = 0; i <= n; i++) { /* the result last, by the same rule */
        gn_type want = i < n ? signature_arg(s, i) : declared, got = want;
        bool array = want.id == GN_T_ANYARRAY || want.id == GN_T_ANYCOMPATIBLEARRAY;
        if (want.id == GN_T_ANY) {
            got = is_unknown(args[i]) ? text : args[i];
        } else if (is_pseudo(want)) {
            got = want.id >= GN_T_ANYCOMPATIBLE ? common : exact;
            if (got.id == GN_T_NONE && want.id >= GN_T_ANYCOMPATIBLE)
                got = text; /* as PostgreSQL does for a family of unknown literals */
            if (got.id == GN_T_NONE)
                return gn_error_set(err, GN_TYPE_MISMATCH,
                                    "could not determine polymorphic type because input has type unknown");
            got.is_array |= array;
        }
        got.typmod = -1;
        if (i < n)
            arg_types[i] = got;
        else
            *result = got;
    }
    return GN_OK;
}

/* ---- choosing ---- */

static bool accepts(const gn_signature *s, const gn_type *args, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!gn_type_coercible(args[i], signature_arg(s, i)))
            return false;
    return polymorphic_ok(s, args, n);
}

static bool matches_exactly(const gn_signature *s, const gn_type *args, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!gn_type_same(args[i], signature_arg(s, i)))
            return false;
    return true;
}

/* Keeps the candidates with the highest score. */
static uint32_t keep_best(gn_signature *c, uint32_t n_candidates, const gn_type *args, uint32_t n,
                          uint32_t (*score)(const gn_signature *, const gn_type *, uint32_t))
{
    uint32_t best = 0, kept = 0;
    for (uint32_t i = 0; i < n_candidates; i++) {
        uint32_t points = score(&c[i], args, n);
        if (points > best || i == 0) {
            best = points;
            kept = 0;
        }
        if (points == best)
            c[kept++] = c[i];
    }
    return kept;
}

static uint32_t score_exact(const gn_signature *s, const gn_type *args, uint32_t n)
{
    uint32_t points = 0;
    for (uint32_t i = 0; i < n; i++)
        points += !is_unknown(args[i]) && gn_type_same(args[i], signature_arg(s, i));
    return points;
}

static uint32_t score_preferred(const gn_signature *s, const gn_type *args, uint32_t n)
{
    uint32_t points = 0;
    for (uint32_t i = 0; i < n; i++) {
        gn_type want = signature_arg(s, i);
        bool preferred = category(want) == category(args[i]) && gn_type_preferred(want);
        points += !is_unknown(args[i]) && (gn_type_same(args[i], want) || preferred);
    }
    return points;
}

/* 10.3 4.e: for each unknown argument the category that the candidates agree on, string winning; then only candidates
 * of that category, and of its preferred type where one has it. 0: they disagree. */
static uint32_t keep_categories(gn_signature *c, uint32_t n_candidates, const gn_type *args, uint32_t n)
{
    char slot[GN_CALL_ARGS];
    bool preferred[GN_CALL_ARGS];
    for (uint32_t i = 0; i < n; i++) {
        bool agree = true, string = false, any_preferred = false;
        slot[i] = category(signature_arg(&c[0], i));
        for (uint32_t k = 0; k < n_candidates; k++) {
            char other = category(signature_arg(&c[k], i));
            agree &= other == slot[i];
            string |= other == 'S';
            any_preferred |= gn_type_preferred(signature_arg(&c[k], i));
        }
        if (!is_unknown(args[i]))
            continue;
        if (!agree && !string)
            return 0;
        if (!agree)
            slot[i] = 'S';
        preferred[i] = agree ? any_preferred : true; /* the string category's preferred type is text */
    }
    uint32_t kept = 0;
    gn_signature all[CANDIDATES];
    memcpy(all, c, n_candidates * sizeof *c);
    for (uint32_t k = 0; k < n_candidates; k++) {
        bool fits = true;
        for (uint32_t i = 0; i < n && fits; i++)
            if (is_unknown(args[i])) {
                gn_type want = signature_arg(&all[k], i);
                fits = category(want) == slot[i] && (!preferred[i] || gn_type_preferred(want));
            }
        if (fits)
            c[kept++] = all[k];
    }
    return kept;
}

/* 10.3 4.f: if all known arguments are of one type, the unknown ones may be taken for it too. */
static uint32_t keep_same_type(gn_signature *c, uint32_t n_candidates, const gn_type *args, uint32_t n)
{
    gn_type assumed[GN_CALL_ARGS], known = gn_type_of(GN_T_NONE);
    for (uint32_t i = 0; i < n; i++) {
        if (is_unknown(args[i]))
            continue;
        if (known.id != GN_T_NONE && !gn_type_same(known, args[i]))
            return n_candidates;
        known = args[i];
    }
    if (known.id == GN_T_NONE)
        return n_candidates;
    for (uint32_t i = 0; i < n; i++)
        assumed[i] = known;
    uint32_t kept = 0;
    for (uint32_t k = 0; k < n_candidates; k++)
        if (accepts(&c[k], assumed, n))
            c[kept++] = c[k];
    return kept;
}

gn_choice gn_signature_choose(gn_signature *c, uint32_t n_candidates, const gn_type *args, uint32_t n)
{
    GN_ASSERT(n_candidates <= CANDIDATES && n <= GN_CALL_ARGS);
    uint32_t kept = 0;
    bool unknown = false;
    for (uint32_t i = 0; i < n; i++)
        unknown |= is_unknown(args[i]);
    for (uint32_t k = 0; k < n_candidates; k++) /* 10.3 2: an exact match ends it */
        if (matches_exactly(&c[k], args, n)) {
            c[0] = c[k];
            return GN_CHOICE_ONE;
        }
    for (uint32_t k = 0; k < n_candidates; k++) /* 4.a */
        if (accepts(&c[k], args, n))
            c[kept++] = c[k];
    if (kept == 0)
        return GN_CHOICE_NONE;
    if (kept > 1) /* 4.c */
        kept = keep_best(c, kept, args, n, score_exact);
    if (kept > 1) /* 4.d */
        kept = keep_best(c, kept, args, n, score_preferred);
    if (kept > 1 && unknown) {
        gn_signature before[CANDIDATES];
        uint32_t n_before = kept;
        memcpy(before, c, kept * sizeof *c);
        kept = keep_categories(c, kept, args, n);
        if (kept == 0) {
            memcpy(c, before, n_before * sizeof *c);
            kept = n_before;
        }
        if (kept > 1)
            kept = keep_same_type(c, kept, args, n);
    }
    return kept == 1 ? GN_CHOICE_ONE : GN_CHOICE_MANY;
}

/* ---- words ---- */

static void signature_text(gn_bytes name, bool is_operator, const gn_type *args, uint32_t n, char *buf, size_t size)
{
    char types[2][80];
    size_t at = 0;
    if (is_operator) {
        GN_ASSERT(n == 1 || n == 2);
        for (uint32_t i = 0; i < n; i++)
            gn_type_format((gn_type){args[i].id, args[i].is_array, -1}, types[i], sizeof types[i]);
        if (n == 2)
            snprintf(buf, size, "%s %.*s %s", types[0], (int)name.len, (const char *)name.data, types[1]);
        else
            snprintf(buf, size, "%.*s %s", (int)name.len, (const char *)name.data, types[0]);
        return;
    }
    at += (size_t)snprintf(buf, size, "%.*s(", (int)(name.len > 63 ? 63 : name.len), (const char *)name.data);
    for (uint32_t i = 0; i < n && at < size; i++) {
        gn_type_format((gn_type){args[i].id, args[i].is_array, -1}, types[0], sizeof types[0]);
        at += (size_t)snprintf(buf + at, size - at, "%s%s", i ? ", " : "", types[0]);
    }
    if (at < size)
        snprintf(buf + at, size - at, ")");
}

gn_code gn_no_function(gn_bytes name, bool is_operator, const gn_type *args, uint32_t n, gn_choice why, gn_error *err)
{
    char text[300];
    const char *kind = is_operator ? "operator" : "function";
    signature_text(name, is_operator, args, n, text, sizeof text);
    if (why == GN_CHOICE_MANY) {
        if (is_operator)
            gn_error_set(err, GN_AMBIGUOUS_FUNCTION, "operator is not unique: %s", text);
        else
            gn_error_set(err, GN_AMBIGUOUS_FUNCTION, "function %s is not unique", text);
        gn_error_hint(err, "Could not choose a best candidate %s. You might need to add explicit type casts.", kind);
        return GN_AMBIGUOUS_FUNCTION;
    }
    if (is_operator)
        gn_error_set(err, GN_NO_FUNCTION, "operator does not exist: %s", text);
    else
        gn_error_set(err, GN_NO_FUNCTION, "function %s does not exist", text);
    if (is_operator && n == 1)
        gn_error_hint(err, "No operator matches the given name and argument type. You might need to add an explicit "
                           "type cast.");
    else
        gn_error_hint(err,
                      "No %s matches the given name and argument types. You might need to add explicit type "
                      "casts.",
                      kind);
    return GN_NO_FUNCTION;
}

/* ---- functions and operators ---- */

static uint32_t gather(gn_bytes name, uint32_t n, gn_signature *out)
{
    uint32_t n_named, kept = 0;
    const gn_function *const *named = gn_functions_named(name, &n_named);
    for (uint32_t i = 0; i < n_named; i++) {
        const gn_function *f = named[i];
        bool variadic = f->flags & GN_F_VARIADIC;
        if (f->n_args != n && !(variadic && n >= f->n_args))
            continue;
        GN_ASSERT(kept < CANDIDATES);
        out[kept++] = (gn_signature){.args = f->args, .n_args = f->n_args, .variadic = variadic, .what = f};
    }
    return kept;
}

/* 10.2 2.a: an unknown operand of a binary operator is taken for the other's type if that makes an exact match. */
static bool same_type_operator(const gn_signature *c, uint32_t n_candidates, const gn_type *args, gn_signature *out)
{
    if (is_unknown(args[0]) == is_unknown(args[1]))
        return false;
    gn_type known = is_unknown(args[0]) ? args[1] : args[0], both[2] = {known, known};
    for (uint32_t k = 0; k < n_candidates; k++)
        if (matches_exactly(&c[k], both, 2)) {
            *out = c[k];
            return true;
        }
    return false;
}

gn_code gn_function_resolve(gn_bytes name, bool is_operator, const gn_type *args, uint32_t n, const gn_function **out,
                            gn_type *arg_types, gn_type *result, gn_error *err)
{
    if (n > GN_CALL_ARGS)
        return gn_error_set(err, GN_TOO_MANY_ARGUMENTS, "cannot pass more than %d arguments to a function",
                            (int)GN_CALL_ARGS);
    GN_ASSERT(!is_operator || n == 1 || n == 2);
    gn_signature candidates[CANDIDATES], chosen;
    uint32_t n_candidates = gather(name, n, candidates);
    if (is_operator && n == 2 && same_type_operator(candidates, n_candidates, args, &chosen)) {
        /* chosen */
    } else {
        gn_choice choice = n_candidates ? gn_signature_choose(candidates, n_candidates, args, n) : GN_CHOICE_NONE;
        if (choice != GN_CHOICE_ONE)
            return gn_no_function(name, is_operator, args, n, choice, err);
        chosen = candidates[0];
    }
    const gn_function *f = chosen.what;
    gn_code code = gn_signature_settle(&chosen, f->result, args, n, arg_types, result, err);
    if (!code)
        *out = f;
    return code;
}

/* ---- 10.5 ---- */

gn_code gn_type_common(const gn_type *types, uint32_t n, gn_type *out, gn_error *err)
{
    char left[80], right[80];
    GN_ASSERT(n > 0);
    gn_type best = types[0];
    for (uint32_t i = 1; i < n; i++) {
        gn_type t = types[i];
        if (is_unknown(t))
            continue;
        if (is_unknown(best)) {
            best = t;
        } else if (gn_type_same(best, t)) {
            if (best.typmod != t.typmod)
                best.typmod = -1;
        } else if (category(best) != category(t)) {
            return gn_error_set(err, GN_TYPE_MISMATCH, "types %s and %s cannot be matched",
                                gn_type_format(best, left, sizeof left), gn_type_format(t, right, sizeof right));
        } else {
            bool widens = !gn_type_preferred(best) && gn_type_coercible(best, t) && !gn_type_coercible(t, best);
            if (widens)
                best = t;
            best.typmod = -1;
        }
    }
    if (is_unknown(best))
        best = gn_type_of(GN_T_TEXT);
    for (uint32_t i = 0; i < n; i++)
        if (!gn_type_coercible(types[i], best))
            return gn_error_set(err, GN_CANNOT_COERCE, "could not convert type %s to %s",
                                gn_type_format(types[i], left, sizeof left), gn_type_format(best, right, sizeof right));
    *out = best;
    return GN_OK;
}
