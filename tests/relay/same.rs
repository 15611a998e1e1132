//! The same messages to PostgreSQL alone and through the relay, and the same bytes back: in session mode, and in
//! transaction mode with more clients at once than connections.

use pgprefork::protocol::Format;
use pgprefork::protocol::client::ClientEncoder;

use crate::place::{relay, upstream};
use crate::wire::{Raw, Reply, shown};

/// Messages that go out together, and the types of messages after which the next step is due, in order.
type Step = (fn(&mut ClientEncoder<'_>, &str), &'static [u8]);

fn run(port: u16, name: &str, script: &[Step]) -> Vec<Vec<Reply>> {
    let mut raw = Raw::connect(port);
    let replies = script.iter().map(|(write, ends)| {
        raw.send(|out| write(out, name));
        ends.iter().flat_map(|end| raw.until(*end)).collect()
    });
    let replies = replies.collect();
    raw.close();
    replies
}

/// `clients`: how many carry out the script at once.
fn compare(what: &str, script: &[Step], clients: usize) {
    let upstream = upstream();
    let names: Vec<_> = (0..clients).map(|number| format!("a{number}")).collect();
    let expected: Vec<_> = names.iter().map(|name| run(upstream.port, name, script)).collect();
    for (mode, settings) in [("session", &[][..]), ("transaction", &["relay.default_pool_size=2"])] {
        let server = relay(upstream.port, mode, settings);
        let all: Vec<_> = std::thread::scope(|scope| {
            let port = server.port;
            let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || run(port, name, script))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
        });
        for (client, (expected, found)) in expected.iter().zip(&all).enumerate() {
            for (number, (expected, found)) in expected.iter().zip(found).enumerate() {
                let place = format!("{what}, {mode}, client {client}, step {number}\n{}", server.log());
                assert_eq!(shown(found), shown(expected), "{place}");
                assert!(found == expected, "{place}\n{found:?}\n{expected:?}");
            }
        }
    }
}

fn bind(out: &mut ClientEncoder<'_>, portal: &str, statement: &str, values: &[&str]) {
    let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
    out.bind(portal, statement, Format::Text, &values, Format::Text);
}

#[test]
fn simple_queries() {
    compare(
        "simple",
        &[
            (|out, _| out.query("select 1, 'a'"), b"Z"),
            (|out, _| out.query(""), b"Z"),
            (|out, _| out.query("select 1; select 2; select 3"), b"Z"),
            (|out, _| out.query("select 1; select 1/0; select 3"), b"Z"),
            (|out, _| out.query("selec 1"), b"Z"),
            (|out, _| out.query("begin"), b"Z"),
            (|out, _| out.query("select 1/0"), b"Z"),
            (|out, _| out.query("select 1"), b"Z"),
            (|out, _| out.query("commit"), b"Z"),
            (|out, _| out.query("begin; select 1; savepoint a; select 1/0"), b"Z"),
            (|out, _| out.query("rollback to a; select 2"), b"Z"),
            (|out, _| out.query("end"), b"Z"),
            (|out, _| out.query("do $$ begin raise notice 'told'; end $$"), b"Z"),
            (|out, _| out.query("select repeat('x', 300000), generate_series(1, 20)"), b"Z"),
            // Three queries at once.
            (
                |out, _| {
                    out.query("select 1");
                    out.query("select 1/0");
                    out.query("select 3");
                },
                b"ZZZ",
            ),
        ],
        6,
    );
}

#[test]
fn the_extended_protocol() {
    compare(
        "extended",
        &[
            (
                |out, name| {
                    out.parse("", "select $1::text, $2::int + 1", &[]);
                    out.describe_statement("");
                    bind(out, "", "", &[if name.is_empty() { "" } else { "xy" }, "41"]);
                    out.describe_portal("");
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            // Statements of the same name and different text.
            (
                |out, name| {
                    out.parse("named", &format!("select '{name}'::text where 1 = $1"), &[23]);
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, _| {
                    bind(out, "", "named", &["0"]);
                    out.execute("", 0);
                    bind(out, "", "named", &["0"]);
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, _| {
                    out.describe_statement("named");
                    out.sync();
                },
                b"Z",
            ),
            // It is replaced only once it is closed.
            (
                |out, _| {
                    out.parse("named", "select 1", &[]);
                    out.parse("other", "select 2", &[]);
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, _| {
                    bind(out, "", "other", &[]);
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, _| {
                    out.close_statement("named");
                    out.close_statement("no such statement");
                    out.parse("named", "select 1", &[]);
                    bind(out, "", "named", &[]);
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            // Flush answers at once.
            (
                |out, _| {
                    out.parse("", "select generate_series(1, 5)", &[]);
                    bind(out, "portal", "", &[]);
                    out.execute("portal", 2);
                    out.flush();
                },
                b"s",
            ),
            (
                |out, _| {
                    out.execute("portal", 2);
                    out.close_portal("portal");
                    out.flush();
                },
                b"3",
            ),
            (
                |out, _| {
                    out.execute("portal", 2);
                    out.flush();
                },
                b"E",
            ),
            (|out, _| out.parse("", "skipped", &[]), b""),
            (|out, _| out.query("select 'skipped as well'"), b""),
            (|out, _| out.sync(), b"Z"),
            (|out, _| out.sync(), b"Z"),
            // The unnamed statement lives on between transactions.
            (
                |out, _| {
                    out.parse("", "select 'unnamed'", &[]);
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, _| {
                    bind(out, "", "", &[]);
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            (|out, _| out.query("select 1"), b"Z"),
            // A Query has ended it.
            (
                |out, _| {
                    bind(out, "", "", &[]);
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, _| {
                    out.parse("", "", &[]);
                    bind(out, "", "", &[]);
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            (|out, _| out.query("deallocate all"), b"Z"),
            (
                |out, _| {
                    bind(out, "", "named", &[]);
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, _| {
                    out.parse("named", "select 7", &[]);
                    bind(out, "", "named", &[]);
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            (|out, _| out.query("discard all"), b"Z"),
            (
                |out, _| {
                    out.describe_statement("named");
                    out.sync();
                },
                b"Z",
            ),
        ],
        6,
    );
}

#[test]
fn pipelines_with_an_error_in_the_middle() {
    compare(
        "pipelines",
        &[
            (
                |out, name| {
                    for value in ["1", "2", "0", "4"] {
                        out.parse("", &format!("select '{name}'::text, 1 / $1::int"), &[]);
                        bind(out, "", "", &[value]);
                        out.execute("", 0);
                    }
                    out.sync();
                    bind(out, "", "", &["8"]);
                    out.execute("", 0);
                    out.sync();
                },
                b"ZZ",
            ),
            // A named statement whose Parse is skipped.
            (
                |out, _| {
                    out.parse("", "select 1/0", &[]);
                    bind(out, "", "", &[]);
                    out.execute("", 0);
                    out.parse("skipped", "select 5", &[]);
                    out.sync();
                    bind(out, "", "skipped", &[]);
                    out.execute("", 0);
                    out.sync();
                    out.parse("skipped", "select 6", &[]);
                    bind(out, "", "skipped", &[]);
                    out.execute("", 0);
                    out.sync();
                },
                b"ZZZ",
            ),
            // Closed in a part that is skipped: it is still there.
            (
                |out, _| {
                    out.parse("", "select 1/0", &[]);
                    bind(out, "", "", &[]);
                    out.execute("", 0);
                    out.close_statement("skipped");
                    out.sync();
                    bind(out, "", "skipped", &[]);
                    out.execute("", 0);
                    out.sync();
                    out.close_statement("skipped");
                    bind(out, "", "skipped", &[]);
                    out.sync();
                },
                b"ZZZ",
            ),
            // Transactions over several Syncs.
            (
                |out, _| {
                    for text in ["begin", "select 1", "select 1/0", "select 3", "rollback", "select 5"] {
                        out.parse("", text, &[]);
                        bind(out, "", "", &[]);
                        out.execute("", 0);
                        out.sync();
                    }
                },
                b"ZZZZZZ",
            ),
            // Mixed with simple queries.
            (
                |out, _| {
                    out.parse("p", "select $1::int", &[]);
                    bind(out, "", "p", &["1"]);
                    out.execute("", 0);
                    out.query("select 2");
                    bind(out, "", "p", &["3"]);
                    out.execute("", 0);
                    out.sync();
                },
                b"ZZ",
            ),
            (
                |out, _| {
                    for number in 0..300 {
                        bind(out, "", "p", &[&number.to_string()]);
                        out.execute("", 0);
                        if number % 7 == 0 {
                            out.sync();
                        }
                    }
                    out.sync();
                },
                &[b'Z'; 44],
            ),
        ],
        6,
    );
}

#[test]
fn copy_in_and_out() {
    compare(
        "copy",
        &[
            (|out, name| out.query(&format!("create table copied_{name} (a int)")), b"Z"),
            (|out, name| out.query(&format!("copy copied_{name} from stdin")), b"G"),
            (
                |out, _| {
                    out.copy_data(b"1\n2\n");
                    out.copy_data(b"3\n");
                    out.copy_done();
                },
                b"Z",
            ),
            (|out, name| out.query(&format!("copy copied_{name} to stdout")), b"Z"),
            (|out, name| out.query(&format!("copy copied_{name} from stdin")), b"G"),
            (
                |out, _| {
                    out.copy_data(b"4\n");
                    out.copy_fail("no more");
                },
                b"Z",
            ),
            // Data that the server refuses while more are on their way.
            (|out, name| out.query(&format!("copy copied_{name} from stdin")), b"G"),
            (
                |out, _| {
                    out.copy_data(b"bad\n");
                    for _ in 0..200 {
                        out.copy_data(&[b'5', b'\n'].repeat(1000));
                    }
                    out.copy_done();
                },
                b"Z",
            ),
            (|out, name| out.query(&format!("select count(*) from copied_{name}")), b"Z"),
            // Two in one Query, and a statement after them.
            (
                |out, name| {
                    out.query(&format!("copy copied_{name} from stdin; copy copied_{name} from stdin; select 9"))
                },
                b"G",
            ),
            (
                |out, _| {
                    out.copy_data(b"6\n");
                    out.copy_done();
                },
                b"G",
            ),
            (
                |out, _| {
                    out.copy_data(b"7\n");
                    out.copy_done();
                },
                b"Z",
            ),
            // Extended, as libpq does it: Sync comes with Execute and once more after the data.
            (
                |out, name| {
                    out.parse("", &format!("copy copied_{name} from stdin"), &[]);
                    bind(out, "", "", &[]);
                    out.describe_portal("");
                    out.execute("", 0);
                    out.sync();
                },
                b"G",
            ),
            (
                |out, _| {
                    out.copy_data(b"8\n");
                    out.copy_done();
                    out.sync();
                },
                b"Z",
            ),
            (
                |out, name| {
                    out.parse("", &format!("copy copied_{name} to stdout"), &[]);
                    bind(out, "", "", &[]);
                    out.execute("", 0);
                    out.sync();
                },
                b"Z",
            ),
            // What is left of a COPY after its end is ignored.
            (
                |out, _| {
                    out.copy_data(b"8\n");
                    out.copy_done();
                    out.query("select 1");
                },
                b"Z",
            ),
            (|out, name| out.query(&format!("begin; copy copied_{name} from stdin")), b"G"),
            (
                |out, _| {
                    out.copy_data(b"9\n");
                    out.copy_done();
                },
                b"Z",
            ),
            (|out, name| out.query(&format!("copy copied_{name} from stdin")), b"G"),
            (
                |out, _| {
                    out.copy_data(b"x\n");
                    out.copy_done();
                },
                b"Z",
            ),
            (
                |out, name| out.query(&format!("rollback; select a + 0 from copied_{name}; drop table copied_{name}")),
                b"Z",
            ),
        ],
        4,
    );
}

#[test]
fn parameters_follow_their_client() {
    compare(
        "parameters",
        &[
            (|out, _| out.query("set timezone = 'Asia/Tokyo'"), b"Z"),
            (|out, name| out.query(&format!("set application_name = 'of {name}'")), b"Z"),
            (|out, _| out.query("set client_encoding = latin1"), b"Z"),
            (|out, _| out.query("select chr(228)"), b"Z"),
            (
                |out, _| {
                    out.query(
                        "set datestyle = german; set intervalstyle = iso_8601; set standard_conforming_strings = off",
                    )
                },
                b"Z",
            ),
            (
                |out, _| {
                    out.query("show timezone; show client_encoding; show datestyle; show intervalstyle; show standard_conforming_strings")
                },
                b"Z",
            ),
            (
                |out, _| {
                    out.query("select current_setting('application_name') like 'of a_', '2020-02-03'::date, '1 day'::interval, '\\x'")
                },
                b"Z",
            ),
            (|out, _| out.query("begin; set timezone = 'UTC'; show timezone"), b"Z"),
            (|out, _| out.query("rollback"), b"Z"),
            (|out, _| out.query("show timezone"), b"Z"),
            (|out, _| out.query("begin; set local timezone = 'UTC'; show timezone"), b"Z"),
            (|out, _| out.query("commit; show timezone"), b"Z"),
            (|out, _| out.query("select set_config('TimeZone', 'Europe/Paris', false)"), b"Z"),
            (|out, _| out.query("show timezone"), b"Z"),
            (|out, _| out.query("reset all"), b"Z"),
            (|out, _| out.query("show timezone; show client_encoding; show application_name"), b"Z"),
        ],
        6,
    );
}
