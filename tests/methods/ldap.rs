//! LDAP against slapd: simple bind, search and bind, ldaps, StartTLS, and a directory that does not answer.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::support::free_port;
use super::{
    Daemon, assert_hanging_ones_hold_up_nobody, assert_refused, folder, log_in, reload, run, server, wait_until,
};

/// A directory with two people, reached plain and by TLS.
struct Slapd {
    _daemon: Daemon,
    folder: tempfile::TempDir,
    port: u16,
    tls_port: u16,
}

const ENTRIES: &str = "dn: dc=example,dc=net
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: uid=ann,dc=example,dc=net
objectClass: inetOrgPerson
uid: ann
sn: A
cn: Ann
mail: ann@example.net
userPassword: secret1

dn: uid=bob,dc=example,dc=net
objectClass: inetOrgPerson
uid: bob
sn: B
cn: Bob
mail: bob@example.net
userPassword: secret2

dn: ou=twins,dc=example,dc=net
objectClass: organizationalUnit
ou: twins

dn: uid=bob,ou=twins,dc=example,dc=net
objectClass: inetOrgPerson
uid: bob
sn: B
cn: Another Bob
userPassword: secret3
";

impl Slapd {
    fn start() -> Slapd {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("db")).expect("a folder");
        let (key, crt) = (path("server.key"), path("server.crt"));
        run(Command::new("openssl")
            .args([
                "req",
                "-new",
                "-x509",
                "-days",
                "2",
                "-nodes",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&crt));
        let settings = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\nTLSCACertificateFile {crt}\nTLSCertificateFile {crt}\n\
             TLSCertificateKeyFile {key}\ndatabase ldif\ndirectory {db}\nsuffix \"dc=example,dc=net\"\n\
             rootdn \"cn=Manager,dc=example,dc=net\"\nrootpw manager\n",
            crt = crt.display(),
            key = key.display(),
            db = path("db").display()
        );
        fs::write(path("slapd.conf"), settings).expect("a file");
        fs::write(path("entries.ldif"), ENTRIES).expect("a file");
        fs::write(path("ldap.conf"), format!("TLS_CACERT {}\n", crt.display())).expect("a file");
        let slapd = program("slapd");
        run(Command::new(&slapd).args(["-T", "add", "-f"]).arg(path("slapd.conf")).arg("-l").arg(path("entries.ldif")));
        let (port, tls_port) = (free_port(), free_port());
        let uris = format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}");
        // "-d" keeps it in the foreground.
        let daemon =
            Daemon::start(Command::new(&slapd).arg("-f").arg(path("slapd.conf")).args(["-h", &uris, "-d", "0"]));
        wait_until("slapd answers", || std::net::TcpStream::connect(("127.0.0.1", tls_port)).is_ok());
        Slapd { _daemon: daemon, folder, port, tls_port }
    }

    /// For the server's environment: whose certificates it trusts.
    fn ldap_conf(&self) -> String {
        self.folder.path().join("ldap.conf").display().to_string()
    }
}

/// Debian keeps daemons out of everybody's PATH but root's.
fn program(name: &str) -> std::path::PathBuf {
    let sbin = Path::new("/usr/sbin").join(name);
    if sbin.exists() { sbin } else { name.into() }
}

#[test]
fn binds_and_searches_are_asked_of_the_directory() {
    let slapd = Slapd::start();
    let Slapd { port, tls_port, .. } = &slapd;
    let rule = |options: &str| format!("host all all 127.0.0.1/32 ldap {options}");
    let simple = format!("ldapserver=127.0.0.1 ldapport={port} ldapprefix=\"uid=\" ldapsuffix=\",dc=example,dc=net\"");
    let (server, _folder) = server(&rule(&simple), &[], &[("LDAPCONF", &slapd.ldap_conf())]);
    let failed = "LDAP authentication failed for user \"ann\"";
    assert_eq!(log_in(&server, "user=ann password=secret1", &[]).as_deref(), Ok("ann"));
    assert_refused(
        &server,
        "user=ann password=wrong",
        failed,
        "LDAP login failed for user \"uid=ann,dc=example,dc=net\"",
    );
    assert_refused(&server, "user=ann password=''", "no password supplied", "");
    assert_refused(&server, "user=bob password=secret1", "LDAP authentication failed for user \"bob\"", "line 3");

    let base = format!("ldapserver=127.0.0.1 ldapport={port} ldapbasedn=\"dc=example,dc=net\"");
    reload(&server, &rule(&base));
    assert_eq!(log_in(&server, "user=ann password=secret1", &[]).as_deref(), Ok("ann"));
    assert_refused(&server, "user=ann password=secret2", failed, "LDAP login failed");
    // Two of that name: whose password would count?
    assert_refused(&server, "user=bob password=secret2", "LDAP authentication failed", "is not unique");
    assert_refused(&server, "user=carl password=secret2", "LDAP authentication failed", "does not exist");
    assert_refused(
        &server,
        "user='a*' password=secret1",
        "LDAP authentication failed",
        "invalid character in user name",
    );
    reload(&server, &rule(&format!("{base} ldapsearchattribute=cn")));
    assert_refused(&server, "user=ann password=wrong", failed, "LDAP login failed");
    reload(&server, &rule(&format!("{base} ldapsearchfilter=\"(mail=$username@example.net)\"")));
    assert_eq!(log_in(&server, "user=bob password=secret2", &[]).as_deref(), Ok("bob"));
    reload(&server, &rule(&format!("{base} ldapbinddn=\"cn=Manager,dc=example,dc=net\" ldapbindpasswd=manager")));
    assert_eq!(log_in(&server, "user=ann password=secret1", &[]).as_deref(), Ok("ann"));
    reload(&server, &rule(&format!("{base} ldapbinddn=\"cn=Manager,dc=example,dc=net\" ldapbindpasswd=wrong")));
    assert_refused(&server, "user=ann password=secret1", failed, "could not perform initial LDAP bind");
    assert!(!server.log().contains("ldapbindpasswd=wrong"), "the log keeps passwords to itself");

    let url = format!("ldapurl=\"ldap://127.0.0.1:{port}/dc=example,dc=net?uid?one\"");
    reload(&server, &rule(&url));
    assert_eq!(log_in(&server, "user=bob password=secret2", &[]).as_deref(), Ok("bob"));
    let several = format!(
        "ldapserver=\"127.0.0.1:1 127.0.0.1\" ldapport={port} ldapprefix=\"uid=\" ldapsuffix=\",dc=example,dc=net\""
    );
    reload(&server, &rule(&several));
    assert_eq!(log_in(&server, "user=ann password=secret1", &[]).as_deref(), Ok("ann"), "{}", server.log());

    reload(&server, &rule(&format!("{base} ldaptls=1")));
    assert_eq!(log_in(&server, "user=ann password=secret1", &[]).as_deref(), Ok("ann"), "{}", server.log());
    let ldaps = format!("ldapscheme=ldaps ldapserver=127.0.0.1 ldapport={tls_port} ldapbasedn=\"dc=example,dc=net\"");
    reload(&server, &rule(&ldaps));
    assert_eq!(log_in(&server, "user=ann password=secret1", &[]).as_deref(), Ok("ann"), "{}", server.log());
}

#[test]
fn a_directory_whose_certificate_nobody_trusts_is_sent_no_password() {
    let slapd = Slapd::start();
    let options =
        format!("ldapscheme=ldaps ldapserver=127.0.0.1 ldapport={} ldapbasedn=\"dc=example,dc=net\"", slapd.tls_port);
    let (server, _folder) = server(&format!("host all all 127.0.0.1/32 ldap {options}"), &[], &[]);
    assert_refused(&server, "user=ann password=secret1", "LDAP authentication failed for user \"ann\"", "LDAP server");
}

#[test]
fn a_directory_that_does_not_answer_holds_up_its_own_clients_only() {
    // Takes connections, and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
    let port = silent.local_addr().expect("an address").port();
    let rule = format!("host all all 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport={port} ldapprefix=\"uid=\"");
    let settings = [
        "--set",
        "auth.authentication_timeout=5s",
        "--set",
        "pool.max_sessions=60",
        "--set",
        "auth.max_unauthenticated=50",
    ];
    let (server, _folder) = server(&rule, &settings, &[]);
    assert_hanging_ones_hold_up_nobody(&server, "user=ann password=secret1");
}
