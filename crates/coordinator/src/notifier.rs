//! Wakes those who wait once something is committed: job requests, one for each job that becomes free, and whoever follows
//! pipelines, jobs or logs. Fed by the store's changes and by what arrives for logs; it decides nothing, a woken request asks the
//! store.

use harrier_database::{Change, Offer, Wants, refusal};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, oneshot};

/// What those who follow are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something was committed.
    Change(Change),
    /// A log is longer.
    Trace {
        /// Job.
        job: i64,
        /// Bytes now.
        size: u64,
    },
}

/// Clones are the same.
#[derive(Clone)]
pub struct Notifier {
    inner: Arc<Inner>,
}

struct Inner {
    news: broadcast::Sender<News>,
    waiting: Mutex<VecDeque<Waiter>>,
    next: AtomicU64,
    count: AtomicU64,
}

struct Waiter {
    id: u64,
    runner: i64,
    offer: Offer,
    wake: oneshot::Sender<Option<Wants>>,
}

/// A job request that waits. Dropped, it waits no more; a word for it that it did not use goes to the next, so that no job
/// that became free is forgotten.
pub struct Wait {
    id: u64,
    notifier: Notifier,
    word: oneshot::Receiver<Option<Wants>>,
    wants: Option<Wants>,
}

impl Default for Notifier {
    fn default() -> Self {
        let (news, _) = broadcast::channel(4096);
        // What was counted before a restart is never the count again.
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_micros());
        let count = AtomicU64::new(u64::try_from(begun).unwrap_or(0));
        let inner = Inner { news, waiting: Mutex::default(), next: AtomicU64::new(1), count };
        Self { inner: Arc::new(inner) }
    }
}

impl Notifier {
    /// What happens from now on; a follower that lags is told so and reads the present state.
    pub fn follow(&self) -> broadcast::Receiver<News> {
        self.inner.news.subscribe()
    }

    /// A log is longer.
    pub fn trace(&self, job: i64, size: u64) {
        self.send(News::Trace { job, size });
    }

    /// A job request begins to wait, before it looks into the queue, so that no job falls between the two.
    pub fn wait(&self, runner: i64, offer: Offer) -> Wait {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (wake, word) = oneshot::channel();
        self.waiting().push_back(Waiter { id, runner, offer, wake });
        Wait { id, notifier: self.clone(), word, wants: None }
    }

    /// Something was committed.
    pub fn tell(&self, change: Change) {
        match &change {
            Change::Queued { wants } => self.wake_one(wants),
            // Its offer may be another one now: whoever waits for it asks again.
            Change::Runner { runner, offer: true } => self.wake_all(|waiter| waiter.runner == *runner),
            Change::Runner { .. }
            | Change::Bridge { .. }
            | Change::Job { .. }
            | Change::Pipeline { .. }
            | Change::Due => {}
        }
        self.send(News::Change(change));
    }

    fn send(&self, news: News) {
        self.inner.count.fetch_add(1, Ordering::SeqCst);
        // Nobody follows: nobody has to be told.
        let _ = self.inner.news.send(news);
    }

    /// Changes with whatever happens. Who follows, and then finds the count as it was before it read, has missed nothing.
    pub fn count(&self) -> u64 {
        self.inner.count.load(Ordering::SeqCst)
    }

    /// Everybody asks again.
    pub fn wake_everyone(&self) {
        self.wake_all(|_| true);
    }

    fn wake_one(&self, wants: &Wants) {
        let mut waiting = self.waiting();
        while let Some(at) = waiting.iter().position(|waiter| refusal(&waiter.offer, wants).is_none()) {
            let Some(waiter) = waiting.remove(at) else { return };
            // One that has just given up is not the one that takes the job.
            if waiter.wake.send(Some(wants.clone())).is_ok() {
                return;
            }
        }
    }

    fn wake_all(&self, fits: impl Fn(&Waiter) -> bool) {
        let mut waiting = self.waiting();
        let (woken, stay): (VecDeque<Waiter>, VecDeque<Waiter>) = waiting.drain(..).partition(|w| fits(w));
        *waiting = stay;
        for waiter in woken {
            let _ = waiter.wake.send(None);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiter>> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// Until a job may be there.
    pub async fn woken(&mut self) {
        // The sender goes only with a word.
        self.wants = (&mut self.word).await.ok().flatten();
    }

    /// The queue was looked at after the word: this came of it. What fits the word, or nothing, uses it up.
    pub fn used(&mut self, taken: Option<&Wants>) {
        if taken.is_none() || taken == self.wants.as_ref() {
            self.wants = None;
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        {
            let mut waiting = self.notifier.waiting();
            if let Some(at) = waiting.iter().position(|waiter| waiter.id == self.id) {
                waiting.remove(at);
            }
        }
        let unread = self.word.try_recv().ok().flatten();
        for wants in self.wants.take().into_iter().chain(unread) {
            self.notifier.wake_one(&wants);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_database::Reach;

    fn offer(tag: &str) -> Offer {
        Offer {
            reach: Reach::Instance,
            tags: vec![tag.to_owned()],
            run_untagged: false,
            protected_only: false,
            paused: false,
        }
    }

    fn queued(tag: &str) -> Change {
        Change::Queued {
            wants: Wants { project: 1, tags: vec![tag.to_owned()], protected: false, instance_runners: true },
        }
    }

    #[tokio::test]
    async fn a_free_job_wakes_the_first_that_fits_and_nobody_else() {
        let notifier = Notifier::default();
        let mut other = notifier.wait(1, offer("b"));
        let mut first = notifier.wait(2, offer("a"));
        let mut second = notifier.wait(3, offer("a"));
        notifier.tell(queued("a"));
        first.woken().await;
        let tags = vec!["a".to_owned()];
        first.used(Some(&Wants { project: 1, tags, protected: false, instance_runners: true }));
        assert!(second.word.try_recv().is_err());
        assert!(other.word.try_recv().is_err());
        drop(second);
        notifier.tell(queued("a"));
        notifier.tell(queued("b"));
        other.woken().await;
    }

    #[tokio::test]
    async fn a_word_that_nobody_used_goes_to_the_next() {
        let notifier = Notifier::default();
        let mut gives_up = notifier.wait(1, offer("a"));
        let has_another = notifier.wait(2, offer("a"));
        let mut last = notifier.wait(3, offer("a"));
        notifier.tell(queued("a"));
        gives_up.woken().await;
        drop(gives_up);
        drop(has_another);
        last.woken().await;
        last.used(None);
        let mut later = notifier.wait(4, offer("a"));
        drop(last);
        assert!(later.word.try_recv().is_err(), "it was used up");
    }
}
