//! The signals of the process (`runner-config.md` §8.1), as messages.

use crate::service::HostSignal;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Listens from now on until the receiver is dropped.
pub(crate) fn listen() -> io::Result<mpsc::Receiver<HostSignal>> {
    let (tx, rx) = mpsc::channel(8);
    for (kind, message) in [
        (SignalKind::hangup(), HostSignal::Reload),
        (SignalKind::quit(), HostSignal::Drain),
        (SignalKind::user_defined1(), HostSignal::HandOver),
        (SignalKind::terminate(), HostSignal::Stop("terminated")),
        (SignalKind::interrupt(), HostSignal::Stop("interrupt")),
    ] {
        let mut stream = signal(kind)?;
        let tx = tx.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && tx.send(message).await.is_ok() {} });
    }
    Ok(rx)
}
