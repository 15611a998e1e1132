//! Work that may block for as long as it likes, on a thread of its own, while the worker keeps its deadline and hears
//! signals. Libraries of authentication are such work: a directory that does not answer holds up its own client only.
//!
//! A thread that has not come to its end when its time is over is left behind, and its process has to end; so has one in
//! which a library has been at work that may have left something ([`was_used`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::startup::Failure;
use crate::error::Error;
use crate::system::signal;

/// Signals are looked for this often while the thread is at work.
const LOOK_EVERY: Duration = Duration::from_millis(20);

static USED: AtomicBool = AtomicBool::new(false);

/// Whether this process has run such work.
pub fn was_used() -> bool {
    USED.load(Ordering::Relaxed)
}

enum Event<Q, R> {
    Asked(Q),
    Done(R),
}

/// What the work sees of the worker's client: it may put questions to it.
pub struct Questions<Q, A, R> {
    events: Sender<Event<Q, R>>,
    answers: Receiver<A>,
}

impl<Q, A, R> Questions<Q, A, R> {
    /// The client's answer; `None`: there is no client any more.
    pub fn ask(&self, question: Q) -> Option<A> {
        self.events.send(Event::Asked(question)).ok()?;
        self.answers.recv().ok()
    }
}

/// Runs `work` until the deadline. `answer` carries its questions to the client; if that fails, so does this.
pub fn run<Q, A, R>(
    work: impl FnOnce(&Questions<Q, A, R>) -> R + Send + 'static,
    mut answer: impl FnMut(Q, &mut dyn FnMut() -> bool) -> Result<A, Failure>,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<R, Failure>
where
    Q: Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
{
    USED.store(true, Ordering::Relaxed);
    let (event_sender, events) = bounded(1);
    let (answer_sender, answers) = bounded(1);
    let body = move || {
        // Signals are the worker's main thread's.
        if signal::block_all().is_err() {
            return;
        }
        let questions = Questions { events: event_sender, answers };
        let result = work(&questions);
        // Nobody listens any more if the time was over.
        let _ = questions.events.send(Event::Done(result));
    };
    thread::Builder::new()
        .name("aside".to_owned())
        .spawn(body)
        .map_err(|error| Error::internal(format!("could not start a thread: {error}")))?;
    loop {
        let now = Instant::now();
        if now >= deadline {
            return Err(Failure::TimedOut);
        }
        match events.recv_timeout(LOOK_EVERY.min(deadline - now)) {
            Ok(Event::Done(result)) => return Ok(result),
            Ok(Event::Asked(question)) => {
                let answer = answer(question, interrupted)?;
                let _ = answer_sender.send(answer);
            }
            Err(RecvTimeoutError::Timeout) if interrupted() => return Err(Failure::Gone),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("the work that was done aside came to no end").into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn questions_go_to_the_client_and_answers_come_back() {
        let work = |questions: &Questions<&'static str, usize, Option<usize>>| {
            Some(questions.ask("one")? + questions.ask("three")?)
        };
        let result = run(work, |question, _| Ok(question.len()), soon(), &mut || false);
        assert!(matches!(result, Ok(Some(8))));
        assert!(was_used());
    }

    #[test]
    fn work_that_does_not_end_is_left_behind() {
        let sleep = |_: &Questions<(), (), ()>| thread::sleep(Duration::from_secs(60));
        let deadline = Instant::now() + Duration::from_millis(30);
        assert!(matches!(run(sleep, |(), _| Ok(()), deadline, &mut || false), Err(Failure::TimedOut)));
        assert!(matches!(run(sleep, |(), _| Ok(()), soon(), &mut || true), Err(Failure::Gone)));
    }

    #[test]
    fn a_client_that_has_gone_ends_the_work() {
        let (told, heard) = bounded(1);
        let work = move |questions: &Questions<(), (), ()>| {
            let _ = told.send(questions.ask(()).is_none());
        };
        assert!(matches!(run(work, |(), _| Err(Failure::Gone), soon(), &mut || false), Err(Failure::Gone)));
        assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
