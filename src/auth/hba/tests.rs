//! Files good and bad, and which rule a connection meets.

use super::super::lexicon::tests::{alone, made};
use super::*;

fn parse(text: &str) -> Rules {
    read(Path::new("f"), &alone(text)).unwrap().into_iter().map(Result::unwrap).collect()
}

fn problems(text: &str) -> Vec<String> {
    let lines = read(Path::new("h"), &made([("h", text)])).unwrap();
    let problems: Vec<_> = lines.iter().filter_map(|line| line.as_ref().err()).map(ToString::to_string).collect();
    assert!(!problems.is_empty(), "{lines:?}");
    problems
}

fn host(address: &str) -> Connection {
    Connection::Host { address: address.parse().unwrap(), tls: false }
}

fn tls(address: &str) -> Connection {
    Connection::Host { address: address.parse().unwrap(), tls: true }
}

/// The number of the line that decides, or the message.
fn line(rules: &Rules, connection: &Connection, database: &str, user: &str) -> Result<usize, String> {
    let is_member = |role: &str| user != "stranger" && (role == user || role == "staff");
    let host_name = || Some("db.example.org".to_owned());
    let applicant = Applicant { connection, database, user, is_member: &is_member, host_name: &host_name };
    match rules.find(&applicant) {
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
    // Whoever is no role is a member of none, not even of one of its own name.
    assert!(line(&parse("local samerole all trust"), &local, "stranger", "stranger").is_err());
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
fn names_may_be_regular_expressions() {
    let rules = parse("local /^db[0-9]+$ /^(ann|bob)$ trust\nlocal \"/^x{1,2}$\" all trust\nlocal shop /n reject");
    let local = Connection::Local;
    assert_eq!(line(&rules, &local, "db12", "bob"), Ok(1));
    assert_eq!(line(&rules, &local, "xx", "ann"), Ok(2));
    assert!(line(&rules, &local, "db12", "bobby").is_err() && line(&rules, &local, "db", "ann").is_err());
    assert!(line(&rules, &local, "shop", "ann").unwrap_err().starts_with("pg_hba.conf rejects"));
    assert_eq!(
        problems("local /( all trust"),
        ["h:1:7: invalid regular expression \"(\": parentheses () not balanced"]
    );
}

#[test]
fn hosts_by_name_and_connections_by_encryption() {
    let rules = parse(
        "hostgssenc all all all trust\nhostnogssenc one all db.example.org trust\nhost two all .example.org trust",
    );
    assert_eq!(line(&rules, &host("10.0.0.1"), "one", "u"), Ok(2));
    assert_eq!(line(&rules, &tls("10.0.0.1"), "two", "u"), Ok(3));
    assert!(line(&rules, &host("10.0.0.1"), "three", "u").is_err());
}

#[test]
fn methods_and_their_options() {
    let rules = parse(
        "local all all peer map=ops\nlocal all all ident\n\
         hostssl all all all cert map=m clientname=DN\nhostssl all all all scram-sha-256 clientcert=verify-full\n\
         host all all all gss include_realm=0 krb_realm=A.COM\nhost all all all pam pamservice=s pam_use_hostname=1\n\
         host all all all ldap ldapserver=x ldapprefix=\"uid=\" ldapsuffix=\",dc=y\"\n\
         host all all all ldap ldapurl=\"ldaps://h:7/dc=a%20b??sub?(x=1)\" ldapbinddn=b ldapbindpasswd=secret\n",
    );
    let found: Vec<_> = rules.iter().map(|rule| (rule.method, &*rule.options)).collect();
    assert_eq!((found[0].0, found[0].1.map.as_deref()), (Method::Peer, Some("ops")));
    assert_eq!((found[1].0, found[1].1.map.as_deref()), (Method::Peer, None));
    assert_eq!(found[2].1.client_name, ClientName::DistinguishedName);
    assert_eq!(found[2].1.client_certificate, ClientCertificate::VerifyFull);
    assert_eq!((found[3].0, found[3].1.client_certificate), (Method::ScramSha256, ClientCertificate::VerifyFull));
    assert_eq!((found[4].1.include_realm, found[4].1.krb_realm.as_deref()), (false, Some("A.COM")));
    assert_eq!((found[5].1.pam_service.as_deref(), found[5].1.pam_use_hostname), (Some("s"), true));
    assert_eq!(found[6].1.ldap.suffix.as_deref(), Some(",dc=y"));
    let ldap = &found[7].1.ldap;
    assert_eq!((ldap.scheme.as_deref(), ldap.server.as_deref(), ldap.port), (Some("ldaps"), Some("h"), 7));
    assert_eq!((ldap.base.as_deref(), ldap.attribute.as_deref()), (Some("dc=a b"), None));
    assert_eq!((ldap.scope, ldap.filter.as_deref()), (LdapScope::Subtree, Some("(x=1)")));
}

#[test]
fn the_password_of_a_rule_is_not_shown() {
    for option in [
        "ldapbindpasswd=hu\"sh",
        "\"ldapbindpasswd=hu\"\"sh\"",
        "ldapbindpasswd=\"hu\"\"sh\"",
        "ldapbindpasswd=\"hu\"\"\"s\"h",
        "ldapbindpasswd=hu\"\"\"\"sh, ldapbindpasswd=\"hu\"\"sh\"",
    ] {
        let rules = parse(&format!("host all all all ldap ldapserver=x ldapbasedn=y ldapbinddn=z {option}"));
        let rule = rules.iter().next().unwrap();
        let secret = rule.options.ldap.bind_password.as_deref().unwrap();
        assert!(secret.starts_with("hu") && secret.ends_with("sh"), "{secret}");
        assert!(!format!("{rule:?}").contains("hu"), "{rule:?}");
        assert!(rule.options.shown.contains(&"ldapbindpasswd=***".to_owned()));
    }
}

#[test]
fn options_that_do_not_belong_or_are_missing() {
    let cases = [
        ("host all all all cert", "18: cert authentication is only supported on hostssl connections"),
        ("host all all all peer", "18: peer authentication is only supported on local sockets"),
        ("local all all gss", "15: gssapi authentication is not supported on local sockets"),
        ("host all all all radius", "18: invalid authentication method \"radius\": not supported by this build"),
        (
            "local all all scram-sha-256 map=x",
            "29: authentication option \"map\" is only valid for authentication methods ident, peer, gssapi, sspi, and cert",
        ),
        (
            "host all all all md5 pamservice=x",
            "22: authentication option \"pamservice\" is only valid for authentication methods pam",
        ),
        (
            "host all all all md5 ldaptls=1",
            "22: authentication option \"ldaptls\" is only valid for authentication methods ldap",
        ),
        ("host all all all md5 clientcert=verify-ca", "22: clientcert can only be configured for \"hostssl\" rows"),
        ("hostssl all all all md5 clientcert=1", "25: invalid value for clientcert: \"1\""),
        (
            "hostssl all all all cert clientcert=verify-ca",
            "26: clientcert only accepts \"verify-full\" when using \"cert\" authentication",
        ),
        ("hostssl all all all cert clientname=X", "26: invalid value for clientname: \"X\""),
        ("host all all all ldap", "18: authentication method \"ldap\" requires argument \"ldapserver\" to be set"),
        (
            "host all all all ldap ldapserver=x",
            "18: authentication method \"ldap\" requires argument \"ldapbasedn\", \"ldapprefix\", or \"ldapsuffix\" to be set",
        ),
        (
            "host all all all ldap ldapserver=x ldapprefix=a ldapbasedn=b",
            "18: cannot mix options for simple bind and search+bind modes",
        ),
        (
            "host all all all ldap ldapserver=x ldapbasedn=b ldapsearchattribute=a ldapsearchfilter=f",
            "18: cannot use ldapsearchattribute together with ldapsearchfilter",
        ),
        ("host all all all ldap ldapport=x", "23: invalid LDAP port number: \"x\""),
        ("host all all all ldap ldapurl=http://x/", "23: unsupported LDAP URL scheme: http"),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(text), [format!("h:1:{expected}")], "{text}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    assert_eq!(problems("local\n\nlocal all all trust\nx y z\n").len(), 2);
}
