//! The way to the daemon.

use std::error::Error;
use std::io;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::Failure;
use crate::control::proto::kulan::kulan_client::KulanClient;

/// Where the daemon answers unless somebody says otherwise.
pub(super) const DEFAULT_TARGET: &str = "unix:/run/kulan/kulan.sock";

/// How long a connection may take. The daemon's second thread accepts at once, whatever its loop does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Client = KulanClient<Channel>;

/// Does some work that needs the daemon.
pub(super) fn block_on(target: &str, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime
        .map_err(|error| Failure::Failed(format!("cannot reach the daemon at {target}: {error}")))?
        .block_on(work)
}

/// The URI of a target, as people write targets.
fn uri(target: &str) -> String {
    if target.starts_with('/') {
        format!("unix:{target}")
    } else if target.starts_with("unix:") || target.contains("://") {
        target.into()
    } else {
        format!("http://{target}")
    }
}

/// Connects to the daemon.
pub(super) async fn connect(target: &str) -> Result<Client, Failure> {
    let endpoint = Endpoint::from_shared(uri(target)).map_err(|error| {
        Failure::Usage(format!(
            "{target:?} is no place for a daemon ({error}): write unix:PATH or ADDRESS:PORT"
        ))
    })?;
    let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await.map_err(|error| {
        let cause = root_cause(&error);
        let advice = match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => {
                "you may not write to this socket: become root, or a member of its group"
            }
            _ => "is `kulan run` running? Another place goes with --target, or into KULAN_TARGET",
        };
        Failure::Failed(format!("no daemon answers at {target}: {advice} ({cause})"))
    })?;
    // A page of routes with long communities can be larger than gRPC's default limit of 4 MB.
    Ok(KulanClient::new(channel).max_decoding_message_size(64 << 20))
}

fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Failure {
        match status.code() {
            tonic::Code::InvalidArgument => Failure::Usage(status.message().into()),
            tonic::Code::Unimplemented => {
                Failure::Failed("this daemon does not know the request: it is older than this command".into())
            }
            _ => Failure::Failed(status.message().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_in_several_ways() {
        assert_eq!(uri("/run/k.sock"), "unix:/run/k.sock");
        assert_eq!(uri("unix:/run/k.sock"), "unix:/run/k.sock");
        assert_eq!(uri("127.0.0.1:50051"), "http://127.0.0.1:50051");
        assert_eq!(uri("[::1]:50051"), "http://[::1]:50051");
    }
}
