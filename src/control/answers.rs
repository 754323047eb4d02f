//! Answers that are streams: produced page by page, never further ahead than the caller reads.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::AskError;

/// How many rows a page of routes has: few enough that other requests come in between.
pub(super) const ROUTES_A_PAGE: usize = 500;

/// How many pages of an answer wait for the caller to read on before no more are asked of the loop.
pub(super) const PAGES_AHEAD: usize = 2;

/// What tonic streams to the caller.
pub(super) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Where a producer puts what is to be streamed.
pub(super) type Outlet<T> = mpsc::Sender<Result<T, Status>>;

/// Why a producer ends early: the caller hung up, or there is an error to tell.
pub(super) enum Stop {
    HungUp,
    Failed(Status),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Stop {
        Stop::Failed(status)
    }
}

impl From<AskError> for Stop {
    fn from(error: AskError) -> Stop {
        Stop::Failed(error.into())
    }
}

/// Streams one thing.
pub(super) async fn put<T>(outlet: &Outlet<T>, item: T) -> Result<(), Stop> {
    outlet.send(Ok(item)).await.map_err(|_| Stop::HungUp)
}

/// Answers with what `produce` puts into its outlet, at most `room` things ahead of the caller, and with
/// its error if it ends with one.
pub(super) fn stream<T, F>(room: usize, produce: impl FnOnce(Outlet<T>) -> F) -> Response<Answers<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Stop>> + Send + 'static,
{
    let (outlet, answers) = mpsc::channel(room);
    let work = produce(outlet.clone());
    tokio::spawn(async move {
        if let Err(Stop::Failed(status)) = work.await {
            let _ = outlet.send(Err(status)).await;
        }
    });
    Response::new(ReceiverStream::new(answers))
}
