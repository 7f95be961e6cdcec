#!/bin/sh
# Fills in PostgreSQL's answers in the given files (default: all but differs.txt), in a private cluster that is removed
# at the end. Run as a user that may run the server, or as root with an account named postgres.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${PGBIN:-/usr/lib/postgresql/15/bin}
dir=$(mktemp -d)
as_server() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
trap 'as_server "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
[ "$(id -u)" != 0 ] || chown postgres "$dir"
as_server "$bin/initdb" -D "$dir/data" -E UTF8 --locale=C.UTF-8 -A trust -U postgres >/dev/null
as_server "$bin/pg_ctl" -w -D "$dir/data" -l "$dir/log" \
    -o "-k $dir -c listen_addresses='' -c fsync=off -c timezone=UTC" start >/dev/null
sql() { psql -X -q -h "$dir" -U postgres -v ON_ERROR_STOP=1 -At "$@"; }
sql >/dev/null <<'SQL'
create function answer(expression text) returns text language plpgsql as $$
declare
    result text;
begin
    execute 'select format(''%s''||chr(9)||''%s'', pg_typeof(x), case when x is null and not (x is not null) then ''NULL'' '
            'else format(''%s'', x) end) from (select ' ||
            regexp_replace(expression, '^extract', '"extract"') || ' as x) s' into result;
    return expression || chr(9) || result;
exception when others then
    return expression || chr(9) || '!' || sqlstate || chr(9) || sqlerrm;
end $$;
create table lines (number serial, line text);
SQL
if [ $# = 0 ]; then
    set -- "$here"/*.txt
fi
for file in "$@"; do
    [ "$(basename "$file")" != differs.txt ] || continue
    sql -c 'truncate lines restart identity'
    sed 's/\\/\\\\/g; s/	.*//' "$file" | sql -c '\copy lines (line) from stdin'
    sql -c "select case when line ~ '^#' or line = '' then line else answer(line) end from lines order by number" \
        >"$dir/answers"
    cat "$dir/answers" >"$file"
done
