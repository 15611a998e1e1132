//! stand-in
use crate::engine::sqlite::attachment::Attachment;
use crate::engine::sqlite::interrupts::Interrupts;
use crate::error::Error;
pub fn acquire(a: &Attachment, _i: &dyn Interrupts) -> Result<(), Error> { if a.try_writer() { Ok(()) } else { Err(Error::internal("taken")) } }
