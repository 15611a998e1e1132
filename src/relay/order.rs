//! The order of the protocol between a client and an upstream server: what the server still owes, to whom, and what of
//! it the client must not see. Pure: bytes come and go elsewhere.
//!
//! Every request that went upstream has an entry, in order. A reply belongs to the first entry. Requests that the relay
//! made itself are *silent*: their replies are swallowed. Answers that the relay gives itself wait in the queue for
//! their turn. After an error of the extended protocol the server skips everything up to Sync, and so do the entries
//! (PostgreSQL documentation, "Message Flow", "Extended Query").

use std::collections::VecDeque;

/// A request, as far as its replies differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Query.
    Query,
    /// FunctionCall.
    FunctionCall,
    /// Parse.
    Parse,
    /// Bind.
    Bind,
    /// Describe of a statement.
    DescribeStatement,
    /// Describe of a portal.
    DescribePortal,
    /// Execute.
    Execute,
    /// Close.
    Close,
    /// Sync.
    Sync,
    /// CopyDone or CopyFail: has no reply of its own.
    CopyEnd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// A request that the server has to answer.
    Due { request: Request, silent: bool, changes: bool },
    /// An answer of our own.
    Answer { answer: Vec<u8>, changes: bool },
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client gets it.
    Forward,
    /// It was not the client's.
    Swallow,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// It failed.
    Failed,
    /// One before it failed.
    Skipped,
}

/// The server said something that nobody asked for: the connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfStep(pub u8);

/// See the module's description.
#[derive(Debug)]
pub struct Order {
    due: VecDeque<Entry>,
    /// The server skips requests until a Sync that has not been sent yet.
    skipping: bool,
    /// The server wants CopyData.
    copying_in: bool,
    /// Of the last ReadyForQuery.
    status: u8,
    /// Extended requests were sent, and no Sync after them: an implicit transaction may be open.
    unsynced: bool,
    /// A Sync came ahead of the data of a COPY. The server ignores it, unless COPY fails before it reads it.
    sync_ahead: bool,
    /// COPY failed after such a Sync: one more ReadyForQuery may come than is awaited.
    doubtful: bool,
    /// An error has come for a silent request.
    silent_failed: bool,
    /// Of the requests that change something, in order: what became of each. Since last asked.
    settled: Vec<Outcome>,
}

impl Default for Order {
    /// Of a connection as it is lent: idle, in no transaction.
    fn default() -> Self {
        Self {
            due: VecDeque::new(),
            skipping: false,
            copying_in: false,
            status: b'I',
            unsynced: false,
            sync_ahead: false,
            doubtful: false,
            silent_failed: false,
            settled: Vec::new(),
        }
    }
}

impl Order {
    /// A request was sent upstream. `silent`: the client did not make it. False if the server will skip it.
    pub fn sent(&mut self, request: Request, silent: bool) -> bool {
        self.sent_change(request, silent, false)
    }

    /// The same; `changes`: it is to be told by [`Self::take_settled`] whether it was carried out.
    pub fn sent_change(&mut self, request: Request, silent: bool, changes: bool) -> bool {
        match request {
            // In COPY the server ignores Sync (and Flush).
            Request::Sync if self.copying_in && !self.has_copy_end() => {
                self.sync_ahead = true;
                return false;
            }
            Request::Sync => (self.skipping, self.unsynced) = (false, false),
            _ if self.skipping => return false,
            Request::CopyEnd if !self.copying_in && self.due.is_empty() => return false,
            Request::CopyEnd => {}
            // These end an implicit transaction as Sync does.
            Request::Query | Request::FunctionCall => self.unsynced = false,
            _ => self.unsynced = true,
        }
        self.due.push_back(Entry::Due { request, silent, changes });
        true
    }

    /// An answer of our own, to be given in its turn: at once, when the server owes nothing before it. `changes`: as
    /// with [`Self::sent_change`].
    pub fn answer(&mut self, answer: Vec<u8>, changes: bool) {
        if !self.skipping {
            self.due.push_back(Entry::Answer { answer, changes });
        }
    }

    /// Our own answers whose turn it is.
    pub fn take_answers(&mut self, out: &mut Vec<u8>) {
        while let Some(entry) = self.due.front() {
            match entry {
                Entry::Answer { answer, .. } => out.extend_from_slice(answer),
                Entry::Due { request: Request::CopyEnd, .. } => {}
                Entry::Due { .. } => return,
            }
            self.pop(Outcome::Done);
        }
    }

    /// Takes the first entry off.
    fn pop(&mut self, outcome: Outcome) {
        if let Some(Entry::Due { changes: true, .. } | Entry::Answer { changes: true, .. }) = self.due.pop_front() {
            self.settled.push(outcome);
        }
    }

    /// A reply of the server, by its type byte; `status`: the byte of a ReadyForQuery. Call [`Self::take_answers`]
    /// before and after.
    pub fn reply(&mut self, kind: u8, status: Option<u8>) -> Result<Fate, OutOfStep> {
        while let Some(Entry::Due { request: Request::CopyEnd, .. }) = self.due.front() {
            self.pop(Outcome::Done);
        }
        let (request, silent) = match self.due.front() {
            Some(Entry::Due { request, silent, .. }) => (*request, *silent),
            Some(Entry::Answer { .. }) => return Err(OutOfStep(kind)),
            None => return self.unasked(kind, status),
        };
        let fate = if silent { Fate::Swallow } else { Fate::Forward };
        if matches!(kind, b'N' | b'S' | b'A') {
            // A notification is the session's whatever is under way.
            return Ok(if kind == b'A' { Fate::Forward } else { fate });
        }
        match (request, kind) {
            (Request::Query, b'T' | b'D' | b'I' | b'H' | b'd' | b'c' | b'C') => {
                self.copying_in &= kind != b'C';
                Ok(fate)
            }
            (Request::Query | Request::Execute, b'G') => {
                self.begin_copy_in();
                self.unsynced |= request == Request::Execute;
                Ok(fate)
            }
            (Request::Query | Request::FunctionCall, b'E') => {
                self.copying_in = false;
                self.silent_failed |= silent;
                Ok(fate)
            }
            (Request::FunctionCall, b'V') => Ok(fate),
            (Request::Query | Request::FunctionCall | Request::Sync, b'Z') => {
                self.pop(Outcome::Done);
                self.status = status.unwrap_or(b'E');
                Ok(fate)
            }
            (Request::Sync, b'E') => Ok(Fate::Forward),
            (Request::Parse, b'1')
            | (Request::Bind, b'2')
            | (Request::Close, b'3')
            | (Request::DescribeStatement | Request::DescribePortal, b'T' | b'n') => {
                self.pop(Outcome::Done);
                Ok(fate)
            }
            (Request::DescribeStatement, b't') | (Request::Execute, b'D' | b'H' | b'd' | b'c') => Ok(fate),
            (Request::Execute, b'C' | b'I' | b's') => {
                (self.copying_in, self.sync_ahead) = (false, false);
                self.pop(Outcome::Done);
                Ok(fate)
            }
            (_, b'E') => {
                // The client's request failed, also where a silent one before it did.
                self.doubtful |= self.copying_in && self.sync_ahead;
                (self.copying_in, self.sync_ahead) = (false, false);
                self.skip();
                Ok(Fate::Forward)
            }
            _ => Err(OutOfStep(kind)),
        }
    }

    fn unasked(&mut self, kind: u8, status: Option<u8>) -> Result<Fate, OutOfStep> {
        match kind {
            b'N' | b'S' | b'A' | b'E' => Ok(Fate::Forward),
            // A Sync that the server did not ignore: it had left COPY already, and skips no longer.
            b'Z' => {
                (self.skipping, self.unsynced, self.doubtful) = (false, false, false);
                self.status = status.unwrap_or(b'E');
                Ok(Fate::Forward)
            }
            _ => Err(OutOfStep(kind)),
        }
    }

    /// The server has begun to take CopyData: it ignores the Syncs that were sent ahead of the data.
    fn begin_copy_in(&mut self) {
        self.copying_in = true;
        let mut index = 1;
        while let Some(Entry::Due { request, .. }) = self.due.get(index) {
            match request {
                Request::CopyEnd => return,
                Request::Sync => {
                    self.sync_ahead = true;
                    self.due.remove(index);
                }
                _ => index += 1,
            }
        }
    }

    fn has_copy_end(&self) -> bool {
        self.due.iter().any(|entry| matches!(entry, Entry::Due { request: Request::CopyEnd, .. }))
    }

    /// Drops what the server skips.
    fn skip(&mut self) {
        let mut outcome = Outcome::Failed;
        while let Some(entry) = self.due.front() {
            if matches!(entry, Entry::Due { request: Request::Sync, .. }) {
                return;
            }
            self.pop(outcome);
            outcome = Outcome::Skipped;
        }
        self.skipping = true;
    }

    /// Whether the server skips whatever is sent now, up to Sync.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// A request was refused here: what follows it is skipped, up to Sync.
    pub fn skip_until_sync(&mut self) {
        self.skipping = true;
    }

    /// A Sync is answered here.
    pub fn end_skipping(&mut self) {
        self.skipping = false;
    }

    /// Whether it is certain that no transaction has failed: a statement that the server has would be parsed again.
    pub fn is_accepting(&self) -> bool {
        self.status != b'E' && !self.is_ready_due()
    }

    fn is_ready_due(&self) -> bool {
        self.due.iter().any(|entry| {
            let Entry::Due { request, .. } = entry else { return false };
            matches!(request, Request::Query | Request::FunctionCall | Request::Sync)
        })
    }

    /// Requests under way.
    pub fn count(&self) -> usize {
        self.due.len()
    }

    /// Whether nothing is under way in either direction.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && !self.skipping && !self.copying_in && !self.unsynced
    }

    /// Whether something may still come that nobody awaits.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Whether the server will say something without being sent more first.
    pub fn is_answer_due(&self) -> bool {
        !self.copying_in && self.is_ready_due()
    }

    /// Whether the last ReadyForQuery said that no transaction is open, and nothing is under way.
    pub fn is_between_transactions(&self) -> bool {
        self.is_idle() && self.status == b'I'
    }

    /// The transaction status of the last ReadyForQuery: 'I', 'T', 'E'.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// What became of each request that changes something, in order, since this was last asked.
    pub fn take_settled(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.settled)
    }

    /// Whether a silent Query has failed since this was last asked.
    pub fn take_silent_failure(&mut self) -> bool {
        std::mem::take(&mut self.silent_failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests (lower case: silent) and reads replies; what the client sees.
    fn seen(requests: &str, replies: &str) -> (String, Order) {
        let mut order = Order::default();
        for letter in requests.chars() {
            let request = match letter.to_ascii_uppercase() {
                'Q' => Request::Query,
                'F' => Request::FunctionCall,
                'P' => Request::Parse,
                'B' => Request::Bind,
                'D' => Request::DescribePortal,
                'T' => Request::DescribeStatement,
                'E' => Request::Execute,
                'C' => Request::Close,
                'S' => Request::Sync,
                _ => Request::CopyEnd,
            };
            order.sent(request, letter.is_ascii_lowercase());
        }
        (replies_seen(&mut order, replies), order)
    }

    fn replies_seen(order: &mut Order, replies: &str) -> String {
        let mut seen = String::new();
        let mut out = Vec::new();
        for kind in replies.bytes() {
            order.take_answers(&mut out);
            match order.reply(kind, (kind == b'Z').then_some(b'I')) {
                Ok(Fate::Forward) => out.push(kind),
                Ok(Fate::Swallow) => {}
                Err(OutOfStep(kind)) => out.extend_from_slice(format!("!{}", char::from(kind)).as_bytes()),
            }
            order.take_answers(&mut out);
            seen.push_str(&String::from_utf8(std::mem::take(&mut out)).unwrap());
        }
        seen
    }

    #[test]
    fn replies_find_their_requests() {
        for (requests, replies) in [
            ("Q", "TDDCZ"),
            ("Q", "TDCNTDCEZ"),
            ("PBDES", "12TDDCZ"),
            ("PTS", "1tTZ"),
            ("BES", "2sZ"),
            ("CS", "3Z"),
            ("F", "VZ"),
            ("Q", "HdddcCZ"),
            ("QQ", "CZIZ"),
        ] {
            let (seen, order) = seen(requests, replies);
            assert_eq!((seen.as_str(), order.is_between_transactions()), (replies, true), "{requests}");
        }
    }

    #[test]
    fn what_the_relay_asked_stays_between_it_and_the_server() {
        assert_eq!(seen("qQ", "SCZTDCZ").0, "TDCZ");
        assert_eq!(seen("pBES", "12DCZ").0, "2DCZ");
        // The client is told why its Bind failed.
        assert_eq!(seen("pBES", "EZ").0, "EZ");
    }

    #[test]
    fn after_an_error_everything_up_to_sync_is_skipped_also_what_comes_later() {
        let (found, order) = seen("PBESPBES", "1EZ12CZ");
        assert_eq!((found.as_str(), order.is_idle()), ("1EZ12CZ", true));
        let (found, mut order) = seen("PBE", "1E");
        assert_eq!(found, "1E");
        assert!(!order.is_idle());
        order.sent(Request::Bind, false);
        order.sent(Request::Query, false);
        order.answer(b"x".to_vec(), false);
        order.sent(Request::Sync, false);
        assert_eq!(replies_seen(&mut order, "Z"), "Z");
        assert!(order.is_between_transactions());
    }

    #[test]
    fn own_answers_come_in_their_turn() {
        let mut order = Order::default();
        let mut out = Vec::new();
        order.answer(b"1".to_vec(), false);
        order.take_answers(&mut out);
        assert_eq!(out, b"1");
        order.sent(Request::Bind, false);
        order.answer(b"3".to_vec(), false);
        order.sent(Request::Sync, false);
        out.clear();
        order.take_answers(&mut out);
        assert!(out.is_empty());
        assert_eq!(replies_seen(&mut order, "2Z"), "23Z");
    }

    #[test]
    fn a_sync_within_copy_in_is_ignored_as_the_server_ignores_it() {
        // libpq sends Execute and Sync together, then the data.
        let (found, mut order) = seen("PBES", "12G");
        assert_eq!(found, "12G");
        assert!(order.copying_in);
        order.sent(Request::Sync, false);
        order.sent(Request::CopyEnd, false);
        order.sent(Request::Sync, false);
        assert_eq!(replies_seen(&mut order, "CZ"), "CZ");
        assert!(order.is_between_transactions());
        // It fails while the data are on their way.
        let (_, mut order) = seen("PBES", "12G");
        assert_eq!(replies_seen(&mut order, "E"), "E");
        order.sent(Request::CopyEnd, false);
        order.sent(Request::Sync, false);
        assert_eq!(replies_seen(&mut order, "Z"), "Z");
        assert!(order.is_between_transactions());
        // In a Query there is no Sync.
        let (_, mut order) = seen("Q", "GEZ");
        order.sent(Request::CopyEnd, false);
        assert!(order.is_between_transactions());
    }

    #[test]
    fn a_connection_is_kept_as_long_as_a_sync_is_missing() {
        // Flush makes the server answer, but the implicit transaction stays open.
        let (found, mut order) = seen("PBE", "12C");
        assert_eq!((found.as_str(), order.is_idle()), ("12C", false));
        order.sent(Request::Sync, false);
        assert_eq!(replies_seen(&mut order, "Z"), "Z");
        assert!(order.is_between_transactions());
        // A Query ends it as well.
        assert!(seen("PBEQ", "12CCZ").1.is_between_transactions());
    }

    #[test]
    fn a_copy_that_fails_before_it_has_read_the_sync_ahead_of_the_data() {
        let (found, mut order) = seen("PBES", "12GEZ");
        assert_eq!((found.as_str(), order.is_between_transactions()), ("12GEZ", true));
        // The client goes on as if nothing had happened: its data are ignored, its Sync is not.
        order.sent(Request::CopyEnd, false);
        order.sent(Request::Sync, false);
        assert_eq!(replies_seen(&mut order, "Z"), "Z");
        assert!(order.is_between_transactions());
        // Its Sync was faster than the first ReadyForQuery: there may be a second one.
        let (_, mut order) = seen("PBES", "12GE");
        order.sent(Request::Sync, false);
        assert_eq!(replies_seen(&mut order, "Z"), "Z");
        assert!(order.is_between_transactions() && order.is_doubtful());
        assert_eq!(replies_seen(&mut order, "Z"), "Z");
        assert!(!order.is_doubtful());
    }

    #[test]
    fn changes_are_settled_in_order_and_those_skipped_do_not_happen() {
        let mut order = Order::default();
        order.sent_change(Request::Parse, false, true);
        order.sent(Request::Bind, false);
        order.answer(b"1".to_vec(), true);
        order.sent(Request::Sync, false);
        order.answer(b"3".to_vec(), true);
        assert_eq!(replies_seen(&mut order, "1EZ"), "1EZ3");
        assert_eq!(order.take_settled(), [Outcome::Done, Outcome::Skipped, Outcome::Done]);
        order.sent_change(Request::Parse, false, true);
        order.sent(Request::Sync, false);
        assert_eq!(replies_seen(&mut order, "EZ"), "EZ");
        assert_eq!(order.take_settled(), [Outcome::Failed]);
    }

    #[test]
    fn what_nobody_asked_for_is_out_of_step() {
        assert_eq!(seen("", "D").0, "!D");
        assert_eq!(seen("P", "2").0, "!2");
        assert_eq!(seen("", "NSA").0, "NSA");
        assert!(!seen("Q", "GE").1.is_idle());
        assert!(seen("S", "").1.is_answer_due());
        assert!(!seen("PBE", "").1.is_answer_due());
    }
}
