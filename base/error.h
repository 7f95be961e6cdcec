/* Errors: one table gives enum, name, SQLSTATE and default text. A function that can fail returns a gn_code and, where
 * it has something to say, fills the caller's gn_error. Library code neither prints nor exits. */
#ifndef GN_BASE_ERROR_H
#define GN_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

/* X(enum suffix, SQLSTATE, default text). Append freely; the numbers are not stored anywhere. */
#define GN_ERROR_TABLE(X)                                                                                             \
    X(OK, "00000", "successful completion")                                                                           \
    X(NO_DATA, "02000", "no data")                                                                                    \
    X(CONNECTION_FAILURE, "08006", "connection failure")                                                              \
    X(PROTOCOL, "08P01", "protocol violation")                                                                        \
    X(FEATURE, "0A000", "feature not supported")                                                                      \
    X(CARDINALITY, "21000", "cardinality violation")                                                                  \
    X(STRING_TOO_LONG, "22001", "value too long for type")                                                            \
    X(NUMERIC_RANGE, "22003", "numeric value out of range")                                                           \
    X(NULL_NOT_ALLOWED, "22004", "null value not allowed")                                                            \
    X(BAD_DATETIME, "22007", "invalid datetime format")                                                               \
    X(DATETIME_RANGE, "22008", "datetime field value out of range")                                                   \
    X(SUBSTRING, "22011", "invalid substring length")                                                                 \
    X(DIVISION_BY_ZERO, "22012", "division by zero")                                                                  \
    X(INVALID_ENCODING, "22021", "invalid byte sequence for encoding \"UTF8\"")                                       \
    X(INVALID_PARAMETER, "22023", "invalid parameter value")                                                          \
    X(LENGTH_MISMATCH, "22026", "string data, length mismatch")                                                       \
    X(INVALID_ESCAPE, "22025", "invalid escape sequence")                                                             \
    X(INVALID_REGEX, "2201B", "invalid regular expression")                                                           \
    X(INVALID_LIMIT, "2201W", "LIMIT must not be negative")                                                           \
    X(INVALID_OFFSET, "2201X", "OFFSET must not be negative")                                                         \
    X(INVALID_ARGUMENT_LOG, "2201E", "invalid argument for logarithm")                                                \
    X(INVALID_ARGUMENT_POWER, "2201F", "invalid argument for power function")                                         \
    X(ARRAY_SUBSCRIPT, "2202E", "array subscript error")                                                              \
    X(BAD_JSON, "22P02", "invalid input syntax for type json")                                                        \
    X(BAD_TEXT, "22P02", "invalid text representation")                                                               \
    X(BAD_BINARY, "22P03", "invalid binary representation")                                                           \
    X(BAD_COPY, "22P04", "bad COPY file format")                                                                      \
    X(UNTRANSLATABLE, "22P05", "untranslatable character")                                                            \
    X(BAD_VECTOR, "22000", "invalid vector")                                                                          \
    X(NOT_NULL, "23502", "null value violates not-null constraint")                                                   \
    X(UNIQUE, "23505", "duplicate key value violates unique constraint")                                              \
    X(CHECK, "23514", "row violates check constraint")                                                                \
    X(ACTIVE_TRANSACTION, "25001", "a transaction is already in progress")                                            \
    X(NO_SAVEPOINT, "3B001", "savepoint does not exist")                                                              \
    X(NO_TRANSACTION, "25P01", "there is no transaction in progress")                                                 \
    X(READ_ONLY_TRANSACTION, "25006", "read-only transaction")                                                        \
    X(DEPENDENT_OBJECTS, "2BP01", "dependent objects still exist")                                                    \
    X(FAILED_TRANSACTION, "25P02", "current transaction is aborted, commands ignored until end of transaction block") \
    X(NO_STATEMENT, "26000", "prepared statement does not exist")                                                     \
    X(INVALID_AUTHORIZATION, "28000", "invalid authorization")                                                        \
    X(NO_CURSOR, "34000", "portal does not exist")                                                                    \
    X(NO_DATABASE, "3D000", "database does not exist")                                                                \
    X(NO_SCHEMA, "3F000", "schema does not exist")                                                                    \
    X(SERIALIZATION, "40001", "could not serialize access; retry the transaction")                                    \
    X(MOVED, "40001", "could not serialize access: the rows have moved to another group")                             \
    X(OUTCOME_UNKNOWN, "40003", "statement completion unknown")                                                       \
    X(SYNTAX, "42601", "syntax error")                                                                                \
    X(COLUMN_DEFINITION, "42611", "invalid column definition")                                                        \
    X(NAME_TOO_LONG, "42622", "name too long")                                                                        \
    X(DUPLICATE_COLUMN, "42701", "duplicate column")                                                                  \
    X(AMBIGUOUS_COLUMN, "42702", "ambiguous column")                                                                  \
    X(NO_COLUMN, "42703", "column does not exist")                                                                    \
    X(NO_OBJECT, "42704", "object does not exist")                                                                    \
    X(DUPLICATE_OBJECT, "42710", "object already exists")                                                             \
    X(AMBIGUOUS_FUNCTION, "42725", "function is not unique")                                                          \
    X(DUPLICATE_ALIAS, "42712", "duplicate alias")                                                                    \
    X(AMBIGUOUS_PARAMETER, "42P08", "ambiguous parameter")                                                            \
    X(GROUPING, "42803", "grouping error")                                                                            \
    X(TYPE_MISMATCH, "42804", "datatype mismatch")                                                                    \
    X(GENERATED_ALWAYS, "428C9", "column is generated always")                                                        \
    X(WRONG_OBJECT_TYPE, "42809", "wrong object type")                                                                \
    X(CANNOT_COERCE, "42846", "cannot cast")                                                                          \
    X(NO_FUNCTION, "42883", "function or operator does not exist")                                                    \
    X(NO_TABLE, "42P01", "relation does not exist")                                                                   \
    X(NO_PARAMETER, "42P02", "there is no such parameter")                                                            \
    X(DUPLICATE_CURSOR, "42P03", "cursor already exists")                                                             \
    X(DUPLICATE_STATEMENT, "42P05", "prepared statement already exists")                                              \
    X(DUPLICATE_TABLE, "42P07", "relation already exists")                                                            \
    X(COLUMN_REFERENCE, "42P10", "invalid column reference")                                                          \
    X(TABLE_DEFINITION, "42P16", "invalid table definition")                                                          \
    X(OBJECT_DEFINITION, "42P17", "invalid object definition")                                                        \
    X(INDETERMINATE_TYPE, "42P18", "could not determine data type")                                                   \
    X(RESOURCES, "53000", "insufficient resources")                                                                   \
    X(DISK_FULL, "53100", "disk full")                                                                                \
    X(OUT_OF_MEMORY, "53200", "out of memory")                                                                        \
    X(TOO_MANY_CONNECTIONS, "53300", "too many connections")                                                          \
    X(LIMIT, "54000", "program limit exceeded")                                                                       \
    X(STATEMENT_TOO_COMPLEX, "54001", "statement too complex")                                                        \
    X(TOO_MANY_COLUMNS, "54011", "too many columns")                                                                  \
    X(TOO_MANY_ARGUMENTS, "54023", "too many arguments")                                                              \
    X(NOT_IN_STATE, "55000", "object not in prerequisite state")                                                      \
    X(OBJECT_IN_USE, "55006", "object in use")                                                                        \
    X(CANNOT_CHANGE_PARAMETER, "55P02", "parameter cannot be changed now")                                            \
    X(CANCELED, "57014", "canceling statement due to user request")                                                   \
    X(SHUTDOWN, "57P01", "the server is shutting down")                                                               \
    X(CRASH_SHUTDOWN, "57P02", "the server stopped after a failure of its storage")                                   \
    X(STARTING, "57P03", "the server is starting up")                                                                 \
    X(IO, "58030", "I/O error")                                                                                       \
    X(NO_FILE, "58P01", "file does not exist")                                                                        \
    X(LOCKED, "58P02", "the directory is in use by another process")                                                  \
    X(SNAPSHOT_TOO_OLD, "72000", "snapshot too old")                                                                  \
    X(CONFIGURATION, "F0000", "invalid configuration")                                                                \
    X(NOT_LEADER, "58C00", "this node does not lead the group")                                                       \
    X(UNAVAILABLE, "58C00", "no quorum")                                                                              \
    X(TIMEOUT, "57014", "deadline passed")                                                                            \
    X(INTERNAL, "XX000", "internal error")                                                                            \
    X(CORRUPT, "XX001", "data corrupted")                                                                             \
    X(INDEX_CORRUPT, "XX002", "index corrupted")                                                                      \
    X(WINDOWING, "42P20", "windowing error")

typedef enum gn_code {
#define GN_ERROR_ENUM(name, sqlstate, text) GN_##name,
    GN_ERROR_TABLE(GN_ERROR_ENUM)
#undef GN_ERROR_ENUM
} gn_code;

/* A caller-owned report. Zero-initialise before use. On success a function leaves it untouched. */
typedef struct gn_error {
    gn_code code;
    int position; /* 1-based character in the statement, 0 = none */
    char message[400];
    char detail[400];
    char hint[300];
    char context[400];  /* where it happened: "COPY t, line 3, column a"; PostgreSQL's W field; "" = none */
    char object[4][64]; /* schema, table, column, constraint: PostgreSQL's s t c n fields; "" = none */
} gn_error;

/* Each setter returns its code, so that `return gn_error_set(err, GN_X, ...)` reads as one thought. err may be NULL. */
gn_code gn_error_set(gn_error *err, gn_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
gn_code gn_error_detail(gn_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
gn_code gn_error_hint(gn_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
gn_code gn_error_context(gn_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
gn_code gn_error_at(gn_error *err, int position);
/* Appends errno's text: "could not open "x": No such file or directory". ENOSPC gives GN_DISK_FULL whatever code is. */
gn_code gn_error_errno(gn_error *err, gn_code code, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void gn_error_clear(gn_error *err);

#ifdef __clang_analyzer__
/* The analyzer does not look into other files: tell it that an error is returned, so that it follows no impossible
 * path. */
#define gn_error_set(err, code, ...) ((void)gn_error_set(err, code, __VA_ARGS__), (code))
#define gn_error_errno(err, code, ...) ((void)gn_error_errno(err, code, __VA_ARGS__), (code))
#endif

const char *gn_code_name(gn_code code);     /* "GN_SYNTAX" */
const char *gn_code_sqlstate(gn_code code); /* five characters */
const char *gn_code_text(gn_code code);     /* the default text */

#endif
