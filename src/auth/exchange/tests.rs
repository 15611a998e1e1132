//! Whole exchanges, with the client's side of the codec at the other end.

use std::path::Path;

use super::*;
use crate::auth::lexicon::tests::alone;
use crate::auth::password::{encrypt, md5_hash};
use crate::auth::scram::MECHANISM;
use crate::auth::scram::client::Client;
use crate::protocol::client::{Backend, ClientEncoder};
use crate::protocol::{Next, frame};

struct Fixture {
    role: Option<Role>,
    rules: Rules,
    maps: Maps,
    system_user: Result<String, String>,
    connection: Connection,
    common_name: Option<&'static str>,
}

impl Roles for Fixture {
    fn role(&self, name: &str) -> Option<Role> {
        self.role.clone().filter(|role| role.name == name)
    }
}

impl Fixture {
    fn new(method: &str, password: Option<String>) -> Fixture {
        let role = Role {
            oid: 16384,
            name: "ann".into(),
            superuser: false,
            login: true,
            connection_limit: -1,
            valid_until_us: None,
            password,
            memberships: vec!["staff".into()],
        };
        let text = format!("local all +staff,ghost {method}");
        Fixture {
            role: Some(role),
            rules: crate::auth::hba::read(Path::new("f"), &alone(&text))
                .unwrap()
                .into_iter()
                .map(Result::unwrap)
                .collect(),
            maps: crate::auth::ident::read(Path::new("f"), &alone("ops root ann"))
                .unwrap()
                .into_iter()
                .map(Result::unwrap)
                .collect(),
            system_user: Ok("root".into()),
            connection: Connection::Local,
            common_name: None,
        }
    }

    fn with<T>(&self, body: impl FnOnce(&Environment<'_>) -> T) -> T {
        let certificate =
            self.common_name.map(|name| CertificateNames { common: Some(name), distinguished: "CN=x,O=y" });
        let environment = Environment {
            rules: &self.rules,
            maps: &self.maps,
            roles: self,
            mock_secret: &[3; 32],
            now_us: 1_000,
            server_end_point: None,
            peer_user: &|| self.system_user.clone(),
            host_name: &|| Some("client.example.org".into()),
            certificate,
            verifies_certificates: true,
            keeps_keys: false,
        };
        body(&environment)
    }

    fn start(&self, user: &str, out: &mut Vec<u8>) -> Result<Step, Refusal> {
        self.with(|environment| Exchange::start(environment, &self.connection, "shop", user, out))
    }

    /// Plays a client with this password to the end.
    fn play(&self, user: &str, password: &str) -> Result<Identity, Refusal> {
        let mut from_server = Vec::new();
        let mut step = self.start(user, &mut from_server)?;
        let mut client = Client::new().unwrap();
        loop {
            let exchange = match step {
                Step::Done(identity) => return Ok(identity),
                Step::Wait(exchange) => exchange,
                Step::Judge(pending) => panic!("{pending:?}"),
            };
            let mut to_server = Vec::new();
            answer(&from_server, user, password, &mut client, &mut ClientEncoder::new(&mut to_server));
            from_server.clear();
            let Ok(Next::Complete(frame, _)) = frame::next_response(&to_server, exchange.expects()) else {
                panic!("{to_server:?}")
            };
            step = exchange.step(frame, &mut from_server)?;
        }
    }
}

fn answer(from_server: &[u8], user: &str, password: &str, client: &mut Client, out: &mut ClientEncoder<'_>) {
    let Ok(Next::Complete(frame, length)) = crate::protocol::client::next(from_server) else {
        panic!("{from_server:?}")
    };
    assert_eq!(length, from_server.len());
    match Backend::decode(frame).unwrap() {
        Backend::AuthenticationCleartextPassword => out.password(password),
        Backend::AuthenticationMd5Password(salt) => {
            out.password(&md5_response(&md5_hash(password.as_bytes(), user.as_bytes()), salt));
        }
        Backend::AuthenticationSasl(mechanisms) => out.sasl_initial_response(mechanisms[0], &client.first()),
        Backend::AuthenticationSaslContinue(data) => {
            out.sasl_response(&client.answer(data, password.as_bytes(), &mut None).unwrap());
        }
        other => panic!("{other:?}"),
    }
}

fn failure(result: Result<Identity, Refusal>) -> (String, String) {
    let refusal = result.unwrap_err();
    (refusal.error.to_string(), refusal.log_detail.unwrap_or_default())
}

#[test]
fn the_right_password_by_every_method() {
    let scram = encrypt("ann", "secret").unwrap();
    let md5 = Some(md5_hash(b"secret", b"ann"));
    for (method, stored) in
        [("scram-sha-256", &scram), ("md5", &scram), ("md5", &md5), ("password", &scram), ("password", &md5)]
    {
        let identity = Fixture::new(method, stored.clone()).play("ann", "secret").unwrap();
        assert_eq!(identity.authenticated_as.as_deref(), Some("ann"), "{method}");
        assert!(identity.role.is_some());
    }
}

#[test]
fn every_failure_looks_the_same_to_the_client() {
    let scram = encrypt("ann", "secret").unwrap();
    let md5 = Some(md5_hash(b"secret", b"ann"));
    let mut expired = Fixture::new("scram-sha-256", scram.clone());
    expired.role.as_mut().unwrap().valid_until_us = Some(999);
    let cases = [
        (Fixture::new("scram-sha-256", scram.clone()), "Password does not match for user \"ann\"."),
        (Fixture::new("scram-sha-256", md5.clone()), "User \"ann\" does not have a valid SCRAM secret."),
        (Fixture::new("scram-sha-256", None), "User \"ann\" has no password assigned."),
        (expired, "User \"ann\" has an expired password."),
        (Fixture::new("md5", md5), "Password does not match for user \"ann\"."),
        (Fixture::new("password", scram), "Password does not match for user \"ann\"."),
        (Fixture::new("password", None), "User \"ann\" has no password assigned."),
    ];
    for (fixture, reason) in cases {
        let (message, detail) = failure(fixture.play("ann", "wrong"));
        assert_eq!(message, "password authentication failed for user \"ann\" (28P01)");
        assert!(detail.starts_with(reason), "{detail}");
        assert!(detail.contains("Connection matched file \"f\" line 1: \"local all +staff,ghost"), "{detail}");
    }
}

#[test]
fn an_unknown_role_gets_the_same_challenge_twice() {
    let fixture = Fixture::new("scram-sha-256", encrypt("ann", "secret").unwrap());
    let (message, detail) = failure(fixture.play("ghost", "secret"));
    assert_eq!(message, "password authentication failed for user \"ghost\" (28P01)");
    assert!(detail.starts_with("Role \"ghost\" does not exist."), "{detail}");

    let salt = || {
        let mut out = Vec::new();
        let Ok(Step::Wait(exchange)) = fixture.start("ghost", &mut out) else { panic!() };
        let mut response = Vec::new();
        ClientEncoder::new(&mut response).sasl_initial_response(MECHANISM, b"n,,n=,r=abc");
        let Ok(Next::Complete(frame, _)) = frame::next_response(&response, "SASL response") else { panic!() };
        out.clear();
        exchange.step(frame, &mut out).unwrap();
        let text = String::from_utf8_lossy(&out).into_owned();
        text.split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(salt(), salt());
}

#[test]
fn trust_asks_nothing_and_reject_says_so() {
    let identity = Fixture::new("trust", None).play("ghost", "").unwrap();
    assert_eq!((identity.role, identity.authenticated_as), (None, None));
    let (message, _) = failure(Fixture::new("reject", None).play("ann", ""));
    assert!(message.starts_with("pg_hba.conf rejects connection for host \"[local]\", user \"ann\""), "{message}");
    let (message, _) = failure(Fixture::new("trust", None).play("stranger", ""));
    assert!(message.starts_with("no pg_hba.conf entry for host \"[local]\", user \"stranger\""), "{message}");
}

#[test]
fn peer_goes_by_the_system_user() {
    let identity = Fixture::new("peer map=ops", None).play("ann", "").unwrap();
    assert_eq!(identity.authenticated_as.as_deref(), Some("root"));
    let (message, detail) = failure(Fixture::new("peer", None).play("ann", ""));
    assert_eq!(message, "Peer authentication failed for user \"ann\" (28000)");
    assert!(detail.starts_with("provided user name (ann) and authenticated user name (root) do not match"));
    let unknown = Fixture { system_user: Err("no such uid".into()), ..Fixture::new("peer", None) };
    assert!(failure(unknown.play("ann", "")).1.starts_with("no such uid"));
}

#[test]
fn a_client_without_a_first_message_gets_an_empty_challenge() {
    let fixture = Fixture::new("scram-sha-256", encrypt("ann", "secret").unwrap());
    let mut out = Vec::new();
    let Ok(Step::Wait(exchange)) = fixture.start("ann", &mut out) else { panic!() };
    out.clear();
    let body = b"SCRAM-SHA-256\0\xff\xff\xff\xff";
    let Ok(Step::Wait(exchange)) = exchange.step(Frame { kind: b'p', body }, &mut out) else { panic!() };
    assert_eq!(out, b"R\0\0\0\x08\0\0\0\x0b");
    out.clear();
    let step = exchange.step(Frame { kind: b'p', body: b"n,,n=,r=abc" }, &mut out);
    assert!(matches!(step, Ok(Step::Wait(_))), "{step:?}");
}

#[test]
fn responses_that_break_the_rules() {
    let refused = |method: &str, body: &[u8]| {
        let fixture = Fixture::new(method, encrypt("ann", "secret").unwrap());
        let Ok(Step::Wait(exchange)) = fixture.start("ann", &mut Vec::new()) else { panic!() };
        exchange.step(Frame { kind: b'p', body }, &mut Vec::new()).unwrap_err().error.to_string()
    };
    assert_eq!(
        refused("scram-sha-256", b"PLAIN\0\0\0\0\0"),
        "client selected an invalid SASL authentication mechanism (08P01)"
    );
    assert_eq!(refused("scram-sha-256", b"SCRAM-SHA-256\0"), "insufficient data left in message (08P01)");
    assert_eq!(refused("scram-sha-256", b"SCRAM-SHA-256\0\0\0\0\0x"), "invalid message format (08P01)");
    assert_eq!(refused("password", b"\0"), "empty password returned by client (28P01)");
    assert_eq!(refused("password", b"secret"), "invalid password packet size (08P01)");
    assert_eq!(refused("password", b"sec\0ret\0"), "invalid password packet size (08P01)");
}

#[test]
fn a_rule_may_want_a_certificate_and_its_name() {
    let mut fixture = Fixture::new("trust", None);
    let rules = |text: &str| {
        let lines = crate::auth::hba::read(Path::new("f"), &alone(text)).unwrap();
        lines.into_iter().map(Result::unwrap).collect()
    };
    fixture.connection = Connection::Host { address: "10.0.0.1".parse().unwrap(), tls: true };
    let start = |fixture: &Fixture| match fixture.start("ann", &mut Vec::new()) {
        Ok(Step::Done(identity)) => Ok(identity.authenticated_as),
        Ok(step) => panic!("{step:?}"),
        Err(refusal) => Err((refusal.error.fields().message.clone(), refusal.log_detail.unwrap_or_default())),
    };
    let cases = [("trust clientcert=verify-ca", true), ("trust clientcert=verify-full", false), ("cert", false)];
    for (method, any_name_will_do) in cases {
        fixture.rules = rules(&format!("hostssl all all all {method}"));
        fixture.common_name = None;
        assert_eq!(start(&fixture).unwrap_err().0, "connection requires a valid client certificate");
        fixture.common_name = Some("ann");
        assert!(start(&fixture).is_ok(), "{method}");
        fixture.common_name = Some("bob");
        match start(&fixture) {
            Ok(_) => assert!(any_name_will_do, "{method}"),
            Err((_, detail)) => {
                assert!(!any_name_will_do && detail.contains("(bob) do not match"), "{method}: {detail}")
            }
        }
    }
    fixture.rules = rules("hostssl all all all cert map=ops");
    fixture.common_name = Some("root");
    assert_eq!(start(&fixture), Ok(Some("CN=x,O=y".to_owned())));
    fixture.rules = rules("hostssl all all all cert clientname=DN");
    let (message, detail) = start(&fixture).unwrap_err();
    assert_eq!(message, "certificate authentication failed for user \"ann\"");
    assert!(detail.contains("(CN=x,O=y) do not match"), "{detail}");
}

#[test]
fn a_judges_verdict_decides() {
    let mut fixture = Fixture::new("trust", None);
    fixture.connection = Connection::Host { address: "10.0.0.1".parse().unwrap(), tls: false };
    let judged = |fixture: &mut Fixture, rule: &str, verdict: Result<&str, &str>| {
        let lines =
            crate::auth::hba::read(Path::new("f"), &alone(&format!("host all all .example.org {rule}"))).unwrap();
        fixture.rules = lines.into_iter().map(Result::unwrap).collect();
        let Ok(Step::Judge(pending)) = fixture.start("ann", &mut Vec::new()) else { panic!("{rule}") };
        let verdict = verdict.map(str::to_owned).map_err(str::to_owned);
        match fixture.with(|environment| pending.judged(environment, verdict)) {
            Ok(Step::Done(identity)) => Ok(identity.authenticated_as),
            Ok(step) => panic!("{step:?}"),
            Err(refusal) => Err(refusal.error.fields().message.clone()),
        }
    };
    let mut judged = |rule: &str, verdict| judged(&mut fixture, rule, verdict);
    assert_eq!(judged("ident", Ok("ann")), Ok(Some("ann".into())));
    assert_eq!(judged("ident map=ops", Ok("root")), Ok(Some("root".into())));
    assert_eq!(judged("ident", Ok("bob")), Err("Ident authentication failed for user \"ann\"".into()));
    assert_eq!(judged("pam", Ok("anybody")), Ok(Some("anybody".into())));
    assert_eq!(judged("pam", Err("no")), Err("PAM authentication failed for user \"ann\"".into()));
    assert_eq!(judged("gss", Ok("ann@A.COM")), Err("GSSAPI authentication failed for user \"ann\"".into()));
    let ldap = "ldap ldapserver=x ldapprefix=y";
    assert_eq!(judged(ldap, Err("no")), Err("LDAP authentication failed for user \"ann\"".into()));
}
