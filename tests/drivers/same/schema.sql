create table things (id int primary key check (id > 0), name text not null);
insert into things values (1, 'one'), (2, 'two'), (3, 'three');
create table parts (thing int references things);
create domain positive as int check (value > 0);
create function deep(n int) returns int language plpgsql as $$ begin if n = 0 then return 1 / n; end if; return deep(n - 1); end $$;
create procedure act(n int) language plpgsql as $$ begin raise notice 'acted %', n; end $$;
create function open_cursor(name refcursor) returns refcursor language plpgsql as
  $$ begin open name for select n from generate_series(1, 4) n; return name; end $$;
