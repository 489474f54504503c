//! Faults by seed: which answers go wrong, and how. The draw for the n-th request of one kind for one job depends
//! on the seed and on nothing else, so that a failing round can be had again.
//!
//! Called by `server` for every request. It must never touch a job's state: the endpoints carry a fault out.

use std::collections::{BTreeMap, VecDeque};

/// One way for an answer to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// 500, 502, 503 or 504, nothing processed.
    ServerError,
    /// This very status, nothing processed.
    Status(u16),
    /// 429 with `Retry-After: 1` or with `RateLimit-ResetTime` one second ahead, nothing processed.
    TooMany,
    /// The connection ends before anything is processed.
    DropBefore,
    /// Processed, then the connection ends without an answer.
    DropAfter,
    /// Processed, then the connection ends in the middle of the answer's head.
    Torn,
    /// Processed, answered late (tens to hundreds of milliseconds).
    Slow,
    /// Trace only: nothing is appended, 416 with an older size than the server has.
    RangeLie,
    /// Final update only: 202, not applied.
    Pending,
    /// Final update only, once a job: the stored log is thrown away, 412.
    TraceInvalid,
    /// Job request only: 409.
    Conflict,
}

/// What a request is, as far as faults and notes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum On {
    /// `POST /runners`
    Register,
    /// `POST /runners/verify`
    Verify,
    /// `DELETE /runners` and `DELETE /runners/managers`
    Unregister,
    /// Both token resets.
    Reset,
    /// `POST /jobs/request`
    Request,
    /// `PUT /jobs/:id` with `state=running`
    Touch,
    /// `PUT /jobs/:id` with a final state
    Final,
    /// `PATCH /jobs/:id/trace`
    Trace,
    /// `POST /jobs/:id/artifacts`
    Upload,
    /// `GET /jobs/:id/artifacts`
    Download,
    /// The object storage behind a direct download.
    Storage,
    /// Git's smart HTTP.
    Git,
    /// Everything else.
    Other,
}

/// How often answers fail, and in which ways.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    /// Same seed, same faults.
    pub seed: u64,
    /// Share of all answers that fail, 0 to 1.
    pub rate: f64,
    /// Ways to fail with their weights; those that do not apply to an endpoint are left out for it.
    pub ways: Vec<(Fault, u32)>,
    /// Endpoints that fail.
    pub on: Vec<On>,
}

impl FaultPlan {
    /// Nothing fails.
    pub fn none() -> FaultPlan {
        FaultPlan { seed: 0, rate: 0.0, ways: Vec::new(), on: Vec::new() }
    }

    /// Every way there is on every endpoint of the job's life. Git is left out: one failed fetch rightly fails a job.
    pub fn everything(seed: u64, rate: f64) -> FaultPlan {
        FaultPlan {
            seed,
            rate,
            ways: vec![
                (Fault::ServerError, 6),
                (Fault::TooMany, 1),
                (Fault::DropBefore, 3),
                (Fault::DropAfter, 3),
                (Fault::Torn, 2),
                (Fault::Slow, 3),
                (Fault::RangeLie, 3),
                (Fault::Pending, 2),
                (Fault::TraceInvalid, 2),
                (Fault::Conflict, 2),
            ],
            on: vec![
                On::Request,
                On::Touch,
                On::Final,
                On::Trace,
                On::Upload,
                On::Download,
                On::Storage,
                On::Verify,
            ],
        }
    }
}

/// The drawing of faults and the count of those that fired.
pub(crate) struct Faults {
    plan: FaultPlan,
    ordered: BTreeMap<On, VecDeque<Fault>>,
    drawn: BTreeMap<(On, i64), u64>,
    fired: BTreeMap<Fault, u64>,
}

impl Faults {
    pub(crate) fn new() -> Faults {
        Faults {
            plan: FaultPlan::none(),
            ordered: BTreeMap::new(),
            drawn: BTreeMap::new(),
            fired: BTreeMap::new(),
        }
    }

    pub(crate) fn set_plan(&mut self, plan: FaultPlan) {
        self.plan = plan;
    }

    /// The next answers on `on` fail in these ways, before the plan is asked again.
    pub(crate) fn order(&mut self, on: On, faults: &[Fault]) {
        self.ordered.entry(on).or_default().extend(faults);
    }

    /// How often each way fired so far.
    pub(crate) fn fired(&self) -> &BTreeMap<Fault, u64> {
        &self.fired
    }

    /// What happens to this request and a number to choose details by.
    pub(crate) fn draw(&mut self, on: On, job: i64, reset_possible: bool) -> Option<(Fault, u64)> {
        let count = self.drawn.entry((on, job)).or_insert(0);
        *count += 1;
        let detail = mix(self.plan.seed ^ mix(on as u64 + 1) ^ mix(job.unsigned_abs() << 20 ^ *count));
        let ordered = self.ordered.get_mut(&on).and_then(VecDeque::pop_front);
        let fault = ordered.or_else(|| self.by_plan(on, detail, reset_possible))?;
        *self.fired.entry(fault).or_insert(0) += 1;
        Some((fault, mix(detail ^ 2)))
    }

    fn by_plan(&self, on: On, detail: u64, reset_possible: bool) -> Option<Fault> {
        if !self.plan.on.contains(&on) || share(detail) >= self.plan.rate {
            return None;
        }
        let ways: Vec<(Fault, u32)> =
            self.plan.ways.iter().copied().filter(|(fault, _)| fault.applies(on, reset_possible)).collect();
        let total: u32 = ways.iter().map(|(_, weight)| weight).sum();
        let mut point = mix(detail ^ 1).checked_rem(u64::from(total))?;
        for (fault, weight) in ways {
            match point.checked_sub(u64::from(weight)) {
                Some(rest) => point = rest,
                None => return Some(fault),
            }
        }
        None
    }
}

impl Fault {
    fn applies(self, on: On, reset_possible: bool) -> bool {
        match self {
            Fault::RangeLie => on == On::Trace,
            Fault::Pending => on == On::Final,
            Fault::TraceInvalid => on == On::Final && reset_possible,
            Fault::Conflict => on == On::Request,
            Fault::ServerError
            | Fault::Status(_)
            | Fault::TooMany
            | Fault::DropBefore
            | Fault::DropAfter
            | Fault::Torn
            | Fault::Slow => true,
        }
    }

    /// The runner did not get the answer to something that was done.
    pub(crate) fn loses_answer(self) -> bool {
        matches!(self, Fault::DropAfter | Fault::Torn)
    }
}

/// SplitMix64's finisher: a well spread number from any number.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn share(number: u64) -> f64 {
    (number >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_every_way_fires() {
        let mut faults = Faults::new();
        faults.set_plan(FaultPlan::everything(7, 0.3));
        let mut failed = 0;
        for job in 0..500 {
            for on in [On::Request, On::Touch, On::Final, On::Trace] {
                failed += u32::from(faults.draw(on, job, true).is_some());
            }
        }
        assert!((500..700).contains(&failed), "{failed} of 2000");
        assert_eq!(faults.fired().len(), 10, "{:?}", faults.fired());
    }

    #[test]
    fn a_seed_gives_the_same_faults_in_any_order_of_jobs() {
        let draw = |jobs: &[i64]| -> BTreeMap<i64, Option<(Fault, u64)>> {
            let mut faults = Faults::new();
            faults.set_plan(FaultPlan::everything(3, 0.5));
            jobs.iter().map(|job| (*job, faults.draw(On::Trace, *job, false))).collect()
        };
        assert_eq!(draw(&[1, 2, 3, 4]), draw(&[4, 2, 1, 3]));
    }

    #[test]
    fn an_ordered_fault_comes_first_and_once() {
        let mut faults = Faults::new();
        faults.order(On::Verify, &[Fault::Status(418)]);
        assert_eq!(faults.draw(On::Touch, 1, true), None);
        assert_eq!(faults.draw(On::Verify, 0, true).map(|(fault, _)| fault), Some(Fault::Status(418)));
        assert_eq!(faults.draw(On::Verify, 0, true), None);
    }
}
