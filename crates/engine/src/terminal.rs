//! A person at a terminal in a job's place while the job is there (`runner-config.md` §10): the desk where visitors come in, one
//! at a time, and the door that a session opens for them.
//!
//! The host makes a desk for each job and lets visitors in; `run_job` opens the door once the session is there, holds
//! the job's end for a visitor and closes the desk. Nothing of a visit may reach the job's log.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Who comes.
pub struct Visitor {
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// What the person types; its end is the person's leaving.
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    /// What the person sees.
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
}

/// The way into a job's place.
#[async_trait]
pub trait Door: Send + Sync {
    /// Opens a shell on a terminal and stays until it ends or the visitor leaves. The future may be dropped: then the visit is
    /// over.
    async fn visit(&self, visitor: Visitor) -> Result<(), VisitError>;
}

/// No shell could be opened, or it was lost.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct VisitError {
    /// What happened and what to do.
    pub message: String,
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotIn {
    /// Somebody is there.
    Taken,
    /// The job's place is not ready, and was not within the patience.
    NotReady,
    /// The job is over.
    Closed,
}

/// One job's desk. Cheap to clone; all clones are the same desk.
#[derive(Clone)]
pub struct Desk(Arc<State>);

struct State {
    door: watch::Sender<DoorState>,
    taken: watch::Sender<bool>,
    hold: Duration,
}

#[derive(Clone)]
enum DoorState {
    NotYet,
    Open(Arc<dyn Door>),
    Closed,
}

impl Desk {
    /// A desk whose visitors may hold the end of the job for `hold`.
    pub fn new(hold: Duration) -> Self {
        Self(Arc::new(State {
            door: watch::Sender::new(DoorState::NotYet),
            taken: watch::Sender::new(false),
            hold,
        }))
    }

    /// How long a visitor may hold the end of the job.
    pub fn hold(&self) -> Duration {
        self.0.hold
    }

    /// The job's place is there. A desk that is closed stays so.
    pub fn open(&self, door: Arc<dyn Door>) {
        self.0.door.send_if_modified(|now| match now {
            DoorState::NotYet | DoorState::Open(_) => {
                *now = DoorState::Open(door);
                true
            }
            DoorState::Closed => false,
        });
    }

    /// Nobody comes in any more, and whoever is there has to leave.
    pub fn close(&self) {
        self.0.door.send_replace(DoorState::Closed);
    }

    /// The job is over.
    pub fn is_closed(&self) -> bool {
        matches!(*self.0.door.borrow(), DoorState::Closed)
    }

    /// Somebody is there.
    pub fn occupied(&self) -> bool {
        *self.0.taken.borrow()
    }

    /// Waits until nobody is there.
    pub async fn left(&self) {
        // The sender lives as long as the desk.
        let _ = self.0.taken.subscribe().wait_for(|taken| !taken).await;
    }

    /// Lets a visitor in; waits for the job's place for as long as `patience`.
    pub async fn enter(&self, patience: Duration) -> Result<Seat, NotIn> {
        let free = self.0.taken.send_if_modified(|taken| !std::mem::replace(taken, true));
        if !free {
            return Err(NotIn::Taken);
        }
        let claim = Claim(self.clone());
        let mut door = self.0.door.subscribe();
        let there = door.wait_for(|door| !matches!(door, DoorState::NotYet));
        let found = match tokio::time::timeout(patience, there).await {
            Ok(Ok(found)) => found.clone(),
            Ok(Err(_)) => DoorState::Closed,
            Err(_) => DoorState::NotYet,
        };
        match found {
            DoorState::Open(door) => Ok(Seat { door, claim }),
            DoorState::NotYet => Err(NotIn::NotReady),
            DoorState::Closed => Err(NotIn::Closed),
        }
    }

    async fn closed(&self) {
        let _ = self.0.door.subscribe().wait_for(|door| matches!(door, DoorState::Closed)).await;
    }
}

/// A visitor's place; free again when it is dropped.
pub struct Seat {
    door: Arc<dyn Door>,
    claim: Claim,
}

impl Seat {
    /// Stays until the shell ends, the visitor leaves or the desk closes.
    pub async fn visit(&self, visitor: Visitor) -> Result<(), VisitError> {
        tokio::select! {
            biased;
            () = self.claim.0.closed() => Ok(()),
            ended = self.door.visit(visitor) => ended,
        }
    }
}

struct Claim(Desk);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.0.taken.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Forever;

    #[async_trait]
    impl Door for Forever {
        async fn visit(&self, _visitor: Visitor) -> Result<(), VisitError> {
            std::future::pending().await
        }
    }

    fn visitor() -> Visitor {
        Visitor { size: (80, 24), input: Box::new(tokio::io::empty()), output: Box::new(tokio::io::sink()) }
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_while_the_place_is_there() {
        let desk = Desk::new(Duration::from_secs(60));
        let minute = Duration::from_secs(60);
        assert_eq!(desk.enter(minute).await.err(), Some(NotIn::NotReady));
        assert!(!desk.occupied(), "who was not let in holds nothing");
        let early = {
            let desk = desk.clone();
            tokio::spawn(async move { desk.enter(minute).await })
        };
        tokio::task::yield_now().await;
        assert_eq!(desk.enter(minute).await.err(), Some(NotIn::Taken));
        desk.open(Arc::new(Forever));
        let seat = early.await.expect("no panic").expect("let in");
        assert!(desk.occupied());
        let visit = tokio::spawn(async move { seat.visit(visitor()).await.is_ok() });
        tokio::task::yield_now().await;
        desk.close();
        desk.left().await;
        assert!(visit.await.expect("no panic"));
        assert_eq!(desk.enter(minute).await.err(), Some(NotIn::Closed));
        desk.open(Arc::new(Forever));
        assert_eq!(desk.enter(minute).await.err(), Some(NotIn::Closed), "closed is closed");
    }
}
