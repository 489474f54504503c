//! Answers requests on a socket until it is told to end. Called by `harrier serve`, `harrier up` and tests.

use crate::app::App;
use axum::serve::ListenerExt as _;
use std::future::{Future, IntoFuture as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long requests that are under way, uploads above all, have once the server is told to end.
const GRACE: Duration = Duration::from_secs(30);

/// Serves until `ended`; then takes no more and lets what is under way come to its end.
pub async fn serve_on(
    app: Arc<App>,
    listener: TcpListener,
    ended: impl Future<Output = ()> + Send + 'static,
) {
    let listener = listener.tap_io(|stream| {
        // Small answers go at once.
        let _ = stream.set_nodelay(true);
    });
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let waking = Arc::clone(&app);
    let service = app.router().into_make_service_with_connect_info::<SocketAddr>();
    let mut seen = stopping.clone();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        ended.await;
        // Requests that wait for a job are answered that there is none; whoever follows a page is let go.
        waking.stop();
        let _ = stop.send(true);
    });
    let late = async move {
        let _ = seen.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        outcome = serving.into_future() => {
            if let Err(error) = outcome {
                tracing::error!(error = %error, "the server has ended");
            }
        }
        () = late => tracing::warn!(seconds = GRACE.as_secs(), "some requests were still under way"),
    }
}
