-- Nearest groups, and searches for several vectors at once.
--! differs
CREATE TABLE chunk (id int PRIMARY KEY, doc int, e vector(3), note text);
INSERT INTO chunk SELECT i, i / 10, ARRAY[i % 10 + i / 1009.0, i / 10 + i / 811.0, (i * 7) % 13 + i / 613.0], 'n' || i % 3 FROM generate_series(1, 400) i;
INSERT INTO chunk VALUES (1001, 900, NULL, 'none'), (1002, NULL, '[0,0,0]', 'nogroup'), (1003, NULL, '[0,0,1]', 'nogroup');
-- exactly, before there is an index
SELECT * FROM (SELECT DISTINCT ON (doc) id, doc, round((e <-> '[1,2,3]')::numeric, 4) FROM chunk ORDER BY doc, e <-> '[1,2,3]') s(id, doc, d) ORDER BY d, doc LIMIT 5;
SELECT id, doc, round(d::numeric, 4) FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, e <-> '[1,2,3]') s ORDER BY d LIMIT 5;
CREATE INDEX ON chunk USING hnsw (e vector_l2_ops);
EXPLAIN (costs off) SELECT id, doc FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d) s ORDER BY d LIMIT 5;
SELECT id, doc, round(d::numeric, 4) FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, e <-> '[1,2,3]') s ORDER BY d LIMIT 5;
SELECT id, doc, round(d::numeric, 4) FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk WHERE note = 'n1' ORDER BY doc, d) s WHERE doc % 2 = 0 ORDER BY d LIMIT 4 OFFSET 1;
-- all groups, those without a distance last
SELECT count(*), count(d), max(doc) FROM (SELECT doc, d FROM (SELECT DISTINCT ON (doc) doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d) s ORDER BY d LIMIT 100) t;
SELECT doc, d FROM (SELECT DISTINCT ON (doc) doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d) s ORDER BY d LIMIT 2 OFFSET 41;
-- other orders are sorted
EXPLAIN (costs off) SELECT id FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d) s ORDER BY d DESC LIMIT 5;
EXPLAIN (costs off) SELECT id FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d, id) s ORDER BY d LIMIT 5;
EXPLAIN (costs off) SELECT id FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d) s ORDER BY d;
-- several of each group
SELECT g.doc, s.id FROM (SELECT DISTINCT ON (doc) doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d) g, LATERAL (SELECT id FROM chunk c WHERE c.doc = g.doc ORDER BY e <-> '[1,2,3]' LIMIT 2) s ORDER BY g.d LIMIT 4;
-- several queries
SELECT q.i, s.id FROM unnest(ARRAY['[1,2,3]', '[9,9,9]', NULL, '[0,39,0]']::vector[]) WITH ORDINALITY AS q(v, i), LATERAL (SELECT id, e <-> q.v AS d FROM chunk WHERE id < 1000 ORDER BY e <-> q.v LIMIT 2) s WHERE q.v IS NOT NULL ORDER BY q.i, s.d, s.id;
SELECT q.i, count(s.id) FROM unnest(ARRAY['[1,2,3]', NULL]::vector[]) WITH ORDINALITY AS q(v, i) CROSS JOIN LATERAL (SELECT id FROM chunk ORDER BY e <-> q.v LIMIT 3) s GROUP BY q.i ORDER BY q.i;
EXPLAIN (costs off) SELECT q.i, s.id FROM unnest(ARRAY['[1,2,3]']::vector[]) WITH ORDINALITY AS q(v, i), LATERAL (SELECT id FROM chunk WHERE note = 'n1' ORDER BY e <-> q.v LIMIT 2) s;
SELECT s.id FROM unnest('{}'::vector[]) q(v), LATERAL (SELECT id FROM chunk ORDER BY e <-> q.v LIMIT 2) s;
SELECT s.id FROM unnest(ARRAY['[1,2,3]', '[1,2]']::vector[]) q(v), LATERAL (SELECT id FROM chunk ORDER BY e <-> q.v LIMIT 1) s;
SELECT s.id FROM unnest(ARRAY['[1,nan,3]']::vector[]) q(v), LATERAL (SELECT id FROM chunk ORDER BY e <-> q.v LIMIT 1) s;
PREPARE batch(vector[], int) AS SELECT q.i, s.id FROM unnest($1) WITH ORDINALITY AS q(v, i) CROSS JOIN LATERAL (SELECT id FROM chunk ORDER BY e <-> q.v LIMIT $2) s;
EXECUTE batch('{"[1,2,3]","[9,9,9]"}', 1);
EXECUTE batch('{"[9,9,9]"}', 2);
EXECUTE batch('{"[9,9,9]"}', 0);
EXECUTE batch('{"[9,9,9]"}', -1);
EXECUTE batch(NULL, 1);
-- neighbours of rows
SELECT c.id, s.id FROM chunk c CROSS JOIN LATERAL (SELECT id FROM chunk o WHERE o.id <> c.id ORDER BY o.e <-> c.e LIMIT 1) s WHERE c.id IN (11, 12) ORDER BY c.id;
BEGIN;
INSERT INTO chunk VALUES (2000, 77, '[1,2,3]', 'own');
SELECT id, doc FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM chunk ORDER BY doc, d) s ORDER BY d LIMIT 1;
SELECT s.id FROM unnest(ARRAY['[1,2,3]']::vector[]) q(v), LATERAL (SELECT id FROM chunk ORDER BY e <-> q.v LIMIT 1) s;
ROLLBACK;
-- the same of a table that is spread
CREATE TABLE spread (id int PRIMARY KEY, doc int, e vector(3), note text) WITH (shards = 3);
INSERT INTO spread SELECT * FROM (SELECT * FROM chunk) s;
CREATE INDEX ON spread USING hnsw (e vector_l2_ops);
SELECT id, doc, round(d::numeric, 4) FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM spread ORDER BY doc, e <-> '[1,2,3]') s ORDER BY d LIMIT 5;
SELECT id, doc, round(d::numeric, 4) FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM spread WHERE note = 'n1' ORDER BY doc, d) s WHERE doc % 2 = 0 ORDER BY d LIMIT 4 OFFSET 1;
SELECT count(*), count(d), max(doc) FROM (SELECT doc, d FROM (SELECT DISTINCT ON (doc) doc, e <-> '[1,2,3]' AS d FROM spread ORDER BY doc, d) s ORDER BY d LIMIT 100) t;
SELECT DISTINCT ON (note) note, id FROM spread ORDER BY note, e <-> '[1,2,3]';
SELECT q.i, s.id FROM unnest(ARRAY['[1,2,3]', '[9,9,9]', '[0,39,0]']::vector[]) WITH ORDINALITY AS q(v, i), LATERAL (SELECT id, e <-> q.v AS d FROM spread WHERE id < 1000 ORDER BY e <-> q.v LIMIT 2) s ORDER BY q.i, s.d, s.id;
SELECT c.id, s.id FROM spread c CROSS JOIN LATERAL (SELECT id FROM spread o WHERE o.id <> c.id ORDER BY o.e <-> c.e LIMIT 1) s WHERE c.id IN (11, 12) ORDER BY c.id;
SELECT a.note, count(b.id), min(b.id) FROM (SELECT DISTINCT note FROM spread) a LEFT JOIN LATERAL (SELECT id FROM spread WHERE note = a.note AND id > 390) b ON true GROUP BY a.note ORDER BY a.note;
EXPLAIN (costs off) SELECT id FROM (SELECT DISTINCT ON (doc) id, doc, e <-> '[1,2,3]' AS d FROM spread WHERE note <> 'n0' ORDER BY doc, d) s ORDER BY d LIMIT 3;
DROP TABLE chunk;
DROP TABLE spread;
