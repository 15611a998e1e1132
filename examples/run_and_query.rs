//! Runs the server as a child process, waits until it is ready, and queries it with an ordinary driver.
//!
//! Embedding the server means running its program: a process that serves forks, and must have one thread.
//!
//! `cargo build --release && cargo run --release --example run_and_query`

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The server's program: the first argument, or else the one built beside this example.
fn program() -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = std::env::args_os().nth(1) {
        return Ok(path.into());
    }
    let example = std::env::current_exe()?;
    let folder = example.parent().and_then(|folder| folder.parent()).ok_or("no folder above the example")?;
    Ok(folder.join("pgprefork"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::Builder::new().prefix("pgprefork-example-").tempdir()?;
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();

    let (reader, writer) = std::io::pipe()?;
    let mut server = Command::new(program()?)
        .args(["serve", "--port", &port.to_string(), "--listen", "127.0.0.1"])
        .args(["--set", "listen.socket_directories=[\".\"]"])
        .arg("--data")
        .arg(directory.path().join("data"))
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;

    let mut lines = BufReader::new(reader).lines();
    for line in lines.by_ref() {
        let line = line?;
        println!("server: {line}");
        if line.contains("ready to accept connections") {
            break;
        }
    }
    // Whatever it prints from now on is read, so that it never waits for us.
    let drain = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("server: {line}")));

    let outcome = query(port);

    // SIGINT is the fast shutdown: sessions are ended, the checkpoint is written.
    kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGINT)?;
    let status = server.wait()?;
    let _ = drain.join();
    println!("server ended with {status}");
    outcome
}

fn query(port: u16) -> Result<(), Box<dyn Error>> {
    let mut client = postgres::Client::connect(&format!("host=127.0.0.1 port={port} user=postgres"), postgres::NoTls)?;
    client.batch_execute("create table visit (id int primary key, name text not null)")?;
    let mut transaction = client.transaction()?;
    for (id, name) in [(1, "Ada"), (2, "Grace")] {
        transaction.execute("insert into visit values ($1, $2)", &[&id, &name])?;
    }
    transaction.commit()?;
    for row in client.query("select id, name from visit order by id", &[])? {
        println!("{}: {}", row.get::<_, i32>(0), row.get::<_, String>(1));
    }
    Ok(())
}
