//! A small HTTP server for the runner's own listeners: the session server and the metrics. One task owns all
//! connections; what is slow is cut off.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections at a time.
const MOST: usize = 128;
/// How long a client may take for its handshake, and for the head of each request.
const HEAD: Duration = Duration::from_secs(10);
/// After a connection could not be taken (no file descriptors).
const PAUSE: Duration = Duration::from_millis(100);

/// A request.
pub(crate) type Asked = Request<Incoming>;
/// The connection after an upgrade.
pub(crate) type Io = TokioIo<hyper::upgrade::Upgraded>;
/// What becomes of a connection that is upgraded.
pub(crate) type Upgraded = Box<dyn FnOnce(Io) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What is answered.
pub(crate) struct Answer {
    pub response: Response<Full<Bytes>>,
    /// For status 101.
    pub then: Option<(OnUpgrade, Upgraded)>,
}

/// A status and its name.
pub(crate) fn text(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::from(format!("{status}\n")));
    *response.status_mut() = status;
    Answer { response, then: None }
}

/// Serves for ever. Dropping it ends all connections.
pub(crate) async fn serve<F, A>(listener: TcpListener, tls: Option<TlsAcceptor>, handler: F)
where
    F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MOST));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = tokio::select! {
            taken = listener.accept() => match taken {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let (tls, handler) = (tls.clone(), handler.clone());
        connections.spawn(async move {
            let _permit = permit;
            if let Some(stream) = welcome(stream, tls).await {
                connection(stream, handler).await;
            }
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// `None`: no handshake came about.
async fn welcome(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Box<dyn Stream>> {
    // Only slower without it.
    let _ = stream.set_nodelay(true);
    match tls {
        None => Some(Box::new(stream)),
        Some(tls) => match timeout(HEAD, tls.accept(stream)).await {
            Ok(Ok(stream)) => Some(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake has failed");
                None
            }
            Err(_) => None,
        },
    }
}

async fn connection<F, A>(stream: Box<dyn Stream>, handler: F)
where
    F: Fn(Asked) -> A,
    A: Future<Output = Answer> + Send,
{
    let then = Mutex::new(None);
    let service = service_fn(|asked| {
        let answering = handler(asked);
        let then = &then;
        async move {
            let answer = answering.await;
            *then.lock().unwrap_or_else(PoisonError::into_inner) = answer.then;
            Ok::<_, Infallible>(answer.response)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    let upgraded = then.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let (Ok(()), Some((upgrade, then))) = (served, upgraded)
        && let Ok(io) = upgrade.await
    {
        then(TokioIo::new(io)).await;
    }
}
