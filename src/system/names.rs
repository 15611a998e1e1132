//! The name of a host by its address.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// The longest name, with its end.
const NAME_BYTES: usize = 1025;

/// The name of the host with that address, if the name leads back to the address. Asks the system's resolver, which may take
/// long.
pub fn confirmed_name(address: IpAddr) -> Option<String> {
    let name = name_of(address)?;
    let mut addresses = (name.as_str(), 0).to_socket_addrs().ok()?;
    addresses.any(|found| found.ip() == address).then_some(name)
}

fn name_of(address: IpAddr) -> Option<String> {
    let storage = SockaddrStorage::from(SocketAddr::new(address, 0));
    let mut name = [0u8; NAME_BYTES];
    // SAFETY: the address is one of that length, the buffer has that many bytes, and no service is asked for.
    let failed = unsafe {
        libc::getnameinfo(
            storage.as_ptr(),
            storage.len(),
            name.as_mut_ptr().cast(),
            NAME_BYTES as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    let length = name.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(name.get(..length)?).ok()?;
    (failed == 0 && !name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_name_has_none() {
        // Reserved for documentation (RFC 5737): nobody has a name for it.
        assert_eq!(confirmed_name("192.0.2.1".parse().unwrap()), None);
    }
}
