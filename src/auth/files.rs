//! How the files of access rules are read: by name, with the files that they include.

use std::fs;
use std::path::{Path, PathBuf};

/// Reads files and folders. Names are whole paths; [`resolve`] makes them.
pub trait Files {
    /// A file's text; `None`: there is no such file.
    fn read(&self, path: &Path) -> Result<Option<String>, String>;

    /// The names in a folder, but for those of folders.
    fn list(&self, folder: &Path) -> Result<Vec<String>, String>;
}

/// The files of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<Option<String>, String> {
        match fs::read(path) {
            // Names may be in any encoding; what is not UTF-8 will equal no role.
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let files = entries.into_iter().filter(|entry| !entry.path().is_dir());
        // A file that were left out for its name could be the one that refuses somebody.
        let name =
            |name: std::ffi::OsString| name.into_string().map_err(|name| format!("{} is not UTF-8", name.display()));
        files.map(|entry| name(entry.file_name())).collect()
    }
}

/// The path of a file that another one names: relative to that one's folder.
pub fn resolve(name: &str, from: &Path) -> PathBuf {
    from.parent().unwrap_or(Path::new("")).join(name)
}
