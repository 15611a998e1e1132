//! Foreign keys: every action on delete and update, alone and in chains, on the same table, over two columns, deferred;
//! with deletes and updates in random order, and what is left after each.

use super::{Random, Script, chance, pick};

const ACTIONS: &[&str] = &["no action", "restrict", "cascade", "set null", "set default"];

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut scripts = Vec::new();
    for on_delete in ACTIONS {
        for on_update in ACTIONS {
            scripts.push(two_tables(random, on_delete, on_update));
            scripts.push(own_table(random, on_delete, on_update));
        }
        scripts.push(chain(random, on_delete));
        scripts.push(two_columns(random, on_delete));
        scripts.push(diamond(random, on_delete));
    }
    scripts
}

fn deferral(random: &mut Random) -> &'static str {
    pick(random, &["", "", " deferrable", " deferrable initially deferred"])
}

fn two_tables(random: &mut Random, on_delete: &str, on_update: &str) -> Script {
    let deferral = deferral(random);
    let mut script = vec![
        "create table p (id int primary key, v int)".to_owned(),
        format!(
            "create table c (id int primary key, p int default 1 references p on delete {on_delete} on update {on_update}{deferral})"
        ),
        "insert into p select g, g from generate_series(0, 9) g".to_owned(),
        "insert into c select g, g / 2 from generate_series(0, 12) g".to_owned(),
        "insert into c values (50, null), (51, default)".to_owned(),
    ];
    let show = "select * from p full join c on c.p = p.id order by p.id, c.id";
    changes(random, &mut script, show, |random| match random.below(7) {
        0 => format!("delete from p where id = {}", random.below(10)),
        1 => format!("delete from p where id in ({}, 1)", random.below(10)),
        2 => format!("update p set id = id + {} where id = {}", 1 + random.below(20), random.below(10)),
        3 => "update p set id = id + 1".to_owned(),
        4 => format!("update c set p = {} where id = {}", random.below(15), random.below(13)),
        5 => format!("insert into c values ({}, {})", 20 + random.below(50), random.below(15)),
        _ => format!("delete from c where id < {}", random.below(6)),
    });
    script.push("drop table c, p".to_owned());
    Script::cumulative(script)
}

fn own_table(random: &mut Random, on_delete: &str, on_update: &str) -> Script {
    let deferral = deferral(random);
    let mut script = vec![
        format!(
            "create table n (id int primary key, up int default 0 references n on delete {on_delete} on update {on_update}{deferral})"
        ),
        "insert into n values (0, null), (1, 0), (2, 1), (3, 1), (4, 2), (5, 5), (6, 4), (7, 8), (8, 7), (9, null)"
            .to_owned(),
    ];
    changes(random, &mut script, "select * from n order by id", |random| match random.below(6) {
        0 => format!("delete from n where id = {}", random.below(10)),
        1 => format!("delete from n where id in ({}, {})", random.below(10), random.below(10)),
        2 => format!("delete from n where id >= {}", random.below(10)),
        3 => format!("update n set id = {} where id = {}", 10 + random.below(10), random.below(10)),
        4 => "update n set id = id + 20, up = up + 20".to_owned(),
        _ => format!("update n set up = {} where id = {}", random.below(12), random.below(10)),
    });
    script.push("drop table n".to_owned());
    Script::cumulative(script)
}

fn chain(random: &mut Random, action: &str) -> Script {
    let (second, third) = (pick(random, ACTIONS), pick(random, ACTIONS));
    let mut script = vec![
        "create table p (id int primary key)".to_owned(),
        format!("create table q (id int primary key default 2 references p on delete {action} on update cascade)"),
        format!(
            "create table r (id int primary key, q int default 3 references q on delete {second} on update {third})"
        ),
        format!("create table s (r int references r on delete {third}, q int references q on delete {second})"),
        "insert into p select * from generate_series(1, 8)".to_owned(),
        "insert into q select * from generate_series(1, 6)".to_owned(),
        "insert into r select g, g from generate_series(1, 6) g".to_owned(),
        "insert into s values (1, 2), (2, 2), (3, 1), (4, null), (null, 5)".to_owned(),
    ];
    let show = "select (select array_agg(id order by id) from p)::text, (select array_agg(id order by id) from q)::text, \
                (select array_agg(id || ':' || coalesce(q::text, '-') order by id) from r)::text, \
                (select array_agg(coalesce(r::text, '-') || ':' || coalesce(q::text, '-') order by r, q) from s)::text";
    changes(random, &mut script, show, |random| match random.below(4) {
        0 => format!("delete from p where id = {}", 1 + random.below(8)),
        1 => format!("delete from q where id > {}", 1 + random.below(6)),
        2 => format!("update p set id = id + 10 where id = {}", 1 + random.below(8)),
        _ => format!("delete from r where id = {}", 1 + random.below(6)),
    });
    script.push("drop table s, r, q, p".to_owned());
    Script::cumulative(script)
}

fn two_columns(random: &mut Random, action: &str) -> Script {
    let matching = pick(random, &["", " match simple", " match full"]);
    let list = if action.starts_with("set") && chance(random, 50) { " (b)" } else { "" };
    let mut script = vec![
        "create table p (a int, b int, primary key (a, b))".to_owned(),
        format!(
            "create table c (id int, a int, b int default 2, foreign key (a, b) references p{matching} on delete {action}{list} on update {})",
            pick(random, ACTIONS)
        ),
        "insert into p values (1, 1), (1, 2), (2, 1), (2, 2), (3, 2)".to_owned(),
        "insert into c values (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, null, null), (5, 3, 2)".to_owned(),
        "insert into c values (6, null, 7)".to_owned(),
        "insert into c values (7, 9, null)".to_owned(),
        "insert into c values (8, 9, 9)".to_owned(),
    ];
    changes(random, &mut script, "select * from c order by id, a, b", |random| match random.below(3) {
        0 => format!("delete from p where a = {}", 1 + random.below(3)),
        1 => format!("update p set b = b + 5 where b = {}", 1 + random.below(2)),
        _ => format!("update c set a = {} where id = {}", random.below(5), 1 + random.below(8)),
    });
    script.push("drop table c, p".to_owned());
    Script::cumulative(script)
}

/// A row that is reached over two ways, with different actions.
fn diamond(random: &mut Random, action: &str) -> Script {
    let other = pick(random, ACTIONS);
    let mut script = vec![
        "create table p (id int primary key)".to_owned(),
        format!("create table l (id int primary key, p int references p on delete {action})"),
        "create table m (id int primary key, p int references p on delete cascade)".to_owned(),
        format!(
            "create table b (id int, l int default 1 references l on delete {other}, m int default 2 references m on delete {action})"
        ),
        "insert into p values (1), (2), (3), (4)".to_owned(),
        "insert into l values (1, 1), (2, 2), (3, 3)".to_owned(),
        "insert into m values (1, 1), (2, 2), (3, 1)".to_owned(),
        "insert into b values (1, 1, 1), (2, 2, 2), (3, 3, 1), (4, 1, 3)".to_owned(),
    ];
    let show =
        "select b.*, l.p as lp, m.p as mp from b left join l on l.id = b.l left join m on m.id = b.m order by b.id";
    changes(random, &mut script, show, |random| match random.below(3) {
        0 | 1 => format!("delete from p where id = {}", 1 + random.below(4)),
        _ => format!("delete from p where id <> {}", 1 + random.below(4)),
    });
    script.push("drop table b, m, l, p".to_owned());
    Script::cumulative(script)
}

/// Random changes, some of them in a transaction block, and what is there after each.
fn changes(random: &mut Random, script: &mut Vec<String>, show: &str, mut change: impl FnMut(&mut Random) -> String) {
    for _ in 0..6 {
        if chance(random, 35) {
            script.push("begin".to_owned());
            if chance(random, 30) {
                script.push("set constraints all deferred".to_owned());
            }
            for _ in 0..1 + random.below(3) {
                script.push(change(random));
            }
            if chance(random, 20) {
                script.push("set constraints all immediate".to_owned());
            }
            script.push(pick(random, &["commit", "commit", "commit", "rollback"]).to_owned());
        } else {
            script.push(change(random));
        }
        script.push(show.to_owned());
    }
}
