//! What waits in the kernel to be accepted: how long a connection has waited, and how many wait at a server's
//! listening sockets. Reads only; a kernel that does not tell is no error.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

use super::Pid;

/// How long ago the last acknowledgement of a TCP connection's client came, to a tick of the kernel's clock (1 to
/// 10 ms). Of a connection that has just been accepted that is when its handshake ended, so how long it has waited
/// to be accepted; or less, if the client has acknowledged something since. Unix sockets know nothing of the kind.
pub fn waited(connection: impl AsFd) -> Option<Duration> {
    /// Of `tcpi_last_ack_recv` in `struct tcp_info` (linux/tcp.h), in words of 32 bits: milliseconds.
    const LAST_ACK_RECEIVED: usize = 14;
    let mut words = [0_u32; LAST_ACK_RECEIVED + 1];
    let mut length = libc::socklen_t::try_from(size_of_val(&words)).ok()?;
    let fd = connection.as_fd().as_raw_fd();
    let place = words.as_mut_ptr().cast();
    // SAFETY: the buffer and its length outlive the call; the kernel writes as much as the length says, or less.
    let result = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, place, &mut length) };
    let is_whole = result == 0 && usize::try_from(length).is_ok_and(|length| length >= size_of_val(&words));
    is_whole.then(|| Duration::from_millis(words[LAST_ACK_RECEIVED].into()))
}

/// Connections that wait at the listening sockets of that process. None for somebody who may not look.
pub fn waiting(process: Pid) -> Option<u32> {
    let inodes = socket_inodes(process).ok()?;
    let queues = tcp_queues(process).ok()?.into_iter().chain(unix_queues().unwrap_or_default());
    let own: HashMap<u32, u32> = queues.filter(|(inode, _)| inodes.contains(inode)).collect();
    Some(own.values().sum())
}

fn socket_inodes(process: Pid) -> io::Result<Vec<u32>> {
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.flatten().filter_map(inode).collect())
}

/// Inode and queue of each TCP socket that listens: proc(5), /proc/net/tcp.
fn tcp_queues(process: Pid) -> io::Result<Vec<(u32, u32)>> {
    let mut text = fs::read_to_string(format!("/proc/{process}/net/tcp"))?;
    // Absent where the kernel has no IPv6.
    text += &fs::read_to_string(format!("/proc/{process}/net/tcp6")).unwrap_or_default();
    Ok(text.lines().filter_map(tcp_queue).collect())
}

fn tcp_queue(line: &str) -> Option<(u32, u32)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, state, queues, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let (_, received) = queues.split_once(':')?;
    (*state == LISTEN).then_some(())?;
    Some((inode.parse().ok()?, u32::from_str_radix(received, 16).ok()?))
}

/// Inode and queue of each Unix socket that listens: sock_diag(7), which is where the kernel tells it.
fn unix_queues() -> io::Result<Vec<(u32, u32)>> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST_DUMP: u16 = 0x301;
    const LISTENING: u32 = 1 << 10;
    const SHOW_QUEUE_LENGTHS: u32 = 0x10;
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    let mut request = Vec::with_capacity(40);
    request.extend_from_slice(&40_u32.to_ne_bytes());
    request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&[libc::AF_UNIX as u8, 0, 0, 0]);
    for word in [LISTENING, 0, SHOW_QUEUE_LENGTHS, 0, 0] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    sendto(fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut queues = Vec::new();
    loop {
        let mut bytes = [0; 16 * 1024];
        let count = recv(fd.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
        if !unix_messages(bytes.get(..count).unwrap_or_default(), &mut queues) {
            return Ok(queues);
        }
    }
}

/// Takes the queues out of one datagram. False when nothing follows.
fn unix_messages(mut bytes: &[u8], queues: &mut Vec<(u32, u32)>) -> bool {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const HEADER: usize = 16;
    /// Of `struct unix_diag_msg`, which the attributes follow.
    const MESSAGE: usize = 16;
    const QUEUE_LENGTHS: u16 = 4;
    while let (Some(length), Some(kind)) = (word(bytes, 0), half(bytes, 4)) {
        let Some(message) = usize::try_from(length).ok().and_then(|length| bytes.get(HEADER..length)) else {
            return false;
        };
        if kind != SOCK_DIAG_BY_FAMILY {
            return false;
        }
        let inode = word(message, 4);
        let mut attributes = message.get(MESSAGE..).unwrap_or_default();
        while let (Some(size), Some(name)) = (half(attributes, 0), half(attributes, 2)) {
            if let (QUEUE_LENGTHS, Some(inode), Some(queue)) = (name, inode, word(attributes, 4)) {
                queues.push((inode, queue));
            }
            attributes = attributes.get(usize::from(size.max(4)).next_multiple_of(4)..).unwrap_or_default();
        }
        bytes = bytes.get((HEADER + message.len()).next_multiple_of(4)..).unwrap_or_default();
    }
    true
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Instant;

    #[test]
    fn connections_that_wait_are_counted_on_tcp_and_unix_sockets() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("listens");
        let unix = UnixListener::bind(&path).expect("listens");
        let inode = |fd: i32| {
            let target = fs::read_link(format!("/proc/self/fd/{fd}")).expect("a link");
            let text = target.to_string_lossy().into_owned();
            text.trim_start_matches("socket:[").trim_end_matches(']').parse::<u32>().expect("an inode")
        };
        let of = |queues: Vec<(u32, u32)>, inode: u32| {
            queues.into_iter().find(|(known, _)| *known == inode).expect("is listed").1
        };
        let me = Pid::this();
        assert_eq!(of(tcp_queues(me).expect("reads"), inode(tcp.as_raw_fd())), 0);
        let _clients = [0; 3].map(|_| TcpStream::connect(tcp.local_addr().expect("an address")).expect("connects"));
        assert_eq!(of(tcp_queues(me).expect("reads"), inode(tcp.as_raw_fd())), 3);
        let _others = [0; 2].map(|_| UnixStream::connect(&path).expect("connects"));
        assert_eq!(of(unix_queues().expect("asks"), inode(unix.as_raw_fd())), 2);
        assert!(waiting(me).expect("may look") >= 5);
    }

    #[test]
    fn a_connection_tells_how_long_it_has_waited() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let begun = Instant::now();
        let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        let mut waited_for = Duration::ZERO;
        while waited_for < Duration::from_millis(50) {
            std::thread::sleep(Duration::from_millis(20));
            waited_for = begun.elapsed();
        }
        let (accepted, _) = listener.accept().expect("accepts");
        let told = waited(&accepted).expect("TCP tells");
        // A tick of the clock is at most 10 ms.
        assert!(
            told + Duration::from_millis(20) >= waited_for && told <= begun.elapsed() + Duration::from_millis(20),
            "{told:?}, {waited_for:?}"
        );
        let (one, _) = UnixStream::pair().expect("a pair");
        assert_eq!(waited(&one), None);
    }
}
