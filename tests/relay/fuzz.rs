//! Many clients on few connections in pool mode "transaction", each doing what its dice say, beside a model of what
//! PostgreSQL would answer. Every answer carries its client's number and its own, so that one which is lost, doubled,
//! out of order or another client's is seen at once.
//!
//! Repeat a run with `PGPREFORK_TEST_SEED`; `PGPREFORK_FUZZ_SECONDS` lets it run longer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgprefork::protocol::Format;
use pgprefork::protocol::client::ClientEncoder;

use crate::place::{relay, upstream};
use crate::support::load::{Random, seed};
use crate::wire::{Raw, shown};

const CLIENTS: u64 = 9;

/// What a client expects of its session.
struct Client {
    raw: Raw,
    dice: Random,
    port: u16,
    /// Its number: another one after each reconnect.
    id: u64,
    /// The next answer's number.
    number: u64,
    /// Of the last ReadyForQuery.
    status: char,
    /// Named statements (the empty name is the unnamed one): the number that each answers.
    statements: BTreeMap<String, Statement>,
    application: String,
    /// An error came since the last Sync.
    skipping: bool,
    /// Rows that it has inserted for good, and in the open transaction.
    committed: u64,
    pending: u64,
    /// Rows of the implicit transaction up to the next Sync.
    implicit: u64,
    /// Messages to send, and what is to come back.
    out: Vec<u8>,
    expected: Vec<String>,
    /// What was done lately, for the report.
    history: Vec<String>,
}

#[derive(Clone, PartialEq)]
enum Statement {
    /// A row with a number and a parameter.
    Select(u64),
    /// Anything else: not used again.
    Other,
}

impl Client {
    fn connect(port: u16, id: u64, dice: Random) -> Self {
        let application = format!("fuzz {id}");
        let raw = Raw::try_connect(port, &[("application_name", &application)]).expect("a session");
        Self {
            raw,
            dice,
            port,
            id,
            number: 0,
            status: 'I',
            statements: BTreeMap::new(),
            application,
            skipping: false,
            committed: 0,
            pending: 0,
            implicit: 0,
            out: Vec::new(),
            expected: Vec::new(),
            history: Vec::new(),
        }
    }

    fn encoder(&mut self) -> ClientEncoder<'_> {
        ClientEncoder::new(&mut self.out)
    }

    fn expect(&mut self, reply: impl Into<String>) {
        self.expected.push(reply.into());
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn note(&mut self, what: String) {
        self.history.push(what);
    }

    /// Sends what is gathered and compares what comes back.
    fn exchange(&mut self) {
        let out = std::mem::take(&mut self.out);
        // In pieces, sometimes.
        if self.dice.below(4) == 0 && !out.is_empty() {
            let middle = self.dice.below(out.len() as u64) as usize;
            self.raw.send_bytes(&out[..middle]);
            self.raw.send_bytes(&out[middle..]);
        } else {
            self.raw.send_bytes(&out);
        }
        for expected in std::mem::take(&mut self.expected) {
            let found = self.raw.next().map_or("the end".to_owned(), |reply| shown(&[reply]));
            assert!(found == expected, "client {}: {found} instead of {expected}\n{}", self.id, self.lately());
        }
    }

    fn lately(&self) -> String {
        self.history[self.history.len().saturating_sub(25)..].join("\n")
    }

    /// One round of what a client may do.
    fn act(&mut self) {
        match self.dice.below(20) {
            0..=4 => self.simple(),
            5..=11 => self.pipeline(),
            12 => self.copy_in(),
            13 => self.copy_out(),
            14 => self.cancel(),
            15 => self.name_oneself(),
            16 => self.pause(),
            17 => self.notice(),
            18 => self.forget_statements(),
            _ => return self.vanish(),
        }
        self.exchange();
    }

    /// A Query's replies end here.
    fn ready(&mut self) {
        (self.skipping, self.implicit) = (false, 0);
        self.statements.remove("");
        let status = self.status;
        self.expect(format!("Z({status})"));
    }

    fn fail(&mut self, code: &str) {
        self.expect(format!("E({code})"));
        if self.status == 'T' {
            self.status = 'E';
        }
    }

    fn simple(&mut self) {
        for _ in 0..=self.dice.below(3) {
            let (id, number) = (self.id, self.next_number());
            let kind = self.dice.below(8);
            self.note(format!("query {kind}, number {number}, in {}", self.status));
            let text = match kind {
                0 | 1 => format!("select {id}, {number}"),
                2 => format!("select {id}, {number}; select {id}, -{number}"),
                3 => format!("select {id}, {number}; select 1/0; select 'never'"),
                4 => "begin".to_owned(),
                5 => "commit".to_owned(),
                6 => "rollback".to_owned(),
                _ => format!("insert into fuzz values ({id}, {number})"),
            };
            // Warnings are another test's.
            let is_vain = (kind == 4 && self.status != 'I') || (matches!(kind, 5 | 6) && self.status == 'I');
            if is_vain {
                continue;
            }
            self.encoder().query(&text);
            if self.status == 'E' && !matches!(kind, 5 | 6) {
                self.fail("25P02");
                self.ready();
                continue;
            }
            let row = format!("D({id},{number})");
            match kind {
                0 | 1 => ["T", &row, "C(SELECT 1)"].into_iter().for_each(|reply| self.expect(reply)),
                2 => {
                    let second = format!("D({id},-{number})");
                    let all = ["T", &row, "C(SELECT 1)", "T", &second, "C(SELECT 1)"];
                    all.into_iter().for_each(|reply| self.expect(reply));
                }
                3 => {
                    ["T", &row, "C(SELECT 1)"].into_iter().for_each(|reply| self.expect(reply));
                    self.fail("22012");
                }
                4 => self.begin(),
                5 => self.end(true),
                6 => self.end(false),
                _ => {
                    self.expect("C(INSERT 0 1)");
                    if self.status == 'I' { self.committed += 1 } else { self.pending += 1 }
                }
            }
            self.ready();
        }
    }

    fn begin(&mut self) {
        self.expect("C(BEGIN)");
        self.status = 'T';
    }

    fn end(&mut self, commit: bool) {
        if commit && self.status == 'T' {
            self.committed += self.pending;
            self.expect("C(COMMIT)");
        } else {
            self.expect("C(ROLLBACK)");
        }
        (self.status, self.pending) = ('I', 0);
    }

    /// Messages of the extended protocol: several Syncs, errors between them, and Flush.
    fn pipeline(&mut self) {
        for _ in 0..=self.dice.below(3) {
            for _ in 0..=self.dice.below(5) {
                self.part();
                if self.dice.below(12) == 0 {
                    self.note("flush".to_owned());
                    self.encoder().flush();
                    self.exchange();
                }
            }
            self.note(format!("sync in {}{}", self.status, if self.skipping { ", skipping" } else { "" }));
            self.encoder().sync();
            if self.skipping {
                if self.status == 'T' {
                    self.status = 'E';
                }
            } else if self.status == 'I' {
                self.committed += self.implicit;
            } else {
                self.pending += self.implicit;
            }
            (self.skipping, self.implicit) = (false, 0);
            let status = self.status;
            self.expect(format!("Z({status})"));
        }
    }

    /// An error of the extended protocol.
    fn refuse(&mut self, code: &str) {
        self.expect(format!("E({code})"));
        self.skipping = true;
    }

    fn part(&mut self) {
        let (id, number) = (self.id, self.next_number());
        // Few names and few texts, so that they meet, those of several clients as well.
        let name = ["", "a", "b", "c"][self.dice.below(4) as usize];
        let kind = self.dice.below(8);
        self.note(format!("part {kind} {name:?}, number {number}, in {}", self.status));
        let is_failed = self.status == 'E';
        // In a failed transaction the relay parses it again, which fails otherwise than its use.
        if is_failed && matches!(kind, 2..=5) && self.statements.get(name) == Some(&Statement::Other) {
            return;
        }
        match kind {
            0 | 1 => {
                let number = self.dice.below(6);
                self.encoder().parse(name, &format!("select {number}, $1::text"), &[]);
                if self.skipping {
                } else if is_failed {
                    if name.is_empty() {
                        self.statements.remove("");
                    }
                    self.refuse("25P02");
                } else if !name.is_empty() && self.statements.contains_key(name) {
                    self.refuse("42P05");
                } else {
                    self.expect("1");
                    self.statements.insert(name.to_owned(), Statement::Select(number));
                }
            }
            2..=4 => {
                let value = format!("{id}:{number}");
                self.encoder().bind("", name, Format::Text, &[Some(value.as_bytes())], Format::Text);
                self.encoder().execute("", 0);
                if self.skipping {
                    return;
                }
                match self.statements.get(name).cloned() {
                    None => self.refuse("26000"),
                    // The number of parameters is looked at first.
                    Some(Statement::Other) => self.refuse("08P01"),
                    Some(_) if is_failed => self.refuse("25P02"),
                    Some(Statement::Select(answer)) => {
                        let row = format!("D({answer},{value})");
                        ["2", &row, "C(SELECT 1)"].into_iter().for_each(|reply| self.expect(reply));
                    }
                }
            }
            5 => {
                self.encoder().describe_statement(name);
                if self.skipping {
                    return;
                }
                match self.statements.get(name).cloned() {
                    None => self.refuse("26000"),
                    Some(Statement::Select(_)) if is_failed => self.refuse("25P02"),
                    Some(Statement::Select(_)) => ["t", "T"].into_iter().for_each(|reply| self.expect(reply)),
                    Some(Statement::Other) => ["t", "n"].into_iter().for_each(|reply| self.expect(reply)),
                }
            }
            6 => {
                self.encoder().close_statement(name);
                if !self.skipping {
                    self.expect("3");
                    self.statements.remove(name);
                }
            }
            _ if self.dice.below(2) == 0 => {
                // A statement of its own that fails when it is carried out.
                self.encoder().parse("", "select 1 / ($1::text = 'x')::int", &[]);
                self.encoder().bind("", "", Format::Text, &[Some(b"y")], Format::Text);
                self.encoder().execute("", 0);
                if self.skipping {
                } else if is_failed {
                    self.statements.remove("");
                    self.refuse("25P02");
                } else {
                    self.statements.insert(String::new(), Statement::Select(u64::MAX));
                    self.expect("1");
                    self.refuse_at_bind();
                }
            }
            _ => {
                self.encoder().parse("", &format!("insert into fuzz values ({id}, {number})"), &[]);
                self.encoder().bind("", "", Format::Text, &[], Format::Text);
                self.encoder().execute("", 0);
                if self.skipping {
                } else if is_failed {
                    self.statements.remove("");
                    self.refuse("25P02");
                } else {
                    self.statements.insert(String::new(), Statement::Other);
                    ["1", "2", "C(INSERT 0 1)"].into_iter().for_each(|reply| self.expect(reply));
                    self.implicit += 1;
                }
            }
        }
    }

    /// Planned with its value, so that Bind finds the division by zero.
    fn refuse_at_bind(&mut self) {
        self.statements.insert(String::new(), Statement::Other);
        self.refuse("22012");
        // A second use would fail in another way: it is closed in the next part that is carried out.
        self.encoder().sync();
        if self.status == 'T' {
            self.status = 'E';
        }
        (self.skipping, self.implicit) = (false, 0);
        let status = self.status;
        self.expect(format!("Z({status})"));
        self.encoder().close_statement("");
        self.expect("3");
        self.statements.remove("");
    }

    fn copy_in(&mut self) {
        if self.status == 'E' {
            return;
        }
        let (id, count) = (self.id, self.dice.below(4));
        let ending = self.dice.below(4);
        self.note(format!("copy in, {count} rows, ending {ending}, in {}", self.status));
        self.encoder().query("copy fuzz from stdin");
        self.expect("G");
        if self.dice.below(2) == 0 {
            self.exchange();
        }
        for _ in 0..count {
            let number = self.next_number();
            self.encoder().copy_data(format!("{id}\t{number}\n").as_bytes());
        }
        match ending {
            0 => {
                self.encoder().copy_fail("enough");
                self.fail("57014");
            }
            1 => {
                self.encoder().copy_data(b"not a row\n");
                self.encoder().copy_data(b"1\t2\n");
                self.encoder().copy_done();
                self.fail("22P02");
            }
            _ => {
                self.encoder().copy_done();
                self.expect(format!("C(COPY {count})"));
                if self.status == 'I' { self.committed += count } else { self.pending += count }
            }
        }
        self.ready();
    }

    fn copy_out(&mut self) {
        if self.status == 'E' {
            return;
        }
        let (id, rows) = (self.id, self.dice.below(5));
        self.note(format!("copy out, {rows} rows"));
        self.encoder().query(&format!("copy (select {id}, generate_series(1, {rows})) to stdout"));
        self.expect("H");
        for row in 1..=rows {
            self.expect(format!("d({id}\t{row})"));
        }
        self.expect("c");
        self.expect(format!("C(COPY {rows})"));
        self.ready();
    }

    /// The cancel request meets the statement, or comes too early or too late.
    fn cancel(&mut self) {
        if self.status == 'E' {
            return;
        }
        let (id, number) = (self.id, self.next_number());
        let is_long = self.dice.below(2) == 0;
        self.note(format!("cancel, {}, number {number}, in {}", if is_long { "long" } else { "short" }, self.status));
        let seconds = if is_long { 0.3 } else { 0.0 };
        self.raw.send(|out| out.query(&format!("select pg_sleep({seconds})::text, {id}, {number}")));
        if is_long {
            // Perhaps it is still in line for a connection.
            std::thread::sleep(Duration::from_millis(self.dice.below(30)));
        }
        self.raw.cancel();
        let found = shown(&self.raw.until(b'Z'));
        let before = self.status;
        let done = format!("T D(,{id},{number}) C(SELECT 1) Z({before})");
        let after = if before == 'T' { 'E' } else { 'I' };
        let cancelled = [format!("E(57014) Z({after})"), format!("T E(57014) Z({after})")];
        assert!(found == done || cancelled.contains(&found), "client {id}: {found}\n{}", self.lately());
        if found != done {
            self.status = after;
        }
        self.statements.remove("");
    }

    /// Parameters follow the client.
    fn name_oneself(&mut self) {
        let (id, number) = (self.id, self.next_number());
        self.note(format!("application name {number} in {}", self.status));
        if self.status == 'I' && self.dice.below(2) == 0 {
            self.application = format!("fuzz {id} {number}");
            let name = self.application.clone();
            self.encoder().query(&format!("set application_name = '{name}'"));
            self.expect("C(SET)");
            self.expect(format!("S(application_name={name})"));
            self.ready();
        }
        if self.status != 'E' {
            let name = self.application.clone();
            self.encoder().query(&format!("select current_setting('application_name'), {number}"));
            ["T", &format!("D({name},{number})"), "C(SELECT 1)"].into_iter().for_each(|reply| self.expect(reply));
            self.ready();
        }
    }

    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.dice.below(5)));
    }

    fn notice(&mut self) {
        if self.status != 'E' {
            let (id, number) = (self.id, self.next_number());
            self.note("notice".to_owned());
            self.encoder().query(&format!("do $$ begin raise notice '{id} {number}'; end $$"));
            self.expect(format!("N({id} {number})"));
            self.expect("C(DO)");
            self.ready();
        }
    }

    fn forget_statements(&mut self) {
        if self.status == 'E' {
            return;
        }
        self.note("deallocate all".to_owned());
        self.encoder().query("deallocate all");
        self.expect("C(DEALLOCATE ALL)");
        self.statements.clear();
        self.ready();
    }

    /// The connection is cut at any moment; what was under way may or may not have happened.
    fn vanish(&mut self) {
        let before = self.committed;
        match self.dice.below(4) {
            0 => self.simple(),
            1 => self.pipeline(),
            2 => self.copy_in(),
            _ => {}
        }
        let out = std::mem::take(&mut self.out);
        let sent = self.dice.below(out.len() as u64 + 1) as usize;
        self.raw.send_bytes(&out[..sent]);
        let most = self.committed.max(before) + self.pending + self.implicit;
        self.raw.break_off();
        let old = self.id;
        *self = Self::connect(self.port, old + CLIENTS, Random(self.dice.0));
        let mut check = Raw::connect(self.port);
        let count = check.query(&format!("select count(*) between {before} and {most} from fuzz where id = {old}"));
        assert_eq!(count, "T D(t) C(SELECT 1) Z(I)", "rows of client {old}, {before} to {most}");
    }

    fn finish(&mut self) {
        if self.status != 'I' {
            self.encoder().query("rollback");
            self.end(false);
            self.ready();
        }
        let (id, committed) = (self.id, self.committed);
        self.encoder().query(&format!("select count(*) from fuzz where id = {id}"));
        ["T", &format!("D({committed})"), "C(SELECT 1)"].into_iter().for_each(|reply| self.expect(reply));
        self.ready();
        self.exchange();
    }
}

#[test]
fn no_answer_is_lost_doubled_reordered_or_anothers() {
    let seed = seed();
    let seconds = std::env::var("PGPREFORK_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let upstream = upstream();
    Raw::connect(upstream.port).query("create table fuzz (id bigint, number bigint)");
    let settings = ["relay.default_pool_size=3", "relay.max_prepared_statements=4"];
    let server = relay(upstream.port, "transaction", &settings);
    let until = Instant::now() + Duration::from_secs(seconds);
    let rounds: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let port = server.port;
                let dice = Random(seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                scope.spawn(move || {
                    let mut client = Client::connect(port, number, dice);
                    let mut rounds = 0;
                    while Instant::now() < until {
                        client.act();
                        rounds += 1;
                        // A transaction left open keeps a connection from the others only so long.
                        if client.status != 'I' && client.dice.below(3) == 0 {
                            client.encoder().query("rollback");
                            client.end(false);
                            client.ready();
                            client.exchange();
                        }
                    }
                    client.finish();
                    rounds
                })
            })
            .collect();
        let rounds = clients.into_iter().map(|client| client.join().ok());
        // The server's log first, which says more.
        rounds
            .collect::<Option<Vec<u64>>>()
            .unwrap_or_else(|| panic!("a wrong answer; the server:\n{}", server.log()))
            .iter()
            .sum()
    });
    println!("{rounds} rounds");
    assert!(rounds > CLIENTS * 20, "only {rounds} rounds");
    Raw::connect(upstream.port).query("drop table fuzz");
}
