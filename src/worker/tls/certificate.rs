//! What authentication needs of an X.509 certificate (RFC 5280): names, serial number, and which hash its signature
//! uses. Pure: DER in, values out. Checks no signatures; that has been done by whoever hands the certificate over.

use std::fmt::Write as _;

use sha2::{Digest, Sha256, Sha384, Sha512};

const CONTEXT_0: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `id-RSASSA-PSS`, whose hash is among its parameters.
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];

/// A certificate that does not have the form of one, or says something that must not be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject as RFC 2253 writes it (`CN=ann,O=Example`), which `clientname=DN` compares.
    pub subject: String,
    /// The subject on one line in the certificate's order (`/O=Example/CN=ann`), which pg_stat_ssl and the log show.
    pub subject_line: String,
    /// The subject's first common name.
    pub common_name: Option<String>,
    /// The issuer, in the one-line form.
    pub issuer_line: String,
    /// The serial number, decimal.
    pub serial: String,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// The hash of `tls-server-end-point` (RFC 5929) over the certificate; None where its signature has no hash.
    pub end_point: Option<Vec<u8>>,
}

impl Certificate {
    /// Reads one certificate.
    pub fn parse(der: &[u8]) -> Result<Certificate, Malformed> {
        let mut outer = Reader(der);
        let mut certificate = Reader(outer.take(SEQUENCE)?);
        let mut signed = Reader(certificate.take(SEQUENCE)?);
        let algorithm = certificate.take(SEQUENCE)?;
        certificate.take(BIT_STRING)?;
        if signed.peek() == Some(CONTEXT_0) {
            signed.take(CONTEXT_0)?;
        }
        let serial = signed.take(INTEGER)?;
        signed.take(SEQUENCE)?;
        let issuer = Name::parse(signed.take(SEQUENCE)?)?;
        signed.take(SEQUENCE)?;
        let subject = Name::parse(signed.take(SEQUENCE)?)?;
        let public_key = signed.take_whole(SEQUENCE)?.to_vec();
        let common_name = subject.common_name()?;
        Ok(Certificate {
            subject: subject.rfc_2253(),
            subject_line: subject.line(),
            common_name,
            issuer_line: issuer.line(),
            serial: decimal(serial),
            public_key,
            end_point: signature_hash(algorithm)?.map(|hash| hash.over(der)),
        })
    }
}

/// Tag-length-value, one after another.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The contents of the next element, which has to have that tag.
    fn take(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let (found, contents, _) = self.any()?;
        if found == tag { Ok(contents) } else { Err(Malformed("an unexpected element in a certificate")) }
    }

    /// The same with tag and length in front.
    fn take_whole(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let (found, _, whole) = self.any()?;
        if found == tag { Ok(whole) } else { Err(Malformed("an unexpected element in a certificate")) }
    }

    fn any(&mut self) -> Result<(u8, &'a [u8], &'a [u8]), Malformed> {
        let cut_short = Malformed("a certificate that is cut short");
        let [tag, length, rest @ ..] = self.0 else { return Err(cut_short) };
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f)).ok_or(cut_short)?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return Err(Malformed("an element of impossible length in a certificate")),
        };
        let (contents, after) = rest.split_at_checked(length).ok_or(cut_short)?;
        let whole = self.0.get(..self.0.len() - after.len()).ok_or(cut_short)?;
        self.0 = after;
        Ok((*tag, contents, whole))
    }
}

/// A distinguished name: groups of attributes, in the certificate's order.
struct Name(Vec<Vec<(Vec<u8>, String)>>);

impl Name {
    fn parse(contents: &[u8]) -> Result<Name, Malformed> {
        let mut groups = Vec::new();
        let mut reader = Reader(contents);
        while reader.peek().is_some() {
            let mut group = Vec::new();
            let mut set = Reader(reader.take(SET)?);
            while set.peek().is_some() {
                let mut attribute = Reader(set.take(SEQUENCE)?);
                let kind = attribute.take(OBJECT_IDENTIFIER)?;
                let (tag, value, _) = attribute.any()?;
                group.push((kind.to_vec(), text(tag, value)));
            }
            groups.push(group);
        }
        Ok(Name(groups))
    }

    /// The first one counts, as in PostgreSQL. With a zero byte in it, it could be taken for a shorter name.
    fn common_name(&self) -> Result<Option<String>, Malformed> {
        let name = self.0.iter().flatten().find(|(kind, _)| kind == COMMON_NAME);
        match name.map(|(_, value)| value) {
            Some(name) if name.contains('\0') => Err(Malformed("SSL certificate's common name contains embedded null")),
            name => Ok(name.cloned()),
        }
    }

    fn line(&self) -> String {
        let mut line = String::new();
        for (kind, value) in self.0.iter().flatten() {
            let _ = write!(line, "/{}={}", attribute_name(kind), escaped(value, false));
        }
        line
    }

    fn rfc_2253(&self) -> String {
        let group = |group: &Vec<(Vec<u8>, String)>| {
            let attribute =
                |(kind, value): &(Vec<u8>, String)| format!("{}={}", attribute_name(kind), escaped(value, true));
            group.iter().rev().map(attribute).collect::<Vec<_>>().join("+")
        };
        self.0.iter().rev().map(group).collect::<Vec<_>>().join(",")
    }
}

/// A name's value as text. What is not UTF-8 by its type is Latin-1 (T61String, as OpenSSL takes it), UTF-16
/// (BMPString) or UTF-32 (UniversalString).
fn text(tag: u8, bytes: &[u8]) -> String {
    const UTF8: u8 = 0x0c;
    const UNIVERSAL: u8 = 0x1c;
    const BMP: u8 = 0x1e;
    match tag {
        UTF8 => String::from_utf8_lossy(bytes).into_owned(),
        BMP => {
            let units =
                bytes.chunks_exact(2).map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        UNIVERSAL => {
            let units =
                bytes.chunks_exact(4).map(|four| four.iter().fold(0, |unit, byte| unit << 8 | u32::from(*byte)));
            units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// RFC 2253, section 2.4; with what is not ASCII byte by byte where `is_ascii`, as OpenSSL's XN_FLAG_RFC2253 does.
fn escaped(value: &str, is_ascii: bool) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (index, c) in value.chars().enumerate() {
        let is_special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (index == 0 && matches!(c, '#' | ' '))
            || (index == last && c == ' ');
        if is_special {
            out.push('\\');
        }
        if c.is_ascii_control() || (is_ascii && !c.is_ascii()) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "\\{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// OpenSSL's short names; other attributes by their number.
fn attribute_name(kind: &[u8]) -> String {
    let name = match kind {
        COMMON_NAME => "CN",
        [0x55, 0x04, 0x04] => "SN",
        [0x55, 0x04, 0x05] => "serialNumber",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x09] => "street",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        [0x55, 0x04, 0x0c] => "title",
        [0x55, 0x04, 0x2a] => "GN",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => "emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
        _ => return dotted(kind),
    };
    name.to_owned()
}

/// An object identifier in numbers.
fn dotted(kind: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0_u64;
    for byte in kind {
        arc = arc.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// A big-endian number (never negative in a serial number that counts) in decimal digits.
fn decimal(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = vec![0];
    // RFC 5280 allows 20 bytes; more are cut, so that nobody makes this long.
    for byte in bytes.iter().take(32) {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = (carry % 10) as u8;
            carry /= 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn over(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(bytes).to_vec(),
            Hash::Sha384 => Sha384::digest(bytes).to_vec(),
            Hash::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// RFC 5929, section 4.1: the hash of the certificate's signature; SHA-256 in place of MD5 and SHA-1; none where the
/// signature has no hash of its own (Ed25519) or one that is not known here.
fn signature_hash(algorithm: &[u8]) -> Result<Option<Hash>, Malformed> {
    let mut reader = Reader(algorithm);
    let identifier = reader.take(OBJECT_IDENTIFIER)?;
    if identifier == RSA_PSS {
        // RSASSA-PSS-params: [0] hashAlgorithm, SHA-1 when it is left out.
        let mut parameters = Reader(reader.take(SEQUENCE)?);
        if parameters.peek() != Some(CONTEXT_0) {
            return Ok(Some(Hash::Sha256));
        }
        let mut tagged = Reader(parameters.take(CONTEXT_0)?);
        let mut hash = Reader(tagged.take(SEQUENCE)?);
        return Ok(match hash.take(OBJECT_IDENTIFIER)? {
            // 2.16.840.1.101.3.4.2.x, and SHA-1.
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 1] | [0x2b, 0x0e, 0x03, 0x02, 0x1a] => Some(Hash::Sha256),
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 2] => Some(Hash::Sha384),
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 3] => Some(Hash::Sha512),
            _ => None,
        });
    }
    Ok(match identifier {
        // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 4 | 5 | 11]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 1]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 2] => Some(Hash::Sha256),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 12] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 3] => {
            Some(Hash::Sha384)
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 13] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 4] => {
            Some(Hash::Sha512)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::process::Command;

    /// A self-signed certificate made by OpenSSL.
    fn certificate(arguments: &[&str]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let (key, out) = (directory.path().join("key"), directory.path().join("crt"));
        let made = Command::new("openssl")
            .args(["req", "-new", "-x509", "-nodes", "-days", "2", "-utf8", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&out)
            .args(arguments)
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        CertificateDer::from_pem_file(&out).unwrap().to_vec()
    }

    fn shown_by_openssl(der: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), der).unwrap();
        let arguments = ["x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253", "-in"];
        let shown = Command::new("openssl").args(arguments).arg(file.path()).output().unwrap();
        String::from_utf8(shown.stdout).unwrap()
    }

    const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

    #[test]
    fn names_and_serial_number_are_read() {
        let subject = "/O=Example, Inc/OU=#1/CN=ann/UID=4+CN=\u{fc}x";
        let der = certificate(
            &[&EC[..], &["-set_serial", "0x0102030405060708090a", "-multivalue-rdn", "-subj", subject]].concat(),
        );
        let read = Certificate::parse(&der).unwrap();
        assert_eq!(read.subject_line, "/O=Example\\, Inc/OU=\\#1/CN=ann/CN=\u{fc}x/UID=4");
        assert_eq!(format!("subject={}\n", read.subject), shown_by_openssl(&der));
        assert_eq!(read.subject, "UID=4+CN=\\C3\\BCx,CN=ann,OU=\\#1,O=Example\\, Inc");
        assert_eq!(read.common_name.as_deref(), Some("ann"));
        assert_eq!(read.issuer_line, read.subject_line);
        assert_eq!(read.serial, "4759477275222530853130");
    }

    #[test]
    fn the_end_point_is_hashed_as_the_signature_says() {
        let hash = |arguments: &[&str]| {
            let arguments = [arguments, &["-subj", "/CN=x"]].concat();
            Certificate::parse(&certificate(&arguments)).unwrap().end_point.map(|hash| hash.len())
        };
        assert_eq!(hash(&[&EC[..], &["-sha256"]].concat()), Some(32));
        assert_eq!(hash(&[&EC[..], &["-sha1"]].concat()), Some(32));
        assert_eq!(hash(&[&EC[..], &["-sha512"]].concat()), Some(64));
        assert_eq!(hash(&["-newkey", "rsa:2048", "-sha384"]), Some(48));
        assert_eq!(hash(&["-newkey", "rsa:2048", "-sha512", "-sigopt", "rsa_padding_mode:pss"]), Some(64));
        assert_eq!(hash(&["-newkey", "ed25519"]), None);
    }

    #[test]
    fn a_certificate_cut_short_anywhere_is_refused() {
        let der = certificate(&[&EC[..], &["-subj", "/CN=ann"]].concat());
        for length in 0..der.len() {
            assert!(Certificate::parse(&der[..length]).is_err(), "{length}");
        }
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0x55;
            let _ = Certificate::parse(&damaged);
        }
    }

    #[test]
    fn a_zero_byte_in_the_common_name_is_refused() {
        let mut der = certificate(&[&EC[..], &["-subj", "/CN=annXevil"]].concat());
        let at = der.windows(8).rposition(|window| window == b"annXevil").unwrap();
        der[at + 3] = 0;
        assert!(Certificate::parse(&der).unwrap_err().0.contains("embedded null"));
    }
}
