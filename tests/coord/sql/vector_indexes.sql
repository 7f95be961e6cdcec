-- Vector indexes on expressions, and partial ones: pgvector's examples as they are.
--! differs: there is no pgvector beside the PostgreSQL that answers
CREATE TABLE items (id bigserial PRIMARY KEY, category_id int, embedding vector(3));
INSERT INTO items (category_id, embedding) SELECT i % 4 * 41, ARRAY[i % 7 - 3, i % 11 - 5, i % 13 - 6]::vector FROM generate_series(1, 200) i;

-- ---- partial ----
CREATE INDEX ON items USING hnsw (embedding vector_l2_ops) WHERE (category_id = 123);
EXPLAIN SELECT * FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
SELECT * FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
EXPLAIN SELECT * FROM items WHERE category_id = 82 ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
EXPLAIN SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
UPDATE items SET category_id = 123 WHERE id = 1;
UPDATE items SET category_id = 0 WHERE id = 3;
DELETE FROM items WHERE id = 7;
INSERT INTO items (category_id, embedding) VALUES (123, '[3,1,2]'), (82, '[3,1,2]');
SELECT id FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]', id LIMIT 5;
SELECT id FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 3;
SELECT vectors + tail_vectors > 40 AS has_some, vectors < 60 AS has_not_all FROM pg_vector_index_stats;

-- ---- halfvec ----
CREATE INDEX ON items USING hnsw ((embedding::halfvec(3)) halfvec_l2_ops);
EXPLAIN SELECT id FROM items ORDER BY embedding::halfvec(3) <-> '[1,-2,3]' LIMIT 5;
SELECT id, embedding::halfvec(3) <-> '[1,-2,3]' AS d FROM items ORDER BY embedding::halfvec(3) <-> '[1,-2,3]' LIMIT 2;
INSERT INTO items (category_id, embedding) VALUES (1, '[1,-2,70000]');
INSERT INTO items (category_id, embedding) VALUES (1, NULL);
EXPLAIN SELECT id FROM items WHERE embedding::halfvec(3) <-> '[1,-2,3]' < 2;

-- ---- binary quantization, ranked again ----
CREATE INDEX ON items USING hnsw ((binary_quantize(embedding)::bit(3)) bit_hamming_ops);
EXPLAIN SELECT * FROM items ORDER BY binary_quantize(embedding)::bit(3) <~> binary_quantize('[1,-2,3]') LIMIT 5;
SELECT min(d), max(d), count(*) FROM (SELECT binary_quantize(embedding)::bit(3) <~> binary_quantize('[1,-2,3]') AS d FROM items ORDER BY binary_quantize(embedding)::bit(3) <~> binary_quantize('[1,-2,3]') LIMIT 5) s;
SELECT embedding FROM (
    SELECT * FROM items ORDER BY binary_quantize(embedding)::bit(3) <~> binary_quantize('[1,-2,3]') LIMIT 60
) AS t ORDER BY embedding <=> '[1,-2,3]', id LIMIT 5;

-- ---- subvectors ----
CREATE TABLE long (id int PRIMARY KEY, embedding vector(5));
INSERT INTO long SELECT i, ARRAY[i % 7 - 3, i % 11 - 5, i % 13 - 6, 1, i]::vector FROM generate_series(1, 100) i;
CREATE INDEX long_short ON long USING hnsw ((subvector(embedding, 1, 3)::vector(3)) vector_cosine_ops);
EXPLAIN SELECT id FROM long ORDER BY subvector(embedding, 1, 3)::vector(3) <=> subvector('[1,2,3,4,5]'::vector, 1, 3) LIMIT 5;
SELECT * FROM (
    SELECT id, embedding FROM long ORDER BY subvector(embedding, 1, 3)::vector(3) <=> subvector('[1,2,3,4,5]'::vector, 1, 3) LIMIT 20
) t ORDER BY embedding <=> '[1,2,3,4,5]' LIMIT 3;
SELECT table_name, index_name, column_name, metric, dimensions FROM pg_vector_index_stats ORDER BY index_name;
CREATE INDEX ON long USING hnsw ((subvector(embedding, 1, 3)) vector_cosine_ops);
CREATE INDEX ON long USING hnsw ((embedding::halfvec(3)) halfvec_l2_ops);
CREATE INDEX ON long USING hnsw ((embedding::halfvec(5)) vector_l2_ops);
CREATE INDEX ON long USING hnsw (embedding vector_l2_ops) WHERE random() < 1;
DROP INDEX long_short;
EXPLAIN SELECT id FROM long ORDER BY subvector(embedding, 1, 3)::vector(3) <=> subvector('[1,2,3,4,5]'::vector, 1, 3) LIMIT 5;

-- ---- what follows from a condition ----
CREATE TABLE docs (id int PRIMARY KEY, kind text, at date, done boolean, n numeric, size int, v vector(2));
CREATE INDEX docs_ab ON docs USING hnsw (v vector_l2_ops) WHERE kind IN ('a', 'b');
EXPLAIN SELECT id FROM docs WHERE kind = 'a' ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE kind IN ('b', 'a') ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE kind = 'a' OR kind = 'b' ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE kind IN ('b', 'c') ORDER BY v <-> '[1,2]' LIMIT 5;
DROP INDEX docs_ab;
CREATE INDEX docs_size ON docs USING hnsw (v vector_l2_ops) WHERE size > 10 AND n IS NOT NULL;
EXPLAIN SELECT id FROM docs WHERE size >= 11 AND n < 3 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE 12 < size AND n IS NOT NULL ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE size = 11 AND n <> 0 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE size >= 10 AND n < 3 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE size > 11 ORDER BY v <-> '[1,2]' LIMIT 5;
DROP INDEX docs_size;
CREATE INDEX docs_done ON docs USING hnsw (v vector_l2_ops) WHERE NOT done;
EXPLAIN SELECT id FROM docs WHERE NOT done ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE done = false AND size = 1 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE done ORDER BY v <-> '[1,2]' LIMIT 5;
DROP INDEX docs_done;
CREATE INDEX docs_at ON docs USING hnsw (v vector_l2_ops) WHERE at >= date '2026-01-01' AND n < 2.50;
EXPLAIN SELECT id FROM docs WHERE at > '2026-01-01' AND n = 2.5 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE at > '2026-01-01' AND n <= 2.4 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE at BETWEEN '2026-02-01' AND '2026-03-01' AND n = 1 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE at <> '2026-02-01' AND n = 1 ORDER BY v <-> '[1,2]' LIMIT 5;

-- ---- of all rows and partial, the smaller ----
CREATE INDEX docs_all ON docs USING hnsw (v vector_l2_ops);
EXPLAIN SELECT id FROM docs WHERE at = '2026-02-01' AND n = 1 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM docs WHERE at = '2026-02-01' ORDER BY v <-> '[1,2]' LIMIT 5;

-- ---- over groups ----
CREATE TABLE spread (id int PRIMARY KEY, name text, kind int, v vector(2)) WITH (shards = 4);
INSERT INTO spread SELECT i, 'N' || i % 10, i % 3, ARRAY[i % 17, i % 19]::vector FROM generate_series(1, 120) i;
CREATE UNIQUE INDEX ON spread (lower(name), id);
CREATE INDEX ON spread USING hnsw (v vector_l2_ops) WHERE kind = 1;
CREATE INDEX ON spread USING hnsw ((v::halfvec(2)) halfvec_l2_ops);
CREATE UNIQUE INDEX ON spread (lower(name));
SELECT id FROM spread WHERE lower(name) = 'n7' AND id < 40 ORDER BY id;
SELECT id, lower(name) FROM spread ORDER BY lower(name) DESC, id LIMIT 3;
SELECT id, v FROM spread WHERE kind = 1 ORDER BY v <-> '[4,4]', id LIMIT 4;
SELECT id, v FROM spread ORDER BY v::halfvec(2) <-> '[4,4]', id LIMIT 4;
SELECT count(*) FROM spread WHERE lower(name) = 'n7';
UPDATE spread SET kind = 1, name = 'n7' WHERE id IN (3, 24, 60);
SELECT count(*) FROM spread WHERE lower(name) = 'n7';
SELECT id, v FROM spread WHERE kind = 1 ORDER BY v <-> '[3,3]' LIMIT 1;

-- ---- what was learnt of a column that was rolled back is not said of the next ----
CREATE TABLE learnt (id int PRIMARY KEY, v vector(2));
INSERT INTO learnt SELECT i, ARRAY[i, i]::vector FROM generate_series(1, 3000) i;
CREATE INDEX learnt_v ON learnt USING hnsw (v vector_l2_ops);
BEGIN;
ALTER TABLE learnt ADD COLUMN c int DEFAULT 2;
SELECT id FROM learnt WHERE c = 1 ORDER BY v <-> '[0,0]' LIMIT 3;
SELECT id FROM learnt WHERE c = 1 ORDER BY v <-> '[0,0]' LIMIT 3;
ROLLBACK;
ALTER TABLE learnt ADD COLUMN d int DEFAULT 1;
SELECT id FROM learnt WHERE d = 1 ORDER BY v <-> '[0,0]' LIMIT 3;
SELECT id FROM learnt WHERE d = 1 ORDER BY v <-> '[0,0]' LIMIT 3;
DROP TABLE learnt;

-- ---- what several btree indexes say of the rows goes together ----
CREATE TABLE goods (id int PRIMARY KEY, kind int, shop int, price int, v vector(2));
INSERT INTO goods SELECT i, i % 7, i % 11, i % 100, ARRAY[i % 61, i % 67]::vector FROM generate_series(1, 3000) i;
CREATE INDEX goods_v ON goods USING hnsw (v vector_l2_ops);
CREATE INDEX goods_kind ON goods (kind);
CREATE INDEX goods_shop ON goods (shop);
CREATE INDEX goods_price ON goods (price);
EXPLAIN SELECT id FROM goods WHERE kind = 3 AND shop IN (1, 2, 3) AND price < 50 ORDER BY v <-> '[1,2]' LIMIT 5;
EXPLAIN SELECT id FROM goods WHERE kind = 3 AND id < 2000 AND v IS NOT NULL ORDER BY v <-> '[1,2]' LIMIT 5;
CREATE INDEX goods_kind_shop ON goods (kind, shop);
EXPLAIN SELECT id FROM goods WHERE kind = 3 AND shop = 2 AND price < 50 ORDER BY v <-> '[1,2]' LIMIT 5;
SELECT id, kind, shop, price FROM goods WHERE kind = 3 AND shop = 2 AND price < 50 ORDER BY v <-> '[1,2]', id LIMIT 5;
SELECT id, kind, shop, price FROM goods WHERE kind = 3 AND shop = 2 AND price < 50 AND id + 0 > 0 ORDER BY v <-> '[1,2]', id LIMIT 5;
SELECT id FROM goods WHERE kind = 3 AND shop = 12 ORDER BY v <-> '[1,2]' LIMIT 5;
ALTER TABLE goods ADD COLUMN label text DEFAULT 'x';
CREATE INDEX goods_label ON goods (label);
SELECT id, kind FROM goods WHERE kind = 3 AND label < repeat('z', 9000) ORDER BY v <-> '[1,2]' LIMIT 2;
DROP TABLE goods;
