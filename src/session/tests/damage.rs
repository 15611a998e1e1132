//! Damaged conversations: whatever the bytes, the session answers or ends, and does not panic.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::engine::null::Null;
use crate::protocol::Format;
use crate::protocol::client::ClientEncoder;
use crate::session::{Undisturbed, serve};
use crate::settings::Settings;
use crate::worker::transport::Transport;

const CASES: u64 = 300;

fn conversation() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut client = ClientEncoder::new(&mut bytes);
    client.query("BEGIN; SELECT 'é'; COMMIT");
    client.parse("s", "SELECT $1, $2", &[23, 0]);
    client.describe_statement("s");
    client.bind("p", "s", Format::Text, &[Some(b"1"), None], Format::Binary);
    client.describe_portal("p");
    client.execute("p", 1);
    client.close_portal("p");
    client.flush();
    client.sync();
    client.query("copy t from stdin");
    client.copy_data(b"a\\tb\nc");
    client.copy_done();
    client.sync();
    bytes
}

#[test]
fn damaged_messages_never_panic() {
    let whole = conversation();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        // Knuth's MMIX generator: the same cases in every run.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for case in 0..CASES {
        let mut bytes = whole.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] ^= 1 << random(8),
                2 => drop(bytes.drain(at..(at + 1 + random(4)).min(bytes.len()))),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let session = std::thread::spawn(move || {
            let settings = Arc::new(parking_lot::Mutex::new(Settings::new()));
            let mut transport = Transport::new(theirs.into());
            serve(&mut transport, &mut Null::new(), settings, &mut Undisturbed, &mut Undisturbed, None)
        });
        // The session may have closed the connection over what came first.
        let _ = ours.write_all(&bytes);
        let _ = ours.shutdown(std::net::Shutdown::Write);
        let _ = ours.read_to_end(&mut Vec::new());
        assert!(session.join().is_ok(), "case {case} panicked: {bytes:?}");
    }
}
