//! Statements that take long, for the log (`log.min_duration`): what each took, and its line.
//!
//! A statement's duration includes the wait for its commit to be durable, which is over when its reply has been sent.
//! So it is kept here until then, its text shortened to what fits in a line. Without a limit nothing here reads a
//! clock, allocates or keeps anything.

use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use super::statement::Prepared;

/// Statements kept before what is gathered is sent, however little it is.
const KEPT_MAX: usize = 256;
/// As much of a statement as is kept; a line of the log is not longer either.
const TEXT_BYTES_MAX: usize = 4096;

/// The statements that were carried out since replies were last sent.
#[derive(Debug, Default)]
pub struct Durations {
    /// The shortest duration that gets a line.
    limit: Option<Duration>,
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    spent: Duration,
    what: String,
}

impl Durations {
    /// None of a session has been carried out. `limit`: the shortest duration that gets a line; None for no lines.
    pub fn new(limit: Option<Duration>) -> Self {
        Self { limit, kept: Vec::new() }
    }

    /// Something begins that may get a line.
    pub fn start(&self) -> Option<Instant> {
        self.limit.map(|_| Instant::now())
    }

    /// A message is done with that waits for nothing: its line is due now if it gets one.
    pub fn done(&self, started: Option<Instant>, what: fmt::Arguments<'_>) {
        let Some(spent) = started.map(|started| started.elapsed()) else { return };
        if self.is_long(spent) {
            log(spent, &shortened(what));
        }
    }

    /// A statement is carried out, and its reply gathered.
    pub fn gathered(&mut self, started: Option<Instant>, what: fmt::Arguments<'_>) {
        if let Some(spent) = started.map(|started| started.elapsed()) {
            self.kept.push(Kept { spent, what: shortened(what) });
        }
    }

    /// The series that the last statement belongs to has been ended, its transaction committed.
    pub fn series_ended(&mut self, started: Option<Instant>) {
        if let (Some(started), Some(last)) = (started, self.kept.last_mut()) {
            last.spent += started.elapsed();
        }
    }

    /// What is gathered is about to be sent.
    pub fn sending(&self) -> Option<Instant> {
        (!self.kept.is_empty()).then(Instant::now)
    }

    /// It has been sent: who waited for that gets a line if it was long.
    pub fn sent(&mut self, started: Option<Instant>) {
        let Some(waited) = started.map(|started| started.elapsed()) else { return };
        for Kept { spent, what } in std::mem::take(&mut self.kept) {
            if self.is_long(spent + waited) {
                log(spent + waited, &what);
            }
        }
    }

    /// Whether no more should be kept: what is gathered is to be sent.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= KEPT_MAX
    }

    fn is_long(&self, spent: Duration) -> bool {
        self.limit.is_some_and(|limit| spent >= limit)
    }
}

/// The names of a prepared statement and a portal, in PostgreSQL's words for its log.
pub struct Names<'n>(pub &'n str, pub &'n str);

impl<'n> Names<'n> {
    /// Those of a portal that runs `prepared`.
    pub fn of<S>(prepared: &'n Prepared<S>, portal: &'n str) -> Self {
        Self(prepared.name.as_deref().unwrap_or_default(), portal)
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(statement, portal) = self;
        f.write_str(if statement.is_empty() { "<unnamed>" } else { statement })?;
        if portal.is_empty() { Ok(()) } else { write!(f, "/{portal}") }
    }
}

fn log(spent: Duration, what: &str) {
    log::info!("{}", line(spent, what));
}

fn line(spent: Duration, what: &str) -> String {
    let us = spent.as_micros();
    format!("duration: {}.{:03} ms  {what}", us / 1000, us % 1000)
}

/// What of it fits. A client's text may be as long as a message.
fn shortened(what: fmt::Arguments<'_>) -> String {
    struct Room(String);
    impl Write for Room {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = TEXT_BYTES_MAX - self.0.len();
            self.0.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
            if text.len() > room { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut room = Room(String::new());
    // An error says that it was too long.
    let _ = room.write_fmt(what);
    room.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_postgresqls_words() {
        let names = Names("s", "");
        let told = line(Duration::from_micros(1_234), &format!("execute {names}: select 1"));
        assert_eq!(told, "duration: 1.234 ms  execute s: select 1");
        assert_eq!(line(Duration::from_secs(61), "statement: x"), "duration: 61000.000 ms  statement: x");
        assert_eq!(line(Duration::from_nanos(7_999), "statement: x"), "duration: 0.007 ms  statement: x");
        assert_eq!(Names("", "").to_string(), "<unnamed>");
        assert_eq!(Names("", "p").to_string(), "<unnamed>/p");
        assert_eq!(Names("s", "p").to_string(), "s/p");
    }

    #[test]
    fn a_duration_is_long_from_the_limit_on() {
        let durations = Durations::new(Some(Duration::from_millis(2)));
        assert!(!durations.is_long(Duration::from_micros(1_999)) && durations.is_long(Duration::from_millis(2)));
        assert!(Durations::new(Some(Duration::ZERO)).is_long(Duration::ZERO));
        assert!(!Durations::new(None).is_long(Duration::MAX));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut durations = Durations::new(None);
        let started = durations.start();
        durations.gathered(started, format_args!("statement: select 1"));
        assert_eq!((started, durations.kept.capacity(), durations.sending()), (None, 0, None));
    }

    #[test]
    fn what_is_kept_of_a_client_is_bounded() {
        let mut durations = Durations::new(Some(Duration::ZERO));
        let text = "\u{20ac}".repeat(10_000);
        for _ in 0..KEPT_MAX {
            assert!(!durations.is_full());
            durations.gathered(durations.start(), format_args!("execute {text}: {text}"));
        }
        assert!(durations.is_full());
        assert!(durations.kept.iter().all(|kept| (TEXT_BYTES_MAX - 3..=TEXT_BYTES_MAX).contains(&kept.what.len())));
        durations.sent(durations.sending());
        assert!(!durations.is_full() && durations.sending().is_none());
    }
}
