//! Binding what `[api]` names, with errors that say what to do.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::{ApiAddress, ApiConfig};

/// Bound sockets, not blocking.
pub(super) struct Listeners {
    pub(super) unix: Vec<UnixListener>,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) http: Option<TcpListener>,
    paths: Vec<PathBuf>,
}

/// Where the API listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Unix sockets of the gRPC services.
    pub unix: Vec<PathBuf>,
    /// TCP addresses of the gRPC services.
    pub tcp: Vec<SocketAddr>,
    /// The address of metrics and health.
    pub http: Option<SocketAddr>,
}

impl Listeners {
    /// Where they are, as the kernel says.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            unix: self.paths.clone(),
            tcp: self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            http: self.http.as_ref().and_then(|listener| listener.local_addr().ok()),
        }
    }
}

/// Binds everything, or nothing and says why.
pub(super) fn bind(config: &ApiConfig) -> io::Result<Listeners> {
    let mut listeners = Listeners { unix: Vec::new(), tcp: Vec::new(), http: None, paths: Vec::new() };
    for address in &config.grpc {
        match address {
            ApiAddress::Unix(path) => {
                listeners.unix.push(bind_unix(path)?);
                listeners.paths.push(path.clone());
            }
            ApiAddress::Tcp(address) => listeners.tcp.push(bind_tcp("grpc", *address)?),
        }
    }
    if let Some(address) = config.http {
        listeners.http = Some(bind_tcp("http", address)?);
    }
    Ok(listeners)
}

fn bind_tcp(key: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| explain(error, format!("[api] {key}: cannot listen at {address}")))?;
    Ok(listener)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let what = || format!("[api] grpc: cannot listen at unix:{}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| explain(error, what()))?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{}: there is a file that is not a socket", what()),
            ));
        }
        // Whoever bound it before may have died without removing it; a live one answers.
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("{}: another daemon answers there", what()),
            ));
        }
        Ok(_) => fs::remove_file(path).map_err(|error| explain(error, what()))?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(|error| explain(error, what()))?;
    // Who may write to it may change routes: the owner and its group, whatever the umask says.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(|error| explain(error, what()))?;
    listener.set_nonblocking(true).map_err(|error| explain(error, what()))?;
    Ok(listener)
}

fn explain(error: io::Error, what: String) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> ApiConfig {
        ApiConfig { grpc: vec![ApiAddress::Unix(path.into())], http: None }
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("kulan-listen-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
        let directory = directory("socket");
        let path = directory.join("deep/kulan.sock");
        drop(bind(&unix(&path)).expect("the directory is made"));
        let listeners = bind(&unix(&path)).expect("nobody answers at the one left behind");
        assert_eq!(listeners.addresses().unix.as_slice(), std::slice::from_ref(&path));
        let error = bind(&unix(&path)).err().expect("somebody answers");
        assert!(error.to_string().contains("another daemon answers"), "{error}");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_not_removed() {
        let directory = directory("file");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("precious");
        fs::write(&path, "data").unwrap();
        assert!(bind(&unix(&path)).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let config = ApiConfig { grpc: vec![], http: Some(address) };
        let error = bind(&config).err().expect("the address is taken").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("http"), "{error}");
    }
}
