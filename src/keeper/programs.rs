//! PostgreSQL's programs: where they are, and of which version.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Those that are needed, of one version and in one directory.
const NEEDED: [&str; 2] = ["postgres", "initdb"];
/// Where Debian keeps them, by version: the server's are in nobody's PATH there.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Their directory: the one that was named; else in PATH; else where `pg_config` says; else Debian's newest.
pub fn find(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(named) = named {
        return if has_all(named) {
            Ok(named.to_owned())
        } else {
            Err(format!("there are no programs {} in {}", NEEDED.join(" and "), named.display()))
        };
    }
    find_in(&env::var_os("PATH").unwrap_or_default(), &configured, Path::new(DEBIAN))
}

fn find_in(path: &OsStr, configured: &dyn Fn() -> Option<PathBuf>, folder: &Path) -> Result<PathBuf, String> {
    let in_path = env::split_paths(path).find(|directory| has_all(directory));
    in_path.or_else(configured).or_else(|| newest(folder)).ok_or_else(|| {
        format!(
            "PostgreSQL's programs {} are not in PATH, nor where pg_config says, nor in {DEBIAN}/*/bin: install the package \
             \"postgresql\" (Debian's name), or name their directory with --pg-bindir",
            NEEDED.join(" and ")
        )
    })
}

fn has_all(directory: &Path) -> bool {
    directory.is_absolute() && NEEDED.iter().all(|name| directory.join(name).is_file())
}

/// Where `pg_config` says, if it is there and they are.
fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let directory = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    (output.status.success() && has_all(&directory)).then_some(directory)
}

/// In `VERSION/bin` below this folder, the highest version first.
fn newest(folder: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(folder).ok()?.flatten();
    let versions = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<f64>().ok()?, entry.path())));
    let complete = versions.map(|(version, path)| (version, path.join("bin"))).filter(|(_, path)| has_all(path));
    complete.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, path)| path)
}

/// The major version of the programs in that directory: "15", and "9.6" of those before 10.
pub fn version(directory: &Path) -> Result<String, String> {
    let program = directory.join("postgres");
    let failed = |what: &dyn std::fmt::Display| format!("{} --version: {what}", program.display());
    let output = Command::new(&program).arg("--version").output().map_err(|error| failed(&error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    major(&text).ok_or_else(|| failed(&format_args!("not understood: {:?}", text.trim_end())))
}

/// "15" out of "postgres (PostgreSQL) 15.18 (Debian 15.18-1)", "19" out of "postgres (PostgreSQL) 19beta1".
fn major(text: &str) -> Option<String> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    let first: String = number.chars().take_while(char::is_ascii_digit).collect();
    match first.parse::<u32>().ok()? {
        10.. => Some(first),
        _ => Some(number.split('.').take(2).collect::<Vec<_>>().join(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_are_read() {
        let of = |number: &str| major(&format!("postgres (PostgreSQL) {number}\n"));
        assert_eq!(of("15.18 (Debian 15.18-0+deb12u1)").as_deref(), Some("15"));
        assert_eq!(of("19beta1").as_deref(), Some("19"));
        assert_eq!(of("9.6.24").as_deref(), Some("9.6"));
        assert_eq!(of("devel"), None);
        assert_eq!(major("something else 5"), None);
    }

    #[test]
    fn the_newest_that_is_complete_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for (version, programs) in [("9.6", &NEEDED[..]), ("15", &NEEDED[..]), ("16", &NEEDED[..1]), ("common", &[])] {
            let bin = folder.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            programs.iter().for_each(|name| fs::write(bin.join(name), "").unwrap());
        }
        assert_eq!(newest(folder.path()), Some(folder.path().join("15/bin")));
        assert_eq!(newest(&folder.path().join("nothing")), None);
        assert!(find(Some(folder.path())).unwrap_err().starts_with("there are no programs postgres and initdb in "));
        assert_eq!(find(Some(&folder.path().join("9.6/bin"))), Ok(folder.path().join("9.6/bin")));
        // PATH wins over pg_config, and that over the folder.
        let old = folder.path().join("9.6/bin");
        let found = find_in(old.as_os_str(), &|| panic!("not asked"), folder.path());
        assert_eq!(found, Ok(old.clone()));
        assert_eq!(find_in(OsStr::new(""), &|| Some(old.clone()), folder.path()), Ok(old));
        assert_eq!(find_in(OsStr::new("/nowhere"), &|| None, folder.path()), Ok(folder.path().join("15/bin")));
    }

    #[test]
    fn where_there_are_none_the_package_is_named() {
        let message = find_in(OsStr::new("/nowhere"), &|| None, Path::new("/nowhere")).unwrap_err();
        assert!(message.contains("install the package \"postgresql\""), "{message}");
        assert!(!message.contains('\n'));
    }
}
