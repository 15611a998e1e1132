//! COPY between the client and the engine: the messages of both directions.
//!
//! Protocol: "COPY Operations". Copy-in reads the client's messages itself until the data's end; after an error
//! the rest of the data is skipped by the session loop, which ignores COPY messages outside of a COPY.

mod fields;
mod lines;
mod read;
mod write;

use self::read::CopyReader;
use self::write::CopyRows;
use super::client::{Client, End, Outcome, Stop, Waited, Waiting};
use super::core::Core;
use super::run::{Ran, Task};
use super::simple::cancelled;
use crate::engine::Engine;
use crate::error::{Condition, Error};
use crate::protocol::{Format, Message};
use crate::settings::TextContext;
use crate::sql::plan::{Copy, CopyDirection, Tag};

/// What the client's next message means to a copy-in.
enum Piece {
    /// Data, or a message that is ignored: more to come.
    More,
    /// CopyDone.
    Done,
}

impl<E: Engine> Core<'_, E> {
    /// COPY. The statement's own rows count for its tag.
    pub fn run_copy(
        &mut self,
        client: &mut Client<'_>,
        copy: &Copy,
        task: &Task<'_, E::Statement>,
    ) -> Outcome<Ran<E::Cursor>> {
        match copy.direction {
            CopyDirection::In(_) => self.copy_in(client, copy),
            CopyDirection::Out(_) => {
                let mut rows = CopyRows::start(client, copy, &self.environment)?;
                let result = self.engine.execute(task.statement, task.parameters, 0, &mut rows);
                let (completion, _) = client.unless_lost(result)?;
                client.out().copy_done();
                Ok(Ran::bare(Tag::Copy, completion.rows))
            }
        }
    }

    fn copy_in(&mut self, client: &mut Client<'_>, copy: &Copy) -> Outcome<Ran<E::Cursor>> {
        self.engine.copy_in_start(copy)?;
        client.out().copy_in_response(Format::Text, u16::try_from(copy.columns.len()).unwrap_or(u16::MAX));
        let read = match self.send(client) {
            Ok(()) => self.copy_in_data(client, copy),
            Err(end) => Err(end.into()),
        };
        match read {
            Ok(()) => Ok(Ran::bare(Tag::Copy, self.engine.copy_in_end(copy, false)?)),
            Err(stop) => {
                // The error that made it fail is the one that counts.
                if let Err(error) = self.engine.copy_in_end(copy, true) {
                    log::debug!("undoing a COPY: {error}");
                }
                Err(stop)
            }
        }
    }

    fn copy_in_data(&mut self, client: &mut Client<'_>, copy: &Copy) -> Outcome<()> {
        let context =
            TextContext { now_us: self.engine.transaction_timestamp(), ..self.environment.text_context.clone() };
        let mut reader = CopyReader::new(copy, &context);
        let engine = &mut *self.engine;
        loop {
            wait(client).map_err(|stop| match stop {
                Stop::Error(error) => Stop::Error(error.context(reader.context())),
                end => end,
            })?;
            match next_piece(client, &mut reader, |row| engine.copy_in_row(copy, row))? {
                Piece::More => {}
                Piece::Done => return Ok(reader.finish(|row| engine.copy_in_row(copy, row))?),
            }
        }
    }
}

/// Waits for a whole message of the client.
fn wait(client: &mut Client<'_>) -> Outcome<()> {
    loop {
        match client.message() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(violation) => {
                let error = Error::from(violation);
                client.say_fatal(&error);
                return Err(End::ProtocolViolation(error).into());
            }
        }
        if let Err((_, error)) = client.check_size() {
            client.discard()?;
            return Err(error.into());
        }
        match client.receive(Waiting::CopyData)? {
            Waited::Cancelled => return Err(cancelled().into()),
            Waited::Bytes | Waited::TimedOut => {}
        }
    }
}

fn next_piece(
    client: &mut Client<'_>,
    reader: &mut CopyReader<'_>,
    take: impl FnMut(&[crate::sql::types::Value]) -> Result<(), Error>,
) -> Outcome<Piece> {
    let Some((frame, length, _)) = client.message()? else { return Ok(Piece::More) };
    let kind = frame.kind;
    let piece = match Message::decode(frame) {
        Err(violation) => Err(Error::from(violation)),
        Ok(Message::CopyData(data)) => reader.feed(data, take).map(|()| Piece::More),
        Ok(Message::CopyDone) => Ok(Piece::Done),
        Ok(Message::CopyFail(reason)) => {
            let message = format!("COPY from stdin failed: {reason}");
            Err(Error::new(Condition::QueryCanceled, message).context(reader.context()))
        }
        // A client that does not know that this is a COPY may send these with it.
        Ok(Message::Flush | Message::Sync) => Ok(Piece::More),
        Ok(_) => {
            let message = format!("unexpected message type 0x{kind:02X} during COPY from stdin");
            Err(Error::new(Condition::ProtocolViolation, message).context(reader.context()))
        }
    };
    // A message that is none of a COPY's is left for the session to deal with, once the COPY has failed.
    if matches!(kind, b'd' | b'c' | b'f' | b'H' | b'S') {
        client.consume(length);
    }
    Ok(piece?)
}
