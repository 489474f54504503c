//! The wire under the fake server: listeners that can go away and come back, connections that can be cut, even
//! in the middle of an answer.
//!
//! Called by `server`. It must never look into what is sent.

use crate::tls::Certificate;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The power over one connection, held by the request handler.
#[derive(Clone)]
pub(crate) struct Line(Arc<LineState>);

struct LineState {
    socket: std::net::TcpStream,
    /// Bytes that may still be written; negative is no limit.
    allowance: AtomicI64,
}

impl Line {
    /// Ends the connection now, both ways.
    pub(crate) fn cut(&self) {
        self.0.allowance.store(0, Ordering::SeqCst);
        // Already closed by the other side is just as well.
        let _ = self.0.socket.shutdown(Shutdown::Both);
    }

    /// Lets `bytes` more bytes pass to the client, then ends the connection.
    pub(crate) fn cut_after(&self, bytes: u32) {
        self.0.allowance.store(i64::from(bytes), Ordering::SeqCst);
    }
}

/// One accepted connection.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    line: Line,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl Stream for TcpStream {}
impl Stream for TlsStream<TcpStream> {}

impl Wire {
    async fn new(stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let socket = stream.try_clone()?;
        let line = Line(Arc::new(LineState { socket, allowance: AtomicI64::new(-1) }));
        let stream = TcpStream::from_std(stream)?;
        let stream: Box<dyn Stream> = match tls {
            Some(acceptor) => Box::new(acceptor.accept(stream).await?),
            None => Box::new(stream),
        };
        Ok(Wire { stream, line })
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let allowance = self.line.0.allowance.load(Ordering::SeqCst);
        if allowance < 0 {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if allowance == 0 {
            let _ = self.line.0.socket.shutdown(Shutdown::Both);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let most = bytes.len().min(usize::try_from(allowance).unwrap_or(usize::MAX));
        let written = Pin::new(&mut self.stream).poll_write(cx, &bytes[..most]);
        if let Poll::Ready(Ok(count)) = written {
            let left = allowance - i64::try_from(count).unwrap_or(allowance);
            self.line.0.allowance.store(left.max(0), Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The doors of the server: open ones feed connections into [`Porch`].
pub(crate) struct Doors {
    port: u16,
    feed: mpsc::Sender<(Wire, SocketAddr)>,
    open: Mutex<Vec<JoinHandle<()>>>,
    lines: Arc<Mutex<Vec<Weak<LineState>>>>,
    tls: Option<TlsAcceptor>,
    hosts: Vec<Ipv4Addr>,
}

/// Where the HTTP server picks up its connections.
pub(crate) struct Porch {
    arrivals: mpsc::Receiver<(Wire, SocketAddr)>,
    here: SocketAddr,
}

/// Two addresses of this machine, so that a redirect can lead to another host.
const HOSTS: [[u8; 4]; 2] = [[127, 0, 0, 1], [127, 0, 0, 2]];

async fn all_at(hosts: &[Ipv4Addr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut all = Vec::new();
    for host in hosts {
        all.push(TcpListener::bind(SocketAddr::from((*host, port))).await?);
    }
    Ok(all)
}

impl Doors {
    /// Takes a port that is free on all hosts, and opens it. `further` is one more address of this machine.
    pub(crate) async fn open_new(
        certificate: Option<Certificate>,
        further: Option<Ipv4Addr>,
    ) -> io::Result<(Doors, Porch)> {
        let hosts: Vec<Ipv4Addr> = HOSTS.into_iter().map(Ipv4Addr::from).chain(further).collect();
        let (feed, arrivals) = mpsc::channel(64);
        let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..20 {
            let first = TcpListener::bind(SocketAddr::from((HOSTS[0], 0))).await?;
            let here = first.local_addr()?;
            match all_at(&hosts[1..], here.port()).await {
                Ok(others) => {
                    let doors = Doors {
                        port: here.port(),
                        feed,
                        open: Mutex::new(Vec::new()),
                        lines: Arc::new(Mutex::new(Vec::new())),
                        tls: certificate.map(Certificate::acceptor),
                        hosts,
                    };
                    doors.watch(first);
                    others.into_iter().for_each(|other| doors.watch(other));
                    return Ok((doors, Porch { arrivals, here }));
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Opens the same port again after [`Doors::shut`].
    pub(crate) async fn open_again(&self) -> io::Result<()> {
        for host in &self.hosts {
            self.watch(TcpListener::bind(SocketAddr::from((*host, self.port))).await?);
        }
        Ok(())
    }

    /// Closes the listeners and cuts every connection, as the end of a server process does.
    pub(crate) async fn shut(&self) {
        let open: Vec<JoinHandle<()>> =
            std::mem::take(&mut *self.open.lock().expect("no holder of this lock panics"));
        for door in open {
            door.abort();
            // The listener is closed when its task is gone; the result only says that it was stopped.
            let _ = door.await;
        }
        let lines = std::mem::take(&mut *self.lines.lock().expect("no holder of this lock panics"));
        for line in lines.iter().filter_map(Weak::upgrade) {
            Line(line).cut();
        }
    }

    fn watch(&self, listener: TcpListener) {
        let feed = self.feed.clone();
        let lines = Arc::clone(&self.lines);
        let tls = self.tls.clone();
        let door = tokio::spawn(async move {
            loop {
                let Ok((stream, peer)) = listener.accept().await else { continue };
                let (feed, lines, tls) = (feed.clone(), Arc::clone(&lines), tls.clone());
                // A handshake takes its time, and one that fails is the client's affair.
                tokio::spawn(async move {
                    let Ok(wire) = Wire::new(stream, tls).await else { return };
                    {
                        let mut lines = lines.lock().expect("no holder of this lock panics");
                        lines.retain(|line| line.strong_count() > 0);
                        lines.push(Arc::downgrade(&wire.line.0));
                    }
                    // A server that has ended takes no connection.
                    let _ = feed.send((wire, peer)).await;
                });
            }
        });
        self.open.lock().expect("no holder of this lock panics").push(door);
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        for door in self.open.lock().expect("no holder of this lock panics").iter() {
            door.abort();
        }
    }
}

impl Listener for Porch {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        match self.arrivals.recv().await {
            Some(arrival) => arrival,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.here)
    }
}

impl Connected<IncomingStream<'_, Porch>> for Line {
    fn connect_info(stream: IncomingStream<'_, Porch>) -> Line {
        stream.io().line.clone()
    }
}
