//! Files good and bad, and which rule a connection meets.

use super::*;

fn parse(text: &str) -> Rules {
    Rules::parse(&Source::alone("pg_hba.conf", text)).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    match Rules::parse(&Source::alone("h", text)) {
        Ok(rules) => panic!("{rules:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn host(address: &str) -> Connection {
    Connection::Host { address: address.parse().unwrap(), tls: false }
}

fn tls(address: &str) -> Connection {
    Connection::Host { address: address.parse().unwrap(), tls: true }
}

/// The number of the line that decides, or the message.
fn line(rules: &Rules, connection: &Connection, database: &str, user: &str) -> Result<usize, String> {
    match rules.find(connection, database, user, &|role| role == "staff") {
        Decision::Authenticate(rule) => Ok(rule.line),
        Decision::Refuse(error, _) => {
            assert_eq!(error.condition(), Condition::InvalidAuthorizationSpecification);
            Err(error.fields().message.clone())
        }
    }
}

#[test]
fn the_file_that_initdb_writes() {
    let rules = parse(
        "# TYPE  DATABASE        USER            ADDRESS                 METHOD\n\
         local   all             all                                     trust\n\
         host    all             all             127.0.0.1/32            scram-sha-256\n\
         host    all             all             ::1/128                 md5\n\
         local   replication     all                                     trust\n",
    );
    assert_eq!(line(&rules, &Connection::Local, "shop", "ann"), Ok(2));
    assert_eq!(line(&rules, &host("127.0.0.1"), "shop", "ann"), Ok(3));
    assert_eq!(line(&rules, &host("::ffff:127.0.0.1"), "shop", "ann"), Ok(3));
    assert_eq!(line(&rules, &host("::1"), "shop", "ann"), Ok(4));
    assert_eq!(
        line(&rules, &host("10.0.0.1"), "shop", "ann"),
        Err("no pg_hba.conf entry for host \"10.0.0.1\", user \"ann\", database \"shop\", no encryption".into())
    );
    assert_eq!(
        line(&rules, &tls("10.0.0.1"), "shop", "ann"),
        Err("no pg_hba.conf entry for host \"10.0.0.1\", user \"ann\", database \"shop\", SSL encryption".into())
    );
}

#[test]
fn databases_and_users_by_keyword_list_and_membership() {
    let rules = parse(
        "local sameuser,\"all\" all trust\n\
         local samerole all trust\n\
         local shop ann,+staff trust\n\
         local replication all trust\n\
         local depot \"+staff\" trust\n\
         local all bob reject\n",
    );
    let local = Connection::Local;
    assert_eq!(line(&rules, &local, "ann", "ann"), Ok(1));
    assert_eq!(line(&rules, &local, "all", "ann"), Ok(1));
    assert_eq!(line(&rules, &local, "staff", "ann"), Ok(2));
    assert_eq!(line(&rules, &local, "shop", "bob"), Ok(3));
    assert_eq!(line(&rules, &local, "depot", "+staff"), Ok(5));
    assert_eq!(
        line(&rules, &local, "depot", "bob"),
        Err("pg_hba.conf rejects connection for host \"[local]\", user \"bob\", database \"depot\", no encryption"
            .into())
    );
    // A database that happens to be called "replication" is not meant by the keyword.
    assert!(line(&rules, &local, "replication", "ann").is_err());
}

#[test]
fn addresses_in_every_form() {
    let rules = parse(
        "hostssl all all 10.1.0.0/16 trust\n\
         hostnossl all all 10.1.2.0 255.255.255.0 trust\n\
         host all all 10.9.9.9/0 reject\n\
         host all all fe80::/10 trust\n\
         host one all samehost trust\n\
         host two all samenet trust\n\
         host all all all trust\n",
    );
    assert_eq!(line(&rules, &tls("10.1.200.1"), "d", "u"), Ok(1));
    assert_eq!(line(&rules, &host("10.1.2.1"), "d", "u"), Ok(2));
    assert!(line(&rules, &host("10.1.3.1"), "d", "u").is_err());
    assert_eq!(line(&rules, &host("fe80::1"), "d", "u"), Ok(4));
    assert_eq!(line(&rules, &host("::1"), "one", "u"), Ok(5));
    assert_eq!(line(&rules, &host("::1"), "two", "u"), Ok(6));
    assert_eq!(line(&rules, &host("2001:db8::1"), "one", "u"), Ok(7));
}

#[test]
fn lines_that_end_too_early() {
    assert_eq!(problems("local"), ["h:1:6: end-of-line before database specification"]);
    assert_eq!(problems("local all"), ["h:1:10: end-of-line before role specification"]);
    assert_eq!(problems("host all all"), ["h:1:13: end-of-line before IP address specification"]);
    assert_eq!(
        problems("host all all 10.0.0.1"),
        ["h:1:22: end-of-line before netmask specification \
          (Specify an address range in CIDR notation, or provide a separate netmask.)"]
    );
    assert_eq!(problems("local all all"), ["h:1:14: end-of-line before authentication method"]);
}

#[test]
fn words_that_mean_nothing() {
    assert_eq!(problems("remote all all trust"), ["h:1:1: invalid connection type \"remote\""]);
    assert_eq!(
        problems("local,host all all trust"),
        ["h:1:1: multiple values specified for connection type (Specify exactly one connection type per line.)"]
    );
    assert_eq!(problems("local all all magic"), ["h:1:15: invalid authentication method \"magic\""]);
    assert_eq!(
        problems("local all all trust,md5"),
        ["h:1:15: multiple values specified for authentication type \
          (Specify exactly one authentication type per line.)"]
    );
    assert_eq!(
        problems("host all all db.example.org/24 trust"),
        ["h:1:14: specifying both host name and CIDR mask is invalid: \"db.example.org/24\""]
    );
    for bad in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/+8", "::1/129"] {
        assert_eq!(
            problems(&format!("host all all {bad} trust")),
            [format!("h:1:14: invalid CIDR mask in address \"{bad}\"")]
        );
    }
    assert_eq!(problems("host all all 10.0.0.0 trust md5"), ["h:1:23: invalid IP mask \"trust\""]);
    assert_eq!(problems("host all all 10.0.0.0 ffff:: md5"), ["h:1:23: IP address and mask do not match"]);
    assert_eq!(problems("local all all trust fast"), ["h:1:21: authentication option not in name=value format: fast"]);
    assert_eq!(
        problems("local all all trust speed=fast"),
        ["h:1:21: unrecognized authentication option name: \"speed\""]
    );
}

#[test]
fn what_is_not_here_yet_is_refused_by_name() {
    assert_eq!(
        problems("host all all all ldap ldapserver=x"),
        ["h:1:18: authentication method \"ldap\" is not supported yet"]
    );
    assert_eq!(
        problems("host all all db.example.org trust"),
        ["h:1:14: host name \"db.example.org\" as address is not supported yet"]
    );
    assert_eq!(problems("local /^a all trust"), ["h:1:7: regular expression \"/^a\" is not supported yet"]);
    assert_eq!(problems("include other.conf"), ["h:1:1: directive \"include\" is not supported yet"]);
    assert_eq!(problems("hostgssenc all all all trust"), ["h:1:1: GSSAPI encryption is not supported yet"]);
    assert_eq!(
        problems("host all all all cert"),
        ["h:1:18: cert authentication is only supported on hostssl connections"]
    );
    assert_eq!(problems("host all all all peer"), ["h:1:18: peer authentication is only supported on local sockets"]);
    assert_eq!(
        problems("local all all scram-sha-256 map=x"),
        ["h:1:29: authentication option \"map\" is only valid for authentication methods \
          ident, peer, gssapi, sspi, and cert"]
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    assert_eq!(problems("local\n\nlocal all all trust\nx y z\n").len(), 2);
}

#[test]
fn peer_takes_a_map() {
    let rules = parse("local all all peer map=ops\nlocal all all ident\n");
    let found: Vec<_> = rules.iter().map(|rule| (rule.method, rule.map.as_deref())).collect();
    assert_eq!(found, [(Method::Peer, Some("ops")), (Method::Peer, None)]);
}
