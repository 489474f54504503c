//! Concurrency ids of running jobs (`runner-api.md` §12.2). Pure.

use std::collections::{BTreeSet, HashMap};

/// The numbers one job holds while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Which runner: its address and short token.
    pub(crate) runner: String,
    pub(crate) project: i64,
    /// `CI_CONCURRENT_ID`
    pub(crate) id: u32,
    /// `CI_CONCURRENT_PROJECT_ID`
    pub(crate) project_id: u32,
}

/// Who holds which number.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    by_runner: HashMap<String, BTreeSet<u32>>,
    by_project: HashMap<(String, i64), BTreeSet<u32>>,
}

impl Seats {
    /// The lowest free numbers for a new job.
    pub(crate) fn take(&mut self, runner: &str, project: i64) -> Seat {
        let id = lowest_free(self.by_runner.entry(runner.to_owned()).or_default());
        let project_id = lowest_free(self.by_project.entry((runner.to_owned(), project)).or_default());
        Seat { runner: runner.to_owned(), project, id, project_id }
    }

    /// The numbers a job of an earlier process has already.
    pub(crate) fn keep(&mut self, seat: &Seat) {
        self.by_runner.entry(seat.runner.clone()).or_default().insert(seat.id);
        self.by_project.entry((seat.runner.clone(), seat.project)).or_default().insert(seat.project_id);
    }

    /// The job is over.
    pub(crate) fn free(&mut self, seat: &Seat) {
        if let Some(ids) = self.by_runner.get_mut(&seat.runner) {
            ids.remove(&seat.id);
        }
        let key = (seat.runner.clone(), seat.project);
        if let Some(ids) = self.by_project.get_mut(&key) {
            ids.remove(&seat.project_id);
            if ids.is_empty() {
                self.by_project.remove(&key);
            }
        }
    }
}

fn lowest_free(taken: &mut BTreeSet<u32>) -> u32 {
    let free = (0..).zip(taken.iter()).find(|(n, id)| n != *id).map_or(taken.len() as u32, |(n, _)| n);
    taken.insert(free);
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_of_the_runner_and_of_the_project() {
        let mut seats = Seats::default();
        let ids = |s: &Seat| (s.id, s.project_id);
        let a = seats.take("r", 1);
        let b = seats.take("r", 1);
        let c = seats.take("r", 2);
        let other = seats.take("q", 1);
        assert_eq!([ids(&a), ids(&b), ids(&c), ids(&other)], [(0, 0), (1, 1), (2, 0), (0, 0)]);
        seats.free(&a);
        assert_eq!(ids(&seats.take("r", 2)), (0, 1));
        assert_eq!(ids(&seats.take("r", 1)), (3, 0));
        let kept = Seat { runner: "r".into(), project: 9, id: 4, project_id: 1 };
        seats.keep(&kept);
        assert_eq!(ids(&seats.take("r", 9)), (5, 0));
    }
}
