//! Whom to ask for a job next, and when: slots, `limit`, request concurrency, check intervals and health
//! (`runner-api.md` §12). The host tells it what happened and does what it says. Pure: it is given `now`, the time
//! since any fixed moment.
//!
//! `check_interval` is for an empty queue: a runner that was just given a job, or whose job has just ended, is
//! asked again at once when there is room (unless `strict_check_interval`), and so is one whose server has just said for the first
//! time how the next request can be held.

use std::time::Duration;

/// Time since a moment that stays the same for one feed.
pub(crate) type Now = Duration;

/// What the feed must know of a `[[runners]]` entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    /// The same entry before and after a reload has the same key: address and token.
    pub(crate) key: String,
    /// 0 is no limit.
    pub(crate) limit: u32,
    pub(crate) request_concurrency: u32,
    /// `FF_USE_ADAPTIVE_REQUEST_CONCURRENCY`
    pub(crate) adaptive: bool,
    pub(crate) strict: bool,
    pub(crate) unhealthy_limit: u32,
    pub(crate) unhealthy_interval: Duration,
}

/// What a job request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A job; it holds a slot until [`Feed::job_ended`].
    Job,
    /// No job; the server is fine, or has trouble that does not count.
    Nothing,
    /// No job, and the next request may be held until one comes.
    Greeting,
    /// 403, or the client cannot even be built.
    Unhealthy,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ask for this entry; its answer must come to [`Feed::answered`].
    Ask(String),
    /// Nothing before this time; `None`: nothing before something happens.
    Wait(Option<Now>),
}

struct Entry {
    rules: Rules,
    /// In the configuration; others only wait for their jobs to end.
    listed: bool,
    jobs: u32,
    asking: u32,
    /// §12.3
    fluid: f64,
    due: Now,
    failures: u32,
    healthy_at: Now,
}

/// See the top of the file.
pub(crate) struct Feed {
    concurrent: u32,
    interval: Duration,
    entries: Vec<Entry>,
    draining: bool,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self { concurrent: 1, interval: Duration::from_secs(3), entries: Vec::new(), draining: false }
    }

    /// The configuration, at the start and after a reload. Jobs and requests under way keep their places, all
    /// health is forgotten, and nobody waits longer than a new check interval.
    pub(crate) fn configure(&mut self, now: Now, concurrent: u32, interval: Duration, rules: Vec<Rules>) {
        self.concurrent = concurrent.max(1);
        self.interval = interval;
        let mut old = std::mem::take(&mut self.entries);
        let stagger = interval / u32::try_from(rules.len()).unwrap_or(u32::MAX).max(1);
        for (rules, place) in rules.into_iter().zip(0_u32..) {
            let first = now + stagger * place;
            let entry = match old.iter().position(|e| e.rules.key == rules.key) {
                Some(at) => {
                    let known = old.remove(at);
                    Entry {
                        rules,
                        listed: true,
                        due: known.due.min(first),
                        failures: 0,
                        healthy_at: now,
                        ..known
                    }
                }
                None => Entry {
                    rules,
                    listed: true,
                    jobs: 0,
                    asking: 0,
                    fluid: 1.0,
                    due: first,
                    failures: 0,
                    healthy_at: now,
                },
            };
            self.entries.push(entry);
        }
        old.retain(|e| e.jobs + e.asking > 0);
        self.entries.extend(old.into_iter().map(|e| Entry { listed: false, ..e }));
    }

    /// No job is asked for any more.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// A job of an earlier process goes on: it holds a slot.
    pub(crate) fn adopt(&mut self, now: Now, key: &str) {
        let at = match self.entries.iter().position(|e| e.rules.key == key) {
            Some(at) => at,
            None => {
                let rules = Rules {
                    key: key.to_owned(),
                    limit: 0,
                    request_concurrency: 1,
                    adaptive: true,
                    strict: false,
                    unhealthy_limit: u32::MAX,
                    unhealthy_interval: Duration::ZERO,
                };
                self.entries.push(Entry {
                    rules,
                    listed: false,
                    jobs: 0,
                    asking: 0,
                    fluid: 1.0,
                    due: now,
                    failures: 0,
                    healthy_at: now,
                });
                self.entries.len() - 1
            }
        };
        self.entries[at].jobs += 1;
    }

    /// Call until it says `Wait`.
    pub(crate) fn next(&mut self, now: Now) -> Turn {
        if self.draining {
            return Turn::Wait(None);
        }
        let taken: u32 = self.entries.iter().map(|e| e.jobs + e.asking).sum();
        if taken >= self.concurrent {
            return Turn::Wait(None);
        }
        // Who has waited longest comes first; among equals the order of the file.
        let first = self.entries.iter_mut().filter(|e| e.may_ask()).min_by_key(|e| e.asked_from());
        let Some(entry) = first else { return Turn::Wait(None) };
        let from = entry.asked_from();
        if from > now {
            return Turn::Wait(Some(from));
        }
        if entry.sleeps() {
            // The forced round after the sleep.
            entry.failures = 0;
            entry.healthy_at = now;
        }
        entry.asking += 1;
        entry.due = now + self.interval;
        Turn::Ask(entry.rules.key.clone())
    }

    /// The answer to a [`Turn::Ask`].
    pub(crate) fn answered(&mut self, now: Now, key: &str, came: Came, pushed_back: bool) {
        let Some(entry) = self.entries.iter_mut().find(|e| e.rules.key == key) else { return };
        entry.asking = entry.asking.saturating_sub(1);
        let factor = match (pushed_back, came) {
            (true, _) => 0.5,
            (false, Came::Job) => 1.1,
            (false, Came::Nothing | Came::Greeting | Came::Unhealthy) => 0.95,
        };
        entry.fluid = (entry.fluid * factor).clamp(1.0, f64::from(entry.rules.request_concurrency.max(1)));
        match came {
            Came::Job => {
                entry.jobs += 1;
                if !entry.rules.strict {
                    entry.due = now;
                }
            }
            Came::Greeting if !entry.rules.strict => entry.due = now,
            Came::Nothing | Came::Greeting | Came::Unhealthy => {}
        }
        if came == Came::Unhealthy {
            entry.failures += 1;
        } else {
            entry.failures = 0;
            entry.healthy_at = now;
        }
    }

    /// A job of this entry is over, its result reported.
    pub(crate) fn job_ended(&mut self, now: Now, key: &str) {
        let Some(entry) = self.entries.iter_mut().find(|e| e.rules.key == key) else { return };
        entry.jobs = entry.jobs.saturating_sub(1);
        if !entry.rules.strict {
            entry.due = entry.due.min(now);
        }
        self.entries.retain(|e| e.listed || e.jobs + e.asking > 0);
    }

    /// For the metrics: requests under way, and how many there may be: as configured, as the answers suggest, as used.
    pub(crate) fn requests(&self, key: &str) -> Option<(u32, u32, f64, u32)> {
        let entry = self.entries.iter().find(|e| e.rules.key == key)?;
        Some((entry.asking, entry.rules.request_concurrency.max(1), entry.fluid, entry.most_requests()))
    }

    /// Whether this entry is put to sleep, for the log.
    pub(crate) fn is_asleep(&self, key: &str) -> bool {
        self.entries.iter().any(|e| e.rules.key == key && e.sleeps())
    }
}

impl Entry {
    fn most_requests(&self) -> u32 {
        let hard = self.rules.request_concurrency.max(1);
        if self.rules.adaptive { (self.fluid.ceil() as u32).clamp(1, hard) } else { hard }
    }

    fn may_ask(&self) -> bool {
        self.listed
            && self.asking < self.most_requests()
            && (self.rules.limit == 0 || self.jobs + self.asking < self.rules.limit)
    }

    fn sleeps(&self) -> bool {
        self.rules.unhealthy_limit > 0 && self.failures >= self.rules.unhealthy_limit
    }

    /// The earliest time it may be asked.
    fn asked_from(&self) -> Now {
        if self.sleeps() { self.due.max(self.healthy_at + self.rules.unhealthy_interval) } else { self.due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn rules(key: &str) -> Rules {
        Rules {
            key: key.into(),
            limit: 0,
            request_concurrency: 1,
            adaptive: true,
            strict: false,
            unhealthy_limit: 3,
            unhealthy_interval: S(3600),
        }
    }

    fn feed(concurrent: u32, entries: Vec<Rules>) -> Feed {
        let mut feed = Feed::new();
        feed.configure(S(0), concurrent, S(3), entries);
        feed
    }

    fn ask(feed: &mut Feed, now: Now, key: &str) {
        assert_eq!(feed.next(now), Turn::Ask(key.into()), "at {now:?}");
    }

    #[test]
    fn an_empty_queue_is_asked_every_check_interval_each_entry_in_its_turn() {
        let mut f = feed(4, vec![rules("a"), rules("b"), rules("c")]);
        let mut asked = Vec::new();
        let mut now = S(0);
        while now < S(6) {
            match f.next(now) {
                Turn::Ask(key) => {
                    asked.push((now.as_secs(), key.clone()));
                    f.answered(now, &key, Came::Nothing, false);
                }
                Turn::Wait(until) => now = until.expect("somebody is due"),
            }
        }
        let want = [(0, "a"), (1, "b"), (2, "c"), (3, "a"), (4, "b"), (5, "c")];
        assert_eq!(asked, want.map(|(t, k)| (t, k.to_owned())));
    }

    #[test]
    fn a_full_queue_is_drained_without_waiting() {
        let mut f = feed(3, vec![rules("a")]);
        for _ in 0..3 {
            ask(&mut f, S(0), "a");
            assert_eq!(f.next(S(0)), Turn::Wait(None), "one request at a time");
            f.answered(S(0), "a", Came::Job, false);
        }
        assert_eq!(f.next(S(0)), Turn::Wait(None), "no room");
        f.job_ended(S(1), "a");
        ask(&mut f, S(1), "a");
        f.answered(S(1), "a", Came::Nothing, false);
        // The queue is empty: the interval counts from the question.
        assert_eq!(f.next(S(1)), Turn::Wait(Some(S(4))));
        // A job that ends may have made others possible.
        f.job_ended(S(2), "a");
        ask(&mut f, S(2), "a");
    }

    #[test]
    fn a_server_that_can_hold_the_next_request_gets_it_at_once() {
        let mut f = feed(3, vec![rules("a")]);
        ask(&mut f, S(0), "a");
        f.answered(S(0), "a", Came::Greeting, false);
        ask(&mut f, S(0), "a");
        f.answered(S(0), "a", Came::Nothing, false);
        assert_eq!(f.next(S(0)), Turn::Wait(Some(S(3))), "it does not hold them");
    }

    #[test]
    fn strict_entries_always_wait() {
        let mut f = feed(3, vec![Rules { strict: true, ..rules("a") }]);
        ask(&mut f, S(0), "a");
        f.answered(S(0), "a", Came::Greeting, false);
        assert_eq!(f.next(S(0)), Turn::Wait(Some(S(3))));
        let mut f = feed(3, vec![Rules { strict: true, ..rules("a") }]);
        ask(&mut f, S(0), "a");
        f.answered(S(0), "a", Came::Job, false);
        assert_eq!(f.next(S(0)), Turn::Wait(Some(S(3))));
        f.job_ended(S(1), "a");
        assert_eq!(f.next(S(1)), Turn::Wait(Some(S(3))));
    }

    #[test]
    fn limits_hold() {
        let mut f = feed(9, vec![Rules { limit: 1, ..rules("a") }, rules("b")]);
        ask(&mut f, S(0), "a");
        f.answered(S(0), "a", Came::Job, false);
        assert_eq!(f.next(S(0)), Turn::Wait(Some(S(3) / 2)), "b's turn only");
        f.job_ended(S(1), "a");
        ask(&mut f, S(1), "a");
    }

    #[test]
    fn a_held_request_is_followed_by_the_next_at_once() {
        let mut f = feed(2, vec![rules("a")]);
        ask(&mut f, S(0), "a");
        f.answered(S(50), "a", Came::Nothing, false);
        ask(&mut f, S(50), "a");
    }

    #[test]
    fn request_concurrency_grows_with_jobs_and_halves_under_pressure() {
        let mut f = feed(100, vec![Rules { request_concurrency: 4, ..rules("a") }]);
        let most = |f: &mut Feed, now: Now| {
            let mut n = 0;
            while f.next(now) == Turn::Ask("a".into()) {
                f.entries[0].due = now;
                n += 1;
            }
            for _ in 0..n {
                f.entries[0].asking -= 1;
            }
            n
        };
        assert_eq!(most(&mut f, S(0)), 1);
        for _ in 0..40 {
            f.entries[0].asking += 1;
            f.answered(S(0), "a", Came::Job, false);
        }
        assert_eq!(most(&mut f, S(0)), 4, "never above the hard limit");
        f.entries[0].asking += 1;
        f.answered(S(0), "a", Came::Nothing, true);
        assert_eq!(most(&mut f, S(0)), 2);
        f.entries[0].rules.adaptive = false;
        assert_eq!(most(&mut f, S(0)), 4);
    }

    #[test]
    fn three_refusals_put_to_sleep_and_one_round_is_forced_after_an_hour() {
        let mut f = feed(1, vec![rules("a")]);
        for t in [0, 3, 6] {
            assert!(!f.is_asleep("a"));
            ask(&mut f, S(t), "a");
            f.answered(S(t), "a", Came::Unhealthy, false);
        }
        assert!(f.is_asleep("a"));
        assert_eq!(f.next(S(9)), Turn::Wait(Some(S(3600))), "counted from the last healthy check");
        ask(&mut f, S(3600), "a");
        f.answered(S(3600), "a", Came::Unhealthy, false);
        assert!(!f.is_asleep("a"), "the counter began at 0 again");
        // Trouble of other kinds never counts.
        for t in 0..20 {
            ask(&mut f, S(3603 + t * 3), "a");
            f.answered(S(3603 + t * 3), "a", Came::Nothing, true);
        }
        assert!(!f.is_asleep("a"));
    }

    #[test]
    fn a_reload_forgets_health_and_keeps_jobs() {
        let mut f = feed(2, vec![rules("a"), rules("b")]);
        for t in [0, 3, 6] {
            while f.next(S(t)) != Turn::Ask("a".into()) {
                f.answered(S(t), "b", Came::Nothing, false);
            }
            f.answered(S(t), "a", Came::Unhealthy, false);
        }
        f.adopt(S(6), "b");
        assert!(f.is_asleep("a"));
        f.configure(S(7), 2, S(3), vec![rules("a"), rules("c")]);
        assert!(!f.is_asleep("a"));
        assert_eq!(
            f.entries.iter().map(|e| e.jobs).sum::<u32>(),
            1,
            "b is gone from the file, its job is not"
        );
        ask(&mut f, S(7), "a");
        assert_eq!(f.next(S(9)), Turn::Wait(None), "b's job and a's question fill both slots");
        f.job_ended(S(9), "b");
        ask(&mut f, S(9), "c");
        f.drain();
        f.answered(S(9), "c", Came::Nothing, false);
        assert_eq!(f.next(S(99)), Turn::Wait(None));
    }

    /// Any order of answers: never more jobs and questions than slots, and nobody starves.
    #[test]
    fn slots_hold_and_nobody_starves() {
        for seed in 1..=300_u64 {
            let mut x = seed * 0x9E37_79B9 + 1;
            let mut dice = move |n: u64| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x % n
            };
            let keys = ["a", "b", "c", "d"];
            let limits = [0, 2, 1, 0];
            let mut f = feed(
                1 + dice(4) as u32,
                keys.iter()
                    .zip(limits)
                    .map(|(k, limit)| Rules { limit, request_concurrency: 2, ..rules(k) })
                    .collect(),
            );
            let (mut asking, mut running) = (Vec::<String>::new(), Vec::<String>::new());
            let mut asked = std::collections::HashMap::<String, u32>::new();
            let mut now = S(0);
            for _ in 0..600 {
                while let Turn::Ask(key) = f.next(now) {
                    *asked.entry(key.clone()).or_default() += 1;
                    asking.push(key);
                    assert!(asking.len() + running.len() <= f.concurrent as usize, "seed {seed}");
                    for (key, limit) in keys.iter().zip(limits).filter(|(_, limit)| *limit > 0) {
                        let n = asking.iter().chain(&running).filter(|k| k == key).count();
                        assert!(n <= limit as usize, "seed {seed}");
                    }
                }
                now += Duration::from_millis(dice(700));
                if !asking.is_empty() && dice(2) == 0 {
                    let key = asking.swap_remove(dice(asking.len() as u64) as usize);
                    let came = if dice(3) == 0 { Came::Job } else { Came::Nothing };
                    f.answered(now, &key, came, dice(9) == 0);
                    if came == Came::Job {
                        running.push(key);
                    }
                }
                if !running.is_empty() && dice(3) == 0 {
                    let key = running.swap_remove(dice(running.len() as u64) as usize);
                    f.job_ended(now, &key);
                }
            }
            for key in keys {
                assert!(asked.get(key).is_some_and(|n| *n >= 5), "seed {seed}: {key} starves: {asked:?}");
            }
        }
    }
}
