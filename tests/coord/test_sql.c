/* Runs the files of tests/coord/sql: statements, and beside them what must come of each (PostgreSQL's answers, made
 * with postgres_truth.py, except where a file says `--! differs`). A statement ends with ';' at the end of a line; the
 * data of COPY ... FROM STDIN follows it, up to a line of \. alone.
 *
 *   GN_SQL_UPDATE=1 test_coord_sql    writes the .out files anew */
#include "harness.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = malloc((size_t)n + 1);
    assert_int_equal(fread(text, 1, (size_t)n, f), n);
    text[n] = 0;
    fclose(f);
    return text;
}

static bool contains_word(const char *s, const char *word)
{
    return strcasestr(s, word) != NULL;
}

/* Takes one line off *p; NULL at the end. */
static char *next_line(char **p)
{
    if (!**p)
        return NULL;
    char *line = *p, *end = strchr(line, '\n');
    *p = end ? end + 1 : line + strlen(line);
    if (end)
        *end = 0;
    return line;
}

static bool ends_statement(const char *line)
{
    size_t n = strlen(line);
    return n > 0 && line[n - 1] == ';';
}

static void run_statement(harness *h, const char *sql, char **rest, gn_buf *result)
{
    gn_buf data;
    gn_buf_init(&data, NULL, 1u << 26);
    char *line;
    if (contains_word(sql, "copy") && contains_word(sql, "from stdin"))
        while ((line = next_line(rest)) && strcmp(line, "\\.") != 0)
            gn_buf_printf(&data, "%s\n", line);
    h->copy_data = gn_buf_bytes(&data);
    h->copy_piece = 7;
    harness_run(h, sql);
    gn_buf_printf(result, "%s\n%s\n", sql, harness_text(h));
    gn_buf_close(&data);
}

static void run_file(harness *h, char *text, gn_buf *result)
{
    char *rest = text, *line;
    gn_buf sql;
    gn_buf_init(&sql, NULL, 1u << 26);
    while ((line = next_line(&rest))) {
        if (sql.len == 0 && (!*line || strncmp(line, "--", 2) == 0))
            continue;
        gn_buf_printf(&sql, "%s%s", sql.len ? "\n" : "", line);
        if (!ends_statement(line))
            continue;
        gn_buf_append_u8(&sql, 0);
        run_statement(h, (char *)sql.data, &rest, result);
        gn_buf_clear(&sql);
    }
    gn_buf_append_u8(result, 0);
    gn_buf_close(&sql);
}

static void show_difference(const char *name, const char *wanted, const char *got)
{
    unsigned line = 1;
    while (*wanted && *wanted == *got) {
        line += *wanted == '\n';
        wanted++;
        got++;
    }
    while (line > 1 && got[-1] != '\n') {
        got--;
        wanted--;
    }
    print_error("%s.out, line %u:\n  wanted: %.*s\n  got:    %.*s\n", name, line, (int)strcspn(wanted, "\n"), wanted,
                (int)strcspn(got, "\n"), got);
}

static bool check_file(const char *name)
{
    char path[512];
    harness h;
    gn_buf result;
    snprintf(path, sizeof path, "%s/%s.sql", GN_SQL_DIR, name);
    char *text = read_file(path);
    assert_non_null(text);
    gn_buf_init(&result, NULL, 1u << 28);
    harness_open(&h, "sql");
    run_file(&h, text, &result);
    harness_close(&h);
    snprintf(path, sizeof path, "%s/%s.out", GN_SQL_DIR, name);
    if (getenv("GN_SQL_UPDATE")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs((char *)result.data, f);
        fclose(f);
    }
    char *wanted = read_file(path);
    bool same = wanted && strcmp(wanted, (char *)result.data) == 0;
    if (!same)
        show_difference(name, wanted ? wanted : "", (char *)result.data);
    gn_buf_close(&result);
    free(text);
    free(wanted);
    return same;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void test_files(void **state)
{
    (void)state;
    struct dirent **names;
    const char *only = getenv("GN_SQL_ONLY");
    int n = scandir(GN_SQL_DIR, &names, NULL, by_name), failed = 0;
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        char *name = names[i]->d_name, *dot = strrchr(name, '.');
        if (dot && strcmp(dot, ".sql") == 0) {
            *dot = 0;
            if (!only || strcmp(only, name) == 0)
                failed += !check_file(name);
        }
        free(names[i]);
    }
    free(names);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};
    return cmocka_run_group_tests_name("coord/sql", tests, NULL, NULL);
}
