//! The client's side of one session as a state machine: bytes of the server in, replies and events out.
//!
//! No I/O and no clock, so that it can be fed byte by byte. Of what a server sends it decodes only what it has to
//! act on; rows are stepped over without being kept, however long they are.

use super::credentials::{Credentials, Exchange};
use super::outcome::Failure;
use crate::protocol::client::{self, Backend, ClientEncoder};
use crate::protocol::{Frame, Next, Version};

/// Longest message that is kept until it is whole; longer ones that matter are a breach of the protocol.
const MAX_KEPT: usize = 1 << 20;

/// What every session of a plan sends, encoded once.
#[derive(Debug, Clone, Default)]
pub struct Packets {
    /// SSLRequest.
    pub ssl_request: Vec<u8>,
    /// StartupMessage.
    pub startup: Vec<u8>,
    /// Query.
    pub query: Vec<u8>,
    /// Terminate.
    pub terminate: Vec<u8>,
}

impl Packets {
    /// Encodes what is said for this user, database and statement.
    pub fn new(user: &str, database: &str, query: &str) -> Self {
        let encoded = |encode: &dyn Fn(&mut ClientEncoder<'_>)| {
            let mut bytes = Vec::new();
            encode(&mut ClientEncoder::new(&mut bytes));
            bytes
        };
        let parameters =
            [("user", user), ("database", database), ("application_name", "storm"), ("client_encoding", "UTF8")];
        Self {
            ssl_request: encoded(&|out| out.ssl_request()),
            startup: encoded(&|out| out.startup(Version { minor: 0 }, &parameters)),
            query: encoded(&|out| out.query(query)),
            terminate: encoded(&|out| out.terminate()),
        }
    }
}

/// What the caller has to act on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The server takes TLS: the handshake comes next.
    Encrypt,
    /// Authenticated and ready for the first query.
    Ready,
    /// A query's cycle is over; with the error that the server reported in it.
    Answered(Option<Failure>),
}

#[derive(Debug)]
enum State {
    /// Waits for the one byte that answers SSLRequest.
    Encryption,
    /// Has sent StartupMessage.
    Authentication(Exchange),
    /// Nothing is asked.
    Idle,
    /// A query is under way; the first error of it.
    Busy(Option<Failure>),
    /// Terminate is sent; whatever still comes does not matter.
    Ending,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    state: State,
    /// The beginning of a message whose end has not come.
    pending: Vec<u8>,
    /// Bytes still to come of a message that is stepped over.
    skip: usize,
}

impl Session {
    /// A session that sends SSLRequest first, or StartupMessage at once.
    pub fn new(tls: bool) -> Self {
        let mut session = Self { state: State::Idle, pending: Vec::new(), skip: 0 };
        session.restart(tls);
        session
    }

    /// Begins a new session in the buffers of the last one.
    pub fn restart(&mut self, tls: bool) {
        self.state = if tls { State::Encryption } else { State::Authentication(Exchange::default()) };
        self.pending.clear();
        self.skip = 0;
    }

    /// Query is being sent.
    pub fn asked(&mut self) {
        self.state = State::Busy(None);
    }

    /// Terminate is being sent.
    pub fn ending(&mut self) {
        self.state = State::Ending;
    }

    /// Takes bytes of the server up to the first event; what lies behind it is kept for the next call. Replies are
    /// appended to `out`. None: more bytes are needed.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        credentials: &mut Credentials,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Failure> {
        if self.pending.is_empty() {
            let (used, event) = self.consume(bytes, credentials, out)?;
            self.pending.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(event);
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let (used, event) = self.consume(&pending, credentials, out)?;
        pending.drain(..used);
        self.pending = pending;
        Ok(event)
    }

    /// The server has closed the connection: right at the end only.
    pub fn closed(&self) -> Result<(), Failure> {
        match self.state {
            State::Ending => Ok(()),
            _ => Err(Failure::named("CLOSED", "server closed the connection unexpectedly")),
        }
    }

    /// Returns how many bytes are used up, and the event that they led to.
    fn consume(
        &mut self,
        bytes: &[u8],
        credentials: &mut Credentials,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event>), Failure> {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            if self.skip > 0 {
                let stepped = self.skip.min(rest.len());
                self.skip -= stepped;
                used += stepped;
                if self.skip > 0 {
                    return Ok((used, None));
                }
                continue;
            }
            if matches!(self.state, State::Ending) {
                return Ok((bytes.len(), None));
            }
            if matches!(self.state, State::Encryption) {
                match self.encryption(rest)? {
                    Some(event) => return Ok((used + 1, Some(event))),
                    None if rest.is_empty() => return Ok((used, None)),
                    // An ErrorResponse instead of an answer.
                    None => self.state = State::Authentication(Exchange::default()),
                }
            }
            match client::next(rest).map_err(|violation| Failure::protocol(format!("{violation:?}")))? {
                Next::Complete(frame, length) => {
                    used += length;
                    if let Some(event) = self.frame(frame, credentials, out)? {
                        return Ok((used, Some(event)));
                    }
                }
                Next::Missing(missing) => {
                    let whole = rest.len() + missing;
                    if rest.len() >= 5 && self.may_step_over(rest[0]) {
                        self.skip = missing;
                        return Ok((bytes.len(), None));
                    }
                    if whole > MAX_KEPT {
                        return Err(Failure::protocol(format!("a message of {whole} bytes")));
                    }
                    return Ok((used, None));
                }
            }
        }
    }

    fn encryption(&self, rest: &[u8]) -> Result<Option<Event>, Failure> {
        match rest {
            [b'S'] => Ok(Some(Event::Encrypt)),
            [b'S', ..] => Err(Failure::protocol("data in clear before the TLS handshake".to_owned())),
            [b'N', ..] => Err(Failure::named("TLS_REFUSED", "server does not support SSL, but SSL was required")),
            _ => Ok(None),
        }
    }

    /// Rows and their description, copied data, notices: nothing that a load generator looks into.
    fn may_step_over(&self, kind: u8) -> bool {
        matches!(self.state, State::Busy(_)) && matches!(kind, b'D' | b'T' | b'd' | b'N')
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        credentials: &mut Credentials,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Failure> {
        match (&mut self.state, frame.kind) {
            (_, b'N' | b'S' | b'A') => Ok(None),
            (State::Authentication(exchange), b'R') => exchange.step(frame, credentials, out).map(|()| None),
            (State::Authentication(_), b'K' | b'v') => Ok(None),
            (State::Authentication(exchange), b'Z') if exchange.is_complete() => {
                self.state = State::Idle;
                Ok(Some(Event::Ready))
            }
            (State::Busy(error), b'E') => {
                let (failure, fatal) = server_error(frame)?;
                if fatal {
                    return Err(failure);
                }
                error.get_or_insert(failure);
                Ok(None)
            }
            (_, b'E') => Err(server_error(frame)?.0),
            (State::Busy(error), b'Z') => {
                let error = error.take();
                self.state = State::Idle;
                Ok(Some(Event::Answered(error)))
            }
            (State::Busy(_), b'G') => {
                ClientEncoder::new(out).copy_fail("the load generator has no data to copy");
                Ok(None)
            }
            (State::Busy(_), b'T' | b'D' | b'C' | b'I' | b'H' | b'd' | b'c') => Ok(None),
            (state, kind) => {
                let state = match state {
                    State::Encryption | State::Authentication(_) => "authentication",
                    State::Idle => "idle",
                    State::Busy(_) => "a query",
                    State::Ending => "the end",
                };
                Err(Failure::protocol(format!("unexpected message of type 0x{kind:02x} in {state}")))
            }
        }
    }
}

/// The error that a server reports, and whether it ends the session.
fn server_error(frame: Frame<'_>) -> Result<(Failure, bool), Failure> {
    let decoded = Backend::decode(frame).map_err(|violation| Failure::protocol(format!("{violation:?}")))?;
    let Backend::ErrorResponse(fields) = decoded else {
        return Err(Failure::protocol("no ErrorResponse".to_owned()));
    };
    let field = |code| client::field(&fields, code).unwrap_or_default();
    // 'V' is the severity that is never translated (since 9.6).
    let severity = if field(b'V').is_empty() { field(b'S') } else { field(b'V') };
    Ok((Failure::server(field(b'C'), field(b'M')), matches!(severity, "FATAL" | "PANIC")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scram::{Outcome, Scram, Verifier};
    use crate::protocol::{NEWEST_VERSION, frame};

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend((body.len() as u32 + 4).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn error(severity: &str, code: &str) -> Vec<u8> {
        message(b'E', format!("S{severity}\0V{severity}\0C{code}\0Mno\0\0").as_bytes())
    }

    fn greeting() -> Vec<u8> {
        let mut bytes = message(b'R', &[0; 4]);
        bytes.extend(message(b'S', b"server_version\x0015.0\0"));
        bytes.extend(message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]));
        bytes.extend(message(b'Z', b"I"));
        bytes
    }

    fn answer() -> Vec<u8> {
        let mut bytes = message(b'T', &[0, 0]);
        bytes.extend(message(b'D', &[0, 1, 0, 0, 0, 1, b'1']));
        bytes.extend(message(b'N', b"SNOTICE\0\0"));
        bytes.extend(message(b'C', b"SELECT 1\0"));
        bytes.extend(message(b'Z', b"I"));
        bytes
    }

    /// Feeds the bytes in two pieces, cut at `cut`, and takes every event. Queries are asked as soon as ready.
    fn feed(session: &mut Session, bytes: &[u8], cut: usize) -> (Vec<Event>, Result<(), Failure>) {
        let (mut credentials, mut out, mut events) = (Credentials::new("ann", Some("pencil")), Vec::new(), Vec::new());
        for piece in [&bytes[..cut], &bytes[cut..]] {
            let mut piece = piece;
            loop {
                match session.receive(piece, &mut credentials, &mut out) {
                    Ok(None) => break,
                    Ok(Some(event)) => {
                        if event == Event::Ready {
                            session.asked();
                        }
                        events.push(event);
                    }
                    Err(failure) => return (events, Err(failure)),
                }
                piece = &[];
            }
        }
        (events, Ok(()))
    }

    #[test]
    fn a_session_that_arrives_in_two_pieces() {
        let bytes = [greeting(), answer()].concat();
        for cut in 0..=bytes.len() {
            let (events, result) = feed(&mut Session::new(false), &bytes, cut);
            assert_eq!((events, result), (vec![Event::Ready, Event::Answered(None)], Ok(())), "cut at {cut}");
        }
    }

    #[test]
    fn an_error_in_a_query_is_told_and_the_session_goes_on() {
        let bytes = [greeting(), error("ERROR", "42P01"), message(b'Z', b"I")].concat();
        for cut in 0..=bytes.len() {
            let (events, result) = feed(&mut Session::new(false), &bytes, cut);
            assert_eq!(events, [Event::Ready, Event::Answered(Some(Failure::server("42P01", "no")))], "cut at {cut}");
            assert_eq!(result, Ok(()));
        }
    }

    #[test]
    fn a_fatal_error_ends_the_session_wherever_it_comes() {
        for before in [Vec::new(), message(b'R', &[0; 4]), greeting()] {
            let bytes = [before, error("FATAL", "57P01")].concat();
            for cut in 0..=bytes.len() {
                let (_, result) = feed(&mut Session::new(false), &bytes, cut);
                assert_eq!(result, Err(Failure::server("57P01", "no")), "cut at {cut}");
            }
        }
        // While nothing is asked, too.
        let mut session = Session::new(false);
        let (mut credentials, mut out) = (Credentials::new("ann", None), Vec::new());
        assert_eq!(session.receive(&greeting(), &mut credentials, &mut out), Ok(Some(Event::Ready)));
        let end = session.receive(&error("FATAL", "57P01"), &mut credentials, &mut out);
        assert_eq!(end, Err(Failure::server("57P01", "no")));
    }

    #[test]
    fn long_rows_are_stepped_over_without_being_kept() {
        let mut session = Session::new(false);
        let (mut credentials, mut out) = (Credentials::new("ann", None), Vec::new());
        session.receive(&greeting(), &mut credentials, &mut out).expect("ready");
        session.asked();
        let row = message(b'D', &vec![b'Z'; 5_000_000]);
        for piece in row.chunks(70_001) {
            assert_eq!(session.receive(piece, &mut credentials, &mut out), Ok(None));
            assert!(session.pending.capacity() < 1000);
        }
        assert_eq!(session.receive(&answer(), &mut credentials, &mut out), Ok(Some(Event::Answered(None))));
    }

    #[test]
    fn what_breaks_the_protocol_is_named() {
        for bytes in [
            message(b'Z', b"I"),                                  // before authentication
            message(b'D', &[0, 0]),                               // before ready
            message(b'R', &[0, 0, 0, 99]),                        // unknown request
            vec![b'R', 0, 0, 0, 3],                               // length below 4
            vec![b'K', 0x7f, 0xff, 0xff, 0xff],                   // longer than is kept
            [message(b'R', &[0, 0, 0, 12]), greeting()].concat(), // a final without a beginning
            [greeting(), message(b'R', &[0; 4])].concat(),        // authentication in a query
            message(b'R', &[0, 0, 0]),                            // cut short
        ] {
            let (_, result) = feed(&mut Session::new(false), &bytes, 0);
            assert_eq!(result.expect_err("refused").code(), "PROTOCOL", "{bytes:?}");
        }
    }

    #[test]
    fn a_byte_that_is_wrong_is_an_error_or_nothing_but_no_panic() {
        let bytes = [greeting(), answer(), error("ERROR", "42P01"), message(b'Z', b"I")].concat();
        for at in 0..bytes.len() {
            for value in [0, 1, 4, b'E', b'R', b'Z', 0x7f, 0x80, 0xff] {
                let mut wrong = bytes.clone();
                wrong[at] = value;
                for tls in [false, true] {
                    let mut session = Session::new(tls);
                    let _ = feed(&mut session, &wrong, at);
                    assert!(session.pending.len() <= wrong.len());
                }
            }
        }
    }

    #[test]
    fn the_answer_to_a_request_for_encryption() {
        let (mut credentials, mut out) = (Credentials::new("ann", None), Vec::new());
        let mut answer = |bytes: &[u8]| Session::new(true).receive(bytes, &mut credentials, &mut out);
        assert_eq!(answer(b""), Ok(None));
        assert_eq!(answer(b"S"), Ok(Some(Event::Encrypt)));
        assert_eq!(answer(b"N").expect_err("refused").code(), "TLS_REFUSED");
        assert_eq!(answer(b"SR\0").expect_err("injected").code(), "PROTOCOL");
        assert_eq!(answer(&error("FATAL", "53300")), Err(Failure::server("53300", "no")));
    }

    #[test]
    fn an_end_of_file_is_right_at_the_end_only() {
        let mut session = Session::new(false);
        assert_eq!(session.closed().expect_err("too early").code(), "CLOSED");
        session.ending();
        assert_eq!(session.closed(), Ok(()));
        let (mut credentials, mut out) = (Credentials::new("ann", None), Vec::new());
        assert_eq!(session.receive(b"whatever", &mut credentials, &mut out), Ok(None));
    }

    #[test]
    fn scram_against_our_own_server_side_byte_by_byte() {
        let verifier = Verifier::new(b"pencil", 10).expect("a verifier");
        let mut credentials = Credentials::new("ann", Some("pencil"));
        for _ in 0..2 {
            let mut server = Scram::start(Some(verifier.clone()), "ann", &[0; 32]).expect("random bytes");
            let mut session = Session::new(false);
            let mut out = Vec::new();
            let mut tell = |session: &mut Session, code: u32, data: &[u8]| {
                let body = [&code.to_be_bytes()[..], data].concat();
                for byte in message(b'R', &body) {
                    let event = session.receive(&[byte], &mut credentials, &mut out).expect("no failure");
                    assert_eq!(event, None);
                }
                std::mem::take(&mut out)
            };
            let first = tell(&mut session, 10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
            let Ok(Next::Complete(first, _)) = frame::next_response(&first, "SASL response") else {
                panic!("{first:?}")
            };
            let first = crate::protocol::sasl_initial_response(first).expect("an initial response");
            let Ok(Outcome::Continue(challenge)) = server.step(first.data.expect("data")) else {
                panic!("no challenge")
            };
            let proof = tell(&mut session, 11, &challenge);
            let Ok(Outcome::Final(signature)) = server.step(&proof[5..]) else { panic!("not accepted") };
            tell(&mut session, 12, &signature);
            let ready = session.receive(&greeting(), &mut credentials, &mut Vec::new());
            assert_eq!(ready, Ok(Some(Event::Ready)));
        }
    }

    #[test]
    fn packets_are_what_the_server_reads() {
        let packets = Packets::new("ann", "shop", "select 1");
        let Ok(Next::Complete(body, _)) = frame::next_startup(&packets.startup) else { panic!("no start-up packet") };
        let Ok(crate::protocol::Packet::Startup(startup)) = crate::protocol::Packet::decode(body) else { panic!() };
        assert_eq!((startup.user, startup.database), ("ann", "shop"));
        assert!(startup.version <= NEWEST_VERSION);
        assert!(matches!(frame::next(&packets.query), Ok(Next::Complete(Frame { kind: b'Q', .. }, _))));
    }
}
