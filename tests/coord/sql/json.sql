-- json and jsonb: operators, functions, aggregates, columns. Where `differs` stands, an error at run time comes
-- after the names of the columns and has a place here; once U+0000 is refused sooner by PostgreSQL.
SELECT '{"a":1,"b":[1,2,{"c":"x"}]}'::jsonb -> 'b' -> 2 ->> 'c', '{"a": {"b": null}}'::json #>> '{a,b}', '[1,2]'::jsonb -> -1, '"x"'::jsonb ->> 0, '{"a":1}'::json -> 'b';
SELECT '{"a":1}'::jsonb @> '{}', '{"a":[1,2]}'::jsonb @> '{"a":[2]}', '{"b":1}'::jsonb <@ '{"a":1,"b":1}', '[1,[2,3]]'::jsonb @> '[[2]]', '["a"]'::jsonb @> '"a"', '"a"'::jsonb @> '["a"]';
SELECT '{"a":1}'::jsonb ? 'a', '{"a":1}'::jsonb ?| ARRAY['b','a'], '{"a":1}'::jsonb ?& ARRAY['b','a'], '["x"]'::jsonb ? 'x', '{"a":1}'::jsonb ?& '{}';
SELECT '{"a":1}'::jsonb || '{"b":2}', '[1]'::jsonb || '2', '{"a":1,"b":2}'::jsonb - 'a', '[1,2,3]'::jsonb - 0, '{"a":{"b":1}}'::jsonb #- '{a,b}', '{"a":1,"b":2}'::jsonb - ARRAY['a','b'];
--! differs
SELECT '"a"'::jsonb - 'a';
SELECT '{"a":1}'::jsonb - 1;
SELECT '1'::jsonb #- '{a}';
--! same
SELECT '{"a":1}'::json || '{"b":2}';
SELECT '{"a":1}'::json @> '{}'::json;
SELECT '{"a":1}'::json = '{"a":1}'::json;
SELECT jsonb_set('{"a":[1,2]}', '{a,0}', '9'), jsonb_set('{"a":1}', '{b,c}', '2'), jsonb_set('{"a":1}', '{b}', '2', false), jsonb_set('[0,1]', '{5}', '"x"'), jsonb_set('{"a":{"b":{"c":1}}}', '{a,b,c}', '{"d":2}');
--! differs
SELECT jsonb_set('{"a":[1]}', '{a,x}', '1');
SELECT jsonb_set('{"a":[1]}', ARRAY['a',NULL], '1');
--! same
SELECT jsonb_set('{"a":1}', NULL, '1'), jsonb_set(NULL, '{a}', '1');
SELECT jsonb_insert('{"a":[1,2]}', '{a,1}', '9'), jsonb_insert('{"a":[1,2]}', '{a,1}', '9', true), jsonb_insert('{"a":1}', '{b}', '2'), jsonb_insert('[1]', '{-1}', '0');
--! differs
SELECT jsonb_insert('{"a":1}', '{a}', '2');
--! same
SELECT jsonb_typeof('1'), jsonb_typeof('{}'), json_typeof('[1]'), jsonb_typeof('null'), jsonb_typeof(NULL), json_typeof('"s"'), jsonb_typeof('false');
SELECT jsonb_array_length('[1,[2],3]'), json_array_length('[]');
--! differs
SELECT jsonb_array_length('{"a":1}');
SELECT json_array_length('5');
--! same
SELECT jsonb_pretty('{"a":[1,{"b":null}],"c":{}}');
SELECT jsonb_strip_nulls('{"a":null,"b":{"c":null},"d":[null]}'), json_strip_nulls('{"a":null, "b": 1}');
SELECT jsonb_extract_path('{"a":{"b":[1,2]}}', 'a', 'b', '1'), jsonb_extract_path_text('{"a":"x"}', 'a'), json_extract_path('{"a":1}', 'z'), json_extract_path_text('{"a":[{"b":"q"}]}', 'a', '0', 'b');
SELECT to_json('a"b\c'::text), to_jsonb(1.50), to_json(ARRAY[1,2]), to_jsonb(ARRAY[[1,2],[3,4]]), to_json(NULL::int), to_json(true), to_jsonb('x'::text), to_json(1::bigint), to_json('2024-01-02'::date), to_json('1 day'::interval);
SELECT to_json('a');
SELECT to_json('Infinity'::float8), to_jsonb('NaN'::numeric), to_json(1e20::float8), to_json(1.5::real), to_jsonb(1e20::float8), to_json('\x01'::bytea), to_json('2024-01-02 03:04:05.123'::timestamp);
SELECT json_build_object('a', 1, 'b', ARRAY['x','y'], 'c', NULL, 'd', '{"z":1}'::jsonb), jsonb_build_object('a', 1.0, 'b', true, 3, 'x');
SELECT json_build_array(1, 'a', NULL, 2.5, ARRAY[1]), jsonb_build_array(), json_build_array(), json_build_object(), jsonb_build_array('2024-01-02'::date);
--! differs
SELECT json_build_object('a');
SELECT json_build_object(NULL, 1);
SELECT jsonb_build_object(NULL, 1);
SELECT jsonb_build_object(ARRAY[1], 1);
--! same
SELECT json_object('{a,1,b,2}'), json_object('{a,b}', '{1,2}'), jsonb_object('{{a,1},{b,NULL}}'), json_object('{}');
--! differs
SELECT json_object('{a}');
SELECT json_object('{a,b}','{1}');
SELECT json_object('{NULL,1}');
--! same
SELECT array_to_json(ARRAY[1,2]), array_to_json(ARRAY[[1,2],[3,4]], true);
SELECT '{"a":1}'::json::jsonb, '{"b":1, "a":2, "b":3}'::jsonb::json, '{"a":1}'::jsonb::text, '5'::jsonb::int, '2.5'::jsonb::numeric, 'true'::jsonb::bool, '7'::jsonb::float8;
--! differs
SELECT '"5"'::jsonb::int;
SELECT 'null'::jsonb::int;
--! same
SELECT '{"a":1}'::jsonb < '{"a":2}', '[]'::jsonb < '{}', '1'::jsonb < '2', '"a"'::jsonb < '"b"', 'null'::jsonb < '1', '[1]'::jsonb < '[1,2]', '{"a":1}'::jsonb = '{"a":1.0}', '{"a":1}'::jsonb < '{"a":1,"b":1}', '{"aa":1}'::jsonb < '{"b":1}';
SELECT '{"a": 1e2, "b": 1.10, "c": -0, "d": 1E-3}'::jsonb;
SELECT '{"a":"\u00e9\ud83d\ude00\n\"\\\/"}'::jsonb, '{"a":"\u00e9"}'::json, '"\u0041"'::jsonb;
SELECT '"\u0000"'::jsonb;
SELECT '"\u0000"'::json;
--! differs
SELECT '"\u0000"'::json ->> 0;
SELECT '["\u0000"]'::json ->> 0;
--! same
SELECT '"\ud83d"'::jsonb;
SELECT ''::json;
SELECT '{'::json;
SELECT '{"a"'::json;
SELECT '{"a":}'::json;
SELECT '{"a":1,}'::json;
SELECT '{a:1}'::json;
SELECT '[1,]'::jsonb;
SELECT '[1 2]'::jsonb;
SELECT '01'::json;
SELECT '1.'::json;
SELECT '-'::json;
SELECT '"abc'::json;
SELECT '"a\x"'::json;
SELECT 'nul'::json;
SELECT 'true false'::json;
SELECT '{"a":1}}'::json;
SELECT E'"a\tb"'::json;
SELECT '"\u12"'::json;
SELECT ' [ 1 , { "x" : [ ] } ] '::json, ' [ 1 , { "x" : [ ] } ] '::jsonb;
SELECT '"x"'::json -> 0, '"x"'::jsonb -> 0, '5'::jsonb -> -1, '5'::jsonb->1, '5'::json ->> 0;
SELECT '"\ud83d"'::json;
SELECT '"\ude00"'::json, '"\ud83d\ud83d"'::json;
SELECT '"\ude00"'::jsonb;
SELECT '"\ud83d\ud83d"'::jsonb;
SELECT '"\ud83dx"'::jsonb;
SELECT '{"a":1 "b"}'::json;
SELECT '{"a" 1}'::json;
SELECT '[,]'::json;
SELECT '{,}'::json;
SELECT '{1:2}'::json;
SELECT E'{"a":\n[1,\n x]}'::json;
SELECT '[%]'::json;
SELECT '["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", xyz, 5]'::json;
SELECT '["\uD83D\u0041"]'::jsonb;
SELECT '"\'::json;
SELECT '"\u'::json;
SELECT '1e'::json;
SELECT '1ea5 6'::json;
SELECT '-a'::json;
SELECT '[1'::json;
SELECT '5x'::json;
SELECT 'é'::json;
SELECT '"\é"'::json;
SELECT '{"a":"\u0000"}'::jsonb;
--! differs
SELECT '"5"'::jsonb::int;
SELECT '[1]'::jsonb::bool;
SELECT '1'::jsonb::bool;
SELECT 'true'::jsonb::int4;
SELECT '99999999999'::jsonb::int;
--! same
SELECT '2.5'::jsonb::int, '1e3'::jsonb::smallint;
CREATE TABLE j (id int PRIMARY KEY, d jsonb, t json);
INSERT INTO j VALUES (1, '{"name":"Ann","tags":["a","b"],"n":1.5}', '{"k": 1}'), (2, '{"name":"Bob","tags":[],"address":{"city":"Oslo"}}', '[1, 2]'), (3, NULL, NULL), (4, '[1,2,3]', '"x"'), (5, 'null', 'null');
INSERT INTO j VALUES (6, '{bad}', NULL);
SELECT id, d ->> 'name' AS name, d -> 'tags' -> 0, d #>> '{address,city}' FROM j ORDER BY id;
SELECT id FROM j WHERE d @> '{"tags":["b"]}' ORDER BY id;
SELECT id FROM j WHERE d ? 'address' ORDER BY id;
SELECT id FROM j WHERE (d ->> 'n')::numeric > 1 ORDER BY id;
SELECT id FROM j WHERE d -> 'name' = '"Bob"' ORDER BY id;
SELECT id, jsonb_typeof(d), json_typeof(t) FROM j ORDER BY id;
SELECT jsonb_agg(id), json_agg(d ->> 'name') FROM j;
SELECT json_agg(t), jsonb_agg(t) FROM j WHERE id < 5;
SELECT json_object_agg(id, d ->> 'name'), jsonb_object_agg(d ->> 'name', id) FROM j WHERE id < 3;
SELECT json_agg(id), jsonb_agg(id), json_object_agg(id, id), jsonb_object_agg(id, id) FROM j WHERE false;
--! differs
SELECT jsonb_object_agg(d ->> 'name', id) FROM j;
SELECT json_object_agg(d ->> 'name', id) FROM j;
--! same
SELECT json_agg(ARRAY[id, id * 2]), json_agg(true) FILTER (WHERE id < 3), jsonb_agg(1.50) FROM j;
SELECT d, count(*) FROM j GROUP BY d ORDER BY d;
SELECT DISTINCT jsonb_typeof(d) FROM j ORDER BY 1;
SELECT id FROM j ORDER BY d DESC, id;
SELECT id FROM j ORDER BY t;
SELECT max(d) FROM j;
SELECT id FROM j WHERE d = ANY(ARRAY['null','[1,2,3]']::jsonb[]) ORDER BY id;
SELECT id FROM j WHERE d -> 'name' IN ('"Eve"', '"Ann"') ORDER BY id;
UPDATE j SET d = jsonb_set(d, '{name}', '"Eve"') WHERE id = 2 RETURNING d;
UPDATE j SET d = d || '{"x":1}' WHERE id = 1 RETURNING d;
UPDATE j SET d = d - 'tags' WHERE id = 1 RETURNING d;
DROP TABLE j;
