//! Telling the service manager how the daemon fares (sd_notify(3)): a datagram of text to the socket that
//! `NOTIFY_SOCKET` names. So `systemctl start kulan` fails if kulan could not start, and what depends on it
//! is started when it serves. Without the variable nobody wants to know.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use log::warn;

/// The daemon serves.
pub(super) const READY: &str = "READY=1";
/// The daemon is about to end.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Tells the service manager, if there is one.
pub(super) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell(&socket, state) {
        warn!("NOTIFY_SOCKET {}: cannot tell {state}: {error}", socket.display());
    }
}

fn tell(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // An abstract name is written with @ for the octet 0 that it begins with.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_it_at_a_path_and_at_an_abstract_name() {
        let path = std::env::temp_dir().join(format!("kulan-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let name = format!("kulan-notify-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let at_name =
            SocketAddr::from_abstract_name(&name).and_then(|name| UnixDatagram::bind_addr(&name)).unwrap();
        for (socket, listener) in
            [(path.as_os_str().to_owned(), at_path), (format!("@{name}").into(), at_name)]
        {
            tell(&socket, READY).unwrap();
            let mut heard = [0; 64];
            let len = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..len], READY.as_bytes());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(tell(path.as_os_str(), READY).is_err());
    }
}
