//! One small file a kernel facility, each with a safe interface. The only place of the server, besides the
//! engine's FFI folder, that may say `unsafe`.
#![allow(unsafe_code)]
