//! Between a WebSocket and a visit: what comes in is typed, what the shell shows goes out (subprotocols `terminal.gitlab.com`,
//! bytes as they are, and `base64.terminal.gitlab.com`, bytes as base64 in messages of text). Neither has a message for the
//! size of a window.

use super::websocket::{Kind, Message, Reader, frame};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harrier_engine::{Seat, Visitor};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The way a terminal is before anybody changes it.
const SIZE: (u16, u16) = (80, 24);
/// Bytes on their way between the two.
const ROOM: usize = 64 * 1024;
/// So that nothing in between takes the connection for dead.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long the other side may take for the last words.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How bytes are written in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// As they are.
    Plain,
    /// As text.
    Base64,
}

impl Protocol {
    /// Its name in the handshake.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "terminal.gitlab.com",
            Self::Base64 => "base64.terminal.gitlab.com",
        }
    }

    /// The first of ours that the client offers. One that offers none gets bytes.
    pub fn choose(offered: &str) -> Option<Self> {
        offered
            .split(',')
            .find_map(|name| [Self::Plain, Self::Base64].into_iter().find(|one| one.name() == name.trim()))
    }

    fn message(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => frame(Kind::Binary, bytes),
            Self::Base64 => frame(Kind::Text, STANDARD.encode(bytes).as_bytes()),
        }
    }

    fn bytes(self, payload: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(payload),
            Self::Base64 => STANDARD.decode(payload).ok(),
        }
    }
}

/// Stays until the visit is over or the other side is gone.
pub(crate) async fn bridge(io: impl AsyncRead + AsyncWrite, protocol: Protocol, seat: Seat) {
    let (mut from, mut to) = tokio::io::split(io);
    let (mut keyboard, input) = tokio::io::duplex(ROOM);
    let (output, mut screen) = tokio::io::duplex(ROOM);
    let (pongs, mut pong) = mpsc::channel::<Vec<u8>>(4);
    let visiting = seat.visit(Visitor { size: SIZE, input: Box::new(input), output: Box::new(output) });
    let hearing = async {
        let mut reader = Reader::default();
        let mut buffer = [0; 4096];
        loop {
            loop {
                match reader.next() {
                    Ok(None) => break,
                    Ok(Some(Message::Data(payload))) => {
                        let Some(bytes) = protocol.bytes(payload) else { return };
                        if keyboard.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    // Who sends more pings than it takes answers gets fewer.
                    Ok(Some(Message::Ping(payload))) => drop(pongs.try_send(payload)),
                    Ok(Some(Message::Pong)) => {}
                    Ok(Some(Message::Close)) | Err(_) => return,
                }
            }
            match from.read(&mut buffer).await {
                Ok(count @ 1..) => reader.feed(&buffer[..count]),
                Ok(0) | Err(_) => return,
            }
        }
    };
    let saying = async {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let mut buffer = [0; 16 * 1024];
        loop {
            let said = tokio::select! {
                shown = screen.read(&mut buffer) => match shown {
                    Ok(count @ 1..) => protocol.message(&buffer[..count]),
                    Ok(0) | Err(_) => return true,
                },
                Some(payload) = pong.recv() => frame(Kind::Pong, &payload),
                _ = ping.tick() => frame(Kind::Ping, &[]),
            };
            if to.write_all(&said).await.is_err() || to.flush().await.is_err() {
                return false;
            }
        }
    };
    let (ended, there) = {
        tokio::pin!(saying);
        let ended = {
            tokio::pin!(visiting);
            tokio::select! {
                biased;
                ended = &mut visiting => Some(ended),
                () = hearing => None,
                _ = &mut saying => None,
            }
        };
        // The screen ends with the visit; what it still holds is shown.
        let there = ended.is_some() && timeout(LAST_WORDS, saying).await == Ok(true);
        (ended, there)
    };
    if let Some(Err(error)) = &ended {
        tracing::warn!(%error, "a terminal could not be opened or was lost");
    }
    let mut last = match &ended {
        Some(Err(error)) => protocol.message(format!("{}\r\n", error.message).as_bytes()),
        Some(Ok(())) | None => Vec::new(),
    };
    last.extend(frame(Kind::Close, &1000_u16.to_be_bytes()));
    if there || ended.is_none() {
        let _ =
            timeout(LAST_WORDS, async { to.write_all(&last).await.is_ok() && to.shutdown().await.is_ok() })
                .await;
    }
}
