//! The thread that sends to the kernel.
//!
//! What rtnetlink is asked for it does within the send: a millisecond for a few hundred routes, and at times a
//! hundred of them, when it rebuilds the root of its trie or waits for readers of what it replaced
//! (`synchronize_rcu`). Sessions must not wait for that, and the other core may as well decode UPDATEs
//! meanwhile. Only encoded bytes cross over, and how the send ended comes back; the kernel's answers are read
//! by the loop, from the same socket.

use std::fs::File;
use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender as Channel, bounded};

/// Batches on their way: more than a [`Fib`](crate::fib::Fib) ever gives at a time.
const BATCHES_MAX: usize = 4;

/// Sends batches in order. Dropped, it waits for those under way: nothing is written after that.
pub(super) struct Sender {
    /// Taken only by the drop, to end the thread.
    batches: Option<Channel<Vec<u8>>>,
    sent: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Starts the thread. It calls `wake` when a send is over.
    pub fn start(mut socket: File, wake: impl Fn() + Send + 'static) -> io::Result<Sender> {
        let (batches, to_send) = bounded::<Vec<u8>>(BATCHES_MAX);
        let (report, sent) = bounded(BATCHES_MAX);
        let thread = thread::Builder::new().name("netlink".into()).spawn(move || {
            for batch in to_send {
                // A datagram goes as a whole or not at all.
                let outcome = socket.write(&batch).map(|_| ());
                if report.send(outcome).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Sender { batches: Some(batches), sent, thread: Some(thread) })
    }

    /// Passes a batch on.
    pub fn send(&self, batch: Vec<u8>) -> io::Result<()> {
        let passed_on = self.batches.as_ref().is_some_and(|batches| batches.try_send(batch).is_ok());
        if passed_on { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// How the oldest send ended that has not been asked for, once it is over.
    pub fn poll_sent(&self) -> Option<io::Result<()>> {
        self.sent.try_recv().ok()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // It can only have ended well: a panic ends the process.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn pair(wake: impl Fn() + Send + 'static) -> (Sender, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().unwrap();
        (Sender::start(File::from(OwnedFd::from(near)), wake).unwrap(), far)
    }

    #[test]
    fn a_dropped_sender_has_sent_all_it_was_given_in_order() {
        let (sender, far) = pair(|| {});
        for number in 0..BATCHES_MAX {
            sender.send(vec![number as u8]).unwrap();
        }
        drop(sender);
        far.set_nonblocking(true).unwrap();
        for number in 0..BATCHES_MAX {
            let mut batch = [0; 8];
            assert_eq!(far.recv(&mut batch).unwrap(), 1);
            assert_eq!(batch[0], number as u8);
        }
    }

    #[test]
    fn the_end_of_each_send_wakes_and_comes_back_with_its_error() {
        let (woken, wakes) = bounded(BATCHES_MAX);
        let (sender, far) = pair(move || woken.send(()).unwrap());
        sender.send(vec![1]).unwrap();
        wakes.recv().unwrap();
        assert!(sender.poll_sent().unwrap().is_ok());
        assert!(sender.poll_sent().is_none());
        drop(far);
        sender.send(vec![2]).unwrap();
        wakes.recv().unwrap();
        let error = sender.poll_sent().unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    }
}
