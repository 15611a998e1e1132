//! Judges of authentication outside of this server: an ident server, an LDAP directory, PAM, Kerberos.
//!
//! Each may take as long as it likes: they run aside (see `aside`), while the worker keeps its client's deadline.

use std::borrow::Cow;
use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use zeroize::Zeroizing;

use super::aside::{self, Questions};
use super::startup::{Failure, receive};
use super::transport::{Sent, Transport};
use crate::auth::hba::{Ldap, LdapScope, Options};
use crate::auth::{Method, received_password};
use crate::error::Error;
use crate::protocol::Encoder;
use crate::protocol::frame::{self, Next};
use crate::system::{gss, ldap, names, outgoing, pam};

/// The port of ident servers (RFC 1413).
const IDENT_PORT: u16 = 113;
/// The longest answer of one.
const IDENT_BYTES: u64 = 1000;
/// The PAM service of a rule that names none.
const PAM_SERVICE: &str = "postgresql";

/// What is asked of the client on a judge's behalf.
enum Question {
    Password,
    /// A first token, or an answer to this one.
    Token(Option<Vec<u8>>),
    /// Nothing: the last token, by which the client knows the server. It goes out with what follows it.
    Told(Vec<u8>),
}

type Secret = Zeroizing<Vec<u8>>;
type Verdict = Result<String, String>;
type Client = Questions<Question, Secret, Option<Verdict>>;

/// The client whose case it is.
pub struct Case<'a> {
    /// The role that it wants to be.
    pub user: &'a str,
    /// What the rule says.
    pub options: &'a Options,
    /// Both ends of its connection, if it is one by TCP: here and there.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// `auth.krb_server_keyfile`.
    pub keytab: Option<String>,
}

/// Has the method's judge decide: who the client is in its terms, or for the log why it is not let in.
pub fn decide(
    method: Method,
    case: &Case<'_>,
    transport: &mut Transport,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Verdict, Failure> {
    let work = match method {
        Method::Ident => ident(case),
        Method::Ldap => by_ldap(case),
        Method::Pam => by_pam(case),
        Method::Gss => by_gss(case),
        method => return Err(Error::internal(format!("{} has no judge", method.name())).into()),
    };
    let answer = |question, interrupted: &mut dyn FnMut() -> bool| ask(question, transport, deadline, interrupted);
    // A client that went is nobody's case any more.
    aside::run(work, answer, deadline, interrupted)?.ok_or(Failure::Gone)
}

type Work = Box<dyn FnOnce(&Client) -> Option<Verdict> + Send>;

/// Carries a question to the client and its answer back.
fn ask(
    question: Question,
    transport: &mut Transport,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Secret, Failure> {
    let mut encoder = Encoder::new(transport.output());
    let expected = match &question {
        Question::Password => {
            encoder.authentication_cleartext_password();
            "password response"
        }
        Question::Token(None) => {
            encoder.authentication_gss();
            "GSS response"
        }
        Question::Token(Some(token)) => {
            encoder.authentication_gss_continue(token);
            "GSS response"
        }
        Question::Told(token) => {
            encoder.authentication_gss_continue(token);
            return Ok(Secret::default());
        }
    };
    if transport.send(interrupted)? == Sent::Interrupted {
        return Err(Failure::Gone);
    }
    loop {
        match frame::next_response(transport.unread(), expected).map_err(Error::from)? {
            Next::Complete(frame, length) => {
                let answer = match question {
                    Question::Password => received_password(frame).map_err(|refusal| refusal.error)?.to_vec(),
                    Question::Token(_) | Question::Told(_) => frame.body.to_vec(),
                };
                transport.consume(length);
                return Ok(Zeroizing::new(answer));
            }
            Next::Missing(_) => receive(transport, deadline, interrupted)?,
        }
    }
}

/// Text for a C library: without a zero byte, which would end it early.
fn text(text: impl Into<Vec<u8>>) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a zero byte in a name or a password".to_owned())
}

fn ident(case: &Case<'_>) -> Work {
    let ends = case.ends;
    Box::new(move |_| {
        let Some((here, there)) = ends else { return Some(Err("not a TCP connection".to_owned())) };
        Some(ask_ident(here, there))
    })
}

/// One query of RFC 1413. It goes out from the address that the client sees, or the ident server would know of no such
/// connection.
fn ask_ident(here: SocketAddr, there: SocketAddr) -> Verdict {
    let server = SocketAddr::new(there.ip().to_canonical(), IDENT_PORT);
    let could_not = |what: &str, error: std::io::Error| format!("could not {what} Ident server at {server}: {error}");
    let from = SocketAddr::new(here.ip().to_canonical(), 0);
    let mut stream = outgoing::connect(from, server).map_err(|error| could_not("connect to", error))?;
    let query = format!("{},{}\r\n", there.port(), here.port());
    stream.write_all(query.as_bytes()).map_err(|error| could_not("send query to", error))?;
    let mut line = Vec::new();
    let mut answer = BufReader::new(stream.take(IDENT_BYTES));
    answer.read_until(b'\n', &mut line).map_err(|error| could_not("receive response from", error))?;
    let line = String::from_utf8_lossy(&line);
    ident_user(&line).ok_or_else(|| {
        format!("invalidly formatted response from Ident server: \"{}\"", line.trim_end().escape_debug())
    })
}

/// The user of `port, port : USERID : system : user`.
fn ident_user(line: &str) -> Option<String> {
    // Without its end it may be cut short, and name somebody else.
    let mut fields = line.strip_suffix("\r\n")?.splitn(4, ':');
    fields.next()?;
    if fields.next()?.trim() != "USERID" {
        return None;
    }
    fields.next()?;
    Some(fields.next()?.trim_start_matches([' ', '\t']).to_owned()).filter(|user| !user.is_empty())
}

fn by_ldap(case: &Case<'_>) -> Work {
    let (user, options) = (case.user.to_owned(), case.options.ldap.clone());
    Box::new(move |client| {
        let password = client.ask(Question::Password)?;
        Some(bind(&user, &options, &password))
    })
}

/// Finds the user in the directory, and binds as that.
fn bind(user: &str, options: &Ldap, password: &[u8]) -> Verdict {
    let uris = uris(options)?;
    let open = || ldap::Connection::open(&text(uris.as_str())?, options.tls);
    let name = match &options.base {
        None => {
            let affix = |affix: &Option<String>| affix.clone().unwrap_or_default();
            format!("{}{user}{}", affix(&options.prefix), affix(&options.suffix))
        }
        Some(base) => {
            // What has a meaning in filters is in no role's name that a directory knows.
            if user.contains(['*', '(', ')', '\\', '/']) {
                return Err("invalid character in user name for LDAP authentication".to_owned());
            }
            let connection = open()?;
            let searcher = options.bind_dn.clone().unwrap_or_default();
            let secret = options.bind_password.clone().map(Zeroizing::new).unwrap_or_default();
            connection.bind(&text(searcher.as_str())?, secret.as_bytes()).map_err(|error| {
                format!(
                    "could not perform initial LDAP bind for ldapbinddn \"{searcher}\" on server \"{uris}\": {error}"
                )
            })?;
            let filter = filter(options, user);
            let scope = match options.scope {
                LdapScope::Base => ldap::Scope::Base,
                LdapScope::One => ldap::Scope::One,
                LdapScope::Subtree => ldap::Scope::Subtree,
            };
            let found = connection.search(&text(base.as_str())?, scope, &text(filter.as_str())?).map_err(|error| {
                format!("could not search LDAP for filter \"{filter}\" on server \"{uris}\": {error}")
            })?;
            let returned =
                |count: &str| format!("LDAP search for filter \"{filter}\" on server \"{uris}\" returned {count}");
            match found.as_slice() {
                [name] => name.to_string_lossy().into_owned(),
                [] => return Err(format!("LDAP user \"{user}\" does not exist: {}", returned("no entries."))),
                _ => return Err(format!("LDAP user \"{user}\" is not unique: {}", returned("several entries."))),
            }
        }
    };
    open()?
        .bind(&text(name.as_str())?, password)
        .map_err(|error| format!("LDAP login failed for user \"{name}\" on server \"{uris}\": {error}"))?;
    Ok(name)
}

/// The servers, as OpenLDAP's library is told of them. Where the rule names none, DNS does.
fn uris(options: &Ldap) -> Result<String, String> {
    let scheme = options.scheme.as_deref().unwrap_or("ldap");
    let mut server = Cow::Borrowed(options.server.as_deref().unwrap_or_default());
    if server.trim().is_empty() {
        server = Cow::Owned(ldap::servers_of(&text(options.base.clone().unwrap_or_default())?)?);
    }
    let port = match (options.port, scheme) {
        (0, "ldaps") => 636,
        (0, _) => 389,
        (port, _) => port,
    };
    let uri = |host: &str| match host.rsplit_once(':') {
        Some((name, own))
            if !own.is_empty() && own.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains(':') =>
        {
            format!("{scheme}://{host}")
        }
        _ => format!("{scheme}://{host}:{port}"),
    };
    Ok(server.split_whitespace().map(uri).collect::<Vec<_>>().join(" "))
}

fn filter(options: &Ldap, user: &str) -> String {
    match (&options.filter, &options.attribute) {
        (Some(filter), _) => filter.replace("$username", user),
        (None, Some(attribute)) => format!("({attribute}={user})"),
        (None, None) => format!("(uid={user})"),
    }
}

fn by_pam(case: &Case<'_>) -> Work {
    let user = case.user.to_owned();
    let service = case.options.pam_service.clone().unwrap_or_else(|| PAM_SERVICE.to_owned());
    let (peer, use_name) = (case.ends.map(|(_, there)| there.ip().to_canonical()), case.options.pam_use_hostname);
    Box::new(move |client| {
        let host = peer.map(|peer| match use_name {
            true => names::confirmed_name(peer).unwrap_or_else(|| peer.to_string()),
            false => peer.to_string(),
        });
        let request = text(user.as_str()).and_then(|name| {
            let remote_host = host.map(text).transpose()?;
            Ok(pam::Request { service: text(service)?, user: name, remote_host })
        });
        let request = match request {
            Ok(request) => request,
            Err(error) => return Some(Err(error)),
        };
        let mut ask = || {
            let password = client.ask(Question::Password)?;
            text(password.as_slice()).ok().map(Zeroizing::new)
        };
        match pam::authenticate(&request, &mut ask) {
            Ok(pam::Verdict::Accepted) => Some(Ok(user)),
            Ok(pam::Verdict::Refused(reason)) | Err(reason) => Some(Err(reason)),
            Ok(pam::Verdict::Gone) => None,
        }
    })
}

fn by_gss(case: &Case<'_>) -> Work {
    let keytab = case.keytab.clone();
    let (include_realm, wanted) = (case.options.include_realm, case.options.krb_realm.clone());
    Box::new(move |client| {
        let mut acceptor = match gss::Acceptor::new(keytab.as_deref()) {
            Ok(acceptor) => acceptor,
            Err(error) => return Some(Err(error)),
        };
        let mut token = client.ask(Question::Token(None))?;
        loop {
            match acceptor.step(&token) {
                Ok((reply, gss::Accepted::Continue)) => token = client.ask(Question::Token(Some(reply)))?,
                Ok((reply, gss::Accepted::Principal(name))) => {
                    if !reply.is_empty() {
                        client.ask(Question::Told(reply))?;
                    }
                    return Some(principal(&name, include_realm, wanted.as_deref()));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    })
}

/// The principal as maps see it: with or without its realm.
fn principal(name: &str, include_realm: bool, wanted: Option<&str>) -> Verdict {
    let Some((user, realm)) = name.split_once('@') else {
        return match wanted.filter(|wanted| !wanted.is_empty()) {
            Some(_) => Err("GSSAPI did not return realm but realm matching was requested".to_owned()),
            None => Ok(name.to_owned()),
        };
    };
    match wanted.filter(|wanted| !wanted.is_empty() && *wanted != realm) {
        Some(wanted) => Err(format!("GSSAPI realm ({realm}) and configured realm ({wanted}) don't match")),
        None if include_realm => Ok(name.to_owned()),
        None => Ok(user.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ident_servers_answer_is_read_to_the_letter() {
        assert_eq!(ident_user("6193, 23 : USERID : UNIX : stjohns\r\n").as_deref(), Some("stjohns"));
        assert_eq!(ident_user("6193,23:USERID:OTHER,UTF-8: a:b c\r\n").as_deref(), Some("a:b c"));
        for bad in
            ["6195, 23 : ERROR : NO-USER\r\n", "", "1,2:USERID:UNIX\r\n", "1,2:USERID:UNIX:  \r\n", "1,2:USERID:U:ro"]
        {
            assert_eq!(ident_user(bad), None, "{bad}");
        }
    }

    #[test]
    fn realms_are_kept_taken_off_and_compared() {
        assert_eq!(principal("ann@A.COM", true, None), Ok("ann@A.COM".into()));
        assert_eq!(principal("ann@A.COM", false, None), Ok("ann".into()));
        assert_eq!(principal("ann@A.COM", false, Some("A.COM")), Ok("ann".into()));
        assert!(
            principal("ann@A.COM", false, Some("B.COM")).is_err() && principal("ann", true, Some("B.COM")).is_err()
        );
        assert_eq!(principal("ann", false, None), Ok("ann".into()));
    }

    #[test]
    fn servers_and_filters_are_written_for_the_library() {
        let options = |server: &str, scheme: Option<&str>, port| Ldap {
            server: Some(server.to_owned()),
            scheme: scheme.map(str::to_owned),
            port,
            ..Ldap::default()
        };
        let uris = |server: &str, scheme, port| uris(&options(server, scheme, port));
        assert_eq!(uris("a b:7", None, 0).as_deref(), Ok("ldap://a:389 ldap://b:7"));
        assert_eq!(uris("a", Some("ldaps"), 0).as_deref(), Ok("ldaps://a:636"));
        assert_eq!(uris("[::1]", None, 70).as_deref(), Ok("ldap://[::1]:70"));
        assert_eq!(uris(" ", None, 0), Err("could not extract domain name from ldapbasedn".to_owned()));
        assert_eq!(filter(&Ldap::default(), "ann"), "(uid=ann)");
        let with = |filter: &str| Ldap { filter: Some(filter.to_owned()), ..Ldap::default() };
        assert_eq!(filter(&with("(|(uid=$username)(mail=$username))"), "ann"), "(|(uid=ann)(mail=ann))");
    }
}
