-- Functions in FROM that take arrays, json and text apart.
SELECT * FROM unnest(ARRAY[3,1,NULL,2]);
SELECT x FROM unnest(ARRAY['a','b']) x;
SELECT u.x, x FROM unnest('{{1,2},{3,4}}'::int[]) AS u(x) WHERE x > 1 ORDER BY x DESC;
SELECT * FROM unnest(ARRAY[1,2,3], ARRAY['a','b']) AS t(n, s);
SELECT * FROM unnest(ARRAY[1,2], '{}'::text[], NULL::int[]);
SELECT * FROM unnest(ARRAY[1,2], ARRAY['x','y']);
SELECT * FROM unnest('{}'::int[]);
SELECT * FROM unnest(NULL::int[]);
SELECT count(*), sum(x), array_agg(x) FROM unnest(ARRAY[1,2,3]) x;
SELECT unnest FROM unnest(ARRAY[1.5,2]) ORDER BY unnest DESC LIMIT 1;
SELECT * FROM unnest(1);
--! differs
SELECT * FROM unnest('{1,2}');
--! same
SELECT * FROM unnest();
SELECT * FROM generate_subscripts('[5:7]={1,2,3}'::int[], 1) s;
SELECT * FROM generate_subscripts(ARRAY[[1,2],[3,4]], 2, true);
SELECT * FROM generate_subscripts(ARRAY[1], 3);
SELECT * FROM json_array_elements('[1, {"a": 2}, null, "x"]');
SELECT value FROM jsonb_array_elements('[1, {"a": 2}, null, "x"]') e;
SELECT * FROM jsonb_array_elements_text('[1, {"a": 2}, null, "x"]') AS e(t);
SELECT * FROM json_array_elements_text('[1, [2], null, "x\ny"]') AS e;
--! differs
SELECT * FROM jsonb_array_elements('{"a":1}');
SELECT * FROM jsonb_array_elements('1');
SELECT * FROM json_array_elements('{"a":1}');
SELECT * FROM json_array_elements('1');
--! same
SELECT * FROM jsonb_each('{"b": [1], "a": null}');
SELECT key, value FROM json_each('{"b": [1], "a": null, "b": 2}');
SELECT * FROM jsonb_each_text('{"b": "x", "a": null}') AS e(k, v);
SELECT * FROM json_each_text('{"b": "x", "a": null}') ORDER BY key;
--! differs
SELECT * FROM jsonb_each('[1]');
SELECT * FROM json_each('[1]');
SELECT * FROM json_each('1');
--! same
SELECT * FROM jsonb_object_keys('{"b": 1, "a": 2}');
SELECT * FROM json_object_keys('{"b": 1, "a": 2}') k;
--! differs
SELECT * FROM jsonb_object_keys('[1]');
SELECT * FROM json_object_keys('1');
--! same
SELECT * FROM string_to_table('a,b,c', ',') AS t(x);
SELECT * FROM string_to_table('a,b,,c', ',', '');
SELECT * FROM regexp_split_to_table('a1b22c', '[0-9]+');
CREATE TABLE un (id int PRIMARY KEY, name text, tags text[]);
INSERT INTO un SELECT * FROM unnest(ARRAY[1,2,3], ARRAY['a','b','c'], ARRAY['{x}','{y,z}','{}']::text[]) AS t(id, name, tags);
INSERT INTO un (id, name) SELECT i, t FROM unnest(ARRAY[1,2,3], ARRAY['a','b','c']) AS t(i, t);
INSERT INTO un (id, name) SELECT id, name FROM unnest(ARRAY[4,5], ARRAY['d','e']) AS t(id, name) RETURNING *;
SELECT id, name FROM un ORDER BY id;
SELECT value ->> 'k' AS k, count(*) FROM jsonb_array_elements('[{"k":"a"},{"k":"b"},{"k":"a"}]') GROUP BY 1 ORDER BY 1;
DROP TABLE un;
--! differs
SELECT make_timestamp(5000000, 1, 1, 0, 0, 0);
SELECT '5000000-01-01'::date::timestamp;
--! same
SELECT '442024-02-02'::timestamp;
