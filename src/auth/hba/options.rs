//! The options of a rule: which method takes which, what they may say, and what must be said.

use super::parse::{Parsed, Place};
use super::{Method, Transport};

/// What a rule says beyond its method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `map=`: the user name map to use.
    pub map: Option<String>,
    /// `clientcert=`.
    pub client_certificate: ClientCertificate,
    /// `clientname=`.
    pub client_name: ClientName,
    /// `pamservice=`.
    pub pam_service: Option<String>,
    /// `pam_use_hostname=1`.
    pub pam_use_hostname: bool,
    /// `include_realm=`: the realm stays part of the name.
    pub include_realm: bool,
    /// `krb_realm=`: the only realm that is accepted.
    pub krb_realm: Option<String>,
    /// `ldap…=`.
    pub ldap: Ldap,
    /// All of them as they were written, but for secrets.
    pub shown: Vec<String>,
}

/// Whether a client has to show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// No.
    #[default]
    Any,
    /// Yes, one that is verified.
    VerifyCa,
    /// Yes, and its name has to be that of the role.
    VerifyFull,
}

/// Which name of a certificate counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientName {
    /// The common name.
    #[default]
    CommonName,
    /// The distinguished name, as RFC 2253 writes it.
    DistinguishedName,
}

/// How far below its base a search looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LdapScope {
    /// The base itself.
    Base,
    /// Its children.
    One,
    /// All below it.
    #[default]
    Subtree,
}

/// Where a directory is, and how a role is found in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ldap {
    /// Servers, separated by blanks.
    pub server: Option<String>,
    /// 0: the scheme's.
    pub port: u16,
    /// `ldap` or `ldaps`.
    pub scheme: Option<String>,
    /// StartTLS.
    pub tls: bool,
    /// Before and after the role's name, for a simple bind.
    pub prefix: Option<String>,
    /// See there.
    pub suffix: Option<String>,
    /// Where to search; then the entry that was found is bound as.
    pub base: Option<String>,
    /// Who searches.
    pub bind_dn: Option<String>,
    /// With this password.
    pub bind_password: Option<String>,
    /// What has to be the role's name.
    pub attribute: Option<String>,
    /// Or a whole filter, with `$username`.
    pub filter: Option<String>,
    /// How far to search.
    pub scope: LdapScope,
}

impl std::fmt::Debug for Ldap {
    /// Without the password, which a log must not keep.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ldap").field("server", &self.server).field("base", &self.base).finish_non_exhaustive()
    }
}

/// The password of a rule is not shown.
pub(super) const SECRET: &str = "ldapbindpasswd";

impl Options {
    /// Before the options of a line are read.
    pub(super) fn of(method: Method) -> Self {
        // A certificate is what the method is about.
        let client_certificate =
            if method == Method::Cert { ClientCertificate::VerifyFull } else { ClientCertificate::Any };
        Self { client_certificate, include_realm: true, ..Self::default() }
    }

    /// Takes up one option.
    pub(super) fn set(&mut self, place: &Place<'_>, name: &str, value: &str) -> Parsed<()> {
        let Place { method, transport, .. } = *place;
        let only_for = |is_valid: bool, methods: &str| {
            if is_valid {
                return Ok(());
            }
            Err(place.problem(format!(
                "authentication option \"{name}\" is only valid for authentication methods {methods}"
            )))
        };
        let only_tls = || match transport {
            Transport::HostTls => Ok(()),
            _ => Err(place.problem(format!("{name} can only be configured for \"hostssl\" rows"))),
        };
        let text = Some(value.to_owned());
        match name {
            "map" => {
                let named = matches!(method, Method::Ident | Method::Peer | Method::Gss | Method::Cert);
                only_for(named, "ident, peer, gssapi, sspi, and cert")?;
                self.map = text;
            }
            "clientcert" => {
                only_tls()?;
                self.client_certificate = match value {
                    "verify-full" => ClientCertificate::VerifyFull,
                    "verify-ca" if method == Method::Cert => {
                        let message = "clientcert only accepts \"verify-full\" when using \"cert\" authentication";
                        return Err(place.problem(message.into()));
                    }
                    "verify-ca" => ClientCertificate::VerifyCa,
                    _ => return Err(place.problem(format!("invalid value for clientcert: \"{value}\""))),
                };
            }
            "clientname" => {
                only_tls()?;
                self.client_name = match value {
                    "CN" => ClientName::CommonName,
                    "DN" => ClientName::DistinguishedName,
                    _ => return Err(place.problem(format!("invalid value for clientname: \"{value}\""))),
                };
            }
            "pamservice" | "pam_use_hostname" => {
                only_for(method == Method::Pam, "pam")?;
                match name {
                    "pamservice" => self.pam_service = text,
                    _ => self.pam_use_hostname = value == "1",
                }
            }
            "krb_realm" | "include_realm" => {
                only_for(method == Method::Gss, "gssapi and sspi")?;
                match name {
                    "krb_realm" => self.krb_realm = text,
                    _ => self.include_realm = value == "1",
                }
            }
            "compat_realm" | "upn_username" => only_for(false, "sspi")?,
            "radiusservers" | "radiusports" | "radiussecrets" | "radiusidentifiers" => only_for(false, "radius")?,
            "issuer" | "scope" | "validator" | "delegate_ident_mapping" => only_for(false, "oauth")?,
            _ if name.starts_with("ldap") => {
                let ldap = &mut self.ldap;
                let known = match name {
                    "ldapurl" => {
                        only_for(method == Method::Ldap, "ldap")?;
                        return ldap.set_url(value).map_err(|error| place.problem(error));
                    }
                    "ldapserver" => &mut ldap.server,
                    "ldapprefix" => &mut ldap.prefix,
                    "ldapsuffix" => &mut ldap.suffix,
                    "ldapbasedn" => &mut ldap.base,
                    "ldapbinddn" => &mut ldap.bind_dn,
                    SECRET => &mut ldap.bind_password,
                    "ldapsearchattribute" => &mut ldap.attribute,
                    "ldapsearchfilter" => &mut ldap.filter,
                    "ldapscheme" | "ldapport" | "ldaptls" => &mut None,
                    _ => return Err(unknown(place, name)),
                };
                only_for(method == Method::Ldap, "ldap")?;
                match name {
                    "ldapscheme" if !matches!(value, "ldap" | "ldaps") => {
                        return Err(place.problem(format!("invalid ldapscheme value: \"{value}\"")));
                    }
                    "ldapscheme" => ldap.scheme = text,
                    "ldapport" => match value.parse() {
                        Ok(port) if port != 0 => ldap.port = port,
                        _ => return Err(place.problem(format!("invalid LDAP port number: \"{value}\""))),
                    },
                    "ldaptls" => ldap.tls = value == "1",
                    _ => *known = text,
                }
            }
            _ => return Err(unknown(place, name)),
        }
        Ok(())
    }

    /// Once all of them have been read: what does not go together, and what is missing.
    pub(super) fn check(&self, place: &Place<'_>) -> Parsed<()> {
        if place.method != Method::Ldap {
            return Ok(());
        }
        let Ldap { server, prefix, suffix, base, bind_dn, bind_password, attribute, filter, .. } = &self.ldap;
        let missing = |argument: &str| {
            place.problem(format!("authentication method \"ldap\" requires argument \"{argument}\" to be set"))
        };
        if base.is_none() && server.is_none() {
            return Err(missing("ldapserver"));
        }
        let searches = [base, bind_dn, bind_password, attribute, filter].iter().any(|option| option.is_some());
        if (prefix.is_some() || suffix.is_some()) && searches {
            let message = "cannot mix options for simple bind and search+bind modes";
            return Err(place.problem(message.into()));
        }
        if prefix.is_none() && suffix.is_none() && base.is_none() {
            let message = "authentication method \"ldap\" requires argument \"ldapbasedn\", \"ldapprefix\", or \
                           \"ldapsuffix\" to be set";
            return Err(place.problem(message.into()));
        }
        if attribute.is_some() && filter.is_some() {
            return Err(place.problem("cannot use ldapsearchattribute together with ldapsearchfilter".into()));
        }
        Ok(())
    }
}

fn unknown(place: &Place<'_>, name: &str) -> Box<super::Problem> {
    place.problem(format!("unrecognized authentication option name: \"{name}\""))
}

impl Ldap {
    /// `ldapurl=`: RFC 4516's form, `ldap[s]://host[:port]/base[?attribute[?scope[?filter]]]`.
    fn set_url(&mut self, url: &str) -> Result<(), String> {
        let wrong = |why: &str| format!("could not parse LDAP URL \"{url}\": {why}");
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        if !matches!(scheme, "ldap" | "ldaps") {
            return Err(format!("unsupported LDAP URL scheme: {scheme}"));
        }
        self.scheme = Some(scheme.to_owned());
        let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, port) = match host.rsplit_once(':') {
            // Colons within brackets are the address's own.
            Some((name, port)) if !port.contains(']') => {
                (name, Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("the port is none"))?))
            }
            _ => (host, None),
        };
        let decode = |text: &str| decoded(text).ok_or_else(|| wrong("an escape is none"));
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(decode).transpose();
        if !name.is_empty() {
            self.server = Some(decode(name)?);
        }
        self.port = port.unwrap_or(0);
        let mut parts = rest.split('?');
        self.base = Some(given(parts.next())?.unwrap_or_default()).filter(|base| !base.is_empty());
        if let Some(attributes) = given(parts.next())? {
            // Only the first one is used.
            self.attribute = attributes.split(',').next().map(str::to_owned);
        }
        self.scope = match parts.next() {
            None | Some("" | "base") => LdapScope::Base,
            Some("one") => LdapScope::One,
            Some("sub") => LdapScope::Subtree,
            Some(_) => return Err(wrong("the scope is none")),
        };
        self.filter = given(parts.next())?;
        match parts.next() {
            None | Some("") => Ok(()),
            Some(_) => Err(wrong("extensions are not known")),
        }
    }
}

/// Without percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
