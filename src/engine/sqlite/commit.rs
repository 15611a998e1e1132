//! stand-in
use crate::engine::sqlite::attachment::Attachment;
use crate::engine::sqlite::ffi::vfs;
use crate::error::Error;
pub fn wait_durable(a: &Attachment, _p: u64) -> Result<(), Error> { if vfs::sync_wal(a) { Ok(()) } else { Err(Error::internal("sync")) } }
