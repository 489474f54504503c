//! The threads that own the connections: one writes, a few read. Work arrives as closures; each is one transaction.
//! Called by [`crate::Store`]; it must know no table.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::tx::Tx;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{broadcast, oneshot};

/// One connection, whatever is behind it.
pub(crate) trait Connection: Send {
    /// Runs `body` in a transaction: commits when it says `Ok`, else nothing of it stays. Gives what it changed.
    fn transaction(
        &mut self,
        write: bool,
        body: &mut dyn FnMut(&mut dyn Tx) -> Result<()>,
    ) -> Result<Vec<Change>>;
}

type Work = Box<dyn FnOnce(&mut dyn Connection) + Send>;

/// One queue and the threads that empty it.
pub(crate) struct Workers {
    queue: Option<mpsc::Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// One thread a connection.
    pub fn start(connections: Vec<Box<dyn Connection>>) -> Result<Self> {
        let (queue, work) = mpsc::channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        let mut threads = Vec::new();
        for mut connection in connections {
            let work = Arc::clone(&work);
            let run = move || {
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(next) = next else { return };
                    // A fault of one operation is that operation's: its caller hears of it because nobody answers, the
                    // connection drops what was begun, and the next one goes on.
                    let _ = catch_unwind(AssertUnwindSafe(|| next(connection.as_mut())));
                }
            };
            let thread = std::thread::Builder::new()
                .name("database".into())
                .spawn(run)
                .map_err(|error| DatabaseError::Failed { message: format!("no thread for it: {error}") })?;
            threads.push(thread);
        }
        Ok(Self { queue: Some(queue), threads })
    }

    /// One transaction; what it changed is told to `news` once it is committed.
    pub async fn run<T: Send + 'static>(
        &self,
        write: bool,
        news: broadcast::Sender<Change>,
        body: impl FnOnce(&mut dyn Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, wait) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let mut body = Some(body);
            let mut made = None;
            let done = connection.transaction(write, &mut |tx| {
                let body = body.take().ok_or(DatabaseError::Closed)?;
                made = Some(body(tx)?);
                Ok(())
            });
            let result = done.and_then(|changes| {
                for change in changes {
                    // Nobody listens: nobody has to be told.
                    let _ = news.send(change);
                }
                made.ok_or(DatabaseError::Closed)
            });
            // Who asked may have gone; what was written stays.
            let _ = answer.send(result);
        });
        let queue = self.queue.as_ref().ok_or(DatabaseError::Closed)?;
        queue.send(work).map_err(|_| DatabaseError::Closed)?;
        wait.await.map_err(|_| DatabaseError::Failed {
            message: "an operation broke off; see the log".to_owned(),
        })?
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A panic of a thread was told when it happened.
            let _ = thread.join();
        }
    }
}
