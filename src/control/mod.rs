//! The second thread: it serves people and programs, so that the loop does not have to.
//!
//! gRPC on Unix sockets and on TCP, with two services: GoBGP's `apipb.GobgpApi` (`gobgp`), so that the
//! `gobgp` command of the field works against kulan, and kulan's own `kulan.v1.Kulan` (`kulan`). HTTP
//! for metrics and health (`http`). The thread runs tokio and owns no routing state: everything it
//! knows it asks of the loop, in the words of [`message`], over a bounded channel and a waker. It never
//! makes the loop wait: at most [`message::REQUESTS_MAX`] requests are under way, large answers come in
//! pages, and watchers that are too slow lose events.

mod answers;
mod attributes;
mod authority;
mod convert;
mod gobgp;
mod http;
mod kulan;
mod listen;
pub mod message;
pub mod respond;
mod watch;

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{Semaphore, oneshot};
use tokio_stream::StreamExt;

use crate::config::ApiConfig;
use message::{
    Page, PeerStatus, PeersQuery, REQUESTS_MAX, Reply, Request, RequestError, RouteRow, RoutesQuery,
};

/// The messages and services made from `proto/`.
#[allow(missing_docs, clippy::all)]
pub mod proto {
    /// GoBGP's API, version 3.
    pub mod apipb {
        tonic::include_proto!("apipb");
    }
    /// kulan's own API.
    pub mod kulan {
        tonic::include_proto!("kulan.v1");
    }
}

/// The control thread's way to the loop.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    /// The requests; the loop holds the other end.
    requests: Sender<Request>,
    /// Wakes the loop when a request waits.
    waker: Arc<mio::Waker>,
}

impl ControlHandle {
    /// A handle, and the end that the loop receives from whenever `waker` has woken it.
    pub fn new(waker: Arc<mio::Waker>) -> (ControlHandle, Receiver<Request>) {
        let (requests, receiver) = crossbeam_channel::bounded(REQUESTS_MAX);
        (ControlHandle { requests, waker }, receiver)
    }
}

/// The running control thread. Dropping it stops the thread as [`Control::stop`] does.
#[derive(Debug)]
pub struct Control {
    thread: Option<thread::JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
    addresses: listen::Addresses,
}

/// Binds what `config` names and starts the control thread.
///
/// # Errors
///
/// An address that cannot be bound, named in the error's text; or a Unix socket at which another daemon
/// answers.
pub fn start(config: &ApiConfig, handle: ControlHandle) -> io::Result<Control> {
    let listeners = listen::bind(config)?;
    let addresses = listeners.addresses();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                result = serve(listeners, Speaker::new(handle)) => {
                    if let Err(error) = result {
                        log::error!("the API stopped: {error}");
                    }
                }
                // Either end: a stop that was asked for, or a Control that was dropped.
                _ = stopped => {}
            }
        });
    })?;
    Ok(Control { thread: Some(thread), stop: Some(stop), addresses })
}

impl Control {
    /// Where the gRPC services and HTTP listen, with the ports that the kernel chose where 0 was asked for.
    pub fn addresses(&self) -> &listen::Addresses {
        &self.addresses
    }

    /// Ends the thread: calls under way are cut off, sockets in the file system are removed.
    pub fn stop(self) {}
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook.
            let _ = thread.join();
        }
        for path in &self.addresses.unix {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn serve(listeners: listen::Listeners, speaker: Speaker) -> Result<(), Box<dyn std::error::Error>> {
    let mut servers = tokio::task::JoinSet::new();
    let grpc = || {
        tonic::transport::Server::builder()
            .add_service(gobgp::service(speaker.clone()))
            .add_service(kulan::service(speaker.clone()))
    };
    for listener in listeners.unix {
        let incoming =
            tokio_stream::wrappers::UnixListenerStream::new(tokio::net::UnixListener::from_std(listener)?);
        let incoming = incoming.map(|stream| stream.map(authority::AnyAuthority::new));
        let server = grpc().serve_with_incoming(incoming);
        servers.spawn(async move { server.await.map_err(|error| error.to_string()) });
    }
    for listener in listeners.tcp {
        let incoming =
            tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?)
                .with_nodelay(Some(true));
        let server = grpc().serve_with_incoming(incoming);
        servers.spawn(async move { server.await.map_err(|error| error.to_string()) });
    }
    if let Some(listener) = listeners.http {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let routes = http::routes(speaker.clone());
        servers.spawn(async move { axum::serve(listener, routes).await.map_err(|error| error.to_string()) });
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    // Nothing to serve: wait to be stopped.
    std::future::pending().await
}

/// The loop as the control thread sees it: something that answers requests.
#[derive(Clone, Debug)]
struct Speaker {
    handle: ControlHandle,
    /// One permit for each place in the request channel, held until the answer is there.
    permits: Arc<Semaphore>,
}

/// Why there is no answer.
#[derive(Debug)]
enum AskError {
    /// The loop said so.
    Refused(RequestError),
    /// The loop has gone, or is going.
    Stopping,
    /// Too many callers gave up before the loop came to their requests.
    Busy,
}

impl From<AskError> for tonic::Status {
    fn from(error: AskError) -> tonic::Status {
        match error {
            AskError::Refused(RequestError::NotFound(text)) => tonic::Status::not_found(text),
            AskError::Refused(RequestError::Invalid(text)) => tonic::Status::invalid_argument(text),
            AskError::Refused(RequestError::Refused(text)) => tonic::Status::failed_precondition(text),
            AskError::Stopping => tonic::Status::unavailable("the daemon is stopping"),
            AskError::Busy => tonic::Status::resource_exhausted("too many requests wait: try again"),
        }
    }
}

impl Speaker {
    fn new(handle: ControlHandle) -> Speaker {
        Speaker { handle, permits: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// Sends the request that `make` makes and waits for its answer.
    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, AskError> {
        let _permit = self.permits.acquire().await.map_err(|_| AskError::Stopping)?;
        let (reply, answer) = Reply::new();
        self.handle.requests.try_send(make(reply)).map_err(|error| match error {
            // A caller that hung up gave its permit back, but its request is still in the channel.
            crossbeam_channel::TrySendError::Full(_) => AskError::Busy,
            crossbeam_channel::TrySendError::Disconnected(_) => AskError::Stopping,
        })?;
        self.handle.waker.wake().map_err(|_| AskError::Stopping)?;
        answer.await.map_err(|_| AskError::Stopping)?.map_err(AskError::Refused)
    }

    /// One page of routes.
    async fn routes(&self, query: RoutesQuery) -> Result<Page<RouteRow, crate::types::Prefix>, AskError> {
        self.ask(|reply| Request::ListRoutes(query, reply)).await
    }

    /// One page of peers.
    async fn peers(&self, query: PeersQuery) -> Result<Page<PeerStatus, u32>, AskError> {
        self.ask(|reply| Request::ListPeers(query, reply)).await
    }
}

/// The memory of the process that is resident, in bytes; 0 if the kernel does not say.
fn resident_bytes() -> u64 {
    // statm counts pages: all, resident, and so on (proc(5)).
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    // SAFETY: sysconf has no preconditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page_bytes).unwrap_or(0)
}
