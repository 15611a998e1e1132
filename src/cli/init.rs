//! `pgprefork init`: creates a cluster with the authentication of the user's choice.

use super::{InitArguments, Outcome};

/// Creates the cluster.
pub fn run(arguments: &InitArguments) -> Outcome {
    let _ = arguments.data.directory()?;
    Err("init is not part of this build yet".to_owned())
}
