//! Request bodies that can be sent again: every attempt and every redirect gets a fresh copy.

use bytes::Bytes;
use futures_core::Stream;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// Writes a body from its start each time it is called, on a thread that may block. An error ends the request
/// without a proper end of the body, so that the server never takes a torn one for whole.
pub type BodySource = Arc<dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync>;

/// What goes with a request.
#[derive(Clone)]
pub(crate) enum Body {
    None,
    Bytes(Bytes),
    Stream(BodySource),
}

const CHUNK: usize = 64 * 1024;
const CHUNKS_AHEAD: usize = 4;

/// A body in flight: the stream for the HTTP library, and how its making ended. `done` ends without a value when
/// the reader went away first.
pub(crate) struct Flight {
    pub(crate) stream: ChunkStream,
    pub(crate) done: oneshot::Receiver<io::Result<()>>,
}

/// Starts `source` on a blocking thread.
pub(crate) fn fly(source: BodySource) -> Flight {
    let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
    let (report, done) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let mut writer = ChunkWriter { chunks, held: Vec::with_capacity(CHUNK), reader_gone: false };
        let outcome = source(&mut writer).and_then(|()| writer.flush());
        match outcome {
            // The reader's own error says more than "it went away".
            Err(_) if writer.reader_gone => {}
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                // The report first: who sees the request fail looks there for the reason.
                let _ = report.send(Err(error));
                let _ = writer.chunks.blocking_send(Err(told));
            }
            Ok(()) => {
                let _ = report.send(Ok(()));
            }
        }
    });
    Flight { stream: ChunkStream(stream), done }
}

struct ChunkWriter {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    held: Vec<u8>,
    reader_gone: bool,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(CHUNK - self.held.len());
        self.held.extend_from_slice(&bytes[..take]);
        if self.held.len() == CHUNK {
            self.flush()?;
        }
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.held, Vec::with_capacity(CHUNK));
        self.chunks.blocking_send(Ok(Bytes::from(full))).map_err(|_| {
            self.reader_gone = true;
            io::Error::from(io::ErrorKind::BrokenPipe)
        })
    }
}

pub(crate) struct ChunkStream(mpsc::Receiver<io::Result<Bytes>>);

impl Stream for ChunkStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
