create table t(a int primary key, b text, e int);
create view vw as select a, e from t;
create sequence sq;
create table u(x int references t, y int default nextval('sq'), z serial);
select count(*) from pg_depend d join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass join pg_class v on v.oid = r.ev_class where d.refobjid = 't'::regclass;
select c.relname, d.refobjid::regclass, d.refobjsubid, d.deptype from pg_depend d join pg_class c on c.oid = d.objid where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and c.relname in ('u_z_seq','sq') order by 1;
select distinct co.conname, d.refobjid::regclass, d.refobjsubid, d.deptype from pg_depend d join pg_constraint co on co.oid = d.objid where d.classid = 'pg_constraint'::regclass and co.conname in ('u_x_fkey', 't_pkey') order by 1,2,3;
select v.relname, d.refobjid::regclass, d.refobjsubid, d.deptype from pg_depend d join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class where d.classid = 'pg_rewrite'::regclass and v.relname = 'vw' order by 1,2,3,4;
