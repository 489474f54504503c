//! Counts of durations by upper bounds, filled by many threads at once and read for metrics. Called by the coordinator and its
//! tables; it has no clock, durations are given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of durations by upper bounds.
#[derive(Debug)]
pub struct Histogram {
    /// In seconds, ascending.
    bounds: &'static [f64],
    /// One for each bound and one for what is above all.
    counts: Box<[AtomicU64]>,
    micros: AtomicU64,
}

/// A histogram at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramView {
    /// Upper bounds in seconds, and how many were at most that long.
    pub below: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// Seconds of all together.
    pub sum: f64,
}

impl Histogram {
    /// An empty one. `bounds`: in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, micros: AtomicU64::new(0) }
    }

    /// One more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it holds.
    pub fn view(&self) -> HistogramView {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let mut sum = 0;
        let below = self.bounds.iter().zip(&counts).map(|(bound, count)| {
            sum += count;
            (*bound, sum)
        });
        let below = below.collect();
        #[expect(clippy::cast_precision_loss, reason = "seconds, not counted to the last digit")]
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        HistogramView { below, count: counts.iter().sum(), sum: seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bound() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for millis in [0, 100, 101, 1000, 5000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let view = histogram.view();
        assert_eq!(view.below, [(0.1, 2), (1.0, 4)]);
        assert_eq!((view.count, view.sum), (5, 6.201));
    }
}
