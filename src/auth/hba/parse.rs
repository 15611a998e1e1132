//! One line of pg_hba.conf to one rule, with PostgreSQL's words for what is wrong.

use std::net::IpAddr;
use std::rc::Rc;

use super::options::{Options, SECRET};
use super::{Addresses, DatabasePattern, Method, Problem, Rule, Token, Transport, UserPattern};
use crate::auth::lexicon::{Field, Line};
use crate::auth::pattern::Pattern;

/// Methods that PostgreSQL has and this server has not.
const FOREIGN_METHODS: &[&str] = &["sspi", "bsd", "radius", "oauth"];

/// The rule of a line.
pub(super) fn rule(line: &Line) -> Parsed<Rule> {
    let fields = line.fields.as_deref().map_err(Clone::clone)?;
    LineParser { line, fields, next: 0 }.rule()
}

/// What an option is read for, and where it stands.
pub(super) struct Place<'a> {
    pub method: Method,
    pub transport: Transport,
    line: &'a Line,
    column: usize,
}

impl Place<'_> {
    pub fn problem(&self, message: String) -> Box<Problem> {
        self.line.problem(self.column, message)
    }
}

struct LineParser<'a> {
    line: &'a Line,
    fields: &'a [Field],
    next: usize,
}

pub(super) type Parsed<T> = Result<T, Box<Problem>>;

impl<'a> LineParser<'a> {
    fn rule(mut self) -> Parsed<Rule> {
        let (transport, _) = self.transport()?;
        let databases = self.field("database specification")?;
        let databases = databases.iter().map(|token| self.database(token)).collect::<Parsed<_>>()?;
        let users = self.field("role specification")?;
        let users = users.iter().map(|token| self.user(token)).collect::<Parsed<_>>()?;
        let addresses = if transport == Transport::Local { Addresses::All } else { self.addresses()? };
        let method_at = self.fields.get(self.next).and_then(|field| field.first()).map_or(1, |token| token.column);
        let method = self.method(transport)?;
        let mut options = Box::new(Options::of(method));
        while let Some(field) = self.fields.get(self.next) {
            self.next += 1;
            field.iter().try_for_each(|token| self.option(token, method, transport, &mut options))?;
        }
        options.check(&Place { method, transport, line: self.line, column: method_at })?;
        let has_secret = options.ldap.bind_password.is_some();
        let text = if has_secret { without_secrets(self.fields) } else { self.line.text.trim().to_owned() };
        Ok(Rule {
            file: Rc::clone(&self.line.file),
            line: self.line.number,
            text,
            method,
            options,
            transport,
            databases,
            users,
            addresses,
        })
    }

    fn transport(&mut self) -> Parsed<(Transport, usize)> {
        let token = self.single("connection type", "Specify exactly one connection type per line.")?;
        let transport = match token.text.as_str() {
            "local" => Transport::Local,
            "host" => Transport::Host,
            "hostssl" => Transport::HostTls,
            "hostnossl" => Transport::HostNoTls,
            "hostgssenc" => Transport::HostGss,
            "hostnogssenc" => Transport::HostNoGss,
            other => return Err(self.problem(token.column, format!("invalid connection type \"{other}\""))),
        };
        Ok((transport, token.column))
    }

    fn database(&self, token: &Token) -> Parsed<DatabasePattern> {
        Ok(match token {
            token if token.is("all") => DatabasePattern::All,
            token if token.is("sameuser") => DatabasePattern::SameUser,
            token if token.is("samerole") || token.is("samegroup") => DatabasePattern::SameRole,
            token if token.is("replication") => DatabasePattern::Replication,
            token => DatabasePattern::Name(self.pattern(token)?),
        })
    }

    fn user(&self, token: &Token) -> Parsed<UserPattern> {
        match token.text.strip_prefix('+') {
            _ if token.is("all") => Ok(UserPattern::All),
            Some(role) if !token.quoted => Ok(UserPattern::MemberOf(role.to_owned())),
            _ => self.pattern(token).map(UserPattern::Name),
        }
    }

    fn pattern(&self, token: &Token) -> Parsed<Pattern> {
        Pattern::parse(token).map_err(|error| self.line.problem(token.column, error))
    }

    fn addresses(&mut self) -> Parsed<Addresses> {
        let missing = "IP address specification";
        let field = self.field(missing)?;
        let [token] = field.as_slice() else {
            return Err(self.multiple(field, "host address", "Specify one address range per line."));
        };
        if token.is("all") {
            return Ok(Addresses::All);
        } else if token.is("samehost") {
            return Ok(Addresses::SameHost);
        } else if token.is("samenet") {
            return Ok(Addresses::SameNet);
        }
        match token.text.split_once('/') {
            Some((address, prefix)) => self.network(token, address, prefix),
            None => match token.text.parse::<IpAddr>() {
                Ok(address) => self.masked(address),
                Err(_) => Ok(Addresses::Host(token.text.clone())),
            },
        }
    }

    fn network(&self, token: &Token, address: &str, prefix: &str) -> Parsed<Addresses> {
        let Ok(address) = address.parse::<IpAddr>() else {
            let message = format!("specifying both host name and CIDR mask is invalid: \"{}\"", token.text);
            return Err(self.problem(token.column, message));
        };
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let length = prefix.parse::<u8>().ok().filter(|_| digits);
        match length.and_then(|length| Addresses::with_prefix(address, length)) {
            Some(range) => Ok(range),
            None => Err(self.problem(token.column, format!("invalid CIDR mask in address \"{}\"", token.text))),
        }
    }

    fn masked(&mut self, address: IpAddr) -> Parsed<Addresses> {
        let hint = "Specify an address range in CIDR notation, or provide a separate netmask.";
        let field = self.field("netmask specification").map_err(|problem| with_hint(problem, hint))?;
        let [token] = field.as_slice() else {
            return Err(self.multiple(field, "netmask", "Specify exactly one netmask per line."));
        };
        let Ok(mask) = token.text.parse::<IpAddr>() else {
            return Err(self.problem(token.column, format!("invalid IP mask \"{}\"", token.text)));
        };
        if mask.is_ipv4() != address.is_ipv4() {
            return Err(self.problem(token.column, "IP address and mask do not match".into()));
        }
        Ok(Addresses::Range { address, mask })
    }

    fn method(&mut self, transport: Transport) -> Parsed<Method> {
        let at = self.next;
        if self.fields.get(at).is_none() {
            return Err(self.problem(self.line.end, "end-of-line before authentication method".into()));
        }
        let token = self.single("authentication type", "Specify exactly one authentication type per line.")?;
        let local = transport == Transport::Local;
        let method = match token.text.as_str() {
            "trust" => Method::Trust,
            "reject" => Method::Reject,
            "scram-sha-256" => Method::ScramSha256,
            "md5" => Method::Md5,
            "password" => Method::Password,
            // On local sockets "ident" has always meant "peer".
            "ident" if local => Method::Peer,
            "peer" if local => Method::Peer,
            "peer" => {
                let message = "peer authentication is only supported on local sockets";
                return Err(self.problem(token.column, message.into()));
            }
            "gss" if local => {
                let message = "gssapi authentication is not supported on local sockets";
                return Err(self.problem(token.column, message.into()));
            }
            "cert" if transport != Transport::HostTls => {
                let message = "cert authentication is only supported on hostssl connections";
                return Err(self.problem(token.column, message.into()));
            }
            "ident" => Method::Ident,
            "gss" => Method::Gss,
            "cert" => Method::Cert,
            "ldap" => Method::Ldap,
            "pam" => Method::Pam,
            foreign if FOREIGN_METHODS.contains(&foreign) => {
                let message = format!("invalid authentication method \"{foreign}\": not supported by this build");
                return Err(self.problem(token.column, message));
            }
            other => {
                return Err(self.problem(token.column, format!("invalid authentication method \"{other}\"")));
            }
        };
        Ok(method)
    }

    fn option(&self, token: &Token, method: Method, transport: Transport, options: &mut Options) -> Parsed<()> {
        let Some((name, value)) = token.text.split_once('=') else {
            let message = format!("authentication option not in name=value format: {}", token.text);
            return Err(self.problem(token.column, message));
        };
        options.set(&Place { method, transport, line: self.line, column: token.column }, name, value)?;
        options.shown.push(shown(token));
        Ok(())
    }

    /// The next field, or "end-of-line before …".
    fn field(&mut self, what: &str) -> Parsed<&'a Field> {
        let Some(field) = self.fields.get(self.next) else {
            return Err(self.problem(self.line.end, format!("end-of-line before {what}")));
        };
        self.next += 1;
        Ok(field)
    }

    /// The next field, of one word.
    fn single(&mut self, what: &str, hint: &'static str) -> Parsed<&'a Token> {
        let field = self.field(what)?;
        match field.as_slice() {
            [token] => Ok(token),
            _ => Err(self.multiple(field, what, hint)),
        }
    }

    fn multiple(&self, field: &Field, what: &str, hint: &'static str) -> Box<Problem> {
        let column = field.first().map_or(1, |token| token.column);
        with_hint(self.problem(column, format!("multiple values specified for {what}")), hint)
    }

    fn problem(&self, column: usize, message: String) -> Box<Problem> {
        self.line.problem(column, message)
    }
}

/// The line's words without their quotes, which could hide a secret from whoever looks for it in the text.
fn without_secrets(fields: &[Field]) -> String {
    let field = |field: &Field| field.iter().map(shown).collect::<Vec<_>>().join(",");
    fields.iter().map(field).collect::<Vec<_>>().join(" ")
}

/// A word, if it is no secret.
fn shown(token: &Token) -> String {
    match token.text.split_once('=') {
        Some((SECRET, _)) => format!("{SECRET}=***"),
        _ => token.text.clone(),
    }
}

fn with_hint(mut problem: Box<Problem>, hint: &'static str) -> Box<Problem> {
    problem.hint = Some(hint);
    problem
}
