//! The threads that own the connections: one writes, a few read. Work arrives as closures; each is one transaction.
//! Called by [`crate::Store`]; it must know no table.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::tx::Tx;
use harrier_base::Histogram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;
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
    times: Arc<Times>,
}

/// How long operations waited for a connection, and how long they then took.
pub(crate) struct Times {
    pub waited: Histogram,
    pub took: Histogram,
}

/// In seconds: one statement of SQLite to a server far away.
const BOUNDS: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

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
        let times = Times { waited: Histogram::new(BOUNDS), took: Histogram::new(BOUNDS) };
        Ok(Self { queue: Some(queue), threads, times: Arc::new(times) })
    }

    /// One transaction; what it changed is told to `news` once it is committed.
    pub async fn run<T: Send + 'static>(
        &self,
        write: bool,
        news: broadcast::Sender<Change>,
        body: impl FnOnce(&mut dyn Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, wait) = oneshot::channel();
        let (times, asked) = (Arc::clone(&self.times), Instant::now());
        let work: Work = Box::new(move |connection| {
            let begun = Instant::now();
            times.waited.observe(begun - asked);
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
            times.took.observe(begun.elapsed());
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

impl Workers {
    /// How long its operations waited and took.
    pub fn times(&self) -> &Times {
        &self.times
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
