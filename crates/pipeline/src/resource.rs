//! Who gets a resource group next (`ci-yaml.md` §28.4), across the pipelines of a project. Called by the hosts that drive
//! several [`crate::Scheduler`]s with shared resources, whenever a resource is free or a job begins to wait for it.

/// In which order the jobs of a resource group run; set on the group, outside of YAML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessMode {
    /// Whoever waits.
    #[default]
    Unordered,
    /// The oldest pipeline that has such a job still before it; a newer one waits even while the older one's job is not
    /// ready.
    OldestFirst,
    /// The newest pipeline that has such a job still before it.
    NewestFirst,
    /// The newest pipeline among those whose job waits.
    NewestReadyFirst,
}

impl ProcessMode {
    /// GitLab's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unordered => "unordered",
            Self::OldestFirst => "oldest_first",
            Self::NewestFirst => "newest_first",
            Self::NewestReadyFirst => "newest_ready_first",
        }
    }

    /// The mode of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Unordered, Self::OldestFirst, Self::NewestFirst, Self::NewestReadyFirst]
            .into_iter()
            .find(|mode| mode.word() == word)
    }
}

/// A job that has the resource still before it: [`crate::Scheduler::in_line`] gives those of one pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Age of its pipeline: a greater number is newer, as ids are.
    pub pipeline: i64,
    /// Its place in the pipeline.
    pub job: usize,
    /// It waits for the resource.
    pub ready: bool,
}

/// The candidate that gets the free resource; `None`: nobody may have it now.
pub fn next_in_line(mode: ProcessMode, candidates: &[Candidate]) -> Option<usize> {
    let age = |at: &usize| (candidates[*at].pipeline, candidates[*at].job);
    // Within one pipeline the order stays that of the pipeline.
    let newest = |at: &usize| (std::cmp::Reverse(candidates[*at].pipeline), candidates[*at].job);
    let ready = |at: &usize| candidates[*at].ready;
    let all = 0..candidates.len();
    match mode {
        ProcessMode::Unordered => all.filter(ready).min_by_key(age),
        ProcessMode::OldestFirst => all.min_by_key(age).filter(ready),
        ProcessMode::NewestFirst => all.min_by_key(newest).filter(ready),
        ProcessMode::NewestReadyFirst => all.filter(ready).min_by_key(newest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §28.4
    #[test]
    fn each_mode_has_its_order() {
        let line = |list: &[(i64, bool)]| -> Vec<Candidate> {
            list.iter()
                .enumerate()
                .map(|(job, (pipeline, ready))| Candidate { pipeline: *pipeline, job, ready: *ready })
                .collect()
        };
        use ProcessMode::*;
        for (candidates, mode, want) in [
            (&[][..], Unordered, None),
            (&[(2, true), (1, false)], Unordered, Some(0)),
            (&[(2, true), (1, true)], Unordered, Some(1)),
            (&[(2, true), (1, false)], OldestFirst, None),
            (&[(2, true), (1, true)], OldestFirst, Some(1)),
            (&[(1, true), (2, false)], NewestFirst, None),
            (&[(1, true), (2, true)], NewestFirst, Some(1)),
            (&[(1, true), (2, false)], NewestReadyFirst, Some(0)),
            (&[(1, true), (2, true), (3, false)], NewestReadyFirst, Some(1)),
            (&[(1, true), (1, true)], NewestFirst, Some(0)),
        ] {
            assert_eq!(next_in_line(mode, &line(candidates)), want, "{mode:?} {candidates:?}");
            assert_eq!(ProcessMode::of_word(mode.word()), Some(mode));
        }
    }
}
