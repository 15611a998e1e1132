//! PAM, by service files of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{assert_hanging_ones_hold_up_nobody, assert_refused, folder, log_in, reload, server};

/// A service file; removed when dropped.
struct Service {
    name: String,
    path: PathBuf,
}

impl Service {
    fn new(kind: &str, lines: &str) -> Service {
        let name = format!("pgprefork-test-{}-{kind}", std::process::id());
        let path = PathBuf::from("/etc/pam.d").join(&name);
        fs::write(&path, lines).expect("a service file: this test has to be run as root");
        Service { name, path }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A module that takes one password, told to it by PAM on standard input.
fn script(folder: &tempfile::TempDir, text: &str) -> String {
    let path = folder.path().join("check");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    path.display().to_string()
}

#[test]
fn services_decide_who_is_let_in() {
    let folder = folder();
    let check =
        script(&folder, "[ \"$(tr -d '\\0')\" = secret ] && [ \"$PAM_USER\" = ann ] && [ \"$PAM_RHOST\" = 127.0.0.1 ]");
    let asks = format!("auth required pam_exec.so quiet expose_authtok {check}\naccount required pam_permit.so\n");
    let asks = Service::new("asks", &asks);
    let rule = |service: &str| format!("host all all 127.0.0.1/32 pam pamservice={service}");
    let (server, _folder) = server(&rule(&asks.name), &[], &[]);
    assert_eq!(log_in(&server, "user=ann password=secret", &[]).as_deref(), Ok("ann"), "{}", server.log());
    let failed = "PAM authentication failed for user \"ann\"";
    assert_refused(&server, "user=ann password=wrong", failed, "pam_authenticate failed");
    assert_refused(&server, "user=bob password=secret", "PAM authentication failed for user \"bob\"", "line 3");
    assert_refused(&server, "user=ann", "no password supplied", "");
    // Nobody asks for a password.
    let open = Service::new("open", "auth required pam_permit.so\naccount required pam_permit.so\n");
    reload(&server, &rule(&open.name));
    assert_eq!(log_in(&server, "user=bob", &[]).as_deref(), Ok("bob"));
    let expired = Service::new("account", "auth required pam_permit.so\naccount required pam_deny.so\n");
    reload(&server, &rule(&expired.name));
    assert_refused(&server, "user=ann", failed, "pam_acct_mgmt failed");
    // No file: PAM falls back on "other", which refuses on Debian, or refuses itself.
    reload(&server, &rule("pgprefork-test-no-such-service"));
    assert_refused(&server, "user=ann password=wrong", failed, "failed");
}

#[test]
fn a_module_that_sleeps_holds_up_its_own_clients_only() {
    let folder = folder();
    let sleeps = script(&folder, "exec sleep 30");
    let service =
        Service::new("sleeps", &format!("auth required pam_exec.so quiet {sleeps}\naccount required pam_permit.so\n"));
    let rule = format!("host all all 127.0.0.1/32 pam pamservice={}", service.name);
    let settings = [
        "--set",
        "auth.authentication_timeout=5s",
        "--set",
        "pool.max_sessions=60",
        "--set",
        "auth.max_unauthenticated=50",
    ];
    let (server, _folder) = server(&rule, &settings, &[]);
    assert_hanging_ones_hold_up_nobody(&server, "user=ann password=secret");
}
