//! Why work must stop. The first reason given wins; everybody who waits is woken.

use std::sync::Arc;
use tokio::sync::watch;

/// Why a job, or its script, must stop.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Cancelled by a user; the server still wants the result. `after_script` runs.
    Canceled,
    /// The server has dropped the job: kill it, report nothing.
    Aborted,
    /// The job's time is over.
    TimedOut,
    /// The runner was told to stop by this signal.
    Interrupted(String),
}

/// A stop that many can wait for and anybody can pull.
#[derive(Clone, Debug)]
pub struct Stop {
    tx: Arc<watch::Sender<Option<StopReason>>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { tx: Arc::new(watch::Sender::new(None)) }
    }
}

impl Stop {
    /// A stop nobody has pulled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pulls it. Returns false if somebody was first; `Aborted` and `Interrupted` still override `Canceled`,
    /// because they end what a graceful cancel lets run.
    pub fn pull(&self, reason: StopReason) -> bool {
        self.tx.send_if_modified(|now| match now {
            None => {
                *now = Some(reason);
                true
            }
            Some(StopReason::Canceled) if reason != StopReason::Canceled => {
                *now = Some(reason);
                true
            }
            Some(_) => false,
        })
    }

    /// The reason, if it was pulled.
    pub fn reason(&self) -> Option<StopReason> {
        self.tx.borrow().clone()
    }

    /// Waits until it is pulled.
    pub async fn pulled(&self) -> StopReason {
        self.pulled_other_than(&[]).await
    }

    /// Waits until it is pulled for a reason not among `ignored`.
    pub async fn pulled_other_than(&self, ignored: &[StopReason]) -> StopReason {
        let mut rx = self.tx.subscribe();
        loop {
            if let Some(reason) = rx.borrow_and_update().clone().filter(|r| !ignored.contains(r)) {
                return reason;
            }
            if rx.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_reason_wins_but_a_cancel_can_be_hardened() {
        let stop = Stop::new();
        assert!(stop.pull(StopReason::Canceled));
        assert!(!stop.pull(StopReason::Canceled));
        assert!(stop.pull(StopReason::Aborted));
        assert!(!stop.pull(StopReason::TimedOut));
        assert_eq!(stop.pulled().await, StopReason::Aborted);
    }
}
