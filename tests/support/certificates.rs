//! A cluster with TLS: certificate authorities, a server's certificate, clients', all made by OpenSSL.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Server;

/// A cluster with a CA, a server's certificate under it, and clients'.
pub struct Place {
    pub directory: tempfile::TempDir,
}

impl Place {
    /// `auth`: how clients prove who they are.
    pub fn new(auth: &str) -> Place {
        let directory = tempfile::Builder::new().prefix("pgprefork-tls-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let place = Place { directory };
        place.init(&["--auth", auth]);
        place.ca("root");
        place.signed("server", "root", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1");
        place.give("server");
        place
    }

    /// `pgprefork init` with these arguments.
    pub fn init(&self, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
        let output = command.arg("init").arg("--data").arg(self.data()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A file beside it.
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A certificate authority.
    pub fn ca(&self, name: &str) {
        let (key, crt) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.crt")));
        let subject = format!("/CN={name} CA");
        let mut arguments = vec!["req", "-new", "-x509", "-days", "2", "-subj", &subject];
        arguments.extend(["-addext", "basicConstraints=critical,CA:TRUE", "-out", &crt, "-keyout", &key]);
        openssl(&[&arguments[..], &NEW_KEY].concat());
    }

    /// A key and a certificate that such a one has signed.
    pub fn signed(&self, name: &str, ca: &str, subject: &str, extension: &str) {
        let [key, csr, crt, ext] = ["key", "csr", "crt", "ext"].map(|kind| self.path(&format!("{name}.{kind}")));
        let (ca_crt, ca_key) = (self.path(&format!("{ca}.crt")), self.path(&format!("{ca}.key")));
        openssl(&[&["req", "-new", "-subj", subject, "-keyout", &key, "-out", &csr][..], &NEW_KEY].concat());
        std::fs::write(&ext, format!("basicConstraints=CA:FALSE\n{extension}\n")).unwrap();
        let arguments = ["x509", "-req", "-days", "2", "-in", &csr, "-CA", &ca_crt, "-CAkey", &ca_key];
        openssl(&[&arguments[..], &["-CAcreateserial", "-extfile", &ext, "-out", &crt]].concat());
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// Makes that pair the server's: in the data directory, owned by the server's user.
    pub fn give(&self, name: &str) {
        let owner = std::fs::metadata(self.data()).unwrap();
        for (from, to) in [
            (format!("{name}.crt"), "server.crt"),
            (format!("{name}.key"), "server.key"),
            ("root.crt".to_owned(), "root.crt"),
        ] {
            let to = self.data().join(to);
            std::fs::copy(self.path(&from), &to).unwrap();
            chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    /// Starts a server with TLS on it.
    pub fn start(&self, settings: &[&str]) -> Server {
        Server::start_on(&self.data(), &self.arguments(settings), &[])
    }

    /// The arguments of such a server.
    pub fn arguments<'a>(&self, settings: &[&'a str]) -> Vec<&'a str> {
        let own = ["tls.cert=server.crt", "tls.key=server.key", "tls.client_ca=root.crt", "log.connections=true"];
        own.iter().chain(settings).flat_map(|setting| ["--set", setting]).collect()
    }

    /// Runs statements through psql with these parameters beside the server's address.
    pub fn psql(&self, server: &Server, parameters: &str, sql: &str) -> Result<String, String> {
        let parameters = parameters.replace("{}", &self.directory.path().display().to_string());
        let target = format!("host=localhost hostaddr=127.0.0.1 port={} dbname=postgres {parameters}", server.port);
        let output = Command::new(super::postgres_program("psql"))
            .args(["-X", "-Atq", "-v", "ON_ERROR_STOP=1", "-c", sql, &target])
            .envs([("PGUSER", "postgres"), ("PGCONNECT_TIMEOUT", "30"), ("HOME", "/nowhere")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

const NEW_KEY: [&str; 5] = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// Runs OpenSSL.
pub fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
