create table c (id int primary key, name varchar(6), n numeric, at date default '2020-01-01');
copy c from stdin;
1	one	1.5	2024-01-01
2	\N	\N	\N
3	a\tb	3	2024-12-31
4	\\x	4	2024-12-31
\.
select * from c order by id;
copy c (id, name) from stdin with (format csv);
5,five
6,""
7,
8,"q""t"
9,"a
b"
\.
select id, name, at from c where id > 4 order by id;
copy c to stdout;
copy c (name, id) to stdout with (format csv, header);
copy c to stdout (format csv, force_quote (name), null 'nil', delimiter ';');
copy (select id * 10 as ten, name from c where id < 3 order by id) to stdout csv header;
copy c (id, name) from stdin;
10
\.
copy c (id, name) from stdin;
10	a	b
\.
copy c (id, name) from stdin;
10	ten
x	eleven
\.
copy c (id, name) from stdin;
10	toolongname
\.
--! differs
copy c (id, name) from stdin;
1	dup
\.
--! same
select count(*) from c;
--! differs
copy c (id, nosuch) from stdin;
--! same
copy nosuch from stdin;
copy c from stdin (format nosuch);
copy c from stdin (delimiter 'ab');
copy c from stdin (nosuch 1);
copy c from stdin (format csv, header match);
id,name,n,at
20,x,1,2024-01-01
\.
copy c from stdin (format csv, header match);
id,nom,n,at
21,x,1,2024-01-01
\.
copy c (id, name, n) from stdin (format csv, null 'NULL', force_not_null (name));
22,NULL,NULL
\.
select id, name, n from c where id >= 20 order by id;
copy c (id, name) from stdin where id % 2 = 0;
31	a
32	b
\.
select id from c where id > 30;
--! differs
copy c (id) from stdin (format csv);
40,"
\.
--! same
begin; delete from c;
copy c (id, name) from stdin;
1	one
\.
select count(*) from c;
rollback;
select count(*) from c;

--! differs
create table many (id int primary key, n int check (n < 10)) with (shards = 2);
copy many from stdin with (commit_every 2);
1	1
2	2
3	3
4	4
5	50
6	6
\.
select * from many order by id;
copy many from stdin (format csv, commit_every 3, header);
id,n
11,1
12,1
13,1
14,1
\.
select count(*), max(id) from many;
copy many from stdin (commit_every 2);
21	1
22	1
11	1
\.
select count(*), max(id) from many;
copy many from stdin (commit_every 0);
\.
copy many from stdin (commit_every 'x');
\.
copy many to stdout (commit_every 2);
begin;
copy many from stdin (commit_every 2);
\.
rollback;
drop table many;
--! same
