//! Mutates valid conversations and feeds them to everything that reads bytes from a peer or a file of rules.
//!
//! Structure-aware: a conversation is generated message by message, then damaged where it hurts: lengths,
//! counts, terminators, types, order. Whatever comes out must be read without a panic, to the same result however
//! the bytes are cut into packets.
//!
//! `PGPREFORK_FUZZ_CASES` sets how many cases each test runs (200,000 by default), `PGPREFORK_FUZZ_SEED` where they
//! begin. A failure prints the seed of its case: run that one with CASES=1 and SEED=the seed.

use std::env;
use std::path::Path;

use pgprefork::auth::files::Files;
use pgprefork::auth::{Connection, Environment, Exchange, Maps, Role, Roles, Rules, Step, hba, ident, password, scram};
use pgprefork::protocol::client::{self, Backend, ClientEncoder};
use pgprefork::protocol::{
    self, Encoder, Field, Format, Frame, Message, NEWEST_VERSION, Next, Packet, ReadyStatus, Severity, Target, Version,
    frame,
};

/// SplitMix64: the cases of a seed are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `limit` - 1; 0 where `limit` is 0.
    fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() % limit as u64) as usize }
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let length = self.below(limit);
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Prints the seed of the case that panicked.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: PGPREFORK_FUZZ_SEED={} PGPREFORK_FUZZ_CASES=1", self.0);
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => otherwise,
    }
}

/// Runs `case` once for each seed; `share` divides the number of cases, for tests whose cases are expensive.
fn cases(share: u64, mut case: impl FnMut(&mut Random)) {
    let seed = number("PGPREFORK_FUZZ_SEED", 1);
    let count = (number("PGPREFORK_FUZZ_CASES", 200_000) / share).max(1);
    for seed in seed..seed + count {
        let guard = Case(seed);
        case(&mut Random(seed));
        drop(guard);
    }
}

const WORDS: &[&str] = &["", "s", "P_0", "select 1", "grün", "begin; end", "copy t from stdin"];

/// The messages of a session, one vector each.
fn session(random: &mut Random) -> Vec<Vec<u8>> {
    (0..random.below(8) + 1)
        .map(|_| {
            let mut bytes = Vec::new();
            message(random, &mut ClientEncoder::new(&mut bytes));
            bytes
        })
        .collect()
}

fn message(random: &mut Random, out: &mut ClientEncoder<'_>) {
    let (name, text) = (random.pick(WORDS), random.pick(WORDS));
    match random.below(13) {
        0 => out.query(text),
        1 => out.parse(name, text, &(0..random.below(4)).map(|_| random.next() as u32).collect::<Vec<_>>()),
        2..=4 => {
            let values: Vec<_> = (0..random.below(5)).map(|_| (!random.one_in(3)).then(|| random.bytes(9))).collect();
            let values: Vec<_> = values.iter().map(Option::as_deref).collect();
            let formats = [Format::Text, Format::Binary];
            out.bind(name, text, random.pick(&formats), &values, random.pick(&formats));
        }
        5 => out.describe_statement(name),
        6 => out.describe_portal(name),
        7 => out.execute(name, random.next() as i32),
        8 => out.close_statement(name),
        9 => out.sync(),
        10 => out.flush(),
        11 => out.copy_data(&random.bytes(20)),
        _ => match random.below(3) {
            0 => out.copy_done(),
            1 => out.copy_fail("no"),
            _ => out.terminate(),
        },
    }
}

/// Lengths and counts that tend to go wrong, as 32 bits.
const EDGES: &[u32] =
    &[0, 1, 3, 4, 5, 9_999, 10_000, 10_001, 65_535, 65_536, 0x3fff_fffe, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, !1, !0];

/// Damages some messages: `header` is where their length word stands.
fn damage(random: &mut Random, messages: &mut [Vec<u8>], header: usize) {
    for _ in 0..random.below(4) {
        let index = random.below(messages.len());
        let Some(message) = messages.get_mut(index) else { return };
        match random.below(9) {
            // A length word that lies.
            0 => put(message, header, &random.pick(EDGES).to_be_bytes()),
            1 => {
                let near = (message.len() as u32).wrapping_add(random.below(9) as u32).wrapping_sub(5);
                put(message, header, &near.to_be_bytes());
            }
            // A count or inner length that lies.
            2 => {
                let at = random.below(message.len());
                put(message, at, &random.pick(EDGES).to_be_bytes());
            }
            3 => {
                let at = random.below(message.len());
                put(message, at, &(random.pick(EDGES) as u16).to_be_bytes());
            }
            // A terminator too few or too many; any byte.
            4 => {
                let at = random.below(message.len());
                put(message, at, &[random.pick(&[0, 1, 0x7f, 0x80, 0xc3, 0xff])]);
            }
            5 => {
                let length = random.below(message.len() + 1);
                message.truncate(length);
            }
            6 => {
                let at = random.below(message.len() + 1);
                let noise = random.bytes(6);
                message.splice(at..at, noise);
            }
            // Another type, or another order.
            7 => put(message, 0, &[random.next() as u8]),
            _ => {
                let other = random.below(messages.len());
                messages.swap(index, other);
            }
        }
    }
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes.iter_mut().skip(at).zip(new).for_each(|(place, byte)| *place = *byte);
}

/// Reads messages as they arrive in pieces, as a session's transport does. `None`: everything has arrived at once.
fn read_session(bytes: &[u8], random: Option<&mut Random>) -> Vec<String> {
    let mut seen = Vec::new();
    let mut start = 0;
    let mut arrived = if random.is_some() { 0 } else { bytes.len() };
    let mut random = random;
    loop {
        match frame::next(&bytes[start..arrived]) {
            Err(violation) => {
                assert!(violation.loses_sync(), "{violation:?}");
                seen.push(violation.to_string());
                return seen;
            }
            Ok(Next::Complete(frame, length)) => {
                assert!(length <= arrived - start && frame.body.len() + 5 == length);
                seen.push(examine(frame));
                start += length;
            }
            Ok(Next::Missing(missing)) => {
                assert!(missing > 0 && missing < 1 << 30);
                match random.as_deref_mut() {
                    Some(random) if arrived < bytes.len() => {
                        arrived = (arrived + 1 + random.below(missing)).min(bytes.len());
                    }
                    _ => return seen,
                }
            }
        }
    }
}

/// Decodes one message and walks everything in it.
fn examine(frame: Frame<'_>) -> String {
    match Message::decode(frame) {
        Err(violation) => {
            assert!(!violation.loses_sync(), "{violation:?}");
            let error = pgprefork::error::Error::from(violation);
            format!("{error}")
        }
        Ok(Message::Bind(bind)) => {
            let values: Vec<_> = bind.parameters.iter().collect();
            assert_eq!(values.len(), bind.parameters.len(), "a value that was there is gone");
            assert!(bind.parameter_formats.fits(values.len()));
            let formats: Vec<_> = (0..values.len() + 2).map(|index| bind.parameter_formats.format(index)).collect();
            let texts: Vec<_> = values.iter().flatten().map(|value| protocol::utf8(value)).collect();
            format!("{values:?} {formats:?} {texts:?} {:?}", bind.result_formats)
        }
        Ok(Message::Parse(parse)) => format!("{parse:?} {:?}", parse.types.iter().collect::<Vec<_>>()),
        Ok(Message::Describe(Target::Statement(name)) | Message::Close(Target::Portal(name))) => name.to_owned(),
        Ok(message) => format!("{message:?}"),
    }
}

#[test]
fn sessions_read_the_same_however_they_arrive() {
    cases(1, |random| {
        let mut messages = session(random);
        let intact = messages.concat();
        assert_eq!(read_session(&intact, None).len(), messages.len(), "a valid conversation is read as it is");
        damage(random, &mut messages, 1);
        let bytes = messages.concat();
        assert_eq!(read_session(&bytes, None), read_session(&bytes, Some(random)));
    });
}

#[test]
fn startup_packets_are_read_or_refused() {
    cases(1, |random| {
        let mut bytes = Vec::new();
        let mut out = ClientEncoder::new(&mut bytes);
        match random.below(6) {
            0 => out.ssl_request(),
            1 => out.gss_encryption_request(),
            2 => out.cancel_request(random.next() as u32, &random.bytes(300)),
            _ => {
                let version = random.pick(&[Version { minor: 0 }, Version { minor: 1 }, NEWEST_VERSION]);
                let names = ["user", "database", "options", "replication", "_pq_.x", "application_name", "DateStyle"];
                let values = ["ann", "off", "-c a=b", "--a", "\\", "true", "", "ünï"];
                let parameters: Vec<_> =
                    (0..random.below(7)).map(|_| (random.pick(&names), random.pick(&values))).collect();
                out.startup(version, &parameters);
            }
        }
        let mut packets = vec![bytes];
        damage(random, &mut packets, 0);
        let bytes = packets.concat();
        match frame::next_startup(&bytes) {
            Ok(Next::Complete(body, length)) => {
                assert!(length <= bytes.len() && body.len() + 4 == length && length <= 10_004);
                if let Ok(Packet::Startup(startup)) = Packet::decode(body) {
                    assert!(!startup.user.is_empty() && startup.user.len() <= 63 && startup.database.len() <= 63);
                    assert!(startup.version <= NEWEST_VERSION && startup.version.minor != 1);
                    let _ = startup.settings();
                }
            }
            Ok(Next::Missing(missing)) => assert!((1..=10_000).contains(&missing)),
            Err(violation) => assert!(violation.loses_sync()),
        }
    });
}

struct OneRole(Role);

impl Roles for OneRole {
    fn role(&self, name: &str) -> Option<Role> {
        (name == self.0.name).then(|| self.0.clone())
    }
}

/// A role whose verifier takes few iterations, so that cases are cheap.
fn role() -> OneRole {
    OneRole(Role {
        oid: 10,
        name: "ann".into(),
        superuser: false,
        login: true,
        connection_limit: -1,
        valid_until_us: None,
        password: Some(scram::Verifier::with_salt(b"secret", 2, b"salt").to_string()),
        memberships: Vec::new(),
    })
}

/// One file of that text under the name `f`; every other one has two words and includes `names`.
struct Made(String);

impl Files for Made {
    fn read(&self, path: &Path) -> Result<Option<String>, String> {
        Ok(Some(if path == Path::new("f") { self.0.clone() } else { "a b,c @names".to_owned() }))
    }

    fn list(&self, _: &Path) -> Result<Vec<String>, String> {
        Ok(vec!["one.conf".to_owned(), "two".to_owned()])
    }
}

#[test]
fn nobody_gets_in_with_damaged_responses() {
    let roles = role();
    let methods = ["scram-sha-256", "md5", "password"];
    let rules: [Rules; 3] = methods.map(|method| {
        let rules = hba::read(Path::new("f"), &Made(format!("local all all {method}"))).unwrap();
        rules.into_iter().map(Result::unwrap).collect()
    });
    let maps = Maps::default();
    // A mock exchange costs the client thousands of hashes.
    cases(50, |random| {
        let environment = Environment {
            rules: &rules[random.below(rules.len())],
            maps: &maps,
            roles: &roles,
            mock_secret: &[1; 32],
            server_end_point: None,
            now_us: 0,
            peer_user: &|| Err("nobody".into()),
            host_name: &|| None,
            certificate: None,
            verifies_certificates: false,
            keeps_keys: false,
        };
        let user = random.pick(&["ann", "ghost"]);
        let mut from_server = Vec::new();
        let mut step = Exchange::start(&environment, &Connection::Local, "d", user, &mut from_server).unwrap();
        let mut machine = scram::client::Client::new().unwrap();
        for _ in 0..4 {
            let Step::Wait(exchange) = step else { panic!("let in without the password") };
            let mut response = Vec::new();
            let mut out = ClientEncoder::new(&mut response);
            match client::next(&from_server).map(|next| match next {
                Next::Complete(frame, _) => Backend::decode(frame),
                Next::Missing(_) => panic!("half a message"),
            }) {
                Ok(Ok(Backend::AuthenticationSasl(_))) => out.sasl_initial_response("SCRAM-SHA-256", &machine.first()),
                Ok(Ok(Backend::AuthenticationSaslContinue(data))) if !data.is_empty() => {
                    out.sasl_response(&machine.answer(data, b"wrong", &mut None).unwrap_or_default());
                }
                _ => out.password("wrong"),
            }
            let mut responses = vec![response];
            damage(random, &mut responses, 1);
            from_server.clear();
            let bytes = responses.concat();
            let Ok(Next::Complete(frame, _)) = frame::next_response(&bytes, exchange.expects()) else { return };
            match exchange.step(frame, &mut from_server) {
                Ok(next) => step = next,
                Err(_) => return,
            }
        }
    });
}

#[test]
fn clients_survive_damaged_servers() {
    cases(2, |random| {
        let mut bytes = Vec::new();
        let mut out = Encoder::new(&mut bytes);
        let error = pgprefork::error::Error::internal("no").detail("at all").position(3);
        match random.below(8) {
            0 => out.authentication_sasl(&["SCRAM-SHA-256"]),
            1 => out.error_response(Severity::Error, &error),
            2 => out.parameter_description([23, 25]),
            3 => out.negotiate_protocol_version(NEWEST_VERSION, &["_pq_.x"]),
            4 => out.copy_out_response(Format::Text, 3),
            5 => out.row_description([Field {
                name: "a",
                table: 0,
                column: 0,
                type_oid: 23,
                type_size: 4,
                type_modifier: -1,
                format: Format::Text,
            }]),
            6 => out.ready_for_query(ReadyStatus::Idle),
            _ => {
                let mut row = out.data_row(2);
                row.null();
                row.bytes(b"value");
                row.finish().unwrap();
            }
        }
        let mut messages = vec![bytes];
        damage(random, &mut messages, 1);
        if let Ok(Next::Complete(frame, _)) = client::next(&messages.concat()) {
            let _ = Backend::decode(frame);
        }
    });
}

#[test]
fn files_of_rules_are_read_or_refused_with_their_place() {
    const PIECES: &[&str] = &[
        "local",
        "host",
        "hostssl",
        "all",
        "sameuser",
        "+staff",
        "@names",
        "/x",
        "10.0.0.0/8",
        "10.0.0.1",
        "255.0.0.0",
        "::1/128",
        "db.example.org",
        "samenet",
        "trust",
        "scram-sha-256",
        "ldap",
        "map=m",
        "include",
        "include_dir",
        "ldapbasedn=x",
        "ldapserver=x",
        "/(a|b)",
        "x=",
        "\"",
        "\"\"",
        "\\\n",
        "\n",
        ",",
        "#",
        " ",
        " ",
        " ",
        "\t",
        "ü",
        "\u{0}",
    ];
    cases(2, |random| {
        let text: String = (0..random.below(24)).map(|_| random.pick(PIECES)).collect();
        let (path, files) = (Path::new("f"), Made(text.clone()));
        let rules = hba::read(path, &files).unwrap().into_iter().filter_map(Result::err);
        let maps = ident::read(path, &files).unwrap().into_iter().filter_map(Result::err);
        for problem in rules.chain(maps).filter(|problem| &*problem.file == "f") {
            assert!(problem.line >= 1 && problem.line <= text.lines().count(), "{problem}");
            assert!(problem.column >= 1, "{problem}");
        }
    });
}

#[test]
fn stored_passwords_are_read_or_refused() {
    let good = scram::Verifier::with_salt(b"secret", 2, b"salt").to_string();
    cases(2, |random| {
        let mut text = vec![good.clone().into_bytes()];
        damage(random, &mut text, 14);
        if let Ok(text) = std::str::from_utf8(&text.concat())
            && let Some(password::Stored::Scram(verifier)) = password::Stored::parse(text)
        {
            assert!(verifier.iterations > 0);
        }
    });
}
