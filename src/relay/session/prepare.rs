//! Prepared statements of a session in pool mode "transaction": what a client's Parse, Bind, Describe and Close become
//! upstream, and which of them are settled.

use std::rc::Rc;

use super::Relay;
use crate::config::PoolMode;
use crate::protocol::client::ClientEncoder;
use crate::protocol::{Next, frame};
use crate::relay::messages::{self, Message};
use crate::relay::order::{Outcome, Request};
use crate::relay::statements::{NAME_BYTES, NAME_PREFIX, Prepared, StatementId, remember};
use crate::session::State;

/// What is known of a connection's unnamed statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// Nothing: another client may have left one.
    Unknown,
    Absent,
    Is(Rc<Prepared>),
}

/// What a request does to statements, once it is carried out.
pub(super) struct Change {
    unit: u64,
    /// It is a Query, which may take all statements away (DEALLOCATE ALL).
    query: bool,
    /// What the client calls which statement from then on (or nothing any more).
    client: Option<(Vec<u8>, Option<Rc<Prepared>>)>,
    /// The connection has this one then, or has it no more.
    upstream: Option<(StatementId, bool)>,
}

impl Relay<'_> {
    /// Parse in pool mode "transaction": the statement gets its name of text and types, once a connection.
    pub(super) fn parse(&mut self, name: &[u8], prepared: Rc<Prepared>) {
        let client = Some((name.to_vec(), Some(Rc::clone(&prepared))));
        if name.is_empty() {
            self.unnamed = Unnamed::Is(Rc::clone(&prepared));
            self.send_parse(b"", &prepared, false, client, None);
        } else if self.find(name).is_some() {
            // The server has it under another name; asked a second time it refuses with the right error.
            let upstream_name = self.provide(name);
            self.send_parse(&upstream_name, &prepared, false, None, None);
        } else if self.has(prepared.id) && self.order.is_accepting() {
            self.order.answer(b"1\0\0\0\x04".to_vec(), true);
            self.note(client, None);
        } else {
            self.forget(prepared.id);
            self.send_parse(prepared.id.name().as_bytes(), &prepared, false, client, Some((prepared.id, true)));
        }
    }

    /// What the client calls `name` when what it sent so far has been carried out.
    fn find(&self, name: &[u8]) -> Option<Rc<Prepared>> {
        let changed = self.changes.iter().rev().filter_map(|change| change.client.as_ref());
        match changed.into_iter().find(|(changed, _)| changed == name) {
            Some((_, prepared)) => prepared.clone(),
            None => self.statements.find(name).cloned(),
        }
    }

    /// Whether the client's next message names a statement of which it is not known yet whether it is there: an error in
    /// a unit before this one may have what changes it skipped. (In this unit such an error has the message skipped as
    /// well.)
    pub(super) fn is_undecided(&self) -> bool {
        if self.session.mode == PoolMode::Session || self.changes.iter().all(|change| change.unit == self.unit) {
            return false;
        }
        let Ok(Next::Complete(frame, _)) = frame::next(self.session.transport.unread()) else { return false };
        let name = match messages::read(frame) {
            // It replaces whatever there is.
            Ok(Message::Parse { name: b"", .. }) => return false,
            Ok(Message::Parse { name, .. }) => name,
            Ok(Message::Bind { statement, .. }) => statement,
            Ok(Message::DescribeStatement(name) | Message::CloseStatement(name)) => name,
            _ => return false,
        };
        let concerns = |change: &&Change| change.query || change.client.as_ref().is_some_and(|(of, _)| of == name);
        self.changes.iter().rev().find(concerns).is_some_and(|change| change.unit != self.unit)
    }

    /// A message of the server's with the client's name in the place of the first statement that it names; `None`
    /// where it names none.
    pub(super) fn with_own_names(&self, message: &[u8]) -> Option<Vec<u8>> {
        let start = message.windows(NAME_PREFIX.len()).position(|part| part == NAME_PREFIX.as_bytes())?;
        let (before, rest) = message.split_at_checked(start)?;
        let (name, after) = rest.split_at_checked(NAME_BYTES)?;
        let is_named = |prepared: &Rc<Prepared>| prepared.id.name().as_bytes() == name;
        let changed = self.changes.iter().filter_map(|change| change.client.as_ref());
        let changed = changed.filter_map(|(own, prepared)| Some((own, prepared.as_ref()?)));
        let (own, _) = changed.chain(self.statements.iter()).find(|(_, prepared)| is_named(prepared))?;
        Some([before, own, after].concat())
    }

    /// Sees to it that the connection has what the client calls `name`, and nothing where the client has nothing of
    /// that name; what it is called there.
    pub(super) fn provide(&mut self, name: &[u8]) -> Vec<u8> {
        let found = self.find(name);
        if let Some(prepared) = &found {
            let text = prepared.definition.split(|byte| *byte == 0).next().unwrap_or_default();
            self.session.activity.state(State::Active, Some(&String::from_utf8_lossy(text)));
            self.leavings.consider(text);
        }
        // An error in a unit before this one may yet have its Parse skipped.
        let is_certain = self.changes.iter().all(|change| change.unit == self.unit);
        match found {
            None if name.is_empty() => {
                if !is_certain || self.unnamed != Unnamed::Absent {
                    self.push(b'C', &[b"S\0"]);
                    self.order.sent(Request::Close, true);
                    self.unnamed = Unnamed::Absent;
                }
                Vec::new()
            }
            // The server says that there is no such statement.
            None => name.to_vec(),
            Some(prepared) if name.is_empty() => {
                let wanted = Unnamed::Is(Rc::clone(&prepared));
                if !is_certain || self.unnamed != wanted {
                    self.unnamed = wanted;
                    self.send_parse(b"", &prepared, true, None, None);
                }
                Vec::new()
            }
            Some(prepared) => {
                let upstream_name = prepared.id.name().into_bytes();
                if !self.has(prepared.id) {
                    self.forget(prepared.id);
                    self.send_parse(&upstream_name, &prepared, true, None, Some((prepared.id, true)));
                } else if let Some(lent) = &mut self.lent
                    && lent.upstream.memory.statements.contains(&prepared.id)
                {
                    remember(&mut lent.upstream.memory.statements, prepared.id);
                }
                upstream_name
            }
        }
    }

    /// Whether the connection has the statement, or will have it unless an error has all skipped that needs it.
    fn has(&self, id: StatementId) -> bool {
        match self.changes_of(id).next_back() {
            Some(change) => change.unit == self.unit && change.upstream == Some((id, true)),
            None => self.lent.as_ref().is_some_and(|lent| lent.upstream.memory.statements.contains(&id)),
        }
    }

    fn changes_of(&self, id: StatementId) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.upstream.is_some_and(|(of, _)| of == id))
    }

    /// Closes a statement which the connection has, or may have got by a Parse that is not settled.
    fn forget(&mut self, id: StatementId) {
        if self.has(id) || self.changes_of(id).next().is_some() {
            self.push(b'C', &[b"S", id.name().as_bytes(), b"\0"]);
            self.send_change(Request::Close, true, None, Some((id, false)));
        }
    }

    fn send_parse(
        &mut self,
        name: &[u8],
        prepared: &Prepared,
        silent: bool,
        client: Option<(Vec<u8>, Option<Rc<Prepared>>)>,
        upstream: Option<(StatementId, bool)>,
    ) {
        self.push(b'P', &[name, b"\0", &prepared.definition]);
        self.send_change(Request::Parse, silent, client, upstream);
    }

    /// A request that changes statements has been sent.
    pub(super) fn send_change(
        &mut self,
        request: Request,
        silent: bool,
        client: Option<(Vec<u8>, Option<Rc<Prepared>>)>,
        upstream: Option<(StatementId, bool)>,
    ) {
        if self.order.sent_change(request, silent, true) {
            let (unit, query) = (self.unit, request == Request::Query);
            self.changes.push_back(Change { unit, query, client, upstream });
        }
    }

    pub(super) fn note(
        &mut self,
        client: Option<(Vec<u8>, Option<Rc<Prepared>>)>,
        upstream: Option<(StatementId, bool)>,
    ) {
        self.changes.push_back(Change { unit: self.unit, query: false, client, upstream });
    }

    /// Hands on our own answers whose turn it is, and carries out the changes that are settled.
    pub(super) fn settle(&mut self) {
        self.order.take_answers(self.session.transport.output());
        for outcome in self.order.take_settled() {
            let Some(Change { client, upstream, .. }) = self.changes.pop_front() else { return };
            if outcome != Outcome::Done {
                self.unnamed = Unnamed::Unknown;
                // A Parse that fails has ended the unnamed statement before it.
                if let (Outcome::Failed, Some((name, _))) = (outcome, client)
                    && name.is_empty()
                {
                    self.statements.set(name, None);
                }
                continue;
            }
            if let (Some((id, is_there)), Some(lent)) = (upstream, &mut self.lent) {
                lent.upstream.memory.statements.retain(|known| *known != id);
                if is_there {
                    lent.upstream.memory.statements.push(id);
                }
            }
            if let Some((name, prepared)) = client {
                self.statements.set(name, prepared);
            }
        }
    }

    /// Closes statements of the connection that were not used for longest, where it has more than that. Only while
    /// nobody uses any.
    pub(super) fn evict(&mut self, most: usize) {
        let Some(lent) = &mut self.lent else { return };
        let memory = &mut lent.upstream.memory;
        let excess = memory.statements.len().saturating_sub(most);
        if excess == 0 {
            return;
        }
        for id in memory.statements.drain(..excess) {
            ClientEncoder::new(&mut lent.upstream.output).close_statement(&id.name());
            self.order.sent(Request::Close, true);
        }
        ClientEncoder::new(&mut lent.upstream.output).sync();
        self.order.sent(Request::Sync, true);
    }
}
