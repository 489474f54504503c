//! The statuses of jobs and pipelines and how a set of jobs becomes one status (`ci-yaml.md` §28.1, §28.2).
//! Used by the scheduler and by whoever shows a stage or a pipeline.

/// Status of a job, a stage or a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not looked at yet, or what comes before it is not complete.
    Created,
    /// Its resource group is taken.
    WaitingForResource,
    /// Prerequisites are being made.
    Preparing,
    /// An external run has to report.
    WaitingForCallback,
    /// Delayed; its time has not come.
    Scheduled,
    /// Waits for a person.
    Manual,
    /// May start.
    Pending,
    /// Runs.
    Running,
    /// Passed.
    Success,
    /// Failed, allowed or not.
    Failed,
    /// Was told to stop and has not ended.
    Canceling,
    /// Stopped.
    Canceled,
    /// Left out.
    Skipped,
}

impl Status {
    /// Nothing changes any more by itself.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled | Self::Skipped)
    }

    /// Every status there is.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::WaitingForResource,
        Self::Preparing,
        Self::WaitingForCallback,
        Self::Scheduled,
        Self::Manual,
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Canceling,
        Self::Canceled,
        Self::Skipped,
    ];

    /// The status of GitLab's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// GitLab's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::WaitingForResource => "waiting_for_resource",
            Self::Preparing => "preparing",
            Self::WaitingForCallback => "waiting_for_callback",
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
        }
    }
}

/// A set of job statuses, in which an allowed failure is a warning and an optional manual job is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusSet(u32);

const WARN: u32 = 1 << 13;
const IGNORED: u32 = 1 << 14;

fn bit(status: Status) -> u32 {
    1 << match status {
        Status::Created => 0,
        Status::WaitingForResource => 1,
        Status::Preparing => 2,
        Status::WaitingForCallback => 3,
        Status::Scheduled => 4,
        Status::Manual => 5,
        Status::Pending => 6,
        Status::Running => 7,
        Status::Success => 8,
        Status::Failed => 9,
        Status::Canceling => 10,
        Status::Canceled => 11,
        Status::Skipped => 12,
    }
}

impl StatusSet {
    /// Adds a job; `allowed` is its effective `allow_failure`.
    pub fn add(&mut self, status: Status, allowed: bool) {
        self.0 |= match (status, allowed) {
            (Status::Failed | Status::Canceled, true) => WARN,
            (Status::Manual, true) => IGNORED,
            (other, _) => bit(other),
        };
    }

    /// Both sets together.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is "passed with warnings" when it passes.
    pub fn has_warnings(self) -> bool {
        self.0 & WARN != 0
    }

    /// The status of the whole (§28.2); `None` for the empty set. `dag`: the set is the needs of a job.
    pub fn composite(self, dag: bool) -> Option<Status> {
        use Status::*;
        let set = self.0;
        let any = |statuses: &[Status]| statuses.iter().any(|s| set & bit(*s) != 0);
        let only =
            |statuses: &[Status], more: u32| set & !(statuses.iter().fold(more, |all, s| all | bit(*s))) == 0;
        let result = if set == 0 {
            return None;
        } else if dag && (any(&[Skipped]) || set & IGNORED != 0) || only(&[Skipped], IGNORED) {
            Skipped
        } else if only(&[Success, Skipped], WARN | IGNORED) {
            Success
        } else if only(&[Created], WARN | IGNORED) {
            Created
        } else if only(&[Preparing], WARN | IGNORED) {
            Preparing
        } else if only(&[Canceled, Success, Skipped], WARN | IGNORED) {
            Canceled
        } else if only(&[Pending, Created, Skipped], WARN | IGNORED) {
            Pending
        } else if any(&[Running, Pending]) {
            Running
        } else if any(&[WaitingForResource]) {
            WaitingForResource
        } else if any(&[WaitingForCallback]) {
            WaitingForCallback
        } else if any(&[Manual]) {
            Manual
        } else if any(&[Scheduled]) {
            Scheduled
        } else if any(&[Preparing]) {
            Preparing
        } else if any(&[Created]) {
            Running
        } else if any(&[Canceling]) {
            Canceling
        } else {
            Failed
        };
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::Status::*;
    use super::*;

    fn composite(jobs: &[(Status, bool)], dag: bool) -> Option<Status> {
        let mut set = StatusSet::default();
        for (status, allowed) in jobs {
            set.add(*status, *allowed);
        }
        set.composite(dag)
    }

    /// §28.2, line by line.
    #[test]
    fn each_line_of_the_table() {
        let (no, yes) = (false, true);
        for (jobs, dag, want) in [
            (&[][..], no, None),
            (&[(Success, no), (Skipped, no)], yes, Some(Skipped)),
            (&[(Success, no), (Manual, yes)], yes, Some(Skipped)),
            (&[(Failed, no), (Skipped, no)], yes, Some(Skipped)),
            (&[(Skipped, no), (Manual, yes)], no, Some(Skipped)),
            (&[(Success, no), (Failed, yes), (Manual, yes), (Skipped, no)], no, Some(Success)),
            (&[(Failed, yes)], no, Some(Success)),
            (&[(Created, no), (Failed, yes)], no, Some(Created)),
            (&[(Preparing, no)], no, Some(Preparing)),
            (&[(Canceled, no), (Success, no)], no, Some(Canceled)),
            (&[(Canceled, yes)], no, Some(Success)),
            (&[(Pending, no), (Created, no)], no, Some(Pending)),
            (&[(Pending, no), (Success, no)], no, Some(Running)),
            (&[(Running, no), (Failed, no)], no, Some(Running)),
            (&[(WaitingForResource, no), (Success, no)], no, Some(WaitingForResource)),
            (&[(WaitingForCallback, no)], no, Some(WaitingForCallback)),
            (&[(Manual, no), (Created, no), (Success, no)], no, Some(Manual)),
            (&[(Scheduled, no), (Created, no)], no, Some(Scheduled)),
            (&[(Created, no), (Success, no)], no, Some(Running)),
            (&[(Canceling, no), (Success, no)], no, Some(Canceling)),
            (&[(Failed, no), (Success, no)], no, Some(Failed)),
            (&[(Failed, no), (Canceled, no)], no, Some(Failed)),
        ] {
            assert_eq!(composite(jobs, dag), want, "{jobs:?} dag={dag}");
        }
    }
}
