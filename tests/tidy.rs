//! Reads the source as text and fails on what the compiler does not forbid: imports against the direction in
//! which requests flow, files without a header, files that have outgrown their room, left-overs.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may name whom: module → the modules of this crate that its files may import. A module not listed here
/// fails the test, so that a new folder has to be given its place.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["config", "system", "postmaster", "worker", "engine", "relay", "keeper", "bench", "auth", "error"]),
    ("postmaster", &["config", "system", "worker", "doorman", "background", "keeper", "engine", "auth", "error"]),
    ("doorman", &["config", "system", "protocol", "worker", "auth", "error"]),
    ("background", &["config", "system", "engine", "error"]),
    ("keeper", &["config", "system", "error"]),
    (
        "worker",
        &["work", "config", "system", "protocol", "auth", "session", "engine", "keeper", "relay", "settings", "error"],
    ),
    ("relay", &["config", "system", "protocol", "auth", "session", "engine", "worker", "error"]),
    ("session", &["work", "protocol", "engine", "sql", "settings", "worker", "error"]),
    ("engine", &["work", "sql", "settings", "auth", "config", "system", "error"]),
    ("sql", &["work", "error", "settings", "regex"]),
    // Of `system` the pages that core files leave out: auth does no I/O.
    ("auth", &["protocol", "error", "regex", "system"]),
    ("regex", &["error"]),
    ("protocol", &["error"]),
    ("settings", &["error"]),
    ("config", &["error", "settings"]),
    ("system", &[]),
    ("work", &["system", "error"]),
    ("error", &[]),
    ("bench", &["protocol", "auth", "config", "system", "error"]),
];

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn all_files(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in folders {
        rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("UTF-8 source");
            (path.strip_prefix(root).expect("below the root").to_owned(), text)
        })
        .collect()
}

/// The top-level module that a file below `src/` belongs to.
fn module_of(path: &Path) -> String {
    let first = path.components().nth(1).expect("src/x").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_follow_the_flow_of_requests() {
    let mut wrong = Vec::new();
    for (path, text) in all_files(&["src"]) {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module {module} is not in the table", path.display()));
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            for (start, _) in code.match_indices("crate::").chain(code.match_indices("pgprefork::")) {
                let rest = &code[start..];
                let rest = rest.split_once("::").map_or("", |(_, rest)| rest);
                let target: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if !target.is_empty() && target != module && !allowed.contains(&target.as_str()) {
                    wrong.push(format!("{}:{}: {module} may not import {target}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let without: Vec<_> = all_files(&["src", "shm", "tests", "benches", "examples"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(without.is_empty(), "files that do not open with //!:\n{}", without.join("\n"));
}

#[test]
fn no_file_outgrows_its_room() {
    let large: Vec<_> = all_files(&["src", "shm", "tests", "benches"])
        .into_iter()
        .filter(|(_, text)| text.lines().count() > 800)
        .map(|(path, text)| format!("{}: {}", path.display(), text.lines().count()))
        .collect();
    assert!(large.is_empty(), "files over 800 lines:\n{}", large.join("\n"));
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let allowed = ["src/system/", "src/engine/sqlite/ffi/", "shm/", "tests/"];
    let mut wrong = Vec::new();
    for (path, text) in all_files(&["src", "shm", "benches", "examples"]) {
        if allowed.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let opens_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
            if opens_unsafe.iter().any(|words| code.contains(words)) || code.contains("allow(unsafe_code") {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside its rooms:\n{}", wrong.join("\n"));
}

/// What the documents link to in this repository is there.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/benchmarks.md",
        "docs/differences.md",
        "docs/postgres.md",
        "docs/relay.md",
        "docs/security.md",
    ] {
        let text = fs::read_to_string(root.join(document)).expect("a document");
        let folder = root.join(document).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') || link.contains(char::is_whitespace) {
                continue;
            }
            let path = link.split('#').next().unwrap_or_default();
            assert!(folder.join(path).exists(), "{document} links to {link}, which is not there");
            links += 1;
        }
    }
    assert!(links >= 7, "only {links} links were found");
}

#[test]
fn nothing_is_left_over() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("#[ign", "ore]"),
        concat!("dbg", "!("),
    ];
    let mut found = Vec::new();
    for (path, text) in all_files(&["src", "shm", "tests", "benches", "examples"]) {
        for (number, line) in text.lines().enumerate() {
            for word in words {
                if line.contains(word) {
                    found.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "left-overs:\n{}", found.join("\n"));
}
