create table t (id int primary key, v int);
begin;
insert into t values (1, 1);
select count(*) from t;
begin;
rollback;
select count(*) from t;
commit;
rollback;
start transaction;
insert into t values (1, 1);
insert into t values (1, 1);
select 1;
insert into t values (2, 2);
commit;
select * from t;
begin;
insert into t values (1, 1);
end;
begin read only;
select count(*) from t;
insert into t values (9, 9);
rollback;
begin transaction isolation level read committed, read write;
--! differs
show transaction_isolation;
--! same
insert into t values (3, 3);
commit;
begin; insert into t values (4, 4); commit; select count(*) from t; select 2;
insert into t values (5, 5); insert into t values (5, 5); select 1;
select count(*) from t;
insert into t values (5, 5); insert into t values (6, 6);
--! differs
insert into t values (7, 7); commit; insert into t values (8, 8); rollback;
--! same
select * from t order by id;
begin; select nosuch; select 1;
select 1;
rollback;
begin; update t set v = v + 1; delete from t where id = 5; select * from t order by id; rollback;
select * from t order by id;
set transaction isolation level serializable;
begin; select 1; set transaction isolation level serializable;
rollback;
set default_transaction_read_only = on;
insert into t values (10, 10);
begin read write; insert into t values (10, 10); rollback;
set session characteristics as transaction read write;
insert into t values (10, 10);
commit and chain;
begin; insert into t values (11, 11); commit and chain; insert into t values (12, 12); rollback and chain; select count(*) from t; rollback;
--! differs
begin; savepoint a;
rollback;
--! same
begin; create table x (a int); insert into x values (1); alter table x add b int default 2; update x set b = b + a; select * from x; commit;
select * from x;
begin; truncate x; insert into x values (5, 5); select * from x; rollback;
select * from x;
begin; delete from x; insert into x values (6, 6); select * from x; commit;
select * from x;
vacuum x;
begin; vacuum;
rollback;
analyze;
