//! `pgprefork init --tls-self-signed`: a certificate for this machine's names, its key, and the settings that name them.
//! For trying TLS out: clients can check it only by having a copy of it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, SanType, date_time_ymd};

use crate::config::FILE_NAME;

const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
const YEARS: i32 = 10;

/// Makes them in the data directory.
pub(super) fn create(data: &Path) -> Result<(), String> {
    let (certificate, key) = make().map_err(|error| format!("could not make a certificate: {error}"))?;
    for (name, text) in [(CERTIFICATE, certificate), (KEY, key)] {
        let path = data.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| format!("could not create {}: {error}", path.display()))?;
        file.write_all(text.as_bytes()).map_err(|error| format!("could not write {}: {error}", path.display()))?;
    }
    let settings = data.join(FILE_NAME);
    let lines = format!("\n[tls]\ncert = \"{CERTIFICATE}\"\nkey = \"{KEY}\"\n");
    OpenOptions::new()
        .append(true)
        .open(&settings)
        .and_then(|mut file| file.write_all(lines.as_bytes()))
        .map_err(|error| format!("could not write {}: {error}", settings.display()))
}

/// Certificate and key, PEM.
fn make() -> Result<(String, String), rcgen::Error> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let mut names = vec!["localhost".to_owned()];
    // One that cannot be in a certificate is left out.
    if host != "localhost" && !host.is_empty() && host.is_ascii() {
        names.push(host.clone());
    }
    let mut params = CertificateParams::new(names)?;
    let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, if host.is_empty() { "localhost" } else { &host });
    params.is_ca = IsCa::ExplicitNoCa;
    let today = jiff::Zoned::now().date().saturating_sub(jiff::Span::new().days(1));
    let day = |year: i32| {
        // 29 February is not in every year.
        let (month, day) = (today.month().unsigned_abs(), today.day().unsigned_abs().min(28));
        date_time_ymd(year, month, day)
    };
    params.not_before = day(i32::from(today.year()));
    params.not_after = day(i32::from(today.year()) + YEARS);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
