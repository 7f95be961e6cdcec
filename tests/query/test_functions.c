/* Functions and operators, against the answers of PostgreSQL 15 in answers/. See answers/README.md. */
#include "tests/query/plans.h"

#include <dirent.h>
#include <stdlib.h>

#ifndef GN_ANSWERS
#error "GN_ANSWERS is the folder of the answers"
#endif

/* ---- reading an expression ---- */

typedef struct reader {
    const char *p;
    bool failed; /* the expression has an error: plan_error says which */
} reader;

static void skip_spaces(reader *r)
{
    while (*r->p == ' ')
        r->p++;
}

static gn_expr *read_expression(reader *r);

static gn_expr *read_literal(reader *r)
{
    char *text = NULL;
    if (*r->p == '\'') {
        text = gn_arena_alloc(plan_arena, strlen(r->p) + 1);
        char *to = text;
        for (r->p++; *r->p != '\'' || r->p[1] == '\''; r->p++) {
            if (!*r->p)
                fail_msg("a quote is missing");
            r->p += *r->p == '\'';
            *to++ = *r->p;
        }
        *to = 0;
        r->p++;
    } else {
        r->p += strlen("NULL");
    }
    gn_expr *e = constant("unknown", text);
    if (strncmp(r->p, "::", 2) != 0)
        return e;
    r->p += 2;
    size_t len = strspn(r->p, "abcdefghijklmnopqrstuvwxyz0123456789[]");
    if (strncmp(r->p, "double precision", 16) == 0)
        len = strlen("double precision") + (strncmp(r->p + 16, "[]", 2) == 0 ? 2 : 0);
    gn_type type = type_named(gn_arena_strndup(plan_arena, r->p, len));
    r->p += len;
    e = cast_to(e, type);
    r->failed |= !e;
    return e;
}

static gn_expr *read_call(reader *r)
{
    gn_expr *args[100];
    uint32_t n = 0;
    size_t len = strcspn(r->p, "(");
    if (!r->p[len])
        fail_msg("no expression: %s", r->p);
    const char *name = gn_arena_strndup(plan_arena, r->p, len);
    r->p += len + 1;
    for (skip_spaces(r); *r->p != ')'; skip_spaces(r)) {
        if (*r->p == ',')
            r->p++;
        args[n++] = read_expression(r);
        skip_spaces(r);
        if (!*r->p)
            fail_msg("a parenthesis is missing");
    }
    r->p++;
    gn_expr *e = r->failed ? NULL : call_args(name, false, args, n);
    r->failed |= !e;
    return e;
}

static gn_expr *read_operand(reader *r)
{
    skip_spaces(r);
    return *r->p == '\'' || strncmp(r->p, "NULL", 4) == 0 ? read_literal(r) : read_call(r);
}

static size_t operator_length(const char *p)
{
    return strspn(p, "+-*/<>=~!@#%^&|?");
}

static gn_expr *read_expression(reader *r)
{
    gn_expr *args[2];
    skip_spaces(r);
    size_t len = operator_length(r->p);
    bool prefix = len > 0;
    if (!prefix) {
        args[0] = read_operand(r);
        skip_spaces(r);
        len = operator_length(r->p);
        if (len == 0)
            return args[0];
    }
    const char *name = gn_arena_strndup(plan_arena, r->p, len);
    r->p += len;
    args[!prefix] = read_operand(r);
    gn_expr *e = r->failed ? NULL : call_args(name, true, args, prefix ? 1 : 2);
    r->failed |= !e;
    return e;
}

/* ---- comparing ---- */

static const char *answer(const char *expression)
{
    reader r = {.p = expression};
    gn_value v;
    gn_expr *e = read_expression(&r);
    if (e && !r.failed && gn_type_is(e->type, GN_T_UNKNOWN))
        e = cast_to(e, gn_type_of(GN_T_TEXT));
    if (!e || r.failed || gn_expr_eval_one(e, &plan_eval, &v)) {
        const char *s = gn_arena_printf(plan_arena, "!%s\t%s", gn_code_sqlstate(plan_error.code), plan_error.message);
        plan_error = (gn_error){.code = GN_OK};
        return s;
    }
    char type[80];
    gn_type plain = e->type;
    plain.typmod = -1;
    return gn_arena_printf(plan_arena, "%s\t%s", gn_type_format(plain, type, sizeof type), shown(&v));
}

/* The number of lines that differ; each is printed. */
static int compare_file(const char *name, int *n_lines)
{
    char path[4096], line[8192];
    int wrong = 0;
    snprintf(path, sizeof path, "%s/%s", GN_ANSWERS, name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is missing", path);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (!*line || *line == '#')
            continue;
        char *expected = strchr(line, '\t');
        assert_non_null(expected);
        *expected++ = 0;
        plan_setup(NULL);
        const char *got = answer(line);
        if (strcmp(got, expected) != 0) {
            print_error("%s: %s\n    expected %s\n    got      %s\n", name, line, expected, got);
            wrong++;
        }
        ++*n_lines;
        plan_teardown(NULL);
    }
    fclose(f);
    return wrong;
}

static void functions_answer_as_postgresql_does(void **state)
{
    (void)state;
    int wrong = 0, n = 0;
    DIR *dir = opendir(GN_ANSWERS);
    assert_non_null(dir);
    for (struct dirent *d = readdir(dir); d; d = readdir(dir)) {
        size_t len = strlen(d->d_name);
        if (len > 4 && strcmp(d->d_name + len - 4, ".txt") == 0)
            wrong += compare_file(d->d_name, &n);
    }
    closedir(dir);
    if (wrong)
        fail_msg("%d of %d answers differ", wrong, n);
    assert_true(n > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(functions_answer_as_postgresql_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
