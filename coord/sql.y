// PostgreSQL's dialect of SQL, as far as GnomonDB speaks it. Made into a parser by lemon; actions only build trees by
// the functions of parser_private.h.
//
// Three things that are easy to break:
//  - Precedences are PostgreSQL's (documentation 4.1.6), so `-2 ^ 2` is 4 and `a = b NOT IN (c)` is `a = (b NOT IN (c))`.
//  - An unreserved keyword falls back to IDENT only where it has no explicit action, and lemon's default reductions are
//    not explicit. So a keyword must not follow an optional part that may also be an identifier, unless that part is
//    written out in two rules (UPDATE t SET, below) or the lexer has marked the keyword (NULLS_LA).
//  - A reduction always happens when the next token is already there: gn_parser.prev_end is then the end of the last
//    token of the rule.

%name gn_sql
%token_prefix GN_TK_
%token_type {gn_token}
%extra_context {gn_parser *p}
%default_type {int}
%stack_size 2000
%start_symbol input

%include {
#include "coord/parser_private.h"
#define NDEBUG 1 /* lemon's own tracing and assertions; ours are in parser.c */
#define YYNOERRORRECOVERY 1
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
}
%syntax_error { gn_parser_syntax_error(p, &TOKEN); }
%stack_overflow { gn_parser_too_deep(p); }

// ---- tokens ----

%fallback IDENT
    ABORT ACTION ADD ALTER ALWAYS AT AUTOINCREMENT BACKWARD BEGIN BY CASCADE CHAIN CHARACTERISTICS CHECKPOINT CLOSE
    COMMIT COMMITTED CONFLICT COPY CSV CURSOR DAY DEALLOCATE DECLARE DEFERRED DELETE DELIMITER DISCARD DOUBLE DROP
    ENCODING ESCAPE EXECUTE EXPLAIN EXTENSION FILTER FIRST FORCE FORWARD GENERATED HEADER HOLD HOUR IDENTITY IF
    IMMEDIATE INCLUDE INDEX INSERT ISOLATION KEY LAST LEVEL LOCAL LOCKED MATCH MINUTE MONTH MOVE NAMES NEXT NO NOTHING
    NOWAIT NULLS OF OPERATOR ORDINALITY OVER OVERRIDING PARTIAL PARTITION PREPARE PRIOR PROGRAM QUOTE READ RECURSIVE RELEASE RENAME
    REPEATABLE RESET RESTART RESTRICT ROLLBACK ROWS SAVEPOINT SCROLL SECOND SERIALIZABLE SESSION SET SHARE SHOW SKIP
    START STDIN STDOUT SYSTEM TEMPORARY TIES TRANSACTION TRUNCATE TYPE UNCOMMITTED UNKNOWN UNLOGGED UPDATE VACUUM VALUE
    VARYING WITHIN WITHOUT WORK WRITE YEAR ZONE.
%token RESERVED ILLEGAL.

%left UNION EXCEPT.
%left INTERSECT.
%left JOIN CROSS LEFT FULL RIGHT INNER NATURAL.
%left OR.
%left AND.
%right NOT.
%nonassoc IS ISNULL NOTNULL.
%nonassoc LT GT EQ LE GE NE.
%nonassoc BETWEEN IN LIKE ILIKE SIMILAR NOT_LA.
%nonassoc ESCAPE.
%left OP OPERATOR.
%left PLUS MINUS.
%left STAR SLASH PERCENT.
%left CARET.
%left AT.
%left COLLATE.
%right UMINUS.
%left LB RB.
%left LP RP.
%left TYPECAST.
%left DOT.

// ---- texts ----

input ::= stmt_list.
input ::= PARSE_EXPR expr(E). { p->expr_out = E; }
input ::= PARSE_TYPE type(T). { p->type_out = T; }

stmt_list ::= stmt_opt.
stmt_list ::= stmt_list SEMI stmt_opt.
stmt_opt ::= .
stmt_opt ::= stmt(S). { gn_parser_add_statement(p, S); }

%type stmt {gn_ast_statement *}
%type preparable {gn_ast_statement *}
%type dml {gn_ast_statement *}

stmt(A) ::= preparable(A).
preparable(A) ::= query(Q). { A = gn_mk_query_statement(p, Q); }
preparable(A) ::= dml(A).

// ---- names ----

%type colid {gn_token}
%type attr {gn_token}
%type word {gn_token}
%type barelabel {gn_token}
%type type_func {gn_token}
%type col_name {gn_token}
%type label_col_name {gn_token}
colid(A) ::= IDENT(A).
colid(A) ::= col_name(A).
barelabel(A) ::= IDENT(A).
barelabel(A) ::= label_col_name(A).
// everything after a dot or AS
attr(A) ::= IDENT(A).
attr(A) ::= col_name(A).
attr(A) ::= type_func(A).
attr(A) ::= reserved(A).
// not reserved
word(A) ::= IDENT(A).
word(A) ::= col_name(A).
word(A) ::= type_func(A).

col_name(A) ::= label_col_name(A).
col_name(A) ::= BETWEEN(A).
col_name(A) ::= CHARACTER(A).
col_name(A) ::= PRECISION(A).
label_col_name(A) ::= BIT(A).
label_col_name(A) ::= COALESCE(A).
label_col_name(A) ::= EXISTS(A).
label_col_name(A) ::= EXTRACT(A).
label_col_name(A) ::= GREATEST(A).
label_col_name(A) ::= INTERVAL(A).
label_col_name(A) ::= LEAST(A).
label_col_name(A) ::= NULLIF(A).
label_col_name(A) ::= OVERLAY(A).
label_col_name(A) ::= POSITION(A).
label_col_name(A) ::= ROW(A).
label_col_name(A) ::= SUBSTRING(A).
label_col_name(A) ::= TIME(A).
label_col_name(A) ::= TIMESTAMP(A).
label_col_name(A) ::= TRIM(A).
label_col_name(A) ::= VALUES(A).
label_col_name(A) ::= COL_NAME(A).
type_func(A) ::= BINARY(A).
type_func(A) ::= CONCURRENTLY(A).
type_func(A) ::= CROSS(A).
type_func(A) ::= CURRENT_SCHEMA(A).
type_func(A) ::= FREEZE(A).
type_func(A) ::= FULL(A).
type_func(A) ::= ILIKE(A).
type_func(A) ::= INNER(A).
type_func(A) ::= IS(A).
type_func(A) ::= ISNULL(A).
type_func(A) ::= JOIN(A).
type_func(A) ::= LEFT(A).
type_func(A) ::= LIKE(A).
type_func(A) ::= NATURAL(A).
type_func(A) ::= NOTNULL(A).
type_func(A) ::= OUTER(A).
type_func(A) ::= RIGHT(A).
type_func(A) ::= SIMILAR(A).
type_func(A) ::= VERBOSE(A).
type_func(A) ::= TYPE_FUNC(A).
%type reserved {gn_token}
reserved(A) ::= ALL(A).
reserved(A) ::= ANALYZE(A).
reserved(A) ::= AND(A).
reserved(A) ::= ANY(A).
reserved(A) ::= ARRAY(A).
reserved(A) ::= AS(A).
reserved(A) ::= ASC(A).
reserved(A) ::= ASYMMETRIC(A).
reserved(A) ::= BOTH(A).
reserved(A) ::= CASE(A).
reserved(A) ::= CAST(A).
reserved(A) ::= CHECK(A).
reserved(A) ::= COLLATE(A).
reserved(A) ::= COLUMN(A).
reserved(A) ::= CONSTRAINT(A).
reserved(A) ::= CREATE(A).
reserved(A) ::= CURRENT_TIME(A).
reserved(A) ::= CURRENT_WORD(A).
reserved(A) ::= DEFAULT(A).
reserved(A) ::= DEFERRABLE(A).
reserved(A) ::= DESC(A).
reserved(A) ::= DISTINCT(A).
reserved(A) ::= DO(A).
reserved(A) ::= ELSE(A).
reserved(A) ::= END(A).
reserved(A) ::= EXCEPT(A).
reserved(A) ::= FALSE(A).
reserved(A) ::= FETCH(A).
reserved(A) ::= FOR(A).
reserved(A) ::= FOREIGN(A).
reserved(A) ::= FROM(A).
reserved(A) ::= GROUP(A).
reserved(A) ::= HAVING(A).
reserved(A) ::= IN(A).
reserved(A) ::= INITIALLY(A).
reserved(A) ::= INTERSECT(A).
reserved(A) ::= INTO(A).
reserved(A) ::= LEADING(A).
reserved(A) ::= LIMIT(A).
reserved(A) ::= NOT(A).
reserved(A) ::= NOT_LA(A).
reserved(A) ::= NULL(A).
reserved(A) ::= OFFSET(A).
reserved(A) ::= ON(A).
reserved(A) ::= ONLY(A).
reserved(A) ::= OR(A).
reserved(A) ::= ORDER(A).
reserved(A) ::= PLACING(A).
reserved(A) ::= PRIMARY(A).
reserved(A) ::= REFERENCES(A).
reserved(A) ::= RETURNING(A).
reserved(A) ::= SELECT(A).
reserved(A) ::= SOME(A).
reserved(A) ::= SYMMETRIC(A).
reserved(A) ::= TABLE(A).
reserved(A) ::= THEN(A).
reserved(A) ::= TO(A).
reserved(A) ::= TRAILING(A).
reserved(A) ::= TRUE(A).
reserved(A) ::= UNION(A).
reserved(A) ::= UNIQUE(A).
reserved(A) ::= USING(A).
reserved(A) ::= WHEN(A).
reserved(A) ::= WHERE(A).
reserved(A) ::= WITH(A).
reserved(A) ::= RESERVED(A).
reserved(A) ::= LATERAL(A).

%type qname {gn_ast_name}
qname(A) ::= colid(N). { A = gn_mk_name(p, NULL, &N); }
qname(A) ::= colid(S) DOT attr(N). { A = gn_mk_name(p, &S, &N); }

%type qname_list {gn_ast_names}
qname_list(A) ::= qname(N). { GN_LIST_START(p, A, N); }
qname_list(A) ::= qname_list(A) COMMA qname(N). { GN_LIST_PUSH(p, A, N); }

%type names {gn_ast_names}
%type opt_names {gn_ast_names}
names(A) ::= colid(N). { GN_LIST_START(p, A, gn_mk_name(p, NULL, &N)); }
names(A) ::= names(A) COMMA colid(N). { GN_LIST_PUSH(p, A, gn_mk_name(p, NULL, &N)); }
opt_names(A) ::= . { GN_LIST_EMPTY(A); }
opt_names(A) ::= LP names(N) RP. { A = N; }

%type string {gn_ast_expr *}
string(A) ::= STRING(T). { A = gn_mk_string(p, &T); }

%type number {gn_ast_expr *}
number(A) ::= INTEGER(T). { A = gn_mk_number(p, &T, false); }
number(A) ::= FLOAT(T). { A = gn_mk_number(p, &T, false); }
number(A) ::= PLUS INTEGER(T). { A = gn_mk_number(p, &T, false); }
number(A) ::= PLUS FLOAT(T). { A = gn_mk_number(p, &T, false); }
number(A) ::= MINUS INTEGER(T). { A = gn_mk_number(p, &T, true); }
number(A) ::= MINUS FLOAT(T). { A = gn_mk_number(p, &T, true); }

// ---- types ----

%type type {gn_ast_type *}
%type simple_type {gn_ast_type *}
%type const_type {gn_ast_type *}
type(A) ::= simple_type(A).
type(A) ::= simple_type(A) array_bounds(N). { A->array_dimensions = (uint32_t)N; }
type(A) ::= simple_type(A) ARRAY. { A->array_dimensions = 1; }
type(A) ::= simple_type(A) ARRAY LB INTEGER RB. { A->array_dimensions = 1; }
array_bounds(A) ::= array_bound. { A = 1; }
array_bounds(A) ::= array_bounds(B) array_bound. { A = B + 1; }
array_bound ::= LB RB.
array_bound ::= LB INTEGER RB.

simple_type(A) ::= IDENT(N) type_mods(M). { A = gn_mk_type(p, NULL, &N, M); }
simple_type(A) ::= IDENT(S) DOT attr(N) type_mods(M). { A = gn_mk_type(p, &S, &N, M); }
simple_type(A) ::= const_type(A).
simple_type(A) ::= INTERVAL(N) interval_fields(F). { A = gn_mk_type_named(p, "interval", &N, -1); (void)F; }
simple_type(A) ::= INTERVAL(N) LP INTEGER(P) RP. { A = gn_mk_type_named(p, "interval", &N, gn_mk_int(p, &P)); }

const_type(A) ::= DOUBLE(N) PRECISION. { A = gn_mk_type_named(p, "double precision", &N, -1); }
const_type(A) ::= CHARACTER(N). { A = gn_mk_type_named(p, "character", &N, -1); }
const_type(A) ::= CHARACTER(N) LP INTEGER(P) RP. { A = gn_mk_type_named(p, "character", &N, gn_mk_int(p, &P)); }
const_type(A) ::= CHARACTER(N) VARYING. { A = gn_mk_type_named(p, "character varying", &N, -1); }
const_type(A) ::= CHARACTER(N) VARYING LP INTEGER(P) RP. {
    A = gn_mk_type_named(p, "character varying", &N, gn_mk_int(p, &P));
}
const_type(A) ::= BIT(N). { A = gn_mk_type_named(p, "bit", &N, 1); }
const_type(A) ::= BIT(N) LP INTEGER(P) RP. { A = gn_mk_type_named(p, "bit", &N, gn_mk_int(p, &P)); }
const_type(A) ::= BIT(N) VARYING. { A = gn_mk_type_named(p, "bit varying", &N, -1); }
const_type(A) ::= BIT(N) VARYING LP INTEGER(P) RP. {
    A = gn_mk_type_named(p, "bit varying", &N, gn_mk_int(p, &P));
}
const_type(A) ::= TIMESTAMP(N) precision(P) zone(Z). {
    A = gn_mk_type_named(p, Z ? "timestamp with time zone" : "timestamp without time zone", &N, P);
}
const_type(A) ::= TIME(N) precision(P) zone(Z). {
    A = gn_mk_type_named(p, Z ? "time with time zone" : "time without time zone", &N, P);
}
precision(A) ::= . { A = -1; }
precision(A) ::= LP INTEGER(P) RP. { A = gn_mk_int(p, &P); }
zone(A) ::= . { A = 0; }
zone(A) ::= WITH_LA TIME ZONE. { A = 1; }
zone(A) ::= WITHOUT TIME ZONE. { A = 0; }

%type interval_fields {const char *}
interval_fields(A) ::= . { A = NULL; }
interval_fields(A) ::= interval_unit(A).
interval_fields(A) ::= interval_unit TO interval_unit. { A = NULL; }
%type interval_unit {const char *}
interval_unit(A) ::= YEAR(T). { A = T.text; }
interval_unit(A) ::= MONTH(T). { A = T.text; }
interval_unit(A) ::= DAY(T). { A = T.text; }
interval_unit(A) ::= HOUR(T). { A = T.text; }
interval_unit(A) ::= MINUTE(T). { A = T.text; }
interval_unit(A) ::= SECOND(T). { A = T.text; }

%type type_mods {gn_ast_exprs}
type_mods(A) ::= . { GN_LIST_EMPTY(A); }
type_mods(A) ::= LP expr_list(L) RP. { A = L; }

%type type_list {gn_ast_types}
type_list(A) ::= type(T). { GN_LIST_START(p, A, T); }
type_list(A) ::= type_list(A) COMMA type(T). { GN_LIST_PUSH(p, A, T); }

// ---- expressions ----

%type expr {gn_ast_expr *}
%type b_expr {gn_ast_expr *}
%type c_expr {gn_ast_expr *}
%type expr_list {gn_ast_exprs}
expr_list(A) ::= expr(E). { GN_LIST_START(p, A, E); }
expr_list(A) ::= expr_list(A) COMMA expr(E). { GN_LIST_PUSH(p, A, E); }

expr(A) ::= c_expr(A).
expr(A) ::= DEFAULT(T). { A = gn_mk_expr(p, GN_A_DEFAULT, T.position); }
expr(A) ::= expr(E) TYPECAST(O) type(T). { A = gn_mk_cast(p, E, T, O.position); }
expr(A) ::= expr(E) COLLATE(O) qname(N). { A = gn_mk_collate(p, E, &N, O.position); }
expr(A) ::= expr(E) AT(O) TIME ZONE expr(Z). [AT] { A = gn_mk_call2(p, "timezone", O.position, Z, E); }
expr(A) ::= PLUS expr(E). [UMINUS] { A = E; }
expr(A) ::= MINUS(O) expr(E). [UMINUS] { A = gn_mk_minus(p, E, O.position); }
expr(A) ::= expr(L) PLUS(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) MINUS(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) STAR(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) SLASH(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) PERCENT(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) CARET(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) LT(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) GT(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) EQ(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) LE(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) GE(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) NE(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= expr(L) OP(O) expr(R). { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= OP(O) expr(E). { A = gn_mk_op(p, &O, NULL, E); }
expr(A) ::= expr(L) named_op(O) expr(R). [OP] { A = gn_mk_op(p, &O, L, R); }
expr(A) ::= named_op(O) expr(E). [OP] { A = gn_mk_op(p, &O, NULL, E); }
expr(A) ::= expr(L) AND(O) expr(R). { A = gn_mk_logic(p, GN_A_AND, L, R, O.position); }
expr(A) ::= expr(L) OR(O) expr(R). { A = gn_mk_logic(p, GN_A_OR, L, R, O.position); }
expr(A) ::= NOT(O) expr(E). { A = gn_mk_unary(p, GN_A_NOT, false, E, O.position); }
expr(A) ::= NOT_LA(O) expr(E). [NOT] { A = gn_mk_unary(p, GN_A_NOT, false, E, O.position); }
expr(A) ::= expr(L) LIKE(O) expr(R). { A = gn_mk_like(p, &O, false, L, R, NULL); }
expr(A) ::= expr(L) ILIKE(O) expr(R). { A = gn_mk_like(p, &O, false, L, R, NULL); }
expr(A) ::= expr(L) LIKE(O) expr(R) ESCAPE expr(E). [LIKE] { A = gn_mk_like(p, &O, false, L, R, E); }
expr(A) ::= expr(L) ILIKE(O) expr(R) ESCAPE expr(E). [LIKE] { A = gn_mk_like(p, &O, false, L, R, E); }
expr(A) ::= expr(L) NOT_LA LIKE(O) expr(R). [NOT_LA] { A = gn_mk_like(p, &O, true, L, R, NULL); }
expr(A) ::= expr(L) NOT_LA ILIKE(O) expr(R). [NOT_LA] { A = gn_mk_like(p, &O, true, L, R, NULL); }
expr(A) ::= expr(L) NOT_LA LIKE(O) expr(R) ESCAPE expr(E). [NOT_LA] { A = gn_mk_like(p, &O, true, L, R, E); }
expr(A) ::= expr(L) NOT_LA ILIKE(O) expr(R) ESCAPE expr(E). [NOT_LA] { A = gn_mk_like(p, &O, true, L, R, E); }
expr(A) ::= expr(L) similar TO expr(R). [SIMILAR] { A = L; (void)R; }
expr(A) ::= expr(L) NOT_LA similar TO expr(R). [NOT_LA] { A = L; (void)R; }
similar ::= SIMILAR(T). { gn_parser_feature(p, T.position, "SIMILAR TO is not supported"); }
expr(A) ::= expr(E) IS(O) NULL. [IS] { A = gn_mk_unary(p, GN_A_IS_NULL, false, E, O.position); }
expr(A) ::= expr(E) IS(O) NOT NULL. [IS] { A = gn_mk_unary(p, GN_A_IS_NULL, true, E, O.position); }
expr(A) ::= expr(E) ISNULL(O). { A = gn_mk_unary(p, GN_A_IS_NULL, false, E, O.position); }
expr(A) ::= expr(E) NOTNULL(O). { A = gn_mk_unary(p, GN_A_IS_NULL, true, E, O.position); }
expr(A) ::= expr(E) IS(O) truth(K). [IS] { A = gn_mk_unary(p, K, false, E, O.position); }
expr(A) ::= expr(E) IS(O) NOT truth(K). [IS] { A = gn_mk_unary(p, K, true, E, O.position); }
truth(A) ::= TRUE. { A = GN_A_IS_TRUE; }
truth(A) ::= FALSE. { A = GN_A_IS_FALSE; }
truth(A) ::= UNKNOWN. { A = GN_A_IS_UNKNOWN; }
expr(A) ::= expr(L) IS(O) DISTINCT FROM expr(R). [IS] { A = gn_mk_distinct(p, false, L, R, O.position); }
expr(A) ::= expr(L) IS(O) NOT DISTINCT FROM expr(R). [IS] { A = gn_mk_distinct(p, true, L, R, O.position); }
expr(A) ::= expr(E) BETWEEN(O) symmetric(S) b_expr(L) AND expr(H). [BETWEEN] {
    A = gn_mk_between(p, false, S, E, L, H, O.position);
}
expr(A) ::= expr(E) NOT_LA BETWEEN(O) symmetric(S) b_expr(L) AND expr(H). [NOT_LA] {
    A = gn_mk_between(p, true, S, E, L, H, O.position);
}
symmetric(A) ::= . { A = 0; }
symmetric(A) ::= ASYMMETRIC. { A = 0; }
symmetric(A) ::= SYMMETRIC. { A = 1; }
expr(A) ::= expr(E) IN(O) LP expr_list(L) RP. { A = gn_mk_in(p, false, E, L, O.position); }
expr(A) ::= expr(E) NOT_LA IN(O) LP expr_list(L) RP. [NOT_LA] { A = gn_mk_in(p, true, E, L, O.position); }
expr(A) ::= expr(E) IN(O) select_with_parens(Q). [IN] { A = gn_mk_sub(p, GN_A_IN_QUERY, false, NULL, E, Q, O.position); }
expr(A) ::= expr(E) NOT_LA IN(O) select_with_parens(Q). [NOT_LA] {
    A = gn_mk_sub(p, GN_A_IN_QUERY, true, NULL, E, Q, O.position);
}
expr(A) ::= expr(L) sub_op(O) all_any(K) LP expr(R) RP. [OP] { A = gn_mk_quantified(p, K, &O, L, R); }
expr(A) ::= expr(L) sub_op(O) all_any(K) select_with_parens(Q). [OP] {
    A = gn_mk_sub(p, K == GN_A_ANY ? GN_A_ANY_QUERY : GN_A_ALL_QUERY, false, &O, L, Q, O.position);
}
all_any(A) ::= ANY. { A = GN_A_ANY; }
all_any(A) ::= SOME. { A = GN_A_ANY; }
all_any(A) ::= ALL. { A = GN_A_ALL; }
%type sub_op {gn_token}
sub_op(A) ::= PLUS(A).
sub_op(A) ::= MINUS(A).
sub_op(A) ::= STAR(A).
sub_op(A) ::= SLASH(A).
sub_op(A) ::= PERCENT(A).
sub_op(A) ::= CARET(A).
sub_op(A) ::= LT(A).
sub_op(A) ::= GT(A).
sub_op(A) ::= EQ(A).
sub_op(A) ::= LE(A).
sub_op(A) ::= GE(A).
sub_op(A) ::= NE(A).
sub_op(A) ::= OP(A).
sub_op(A) ::= named_op(A).
sub_op(A) ::= LIKE(T). { A = gn_mk_like_token(&T, false); }
sub_op(A) ::= ILIKE(T). { A = gn_mk_like_token(&T, false); }
sub_op(A) ::= NOT_LA LIKE(T). { A = gn_mk_like_token(&T, true); }
sub_op(A) ::= NOT_LA ILIKE(T). { A = gn_mk_like_token(&T, true); }
%type named_op {gn_token}
named_op(A) ::= OPERATOR LP any_op(O) RP. { A = O; }
named_op(A) ::= OPERATOR LP colid DOT any_op(O) RP. { A = O; }
%type any_op {gn_token}
any_op(A) ::= PLUS(A).
any_op(A) ::= MINUS(A).
any_op(A) ::= STAR(A).
any_op(A) ::= SLASH(A).
any_op(A) ::= PERCENT(A).
any_op(A) ::= CARET(A).
any_op(A) ::= LT(A).
any_op(A) ::= GT(A).
any_op(A) ::= EQ(A).
any_op(A) ::= LE(A).
any_op(A) ::= GE(A).
any_op(A) ::= NE(A).
any_op(A) ::= OP(A).

// What may stand before an AND of BETWEEN, or before a column's other constraints.
b_expr(A) ::= c_expr(A).
b_expr(A) ::= b_expr(E) TYPECAST(O) type(T). { A = gn_mk_cast(p, E, T, O.position); }
b_expr(A) ::= PLUS b_expr(E). [UMINUS] { A = E; }
b_expr(A) ::= MINUS(O) b_expr(E). [UMINUS] { A = gn_mk_minus(p, E, O.position); }
b_expr(A) ::= b_expr(L) PLUS(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) MINUS(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) STAR(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) SLASH(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) PERCENT(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) CARET(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) LT(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) GT(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) EQ(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) LE(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) GE(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) NE(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= b_expr(L) OP(O) b_expr(R). { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= OP(O) b_expr(E). { A = gn_mk_op(p, &O, NULL, E); }
b_expr(A) ::= b_expr(L) named_op(O) b_expr(R). [OP] { A = gn_mk_op(p, &O, L, R); }
b_expr(A) ::= named_op(O) b_expr(E). [OP] { A = gn_mk_op(p, &O, NULL, E); }
b_expr(A) ::= b_expr(L) IS(O) DISTINCT FROM b_expr(R). [IS] { A = gn_mk_distinct(p, false, L, R, O.position); }
b_expr(A) ::= b_expr(L) IS(O) NOT DISTINCT FROM b_expr(R). [IS] { A = gn_mk_distinct(p, true, L, R, O.position); }

c_expr(A) ::= columnref(A).
c_expr(A) ::= subscripted(A).
c_expr(A) ::= INTEGER(T). { A = gn_mk_number(p, &T, false); }
c_expr(A) ::= FLOAT(T). { A = gn_mk_number(p, &T, false); }
c_expr(A) ::= string(A).
c_expr(A) ::= TRUE(T). { A = gn_mk_boolean(p, true, T.position); }
c_expr(A) ::= FALSE(T). { A = gn_mk_boolean(p, false, T.position); }
c_expr(A) ::= NULL(T). { A = gn_mk_expr(p, GN_A_NULL, T.position); }
c_expr(A) ::= PARAM(T). { A = gn_mk_param(p, &T); }
c_expr(A) ::= LP expr(E) RP. { A = E; A->parenthesized = true; }
c_expr(A) ::= select_with_parens(Q). [UMINUS] { A = gn_mk_sub(p, GN_A_SUBQUERY, false, NULL, NULL, Q, Q->position); }
c_expr(A) ::= EXISTS(T) select_with_parens(Q). { A = gn_mk_sub(p, GN_A_EXISTS, false, NULL, NULL, Q, T.position); }
c_expr(A) ::= ARRAY(T) select_with_parens(Q). { A = gn_mk_sub(p, GN_A_ARRAY_QUERY, false, NULL, NULL, Q, T.position); }
c_expr(A) ::= ARRAY(T) LB array_items(L) RB. { A = gn_mk_list(p, GN_A_ARRAY, L, T.position); }
c_expr(A) ::= row(A).
c_expr(A) ::= CASE(T) case_operand(O) whens(W) case_else(E) END. { A = gn_mk_case(p, O, W, E, T.position); }
c_expr(A) ::= typed_literal(A).
c_expr(A) ::= func_expr(A).

%type columnref {gn_ast_expr *}
columnref(A) ::= colid(N). { A = gn_mk_column(p, NULL, NULL, &N); }
columnref(A) ::= colid(T) DOT attr(N). { A = gn_mk_column(p, NULL, &T, &N); }
columnref(A) ::= colid(S) DOT attr(T) DOT attr(N). { A = gn_mk_column(p, &S, &T, &N); }

%type subscripted {gn_ast_expr *}
subscripted(A) ::= columnref(E) LB expr(I) RB. { A = gn_mk_subscript(p, E, I); }
subscripted(A) ::= PARAM(T) LB expr(I) RB. { A = gn_mk_subscript(p, gn_mk_param(p, &T), I); }
subscripted(A) ::= LP expr(E) RP LB expr(I) RB. { E->parenthesized = true; A = gn_mk_subscript(p, E, I); }
subscripted(A) ::= subscripted(E) LB expr(I) RB. { A = gn_mk_subscript(p, E, I); }
subscripted(A) ::= columnref(E) slice(S). { A = gn_mk_subscript(p, E, S); }
subscripted(A) ::= PARAM(T) slice(S). { A = gn_mk_subscript(p, gn_mk_param(p, &T), S); }
subscripted(A) ::= LP expr(E) RP slice(S). { E->parenthesized = true; A = gn_mk_subscript(p, E, S); }
subscripted(A) ::= subscripted(E) slice(S). { A = gn_mk_subscript(p, E, S); }

%type slice {gn_ast_expr *}
slice(A) ::= LB(T) COLON RB. { A = gn_mk_slice(p, NULL, NULL, T.position); }
slice(A) ::= LB(T) expr(L) COLON RB. { A = gn_mk_slice(p, L, NULL, T.position); }
slice(A) ::= LB(T) COLON expr(U) RB. { A = gn_mk_slice(p, NULL, U, T.position); }
slice(A) ::= LB(T) expr(L) COLON expr(U) RB. { A = gn_mk_slice(p, L, U, T.position); }

%type array_items {gn_ast_exprs}
%type array_list {gn_ast_exprs}
%type array_item {gn_ast_expr *}
array_items(A) ::= . { GN_LIST_EMPTY(A); }
array_items(A) ::= expr_list(A).
array_items(A) ::= array_list(A).
array_list(A) ::= array_item(E). { GN_LIST_START(p, A, E); }
array_list(A) ::= array_list(A) COMMA array_item(E). { GN_LIST_PUSH(p, A, E); }
array_item(A) ::= LB(T) array_items(L) RB. { A = gn_mk_list(p, GN_A_ARRAY, L, T.position); }

%type row {gn_ast_expr *}
row(A) ::= ROW(T) LP RP. { gn_ast_exprs L; GN_LIST_EMPTY(L); A = gn_mk_list(p, GN_A_ROW, L, T.position); }
row(A) ::= ROW(T) LP expr_list(L) RP. { A = gn_mk_list(p, GN_A_ROW, L, T.position); }
row(A) ::= LP(T) expr_list(L) COMMA expr(E) RP. { GN_LIST_PUSH(p, L, E); A = gn_mk_list(p, GN_A_ROW, L, T.position); }

%type case_operand {gn_ast_expr *}
%type case_else {gn_ast_expr *}
%type whens {gn_ast_exprs}
case_operand(A) ::= . { A = NULL; }
case_operand(A) ::= expr(A).
case_else(A) ::= . { A = NULL; }
case_else(A) ::= ELSE expr(E). { A = E; }
whens(A) ::= WHEN expr(W) THEN expr(T). { GN_LIST_START(p, A, W); GN_LIST_PUSH(p, A, T); }
whens(A) ::= whens(A) WHEN expr(W) THEN expr(T). { GN_LIST_PUSH(p, A, W); GN_LIST_PUSH(p, A, T); }

%type typed_literal {gn_ast_expr *}
typed_literal(A) ::= IDENT(N) string(S). {
    gn_ast_exprs M;
    GN_LIST_EMPTY(M);
    A = gn_mk_cast(p, S, gn_mk_type(p, NULL, &N, M), N.position);
}
typed_literal(A) ::= BITS(S). {
    A = gn_mk_cast(p, gn_mk_string(p, &S), gn_mk_type_named(p, "bit", &S, -1), S.position);
}
typed_literal(A) ::= const_type(T) string(S). { A = gn_mk_cast(p, S, T, T->position); }
typed_literal(A) ::= INTERVAL(N) STRING(S) interval_fields(F). {
    A = gn_mk_cast(p, gn_mk_interval_text(p, &S, F), gn_mk_type_named(p, "interval", &N, -1), N.position);
}
typed_literal(A) ::= INTERVAL(N) LP INTEGER(P) RP string(S). {
    A = gn_mk_cast(p, S, gn_mk_type_named(p, "interval", &N, gn_mk_int(p, &P)), N.position);
}

%type func_expr {gn_ast_expr *}
%type func_common {gn_ast_expr *}
%type func_application {gn_ast_expr *}
%type func_name {gn_ast_name}
func_expr(A) ::= func_application(A).
func_expr(A) ::= func_application(A) FILTER LP WHERE expr(E) RP. { gn_mk_filter(p, A, E); }
func_expr(A) ::= func_application(A) OVER LP partition_opt(P) opt_order(O) RP. { gn_mk_call_over(p, A, P, O); }
func_expr(A) ::= func_application(A) over_word.
func_expr(A) ::= func_application(A) FILTER LP WHERE expr RP filter_over.
func_expr(A) ::= func_application(A) within_word.
over_word ::= OVER(T) colid. { gn_parser_feature(p, T.position, "named windows are not supported"); }
over_word ::= OVER LP partition_opt opt_order ROWS(T). { gn_parser_feature(p, T.position, "window frames are not supported"); }
filter_over ::= OVER(T). { gn_parser_feature(p, T.position, "FILTER of a window function is not supported"); }
%type partition_opt {gn_ast_exprs}
partition_opt(A) ::= . { GN_LIST_EMPTY(A); }
partition_opt(A) ::= PARTITION BY expr_list(L). { A = L; }
within_word ::= WITHIN(T) GROUP. { gn_parser_feature(p, T.position, "WITHIN GROUP is not supported"); }
func_name(A) ::= IDENT(N). { A = gn_mk_name(p, NULL, &N); }
func_name(A) ::= type_func(N). { A = gn_mk_name(p, NULL, &N); }
func_name(A) ::= colid(S) DOT attr(N). { A = gn_mk_name(p, &S, &N); }
func_application(A) ::= func_name(N) LP RP. { gn_ast_exprs L; GN_LIST_EMPTY(L); A = gn_mk_call(p, &N, L); }
func_application(A) ::= func_name(N) LP expr_list(L) opt_order(O) RP. {
    A = gn_mk_call(p, &N, L);
    gn_mk_call_order(p, A, O);
}
func_application(A) ::= func_name(N) LP ALL expr_list(L) opt_order(O) RP. {
    A = gn_mk_call(p, &N, L);
    gn_mk_call_order(p, A, O);
}
func_application(A) ::= func_name(N) LP DISTINCT expr_list(L) opt_order(O) RP. {
    A = gn_mk_call(p, &N, L);
    gn_mk_call_order(p, A, O);
    gn_mk_call_extra(p, A)->distinct = true;
}
func_application(A) ::= func_name(N) LP STAR RP. {
    gn_ast_exprs L;
    GN_LIST_EMPTY(L);
    A = gn_mk_call(p, &N, L);
    gn_mk_call_extra(p, A)->star = true;
}

func_expr(A) ::= func_common(A).
func_common(A) ::= CURRENT_WORD(T). { A = gn_mk_call0(p, &T); }
func_common(A) ::= CURRENT_SCHEMA(T). { A = gn_mk_call0(p, &T); }
func_common(A) ::= CURRENT_TIME(T). { A = gn_mk_call0(p, &T); }
func_common(A) ::= CURRENT_TIME(T) LP INTEGER(P) RP. { A = gn_mk_call1(p, T.text, T.position, gn_mk_number(p, &P, false)); }
func_common(A) ::= CAST(T) LP expr(E) AS type(Y) RP. { A = gn_mk_cast(p, E, Y, T.position); }
func_common(A) ::= COALESCE(T) LP expr_list(L) RP. { A = gn_mk_list(p, GN_A_COALESCE, L, T.position); }
func_common(A) ::= GREATEST(T) LP expr_list(L) RP. { A = gn_mk_list(p, GN_A_GREATEST, L, T.position); }
func_common(A) ::= LEAST(T) LP expr_list(L) RP. { A = gn_mk_list(p, GN_A_LEAST, L, T.position); }
func_common(A) ::= NULLIF(T) LP expr(L) COMMA expr(R) RP. {
    gn_ast_exprs S;
    GN_LIST_START(p, S, L);
    GN_LIST_PUSH(p, S, R);
    A = gn_mk_list(p, GN_A_NULLIF, S, T.position);
}
func_common(A) ::= EXTRACT(T) LP extract_field(F) FROM expr(E) RP. {
    A = gn_mk_call2(p, "extract", T.position, gn_mk_string(p, &F), E);
}
%type extract_field {gn_token}
extract_field(A) ::= IDENT(A).
extract_field(A) ::= STRING(A).
func_common(A) ::= POSITION(T) LP b_expr(N) IN b_expr(H) RP. { A = gn_mk_call2(p, "strpos", T.position, H, N); }
func_common(A) ::= OVERLAY(T) LP expr(S) PLACING expr(N) FROM expr(F) RP. {
    A = gn_mk_call3(p, "overlay", T.position, S, N, F);
}
func_common(A) ::= OVERLAY(T) LP expr(S) PLACING expr(N) FROM expr(F) FOR expr(L) RP. {
    A = gn_mk_call4(p, "overlay", T.position, S, N, F, L);
}
func_common(A) ::= OVERLAY(T) LP expr_list(L) RP. { A = gn_mk_call_list(p, "overlay", T.position, L); }
func_common(A) ::= SUBSTRING(T) LP expr_list(L) RP. { A = gn_mk_call_list(p, "substring", T.position, L); }
func_common(A) ::= SUBSTRING(T) LP expr(S) FROM expr(F) RP. { A = gn_mk_call2(p, "substring", T.position, S, F); }
func_common(A) ::= SUBSTRING(T) LP expr(S) FROM expr(F) FOR expr(L) RP. {
    A = gn_mk_call3(p, "substring", T.position, S, F, L);
}
func_common(A) ::= SUBSTRING(T) LP expr(S) FOR expr(L) FROM expr(F) RP. {
    A = gn_mk_call3(p, "substring", T.position, S, F, L);
}
func_common(A) ::= SUBSTRING(T) LP expr(S) FOR expr(L) RP. {
    A = gn_mk_call3(p, "substring", T.position, S, gn_mk_integer(p, 1, T.position), L);
}
%type trim_side {const char *}
%type trim_args {gn_ast_exprs}
func_common(A) ::= TRIM(T) LP trim_side(N) trim_args(L) RP. { A = gn_mk_call_list(p, N, T.position, L); }
trim_side(A) ::= . { A = "btrim"; }
trim_side(A) ::= BOTH. { A = "btrim"; }
trim_side(A) ::= LEADING. { A = "ltrim"; }
trim_side(A) ::= TRAILING. { A = "rtrim"; }
trim_args(A) ::= expr(C) FROM expr_list(L). { GN_LIST_PUSH(p, L, C); A = L; }
trim_args(A) ::= FROM expr_list(L). { A = L; }
trim_args(A) ::= expr_list(A).

// ---- queries ----

%type query {gn_ast_query *}
%type select_no_parens {gn_ast_query *}
%type select_with_parens {gn_ast_query *}
%type select_clause {gn_ast_query *}
%type simple_select {gn_ast_query *}
query(A) ::= select_no_parens(A). [UMINUS]
query(A) ::= select_with_parens(A). [UMINUS]
select_with_parens(A) ::= LP select_no_parens(Q) RP. { A = Q; }
select_with_parens(A) ::= LP select_with_parens(Q) RP. { A = Q; }
select_no_parens(A) ::= simple_select(Q). { A = gn_mk_query_seal(p, Q); }
select_no_parens(A) ::= select_clause(Q) tail(T). { A = gn_mk_query_tail(p, Q, &T); }
select_no_parens(A) ::= with_clause(W) select_clause(Q). { A = gn_mk_query_with(p, Q, W); }
select_no_parens(A) ::= with_clause(W) select_clause(Q) tail(T). {
    A = gn_mk_query_with(p, gn_mk_query_tail(p, Q, &T), W);
}
select_clause(A) ::= simple_select(Q). { A = gn_mk_query_seal(p, Q); }
select_clause(A) ::= select_with_parens(A).

%type with_clause {gn_ast_query *}
%type cte_list {gn_ast_ctes}
%type cte {gn_ast_cte}
with_clause(A) ::= WITH(T) cte_list(L). { A = gn_mk_with(p, L, false, T.position); }
with_clause(A) ::= WITH(T) RECURSIVE cte_list(L). { A = gn_mk_with(p, L, true, T.position); }
cte_list(A) ::= cte(C). { GN_LIST_START(p, A, C); }
cte_list(A) ::= cte_list(A) COMMA cte(C). { GN_LIST_PUSH(p, A, C); }
cte(A) ::= colid(N) opt_names(C) AS materialized LP preparable(S) RP. { A = gn_mk_cte(p, &N, C, S); }
materialized ::= .
materialized ::= IDENT.
materialized ::= NOT IDENT.

%type tail {gn_query_tail}
%type limits {gn_query_tail}
tail(A) ::= order_by(O). { A = (gn_query_tail){.order_by = O}; }
tail(A) ::= opt_order(O) locking(K). { A = (gn_query_tail){.order_by = O, .locking = K}; }
tail(A) ::= opt_order(O) locking(K) limits(L). { A = L; A.order_by = O; A.locking = K; }
tail(A) ::= opt_order(O) limits(L). { A = L; A.order_by = O; }
tail(A) ::= opt_order(O) limits(L) locking(K). { A = L; A.order_by = O; A.locking = K; }
limits(A) ::= limit(L) offset(O). { A = (gn_query_tail){.limit = L, .offset = O}; }
limits(A) ::= offset(O) limit(L). { A = (gn_query_tail){.limit = L, .offset = O}; }
limits(A) ::= limit(L). { A = (gn_query_tail){.limit = L}; }
limits(A) ::= offset(O). { A = (gn_query_tail){.offset = O}; }
%type limit {gn_ast_expr *}
%type offset {gn_ast_expr *}
limit(A) ::= LIMIT expr(E). { A = E; }
limit(A) ::= LIMIT ALL. { A = NULL; }
limit(A) ::= FETCH first_next c_expr(E) row_rows ONLY. { A = E; }
limit(A) ::= FETCH first_next number_signed(E) row_rows ONLY. { A = E; }
limit(A) ::= FETCH(T) first_next row_rows ONLY. { A = gn_mk_integer(p, 1, T.position); }
limit(A) ::= FETCH(T) first_next c_expr(E) row_rows WITH TIES. {
    A = E;
    gn_parser_feature(p, T.position, "FETCH ... WITH TIES is not supported");
}
%type number_signed {gn_ast_expr *}
number_signed(A) ::= PLUS INTEGER(T). { A = gn_mk_number(p, &T, false); }
number_signed(A) ::= PLUS FLOAT(T). { A = gn_mk_number(p, &T, false); }
number_signed(A) ::= MINUS INTEGER(T). { A = gn_mk_number(p, &T, true); }
number_signed(A) ::= MINUS FLOAT(T). { A = gn_mk_number(p, &T, true); }
offset(A) ::= OFFSET expr(E). { A = E; }
offset(A) ::= OFFSET c_expr(E) row_rows. { A = E; }
first_next ::= FIRST.
first_next ::= NEXT.
row_rows ::= ROW.
row_rows ::= ROWS.
locking(A) ::= lock(A).
locking(A) ::= locking(A) lock.
lock(A) ::= FOR(T) lock_strength lock_of lock_wait. { A = T.position; }
lock_strength ::= UPDATE.
lock_strength ::= NO KEY UPDATE.
lock_strength ::= SHARE.
lock_strength ::= KEY SHARE.
lock_of ::= .
lock_of ::= OF qname_list.
lock_wait ::= .
lock_wait ::= NOWAIT.
lock_wait ::= SKIP LOCKED.

%type opt_order {gn_ast_orders}
%type order_by {gn_ast_orders}
%type order_list {gn_ast_orders}
%type order_item {gn_ast_order}
opt_order(A) ::= . { GN_LIST_EMPTY(A); }
opt_order(A) ::= order_by(A).
order_by(A) ::= ORDER BY order_list(L). { A = L; }
order_list(A) ::= order_item(O). { GN_LIST_START(p, A, O); }
order_list(A) ::= order_list(A) COMMA order_item(O). { GN_LIST_PUSH(p, A, O); }
order_item(A) ::= expr(E) asc_desc(D) nulls(N). { A = gn_mk_order(E, D, N); }
order_item(A) ::= expr(E) USING LT nulls(N). { A = gn_mk_order(E, 0, N); }
order_item(A) ::= expr(E) USING GT nulls(N). { A = gn_mk_order(E, 1, N); }
asc_desc(A) ::= . { A = 0; }
asc_desc(A) ::= ASC. { A = 0; }
asc_desc(A) ::= DESC. { A = 1; }
nulls(A) ::= . { A = -1; }
nulls(A) ::= NULLS_LA FIRST. { A = 1; }
nulls(A) ::= NULLS_LA LAST. { A = 0; }

simple_select(A) ::= SELECT(T) targets_opt(L) into from_opt(F) where(W) group_by(G) having(H). {
    A = gn_mk_select(p, T.position, L, F, W, G, H);
}
simple_select(A) ::= SELECT(T) ALL targets_opt(L) into from_opt(F) where(W) group_by(G) having(H). {
    A = gn_mk_select(p, T.position, L, F, W, G, H);
}
simple_select(A) ::= SELECT(T) DISTINCT targets(L) into from_opt(F) where(W) group_by(G) having(H). {
    A = gn_mk_select(p, T.position, L, F, W, G, H);
    A->distinct = true;
}
simple_select(A) ::= SELECT(T) DISTINCT ON LP expr_list(D) RP targets(L) into from_opt(F) where(W) group_by(G) having(H). {
    A = gn_mk_select(p, T.position, L, F, W, G, H);
    A->distinct = true;
    A->distinct_on = D;
}
simple_select(A) ::= VALUES(T) values_rows(R). { A = gn_mk_values(p, T.position, R); }
simple_select(A) ::= TABLE(T) relation(N). { A = gn_mk_table_query(p, &N, T.position); }
simple_select(A) ::= select_clause(L) UNION(T) set_quantifier(K) select_clause(R). {
    A = gn_mk_set_operation(p, GN_Q_UNION, K, L, R, T.position);
}
simple_select(A) ::= select_clause(L) INTERSECT(T) set_quantifier(K) select_clause(R). {
    A = gn_mk_set_operation(p, GN_Q_INTERSECT, K, L, R, T.position);
}
simple_select(A) ::= select_clause(L) EXCEPT(T) set_quantifier(K) select_clause(R). {
    A = gn_mk_set_operation(p, GN_Q_EXCEPT, K, L, R, T.position);
}
set_quantifier(A) ::= . { A = 0; }
set_quantifier(A) ::= ALL. { A = 1; }
set_quantifier(A) ::= DISTINCT. { A = 0; }
into ::= .
into ::= into_word.
into_word ::= INTO(T) word. { gn_parser_feature(p, T.position, "SELECT ... INTO is not supported"); }

%type values_rows {gn_ast_rows}
values_rows(A) ::= LP expr_list(L) RP. { GN_LIST_START(p, A, L); }
values_rows(A) ::= values_rows(A) COMMA LP expr_list(L) RP. { GN_LIST_PUSH(p, A, L); }

%type targets_opt {gn_ast_targets}
%type targets {gn_ast_targets}
%type target {gn_ast_target}
targets_opt(A) ::= . { GN_LIST_EMPTY(A); }
targets_opt(A) ::= targets(A).
targets(A) ::= target(T). { GN_LIST_START(p, A, T); }
targets(A) ::= targets(A) COMMA target(T). { GN_LIST_PUSH(p, A, T); }
target(A) ::= expr(E). { A = (gn_ast_target){.expr = E}; }
target(A) ::= expr(E) AS attr(N). { A = (gn_ast_target){.expr = E, .alias = N.text}; }
target(A) ::= expr(E) barelabel(N). { A = (gn_ast_target){.expr = E, .alias = N.text}; }
target(A) ::= STAR(T). { A = (gn_ast_target){.expr = gn_mk_star(p, NULL, NULL, T.position)}; }
target(A) ::= colid(T) DOT STAR. { A = (gn_ast_target){.expr = gn_mk_star(p, NULL, &T, T.position)}; }
target(A) ::= colid(S) DOT attr(T) DOT STAR. { A = (gn_ast_target){.expr = gn_mk_star(p, &S, &T, S.position)}; }

%type where {gn_ast_expr *}
%type having {gn_ast_expr *}
%type group_by {gn_ast_exprs}
where(A) ::= . { A = NULL; }
where(A) ::= WHERE expr(E). { A = E; }
having(A) ::= . { A = NULL; }
having(A) ::= HAVING expr(E). { A = E; }
group_by(A) ::= . { GN_LIST_EMPTY(A); }
group_by(A) ::= GROUP BY expr_list(L). { A = L; }
group_by(A) ::= GROUP BY ALL expr_list(L). { A = L; }
group_by(A) ::= GROUP BY DISTINCT expr_list(L). { A = L; }

%type from_opt {gn_ast_froms}
%type from_list {gn_ast_froms}
%type table_ref {gn_ast_from *}
%type joined {gn_ast_from *}
%type from_query {gn_ast_from *}
%type from_function {gn_ast_from *}
%type ordinality {int}
%type alias {gn_from_alias}
from_opt(A) ::= . { GN_LIST_EMPTY(A); }
from_opt(A) ::= FROM from_list(L). { A = L; }
from_list(A) ::= table_ref(F). { GN_LIST_START(p, A, F); }
from_list(A) ::= from_list(A) COMMA table_ref(F). { GN_LIST_PUSH(p, A, F); }
table_ref(A) ::= relation(N). { A = gn_mk_from_table(p, &N, NULL); }
table_ref(A) ::= relation(N) alias(S). { A = gn_mk_from_table(p, &N, &S); }
table_ref(A) ::= from_function(A).
table_ref(A) ::= from_function(F) alias(S). { A = gn_mk_from_alias(F, &S); }
table_ref(A) ::= from_query(A). { gn_mk_from_nameless(p, A); }
table_ref(A) ::= from_query(F) alias(S). { A = gn_mk_from_alias(F, &S); }
table_ref(A) ::= joined(A).
table_ref(A) ::= LP joined(J) RP alias(S). { A = gn_mk_from_alias(J, &S); }
from_query(A) ::= select_with_parens(Q). { A = gn_mk_from_query(p, Q); }
from_query(A) ::= LATERAL(T) select_with_parens(Q). {
    A = gn_mk_from_query(p, Q);
    A->position = T.position;
    A->lateral = true;
}
from_function(A) ::= func_application(C) ordinality(O). { A = gn_mk_from_function(p, C, O); }
from_function(A) ::= LATERAL func_application(C) ordinality(O). { A = gn_mk_from_function(p, C, O); }
ordinality(A) ::= . { A = 0; }
ordinality(A) ::= WITH ORDINALITY. { A = 1; }
joined(A) ::= LP joined(J) RP. { A = J; }
joined(A) ::= table_ref(L) CROSS(T) JOIN table_ref(R). { A = gn_mk_join(p, GN_JOIN_CROSS, L, R, T.position); }
joined(A) ::= table_ref(L) join_type(K) JOIN(T) table_ref(R) ON expr(E). [JOIN] {
    A = gn_mk_join(p, K, L, R, T.position);
    gn_mk_join_on(p, A, E);
}
joined(A) ::= table_ref(L) join_type(K) JOIN(T) table_ref(R) USING LP names(N) RP. [JOIN] {
    A = gn_mk_join(p, K, L, R, T.position);
    A->using_columns = N;
}
joined(A) ::= table_ref(L) JOIN(T) table_ref(R) ON expr(E). [JOIN] {
    A = gn_mk_join(p, GN_JOIN_INNER, L, R, T.position);
    gn_mk_join_on(p, A, E);
}
joined(A) ::= table_ref(L) JOIN(T) table_ref(R) USING LP names(N) RP. [JOIN] {
    A = gn_mk_join(p, GN_JOIN_INNER, L, R, T.position);
    A->using_columns = N;
}
joined(A) ::= table_ref(L) NATURAL join_type(K) JOIN(T) table_ref(R). [JOIN] {
    A = gn_mk_join(p, K, L, R, T.position);
    A->natural = true;
}
joined(A) ::= table_ref(L) NATURAL JOIN(T) table_ref(R). [JOIN] {
    A = gn_mk_join(p, GN_JOIN_INNER, L, R, T.position);
    A->natural = true;
}
join_type(A) ::= INNER. { A = GN_JOIN_INNER; }
join_type(A) ::= LEFT outer. { A = GN_JOIN_LEFT; }
join_type(A) ::= RIGHT outer. { A = GN_JOIN_RIGHT; }
join_type(A) ::= FULL outer. { A = GN_JOIN_FULL; }
outer ::= .
outer ::= OUTER.
alias(A) ::= AS colid(N). { A = (gn_from_alias){.name = N.text}; }
alias(A) ::= colid(N). { A = (gn_from_alias){.name = N.text}; }
alias(A) ::= AS colid(N) LP names(L) RP. { A = (gn_from_alias){.name = N.text, .columns = L}; }
alias(A) ::= colid(N) LP names(L) RP. { A = (gn_from_alias){.name = N.text, .columns = L}; }
%type relation {gn_ast_name}
relation(A) ::= qname(A).
relation(A) ::= qname(A) STAR.
relation(A) ::= ONLY qname(N). { A = N; }
relation(A) ::= ONLY LP qname(N) RP. { A = N; }

// ---- INSERT, UPDATE, DELETE, TRUNCATE ----

%type insert_to {gn_ast_statement *}
%type insert_rows {gn_ast_statement *}
%type insert_all {gn_ast_statement *}
dml(A) ::= insert_all(A) returning(R). { A->insert->returning = R; }
insert_all(A) ::= insert_rows(A).
insert_all(A) ::= insert_rows(A) ON CONFLICT(T) DO NOTHING. { gn_mk_conflict(A, GN_CONFLICT_NOTHING, &T); }
insert_all(A) ::= insert_rows(A) ON CONFLICT(T) LP expr_list(C) RP where(V) DO NOTHING. {
    gn_mk_conflict(A, GN_CONFLICT_NOTHING, &T);
    A->insert->conflict_columns = C;
    A->insert->conflict_predicate = V;
}
insert_all(A) ::= insert_rows(A) ON CONFLICT(T) ON CONSTRAINT colid(N) DO NOTHING. {
    gn_mk_conflict(A, GN_CONFLICT_NOTHING, &T);
    A->insert->conflict_constraint = N.text;
}
insert_all(A) ::= insert_rows(A) ON CONFLICT(T) LP expr_list(C) RP where(V) DO UPDATE SET set_list(S) where(W). {
    gn_mk_conflict(A, GN_CONFLICT_UPDATE, &T);
    A->insert->conflict_columns = C;
    A->insert->conflict_predicate = V;
    A->insert->conflict_set = S;
    A->insert->conflict_where = W;
}
insert_all(A) ::= insert_rows(A) ON CONFLICT(T) ON CONSTRAINT colid(N) DO UPDATE SET set_list(S) where(W). {
    gn_mk_conflict(A, GN_CONFLICT_UPDATE, &T);
    A->insert->conflict_constraint = N.text;
    A->insert->conflict_set = S;
    A->insert->conflict_where = W;
}
insert_rows(A) ::= insert_to(A) query(Q). { A->insert->query = Q; }
insert_rows(A) ::= insert_to(A) DEFAULT VALUES.
insert_rows(A) ::= insert_to(A) LP names(C) RP query(Q). { A->insert->columns = C; A->insert->query = Q; }
insert_rows(A) ::= insert_to(A) LP names(C) RP overriding(O) query(Q). {
    A->insert->columns = C;
    A->insert->query = Q;
    gn_mk_overriding(A, O);
}
insert_rows(A) ::= insert_to(A) overriding(O) query(Q). { A->insert->query = Q; gn_mk_overriding(A, O); }
overriding(A) ::= OVERRIDING SYSTEM VALUE. { A = 1; }
overriding(A) ::= OVERRIDING CURRENT_WORD VALUE. { A = 0; }
insert_to(A) ::= dml_with INSERT(T) INTO qname(N). { A = gn_mk_insert(p, &T, &N, NULL); }
insert_to(A) ::= dml_with INSERT(T) INTO qname(N) AS colid(S). { A = gn_mk_insert(p, &T, &N, S.text); }
dml_with ::= .
dml_with ::= with_clause(W). {
    gn_parser_feature(p, W->position, "WITH before INSERT, UPDATE or DELETE is not supported");
}

%type returning {gn_ast_targets}
returning(A) ::= . { GN_LIST_EMPTY(A); }
returning(A) ::= RETURNING targets(L). { A = L; }

%type update_to {gn_ast_statement *}
dml(A) ::= update_to(A) set_list(S) from_opt(F) where(W) returning(R). {
    A->update->set = S;
    A->update->from = F;
    A->update->where = W;
    A->update->returning = R;
}
update_to(A) ::= dml_with UPDATE(T) relation(N) SET. { A = gn_mk_update(p, &T, &N, NULL); }
update_to(A) ::= dml_with UPDATE(T) relation(N) colid(S) SET. { A = gn_mk_update(p, &T, &N, S.text); }
update_to(A) ::= dml_with UPDATE(T) relation(N) AS colid(S) SET. { A = gn_mk_update(p, &T, &N, S.text); }
%type set_list {gn_ast_assignments}
set_list(A) ::= set_item(L). { A = L; }
set_list(A) ::= set_list(L) COMMA set_item(I). { A = gn_mk_assignments_join(p, L, I); }
%type set_item {gn_ast_assignments}
set_item(A) ::= colid(N) EQ expr(E). { A = gn_mk_assign(p, &N, E); }
set_item(A) ::= LP names(L) RP EQ(T) expr(E). { A = gn_mk_assign_row(p, L, E, T.position); }

dml(A) ::= dml_with DELETE(T) FROM relation(N) delete_alias(S) delete_using(F) where(W) returning(R). {
    A = gn_mk_delete(p, &T, &N, S, F, W, R);
}
%type delete_alias {const char *}
delete_alias(A) ::= . { A = NULL; }
delete_alias(A) ::= colid(N). { A = N.text; }
delete_alias(A) ::= AS colid(N). { A = N.text; }
%type delete_using {gn_ast_froms}
delete_using(A) ::= . { GN_LIST_EMPTY(A); }
delete_using(A) ::= USING from_list(L). { A = L; }

stmt(A) ::= TRUNCATE(T) opt_table truncate_list(L) identity(I) cascade(C). {
    A = gn_mk_statement(p, GN_S_TRUNCATE, T.position, sizeof *A->truncate);
    *A->truncate = (gn_ast_truncate){.names = L, .restart_identity = I, .cascade = C};
}
%type truncate_list {gn_ast_names}
truncate_list(A) ::= relation(N). { GN_LIST_START(p, A, N); }
truncate_list(A) ::= truncate_list(A) COMMA relation(N). { GN_LIST_PUSH(p, A, N); }
opt_table ::= .
opt_table ::= TABLE.
identity(A) ::= . { A = 0; }
identity(A) ::= IDENT IDENTITY. { A = 0; }
identity(A) ::= RESTART IDENTITY. { A = 1; }
cascade(A) ::= . { A = 0; }
cascade(A) ::= RESTRICT. { A = 0; }
cascade(A) ::= CASCADE. { A = 1; }

// ---- tables ----

%type create_head {gn_ast_statement *}
stmt(A) ::= create_head(A) LP table_items_opt RP partition_by(K) table_with(O). {
    A->create_table->shard_key = K;
    A->create_table->options = O;
    p->table = NULL;
}
create_head(A) ::= CREATE(T) temporary(M) TABLE qname(N). { A = gn_mk_create_table(p, &T, M, false, &N); }
create_head(A) ::= CREATE(T) temporary(M) TABLE IF NOT EXISTS qname(N). { A = gn_mk_create_table(p, &T, M, true, &N); }
stmt(A) ::= create_head(A) create_as.
create_as ::= AS(T) word_or_select. { gn_parser_feature(p, T.position, "CREATE TABLE AS is not supported"); }
word_or_select ::= SELECT.
word_or_select ::= VALUES.
word_or_select ::= TABLE.
word_or_select ::= WITH.
word_or_select ::= EXECUTE.
word_or_select ::= LP.
temporary(A) ::= . { A = 0; }
temporary(A) ::= TEMPORARY. { A = 1; }
temporary(A) ::= LOCAL TEMPORARY. { A = 1; }
temporary(A) ::= UNLOGGED. { A = 0; }
table_items_opt ::= .
table_items_opt ::= table_items.
table_items ::= table_item.
table_items ::= table_items COMMA table_item.
table_item ::= column_def(C). { gn_mk_table_column(p, C); }
table_item ::= table_constraint(C). { GN_LIST_PUSH(p, p->table->constraints, *C); }
table_item ::= like_word.
like_word ::= LIKE(T) word. { gn_parser_feature(p, T.position, "LIKE in CREATE TABLE is not supported"); }
%type partition_by {gn_ast_names}
partition_by(A) ::= . { GN_LIST_EMPTY(A); }
partition_by(A) ::= PARTITION BY word(W) LP names(N) RP. {
    A = N;
    if (strcmp(W.text, "hash") != 0)
        gn_parser_feature(p, W.position, "tables can be partitioned by hash only");
}
%type table_with {gn_ast_options}
table_with(A) ::= . { GN_LIST_EMPTY(A); }
table_with(A) ::= WITH LP reloptions(L) RP. { A = L; }
table_with(A) ::= WITHOUT IDENT. { GN_LIST_EMPTY(A); }

%type column_def {gn_ast_column_def *}
column_def(A) ::= colid(N) type(T). { A = gn_mk_column_def(p, &N, T); }
column_def(A) ::= column_def(A) column_constraint(Q). { gn_mk_column_add(p, A, NULL, &Q); }
column_def(A) ::= column_def(A) CONSTRAINT colid(N) column_constraint(Q). { gn_mk_column_add(p, A, N.text, &Q); }
column_def(A) ::= column_def(A) constraint_attribute.
column_def(A) ::= column_def(A) COLLATE qname(N). { gn_mk_column_collate(p, &N); }
%type column_constraint {gn_column_item}
column_constraint(A) ::= NOT(T) NULL. { A = gn_mk_item(GN_ITEM_NOT_NULL, &T); }
column_constraint(A) ::= NULL(T). { A = gn_mk_item(GN_ITEM_NULL, &T); }
column_constraint(A) ::= UNIQUE(T). { A = gn_mk_item(GN_ITEM_UNIQUE, &T); }
column_constraint(A) ::= PRIMARY(T) KEY. { A = gn_mk_item(GN_ITEM_PRIMARY_KEY, &T); }
column_constraint(A) ::= PRIMARY(T) KEY AUTOINCREMENT. { A = gn_mk_item(GN_ITEM_AUTOINCREMENT, &T); }
column_constraint(A) ::= CHECK(T) LP(L) expr(E) RP(R). {
    A = gn_mk_item(GN_ITEM_CHECK, &T);
    A.expr = E;
    A.sql = gn_mk_between_tokens(p, &L, &R);
}
column_constraint(A) ::= DEFAULT(T) b_expr(E). {
    A = gn_mk_item(GN_ITEM_DEFAULT, &T);
    A.expr = E;
    A.sql = gn_mk_text_after(p, &T);
}
column_constraint(A) ::= GENERATED(T) generated(G) AS IDENTITY sequence_options(S). {
    A = gn_mk_item(G ? GN_ITEM_IDENTITY_ALWAYS : GN_ITEM_IDENTITY_BY_DEFAULT, &T);
    A.options = S;
}
column_constraint(A) ::= GENERATED(T) generated AS LP. {
    A = gn_mk_item(GN_ITEM_NULL, &T);
    gn_parser_feature(p, T.position, "generated columns are not supported");
}
column_constraint(A) ::= REFERENCES(T) references. { A = gn_mk_item(GN_ITEM_REFERENCES, &T); }
generated(A) ::= ALWAYS. { A = 1; }
generated(A) ::= BY DEFAULT. { A = 0; }
%type sequence_options {gn_ast_options}
%type sequence_list {gn_ast_options}
%type sequence_option {gn_ast_option}
sequence_options(A) ::= . { GN_LIST_EMPTY(A); }
sequence_options(A) ::= LP sequence_list(L) RP. { A = L; }
sequence_list(A) ::= sequence_option(O). { GN_LIST_START(p, A, O); }
sequence_list(A) ::= sequence_list(A) sequence_option(O). { GN_LIST_PUSH(p, A, O); }
sequence_option(A) ::= START(N) number(V). { A = gn_mk_option(&N, "start", V); }
sequence_option(A) ::= START(N) WITH number(V). { A = gn_mk_option(&N, "start", V); }
sequence_option(A) ::= IDENT(N) number(V). { A = gn_mk_option(&N, NULL, V); }
sequence_option(A) ::= IDENT(N) BY number(V). { A = gn_mk_option(&N, NULL, V); }
sequence_option(A) ::= NO IDENT(N). { A = gn_mk_option(&N, NULL, NULL); }
references ::= qname opt_names ref_match ref_actions.
ref_match ::= .
ref_match ::= MATCH word.
ref_actions ::= .
ref_actions ::= ref_actions ON DELETE ref_action.
ref_actions ::= ref_actions ON UPDATE ref_action.
ref_action ::= NO ACTION.
ref_action ::= RESTRICT.
ref_action ::= CASCADE.
ref_action ::= SET NULL.
ref_action ::= SET DEFAULT.
constraint_attribute ::= DEFERRABLE(T). { gn_parser_feature(p, T.position, "deferrable constraints are not supported"); }
constraint_attribute ::= NOT DEFERRABLE.
constraint_attribute ::= INITIALLY IMMEDIATE.
constraint_attribute ::= INITIALLY(T) DEFERRED. {
    gn_parser_feature(p, T.position, "deferrable constraints are not supported");
}

%type table_constraint {gn_ast_constraint *}
%type constraint_body {gn_ast_constraint *}
table_constraint(A) ::= constraint_body(A) constraint_attributes.
table_constraint(A) ::= CONSTRAINT(T) colid(N) constraint_body(B) constraint_attributes. {
    A = B;
    A->name = N.text;
    A->position = T.position;
}
constraint_attributes ::= .
constraint_attributes ::= constraint_attributes constraint_attribute.
constraint_body(A) ::= CHECK(T) LP(L) expr(E) RP(R). {
    A = gn_mk_constraint(p, GN_C_CHECK, &T);
    A->check = E;
    A->check_sql = gn_mk_between_tokens(p, &L, &R);
}
constraint_body(A) ::= UNIQUE(T) LP names(L) RP. {
    A = gn_mk_constraint(p, GN_C_UNIQUE, &T);
    A->columns = L;
}
constraint_body(A) ::= PRIMARY(T) KEY LP names(L) RP. {
    A = gn_mk_constraint(p, GN_C_PRIMARY_KEY, &T);
    A->columns = L;
}
constraint_body(A) ::= FOREIGN(T) KEY LP names(L) RP REFERENCES references. {
    A = gn_mk_constraint(p, GN_C_FOREIGN_KEY, &T);
    A->columns = L;
}

stmt(A) ::= DROP(T) TABLE if_exists(E) qname_list(L) cascade(C). { A = gn_mk_drop(p, GN_S_DROP_TABLE, &T, E, L, C); }
stmt(A) ::= DROP(T) INDEX if_exists(E) qname_list(L) cascade(C). { A = gn_mk_drop(p, GN_S_DROP_INDEX, &T, E, L, C); }
stmt(A) ::= DROP(T) INDEX CONCURRENTLY if_exists(E) qname_list(L) cascade(C). {
    A = gn_mk_drop(p, GN_S_DROP_INDEX, &T, E, L, C);
}
if_exists(A) ::= . { A = 0; }
if_exists(A) ::= IF EXISTS. { A = 1; }
if_not_exists(A) ::= . { A = 0; }
if_not_exists(A) ::= IF NOT EXISTS. { A = 1; }

%type alter_head {gn_ast_statement *}
%type alter_actions {gn_ast_alter_actions}
%type alter_action {gn_ast_alter_action *}
stmt(A) ::= alter_head(A) alter_actions(L). { A->alter_table->actions = L; }
stmt(A) ::= alter_head(A) RENAME(T) opt_column colid(O) TO colid(N). {
    gn_mk_rename(p, A, GN_ALTER_RENAME_COLUMN, &T, &O, &N);
}
stmt(A) ::= alter_head(A) RENAME(T) TO colid(N). { gn_mk_rename(p, A, GN_ALTER_RENAME_TABLE, &T, NULL, &N); }
stmt(A) ::= alter_head(A) RENAME(T) CONSTRAINT colid(O) TO colid(N). {
    gn_mk_rename(p, A, GN_ALTER_RENAME_CONSTRAINT, &T, &O, &N);
}
alter_head(A) ::= ALTER(T) TABLE relation(N). { A = gn_mk_alter(p, &T, false, &N); }
alter_head(A) ::= ALTER(T) TABLE IF EXISTS relation(N). { A = gn_mk_alter(p, &T, true, &N); }
alter_actions(A) ::= alter_action(X). { GN_LIST_START(p, A, *X); }
alter_actions(A) ::= alter_actions(A) COMMA alter_action(X). { GN_LIST_PUSH(p, A, *X); }
alter_action(A) ::= ADD(T) COLUMN if_not_exists(E) column_def(C). {
    A = gn_mk_alter_add(p, &T, C, E);
}
alter_action(A) ::= ADD(T) column_def(C). {
    A = gn_mk_alter_add(p, &T, C, false);
}
alter_action(A) ::= ADD(T) IF NOT EXISTS column_def(C). {
    A = gn_mk_alter_add(p, &T, C, true);
}
alter_action(A) ::= ADD(T) table_constraint(C). {
    A = gn_mk_alter_constraint(p, &T, C);
}
alter_action(A) ::= DROP(T) opt_column colid(N) cascade(C). {
    A = gn_mk_alter_named(p, GN_ALTER_DROP_COLUMN, &T, &N);
    A->cascade = C;
}
alter_action(A) ::= DROP(T) opt_column IF EXISTS colid(N) cascade(C). {
    A = gn_mk_alter_named(p, GN_ALTER_DROP_COLUMN, &T, &N);
    A->cascade = C;
    A->if_exists = true;
}
alter_action(A) ::= DROP(T) CONSTRAINT if_exists(E) colid(N) cascade(C). {
    A = gn_mk_alter_named(p, GN_ALTER_DROP_CONSTRAINT, &T, &N);
    A->cascade = C;
    A->if_exists = E;
}
alter_action(A) ::= ALTER(T) opt_column colid(N) SET DEFAULT(D) expr(E). {
    A = gn_mk_alter_named(p, GN_ALTER_SET_DEFAULT, &T, &N);
    A->default_expr = E;
    A->default_sql = gn_mk_text_after(p, &D);
}
alter_action(A) ::= ALTER(T) opt_column colid(N) DROP DEFAULT. { A = gn_mk_alter_named(p, GN_ALTER_DROP_DEFAULT, &T, &N); }
alter_action(A) ::= ALTER(T) opt_column colid(N) SET NOT NULL. { A = gn_mk_alter_named(p, GN_ALTER_SET_NOT_NULL, &T, &N); }
alter_action(A) ::= ALTER(T) opt_column colid(N) DROP NOT NULL. { A = gn_mk_alter_named(p, GN_ALTER_DROP_NOT_NULL, &T, &N); }
alter_action(A) ::= ALTER(T) opt_column colid(N) set_data TYPE type(Y) alter_using(U). {
    A = gn_mk_alter_named(p, GN_ALTER_COLUMN_TYPE, &T, &N);
    A->type = Y;
    A->using_expr = U;
}
opt_column ::= .
opt_column ::= COLUMN.
set_data ::= .
set_data ::= SET IDENT.
%type alter_using {gn_ast_expr *}
alter_using(A) ::= . { A = NULL; }
alter_using(A) ::= USING expr(E). { A = E; }

// ---- indexes ----

%type index_head {gn_ast_statement *}
%type index_on {gn_ast_statement *}
stmt(A) ::= index_on(A) LP index_columns(L) RP index_include(I) table_with(O) where(W). {
    A->create_index->columns = L;
    A->create_index->include = I;
    A->create_index->options = O;
    A->create_index->where = W;
}
index_head(A) ::= CREATE(T) unique(U) INDEX concurrently(C). { A = gn_mk_create_index(p, &T, U, C); }
index_on(A) ::= index_head(A) ON relation(R) index_method(M). { gn_mk_index_on(A, false, NULL, &R, &M); }
index_on(A) ::= index_head(A) colid(N) ON relation(R) index_method(M). { gn_mk_index_on(A, false, &N, &R, &M); }
index_on(A) ::= index_head(A) IF NOT EXISTS colid(N) ON relation(R) index_method(M). {
    gn_mk_index_on(A, true, &N, &R, &M);
}
unique(A) ::= . { A = 0; }
unique(A) ::= UNIQUE. { A = 1; }
concurrently(A) ::= . { A = 0; }
concurrently(A) ::= CONCURRENTLY. { A = 1; }
%type index_method {gn_token}
index_method(A) ::= . { A = (gn_token){0}; }
index_method(A) ::= USING word(N). { A = N; }
%type index_include {gn_ast_names}
index_include(A) ::= . { GN_LIST_EMPTY(A); }
index_include(A) ::= INCLUDE LP names(L) RP. { A = L; }
%type index_columns {gn_ast_index_columns}
%type index_column {gn_ast_index_column}
%type index_key {gn_ast_index_column}
index_columns(A) ::= index_column(C). { GN_LIST_START(p, A, C); }
index_columns(A) ::= index_columns(A) COMMA index_column(C). { GN_LIST_PUSH(p, A, C); }
index_column(A) ::= index_key(A) asc_desc(D) nulls(N). { gn_mk_index_order(&A, D, N); }
index_key(A) ::= index_expr(E). { A = (gn_ast_index_column){.expr = E}; }
index_key(A) ::= index_expr(E) COLLATE(T) qname(C). {
    A = (gn_ast_index_column){.expr = gn_mk_collate(p, E, &C, T.position)};
}
index_key(A) ::= index_expr(E) qname(O). { A = gn_mk_index_opclass(E, &O); }
index_key(A) ::= index_expr(E) COLLATE(T) qname(C) qname(O). {
    A = gn_mk_index_opclass(gn_mk_collate(p, E, &C, T.position), &O);
}
%type index_expr {gn_ast_expr *}
index_expr(A) ::= colid(N). { A = gn_mk_column(p, NULL, NULL, &N); }
index_expr(A) ::= func_application(A).
index_expr(A) ::= func_common(A).
index_expr(A) ::= LP expr(E) RP. { A = E; }

%type reloptions {gn_ast_options}
%type reloption {gn_ast_option}
reloptions(A) ::= reloption(O). { GN_LIST_START(p, A, O); }
reloptions(A) ::= reloptions(A) COMMA reloption(O). { GN_LIST_PUSH(p, A, O); }
reloption(A) ::= attr(N). { A = gn_mk_option(&N, NULL, NULL); }
reloption(A) ::= attr(N) EQ option_value(V). { A = gn_mk_option(&N, NULL, V); }
%type option_value {gn_ast_expr *}
option_value(A) ::= number(A).
option_value(A) ::= string(A).
option_value(A) ::= TRUE(T). { A = gn_mk_boolean(p, true, T.position); }
option_value(A) ::= FALSE(T). { A = gn_mk_boolean(p, false, T.position); }
option_value(A) ::= word(T). { A = gn_mk_string(p, &T); }
option_value(A) ::= ON(T). { A = gn_mk_string(p, &T); }
option_value(A) ::= DEFAULT(T). { A = gn_mk_string(p, &T); }

stmt(A) ::= CREATE(T) EXTENSION if_not_exists word(N) extension_with. {
    A = gn_mk_named(p, GN_S_CREATE_EXTENSION, T.position, N.text);
}
extension_with ::= extension_options.
extension_with ::= WITH extension_options.
extension_options ::= .
extension_options ::= extension_options extension_option.
extension_option ::= CASCADE.
extension_option ::= IDENT(N) extension_value. { gn_check_extension_option(p, &N); }
extension_value ::= word.
extension_value ::= STRING.

// ---- transactions ----

%type modes {gn_ast_transaction}
%type mode_list {gn_ast_transaction}
stmt(A) ::= BEGIN(T) work modes(M). { A = gn_mk_transaction(p, GN_S_BEGIN, T.position, M); }
stmt(A) ::= START(T) TRANSACTION modes(M). { M.start = true; A = gn_mk_transaction(p, GN_S_BEGIN, T.position, M); }
stmt(A) ::= COMMIT(T) work chain(C). { A = gn_mk_end(p, GN_S_COMMIT, T.position, C); }
stmt(A) ::= END(T) work chain(C). { A = gn_mk_end(p, GN_S_COMMIT, T.position, C); }
stmt(A) ::= ROLLBACK(T) work chain(C). { A = gn_mk_end(p, GN_S_ROLLBACK, T.position, C); }
stmt(A) ::= ABORT(T) work chain(C). { A = gn_mk_end(p, GN_S_ROLLBACK, T.position, C); }
stmt(A) ::= ROLLBACK(T) work TO colid(N). { A = gn_mk_named(p, GN_S_ROLLBACK_TO, T.position, N.text); }
stmt(A) ::= ROLLBACK(T) work TO SAVEPOINT colid(N). { A = gn_mk_named(p, GN_S_ROLLBACK_TO, T.position, N.text); }
stmt(A) ::= SAVEPOINT(T) colid(N). { A = gn_mk_named(p, GN_S_SAVEPOINT, T.position, N.text); }
stmt(A) ::= RELEASE(T) colid(N). { A = gn_mk_named(p, GN_S_RELEASE, T.position, N.text); }
stmt(A) ::= RELEASE(T) SAVEPOINT colid(N). { A = gn_mk_named(p, GN_S_RELEASE, T.position, N.text); }
work ::= .
work ::= WORK.
work ::= TRANSACTION.
chain(A) ::= . { A = 0; }
chain(A) ::= AND CHAIN. { A = 1; }
chain(A) ::= AND NO CHAIN. { A = 0; }
modes(A) ::= . { A = (gn_ast_transaction){.read_only = -1, .deferrable = -1}; }
modes(A) ::= mode_list(A).
mode_list(A) ::= mode(M). {
    A = (gn_ast_transaction){.read_only = -1, .deferrable = -1};
    gn_mk_mode(&A, M);
}
mode_list(A) ::= mode_list(A) mode(M). { gn_mk_mode(&A, M); }
mode_list(A) ::= mode_list(A) COMMA mode(M). { gn_mk_mode(&A, M); }
mode(A) ::= ISOLATION LEVEL isolation(I). { A = I; }
mode(A) ::= READ ONLY. { A = GN_MODE_READ_ONLY; }
mode(A) ::= READ WRITE. { A = GN_MODE_READ_WRITE; }
mode(A) ::= DEFERRABLE. { A = GN_MODE_DEFERRABLE; }
mode(A) ::= NOT DEFERRABLE. { A = GN_MODE_NOT_DEFERRABLE; }
isolation(A) ::= READ UNCOMMITTED. { A = GN_ISOLATION_READ_UNCOMMITTED; }
isolation(A) ::= READ COMMITTED. { A = GN_ISOLATION_READ_COMMITTED; }
isolation(A) ::= REPEATABLE READ. { A = GN_ISOLATION_REPEATABLE_READ; }
isolation(A) ::= SERIALIZABLE. { A = GN_ISOLATION_SERIALIZABLE; }

// ---- settings ----

%type set_rest {gn_ast_set *}
stmt(A) ::= SET(T) set_rest(S). { A = gn_mk_set(p, S, false, T.position); }
stmt(A) ::= SET(T) SESSION set_rest(S). { A = gn_mk_set(p, S, false, T.position); }
stmt(A) ::= SET(T) LOCAL set_rest(S). { A = gn_mk_set(p, S, true, T.position); }
stmt(A) ::= SET(T) TRANSACTION mode_list(M). { A = gn_mk_transaction(p, GN_S_SET_TRANSACTION, T.position, M); }
stmt(A) ::= SET(T) LOCAL TRANSACTION mode_list(M). { A = gn_mk_transaction(p, GN_S_SET_TRANSACTION, T.position, M); }
stmt(A) ::= SET(T) SESSION CHARACTERISTICS AS TRANSACTION mode_list(M). {
    A = gn_mk_transaction(p, GN_S_SET_CHARACTERISTICS, T.position, M);
}
stmt(A) ::= RESET(T) setting(N). { A = gn_mk_reset(p, &N, T.position); }
stmt(A) ::= RESET(T) ALL. { A = gn_mk_reset(p, NULL, T.position); }
stmt(A) ::= RESET(T) time_zone(Z). { A = gn_mk_reset(p, &Z, T.position); }
stmt(A) ::= SHOW(T) setting(N). { A = gn_mk_named(p, GN_S_SHOW, T.position, N.text); }
stmt(A) ::= SHOW(T) ALL. { A = gn_mk_named(p, GN_S_SHOW, T.position, "all"); }
stmt(A) ::= SHOW(T) time_zone. { A = gn_mk_named(p, GN_S_SHOW, T.position, "timezone"); }
stmt(A) ::= SHOW(T) TRANSACTION ISOLATION LEVEL. {
    A = gn_mk_named(p, GN_S_SHOW, T.position, "transaction_isolation");
}
%type time_zone {gn_token}
time_zone(A) ::= TIME(T) ZONE. { A = gn_mk_word("timezone", &T); }
%type setting {gn_token}
setting(A) ::= IDENT(A).
setting(A) ::= setting(B) DOT IDENT(N). { A = gn_mk_dotted(p, &B, &N); }
set_rest(A) ::= setting(N) to_eq set_values(V). { A = gn_mk_setting(p, &N, V); }
set_rest(A) ::= setting(N) to_eq DEFAULT. { A = gn_mk_setting_default(p, &N); }
set_rest(A) ::= time_zone(N) zone_value(V). {
    gn_ast_exprs L;
    GN_LIST_START(p, L, V);
    A = V ? gn_mk_setting(p, &N, L) : gn_mk_setting_default(p, &N);
}
set_rest(A) ::= NAMES(T) string(V). {
    gn_ast_exprs L;
    gn_token N = gn_mk_word("client_encoding", &T);
    GN_LIST_START(p, L, V);
    A = gn_mk_setting(p, &N, L);
}
to_eq ::= TO.
to_eq ::= EQ.
%type set_values {gn_ast_exprs}
set_values(A) ::= option_word(V). { GN_LIST_START(p, A, V); }
set_values(A) ::= set_values(A) COMMA option_word(V). { GN_LIST_PUSH(p, A, V); }
%type option_word {gn_ast_expr *}
option_word(A) ::= number(A).
option_word(A) ::= string(A).
option_word(A) ::= TRUE(T). { A = gn_mk_string(p, &T); }
option_word(A) ::= FALSE(T). { A = gn_mk_string(p, &T); }
option_word(A) ::= ON(T). { A = gn_mk_string(p, &T); }
option_word(A) ::= word(T). { A = gn_mk_string(p, &T); }
%type zone_value {gn_ast_expr *}
zone_value(A) ::= string(A).
zone_value(A) ::= IDENT(T). { A = gn_mk_string(p, &T); }
zone_value(A) ::= number(A).
zone_value(A) ::= INTERVAL(N) STRING(S) interval_fields(F). {
    A = gn_mk_cast(p, gn_mk_interval_text(p, &S, F), gn_mk_type_named(p, "interval", &N, -1), N.position);
}
zone_value(A) ::= DEFAULT. { A = NULL; }
zone_value(A) ::= LOCAL. { A = NULL; }

// ---- EXPLAIN, COPY, PREPARE, cursors, the rest ----

%type explainable {gn_ast_statement *}
%type util_options {gn_ast_options}
%type util_option {gn_ast_option}
explainable(A) ::= preparable(A).
explainable(A) ::= execute(A).
explainable(A) ::= declare(A).
stmt(A) ::= EXPLAIN(T) explainable(S). { gn_ast_options O; GN_LIST_EMPTY(O); A = gn_mk_explain(p, &T, O, S); }
stmt(A) ::= EXPLAIN(T) ANALYZE(N) explainable(S). {
    gn_ast_options O;
    GN_LIST_START(p, O, gn_mk_option(&N, "analyze", NULL));
    A = gn_mk_explain(p, &T, O, S);
}
stmt(A) ::= EXPLAIN(T) VERBOSE(N) explainable(S). {
    gn_ast_options O;
    GN_LIST_START(p, O, gn_mk_option(&N, NULL, NULL));
    A = gn_mk_explain(p, &T, O, S);
}
stmt(A) ::= EXPLAIN(T) ANALYZE(N) VERBOSE(V) explainable(S). {
    gn_ast_options O;
    GN_LIST_START(p, O, gn_mk_option(&N, "analyze", NULL));
    GN_LIST_PUSH(p, O, gn_mk_option(&V, NULL, NULL));
    A = gn_mk_explain(p, &T, O, S);
}
stmt(A) ::= EXPLAIN(T) LP util_options(O) RP explainable(S). { A = gn_mk_explain(p, &T, O, S); }
util_options(A) ::= util_option(O). { GN_LIST_START(p, A, O); }
util_options(A) ::= util_options(A) COMMA util_option(O). { GN_LIST_PUSH(p, A, O); }
util_option(A) ::= util_name(N). { A = gn_mk_option(&N, NULL, NULL); }
util_option(A) ::= util_name(N) option_word(V). { A = gn_mk_option(&N, NULL, V); }
%type util_name {gn_token}
util_name(A) ::= IDENT(A).
util_name(A) ::= VERBOSE(A).
util_name(A) ::= FREEZE(A).
util_name(A) ::= FULL(A).
util_name(A) ::= ANALYZE(T). { A = gn_mk_word("analyze", &T); }

%type copy_what {gn_ast_statement *}
%type copy_to {gn_ast_statement *}
stmt(A) ::= copy_to(A) copy_options(O) where(W). { A->copy->options = O; A->copy->where = W; }
stmt(A) ::= copy_to(A) WITH copy_legacy_list(O) where(W). { A->copy->options = O; A->copy->where = W; }
stmt(A) ::= copy_to(A) copy_legacy_list(O) where(W). { A->copy->options = O; A->copy->where = W; }
copy_what(A) ::= COPY(T) qname(N) opt_names(C). { A = gn_mk_copy(p, &T, &N, C, NULL); }
copy_what(A) ::= COPY(T) select_paren_query(Q). { gn_ast_names C; GN_LIST_EMPTY(C); A = gn_mk_copy(p, &T, NULL, C, Q); }
%type select_paren_query {gn_ast_query *}
select_paren_query(A) ::= select_with_parens(A).
copy_to(A) ::= copy_what(A) FROM(T) program(P) copy_file(F). { gn_mk_copy_target(p, A, true, P, &F, T.position); }
copy_to(A) ::= copy_what(A) TO(T) program(P) copy_file(F). { gn_mk_copy_target(p, A, false, P, &F, T.position); }
program(A) ::= . { A = 0; }
program(A) ::= PROGRAM. { A = 1; }
%type copy_file {gn_token}
copy_file(A) ::= STRING(A).
copy_file(A) ::= STDIN(T). { A = T; A.text = NULL; }
copy_file(A) ::= STDOUT(T). { A = T; A.text = NULL; }
%type copy_options {gn_ast_options}
%type copy_option_list {gn_ast_options}
%type copy_option {gn_ast_option}
copy_options(A) ::= . { GN_LIST_EMPTY(A); }
copy_options(A) ::= WITH LP copy_option_list(L) RP. { A = L; }
copy_options(A) ::= LP copy_option_list(L) RP. { A = L; }
copy_option_list(A) ::= copy_option(O). { GN_LIST_START(p, A, O); }
copy_option_list(A) ::= copy_option_list(A) COMMA copy_option(O). { GN_LIST_PUSH(p, A, O); }
copy_option(A) ::= attr(N). { A = gn_mk_option(&N, NULL, NULL); }
copy_option(A) ::= attr(N) option_word(V). { A = gn_mk_option(&N, NULL, V); }
copy_option(A) ::= attr(N) STAR(T). { A = gn_mk_option(&N, NULL, gn_mk_star(p, NULL, NULL, T.position)); }
copy_option(A) ::= attr(N) LP names(L) RP. { A = gn_mk_option(&N, NULL, NULL); A.columns = L; }
%type copy_legacy_list {gn_ast_options}
%type copy_legacy {gn_ast_option}
copy_legacy_list(A) ::= copy_legacy(O). { GN_LIST_START(p, A, O); }
copy_legacy_list(A) ::= copy_legacy_list(A) copy_legacy(O). { GN_LIST_PUSH(p, A, O); }
copy_legacy(A) ::= BINARY(T). { A = gn_mk_option(&T, "format", gn_mk_word_expr(p, "binary", &T)); }
copy_legacy(A) ::= CSV(T). { A = gn_mk_option(&T, "format", gn_mk_word_expr(p, "csv", &T)); }
copy_legacy(A) ::= HEADER(T). { A = gn_mk_option(&T, NULL, NULL); }
copy_legacy(A) ::= FREEZE(T). { A = gn_mk_option(&T, NULL, NULL); }
copy_legacy(A) ::= DELIMITER(T) opt_as string(V). { A = gn_mk_option(&T, "delimiter", V); }
copy_legacy(A) ::= NULL(T) opt_as string(V). { A = gn_mk_option(&T, NULL, V); }
copy_legacy(A) ::= QUOTE(T) opt_as string(V). { A = gn_mk_option(&T, NULL, V); }
copy_legacy(A) ::= ESCAPE(T) opt_as string(V). { A = gn_mk_option(&T, NULL, V); }
copy_legacy(A) ::= ENCODING(T) string(V). { A = gn_mk_option(&T, NULL, V); }
copy_legacy(A) ::= FORCE(T) QUOTE names(L). { A = gn_mk_option(&T, "force_quote", NULL); A.columns = L; }
copy_legacy(A) ::= FORCE(T) QUOTE STAR(S). {
    A = gn_mk_option(&T, "force_quote", gn_mk_star(p, NULL, NULL, S.position));
}
copy_legacy(A) ::= FORCE(T) NOT NULL names(L). { A = gn_mk_option(&T, "force_not_null", NULL); A.columns = L; }
copy_legacy(A) ::= FORCE(T) NULL names(L). { A = gn_mk_option(&T, "force_null", NULL); A.columns = L; }
opt_as ::= .
opt_as ::= AS.

%type prepare_types {gn_ast_types}
stmt(A) ::= PREPARE(T) colid(N) prepare_types(Y) AS(K) preparable(S). { A = gn_mk_prepare(p, &T, &N, Y, &K, S); }
prepare_types(A) ::= . { GN_LIST_EMPTY(A); }
prepare_types(A) ::= LP type_list(L) RP. { A = L; }
%type execute {gn_ast_statement *}
stmt(A) ::= execute(A).
execute(A) ::= EXECUTE(T) colid(N). { gn_ast_exprs L; GN_LIST_EMPTY(L); A = gn_mk_execute(p, &T, &N, L); }
execute(A) ::= EXECUTE(T) colid(N) LP expr_list(L) RP. { A = gn_mk_execute(p, &T, &N, L); }
stmt(A) ::= DEALLOCATE(T) opt_prepare colid(N). { A = gn_mk_named(p, GN_S_DEALLOCATE, T.position, N.text); }
stmt(A) ::= DEALLOCATE(T) opt_prepare ALL. { A = gn_mk_named(p, GN_S_DEALLOCATE, T.position, NULL); }
opt_prepare ::= .
opt_prepare ::= PREPARE.
stmt(A) ::= DISCARD(T) ALL. { A = gn_mk_named(p, GN_S_DISCARD, T.position, "all"); }
stmt(A) ::= DISCARD(T) TEMPORARY. { A = gn_mk_named(p, GN_S_DISCARD, T.position, "temp"); }
stmt(A) ::= DISCARD(T) IDENT(N). { A = gn_mk_named(p, GN_S_DISCARD, T.position, N.text); }

%type vacuum_names {gn_ast_names}
%type vacuum_words {gn_ast_options}
stmt(A) ::= VACUUM(T) vacuum_words(O) vacuum_names(L). { A = gn_mk_vacuum(p, GN_S_VACUUM, &T, O, L); }
stmt(A) ::= VACUUM(T) LP util_options(O) RP vacuum_names(L). { A = gn_mk_vacuum(p, GN_S_VACUUM, &T, O, L); }
stmt(A) ::= ANALYZE(T) vacuum_names(L). { gn_ast_options O; GN_LIST_EMPTY(O); A = gn_mk_vacuum(p, GN_S_ANALYZE, &T, O, L); }
stmt(A) ::= ANALYZE(T) VERBOSE(V) vacuum_names(L). {
    gn_ast_options O;
    GN_LIST_START(p, O, gn_mk_option(&V, NULL, NULL));
    A = gn_mk_vacuum(p, GN_S_ANALYZE, &T, O, L);
}
stmt(A) ::= ANALYZE(T) LP util_options(O) RP vacuum_names(L). { A = gn_mk_vacuum(p, GN_S_ANALYZE, &T, O, L); }
vacuum_words(A) ::= . { GN_LIST_EMPTY(A); }
vacuum_words(A) ::= vacuum_words(A) FULL(N). { GN_LIST_PUSH(p, A, gn_mk_option(&N, NULL, NULL)); }
vacuum_words(A) ::= vacuum_words(A) FREEZE(N). { GN_LIST_PUSH(p, A, gn_mk_option(&N, NULL, NULL)); }
vacuum_words(A) ::= vacuum_words(A) VERBOSE(N). { GN_LIST_PUSH(p, A, gn_mk_option(&N, NULL, NULL)); }
vacuum_words(A) ::= vacuum_words(A) ANALYZE(N). { GN_LIST_PUSH(p, A, gn_mk_option(&N, NULL, NULL)); }
vacuum_names(A) ::= . { GN_LIST_EMPTY(A); }
vacuum_names(A) ::= vacuum_list(A).
%type vacuum_list {gn_ast_names}
vacuum_list(A) ::= qname(N) opt_names. { GN_LIST_START(p, A, N); }
vacuum_list(A) ::= vacuum_list(A) COMMA qname(N) opt_names. { GN_LIST_PUSH(p, A, N); }
stmt(A) ::= CHECKPOINT(T). { A = gn_mk_named(p, GN_S_CHECKPOINT, T.position, NULL); }

%type declare {gn_ast_statement *}
%type cursor_options {gn_ast_cursor}
stmt(A) ::= declare(A).
declare(A) ::= DECLARE(T) colid(N) cursor_options(O) CURSOR cursor_hold(H) FOR(K) query(Q). {
    O.hold = H;
    A = gn_mk_declare(p, &T, &N, O, &K, Q);
}
cursor_options(A) ::= . { A = (gn_ast_cursor){0}; }
cursor_options(A) ::= cursor_options(A) BINARY. { A.binary = true; }
cursor_options(A) ::= cursor_options(A) SCROLL. { A.scroll = true; }
cursor_options(A) ::= cursor_options(A) NO SCROLL.
cursor_options(A) ::= cursor_options(A) IDENT. // INSENSITIVE, ASENSITIVE: all cursors are
cursor_hold(A) ::= . { A = 0; }
cursor_hold(A) ::= WITH HOLD. { A = 1; }
cursor_hold(A) ::= WITHOUT HOLD. { A = 0; }
%type fetch {gn_ast_cursor}
stmt(A) ::= FETCH(T) fetch(F). { A = gn_mk_fetch(p, &T, F); }
stmt(A) ::= MOVE(T) fetch(F). { F.move = true; A = gn_mk_fetch(p, &T, F); }
fetch(A) ::= colid(N). { A = (gn_ast_cursor){.name = N.text, .count = 1}; }
fetch(A) ::= from_in colid(N). { A = (gn_ast_cursor){.name = N.text, .count = 1}; }
fetch(A) ::= NEXT opt_from_in colid(N). { A = (gn_ast_cursor){.name = N.text, .count = 1}; }
fetch(A) ::= PRIOR opt_from_in colid(N). { A = (gn_ast_cursor){.name = N.text, .count = 1, .backward = true}; }
fetch(A) ::= fetch_count(C) opt_from_in colid(N). { A = gn_mk_fetch_count(N.text, C, false); }
fetch(A) ::= FORWARD opt_from_in colid(N). { A = gn_mk_fetch_count(N.text, 1, false); }
fetch(A) ::= FORWARD fetch_count(C) opt_from_in colid(N). { A = gn_mk_fetch_count(N.text, C, false); }
fetch(A) ::= BACKWARD opt_from_in colid(N). { A = gn_mk_fetch_count(N.text, 1, true); }
fetch(A) ::= BACKWARD fetch_count(C) opt_from_in colid(N). { A = gn_mk_fetch_count(N.text, C, true); }
%type fetch_count {int64_t}
fetch_count(A) ::= number(E). { A = gn_mk_count(p, E); }
fetch_count(A) ::= ALL. { A = INT64_MAX; }
from_in ::= FROM.
from_in ::= IN.
opt_from_in ::= .
opt_from_in ::= from_in.
stmt(A) ::= CLOSE(T) colid(N). { A = gn_mk_named_cursor(p, GN_S_CLOSE, &T, N.text); }
stmt(A) ::= CLOSE(T) ALL. { A = gn_mk_named_cursor(p, GN_S_CLOSE, &T, NULL); }

%code {
_Static_assert(sizeof(yyParser) <= GN_SQL_MACHINE, "the parser's stack fits what parser.c reserves for it");
}
