//! One line of pg_hba.conf to one rule, with PostgreSQL's words for what is wrong.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Addresses, DatabasePattern, Method, Problem, Rule, Source, Token, Transport, UserPattern};
use crate::auth::lexicon::{self, Field, Line};

/// Methods that PostgreSQL has and this server has not.
const FOREIGN_METHODS: &[&str] = &["gss", "sspi", "ident", "pam", "bsd", "ldap", "cert", "radius", "oauth"];

/// All rules of a file, or all that is wrong with it.
pub(super) fn rules(source: &Source<'_>) -> Result<Vec<Rule>, Vec<Problem>> {
    let mut rules = Vec::new();
    let mut problems = Vec::new();
    for line in lexicon::lines(source)? {
        match (LineParser { source, line: &line, next: 0 }).rule() {
            Ok(rule) => rules.push(rule),
            Err(problem) => problems.push(*problem),
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

struct LineParser<'a> {
    source: &'a Source<'a>,
    line: &'a Line,
    next: usize,
}

type Parsed<T> = Result<T, Box<Problem>>;

impl<'a> LineParser<'a> {
    fn rule(mut self) -> Parsed<Rule> {
        let (transport, transport_at) = self.transport()?;
        let databases = self.field("database specification")?;
        let databases = databases.iter().map(|token| self.database(token)).collect::<Parsed<_>>()?;
        let users = self.field("role specification")?;
        let users = users.iter().map(|token| self.user(token)).collect::<Parsed<_>>()?;
        let addresses = if transport == Transport::Local { Addresses::All } else { self.addresses()? };
        let method = self.method(transport)?;
        let mut rule = Rule {
            line: self.line.number,
            text: self.line.text.trim().to_owned(),
            method,
            map: None,
            transport,
            databases,
            users,
            addresses,
        };
        while let Some(field) = self.line.fields.get(self.next) {
            self.next += 1;
            field.iter().try_for_each(|token| self.option(token, &mut rule))?;
        }
        if transport == Transport::HostGss {
            return Err(self.problem(transport_at, "GSSAPI encryption is not supported yet".into()));
        }
        Ok(rule)
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
            "include" | "include_if_exists" | "include_dir" if !token.quoted => {
                return Err(self.problem(token.column, format!("directive \"{}\" is not supported yet", token.text)));
            }
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
            token => DatabasePattern::Name(self.name(token)?),
        })
    }

    fn user(&self, token: &Token) -> Parsed<UserPattern> {
        match token.text.strip_prefix('+') {
            _ if token.is("all") => Ok(UserPattern::All),
            Some(role) if !token.quoted => Ok(UserPattern::MemberOf(role.to_owned())),
            _ => self.name(token).map(UserPattern::Name),
        }
    }

    /// A slash makes a name a regular expression from PostgreSQL 16 on.
    fn name(&self, token: &Token) -> Parsed<String> {
        if token.text.starts_with('/') && !token.quoted {
            let message = format!("regular expression \"{}\" is not supported yet", token.text);
            return Err(self.problem(token.column, message));
        }
        Ok(token.text.clone())
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
                Err(_) => {
                    let message = format!("host name \"{}\" as address is not supported yet", token.text);
                    Err(self.problem(token.column, message))
                }
            },
        }
    }

    fn network(&self, token: &Token, address: &str, prefix: &str) -> Parsed<Addresses> {
        let Ok(address) = address.parse::<IpAddr>() else {
            let message = format!("specifying both host name and CIDR mask is invalid: \"{}\"", token.text);
            return Err(self.problem(token.column, message));
        };
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let net = prefix.parse::<u8>().ok().filter(|_| digits).and_then(|prefix| IpNet::new(address, prefix).ok());
        match net {
            Some(net) => Ok(Addresses::Net(net)),
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
        // PostgreSQL takes masks with holes too; nobody means them.
        let net = IpNet::with_netmask(address, mask);
        net.map(Addresses::Net).map_err(|_| self.problem(token.column, format!("invalid IP mask \"{}\"", token.text)))
    }

    fn method(&mut self, transport: Transport) -> Parsed<Method> {
        let at = self.next;
        if self.line.fields.get(at).is_none() {
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
            foreign if FOREIGN_METHODS.contains(&foreign) => {
                let message = format!("authentication method \"{foreign}\" is not supported yet");
                return Err(self.problem(token.column, message));
            }
            other => {
                return Err(self.problem(token.column, format!("invalid authentication method \"{other}\"")));
            }
        };
        Ok(method)
    }

    fn option(&self, token: &Token, rule: &mut Rule) -> Parsed<()> {
        let Some((name, value)) = token.text.split_once('=') else {
            let message = format!("authentication option not in name=value format: {}", token.text);
            return Err(self.problem(token.column, message));
        };
        match name {
            "map" if rule.method == Method::Peer => rule.map = Some(value.to_owned()),
            "map" => {
                let message = "authentication option \"map\" is only valid for authentication methods \
                               ident, peer, gssapi, sspi, and cert";
                return Err(self.problem(token.column, message.into()));
            }
            "clientcert" if rule.transport != Transport::HostTls => {
                let message = "clientcert can only be configured for \"hostssl\" rows";
                return Err(self.problem(token.column, message.into()));
            }
            "clientcert" | "clientname" => {
                let message = format!("authentication option \"{name}\" is not supported yet");
                return Err(self.problem(token.column, message));
            }
            _ => {
                let message = format!("unrecognized authentication option name: \"{name}\"");
                return Err(self.problem(token.column, message));
            }
        }
        Ok(())
    }

    /// The next field, or "end-of-line before …".
    fn field(&mut self, what: &str) -> Parsed<&'a Field> {
        let Some(field) = self.line.fields.get(self.next) else {
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
        Box::new(Problem { file: self.source.name.to_owned(), line: self.line.number, column, message, hint: None })
    }
}

fn with_hint(mut problem: Box<Problem>, hint: &'static str) -> Box<Problem> {
    problem.hint = Some(hint);
    problem
}
