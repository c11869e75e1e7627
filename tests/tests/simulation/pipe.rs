//! A connection without a network: bytes are under way until the simulation delivers them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    under_way: VecDeque<u8>,
    arrived: VecDeque<u8>,
    /// So much may be under way.
    window: usize,
    is_cut: bool,
}

impl Pipe {
    /// Sends as much as there is room for; returns how much.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        let room = self.window.saturating_sub(self.under_way.len()).min(bytes.len());
        self.under_way.extend(&bytes[..room]);
        room
    }

    /// Lets so many bytes arrive.
    pub(crate) fn deliver(&mut self, count: usize) {
        let count = count.min(self.under_way.len());
        self.arrived.extend(self.under_way.drain(..count));
    }

    /// What has arrived.
    pub(crate) fn receive(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.arrived.len());
        self.arrived.drain(..count).collect()
    }

    /// How many bytes are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

/// Both directions, shared by the two ends.
#[derive(Clone, Debug)]
pub(crate) struct Cable(Arc<Mutex<[Pipe; 2]>>);

impl Cable {
    /// A cable in which so much may be under way in either direction.
    pub(crate) fn new(window: usize) -> Cable {
        let pipe = || Pipe { window, ..Pipe::default() };
        Cable(Arc::new(Mutex::new([pipe(), pipe()])))
    }

    fn pipes(&self) -> MutexGuard<'_, [Pipe; 2]> {
        self.0.lock().expect("nobody panics with it")
    }

    /// Does something with the direction from the replica to the primary.
    pub(crate) fn up<R>(&self, act: impl FnOnce(&mut Pipe) -> R) -> R {
        act(&mut self.pipes()[0])
    }

    /// Does something with the direction from the primary to the replica.
    pub(crate) fn down<R>(&self, act: impl FnOnce(&mut Pipe) -> R) -> R {
        act(&mut self.pipes()[1])
    }

    /// What is under way is lost, and nothing more comes.
    pub(crate) fn cut(&self) {
        for pipe in self.pipes().iter_mut() {
            pipe.is_cut = true;
            pipe.under_way.clear();
        }
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.up(|pipe| {
            let bytes = pipe.receive(into.remaining());
            if bytes.is_empty() && !pipe.is_cut {
                return Poll::Pending;
            }
            into.put_slice(&bytes);
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.down(|pipe| match pipe.send(bytes) {
            _ if pipe.is_cut => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            0 => Poll::Pending,
            sent => Poll::Ready(Ok(sent)),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
