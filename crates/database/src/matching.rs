//! Which runner may take which job (`runner-api.md` §3.4), and why not, as values. Pure. Called when a job is claimed, when
//! waiting runners are woken, and when a person asks why a job is pending: all three by the same code.

use harrier_api::Features;
use harrier_pipeline::Job;

/// What a pending job asks of a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wants {
    /// Its project.
    pub project: i64,
    /// Its tags; a runner needs all of them.
    pub tags: Vec<String>,
    /// Its ref is protected.
    pub protected: bool,
    /// Runners of the instance may take it (`shared_runners_enabled` of the project).
    pub instance_runners: bool,
}

/// Whose jobs a runner takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everybody's.
    Instance,
    /// Those of these projects.
    Projects(Vec<i64>),
}

/// What a runner offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whose jobs.
    pub reach: Reach,
    /// Its tags.
    pub tags: Vec<String>,
    /// Takes jobs without tags.
    pub run_untagged: bool,
    /// Takes jobs of protected refs only.
    pub protected_only: bool,
    /// Takes nothing at present.
    pub paused: bool,
}

/// Why a runner does not take a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It serves other projects.
    OtherProject,
    /// It serves everybody, which the project does not want.
    InstanceRunner,
    /// It lacks a tag.
    MissingTag(String),
    /// The job has no tags and the runner wants some.
    Untagged,
    /// The job's ref is not protected.
    NotProtected,
    /// It is paused.
    Paused,
}

/// Why `offer` does not take a job that wants `wants`; `None` if it does.
pub fn refusal(offer: &Offer, wants: &Wants) -> Option<Refusal> {
    match &offer.reach {
        Reach::Projects(projects) if !projects.contains(&wants.project) => {
            return Some(Refusal::OtherProject);
        }
        Reach::Instance if !wants.instance_runners => return Some(Refusal::InstanceRunner),
        Reach::Projects(_) | Reach::Instance => {}
    }
    if let Some(tag) = wants.tags.iter().find(|tag| !offer.tags.contains(tag)) {
        return Some(Refusal::MissingTag(tag.clone()));
    }
    if wants.tags.is_empty() && !offer.run_untagged {
        return Some(Refusal::Untagged);
    }
    if offer.protected_only && !wants.protected {
        return Some(Refusal::NotProtected);
    }
    offer.paused.then_some(Refusal::Paused)
}

/// Why nobody takes a pending job now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyPending {
    /// A runner that matches is there; the job waits for its turn.
    Turn,
    /// A runner has it and has not begun.
    Reserved,
    /// No runner is registered for the project.
    NoRunner,
    /// The project has no runner of its own and does not want those of the instance.
    InstanceRunnersOff,
    /// No runner has this tag.
    NoTag(String),
    /// No single runner has all the tags.
    NoTagSet(Vec<String>),
    /// All that would match want tagged jobs.
    Untagged,
    /// All that would match want protected refs.
    NotProtected,
    /// All that match are paused.
    Paused,
    /// All that match have not been heard of for a while.
    Offline,
    /// Another job has its resource.
    Resource(String),
    /// A person has to start it.
    Manual,
    /// It starts at this time, in milliseconds.
    Delayed(i64),
}

/// Why no runner takes a job, from all runners and whether each is online.
pub fn why_pending(runners: &[(Offer, bool)], wants: &Wants) -> WhyPending {
    let refusals: Vec<(Option<Refusal>, bool)> =
        runners.iter().map(|(offer, online)| (refusal(offer, wants), *online)).collect();
    if refusals.iter().any(|(refusal, online)| refusal.is_none() && *online) {
        return WhyPending::Turn;
    }
    if refusals.iter().any(|(refusal, _)| refusal.is_none()) {
        return WhyPending::Offline;
    }
    let has = |wanted: &Refusal| refusals.iter().any(|(refusal, _)| refusal.as_ref() == Some(wanted));
    // The refusal nearest to a match says most.
    if has(&Refusal::Paused) {
        return WhyPending::Paused;
    }
    if has(&Refusal::NotProtected) {
        return WhyPending::NotProtected;
    }
    if has(&Refusal::Untagged) {
        return WhyPending::Untagged;
    }
    let serves = |offer: &Offer| match &offer.reach {
        Reach::Instance => wants.instance_runners,
        Reach::Projects(projects) => projects.contains(&wants.project),
    };
    let near: Vec<&Offer> = runners.iter().map(|(offer, _)| offer).filter(|offer| serves(offer)).collect();
    if near.is_empty() {
        return match has(&Refusal::InstanceRunner) {
            true => WhyPending::InstanceRunnersOff,
            false => WhyPending::NoRunner,
        };
    }
    match wants.tags.iter().find(|tag| !near.iter().any(|offer| offer.tags.contains(tag))) {
        Some(tag) => WhyPending::NoTag(tag.clone()),
        None => WhyPending::NoTagSet(wants.tags.clone()),
    }
}

/// The first ability that a job needs and a runner lacks, by its name on the wire (`runner-api.md` §3.2).
pub fn missing_feature(job: &Job, features: &Features) -> Option<&'static str> {
    let artifacts = job.artifacts.as_ref();
    let codes = matches!(job.allow_failure, harrier_pipeline::AllowFailure::ExitCodes(_));
    [
        (
            job.cache.iter().any(|c| !c.fallback_keys.is_empty()),
            features.fallback_cache_keys,
            "fallback_cache_keys",
        ),
        (
            artifacts.is_some_and(|a| !a.reports.is_empty()),
            features.upload_multiple_artifacts,
            "upload_multiple_artifacts",
        ),
        (artifacts.is_some_and(|a| !a.exclude.is_empty()), features.artifacts_exclude, "artifacts_exclude"),
        (job.release.is_some(), features.multi_build_steps, "multi_build_steps"),
        (codes || !job.retry.exit_codes.is_empty(), features.return_exit_code, "return_exit_code"),
    ]
    .into_iter()
    .find(|(needed, has, _)| *needed && !*has)
    .map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(tags: &[&str]) -> Offer {
        Offer {
            reach: Reach::Instance,
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            run_untagged: true,
            protected_only: false,
            paused: false,
        }
    }

    fn wants(tags: &[&str]) -> Wants {
        let tags = tags.iter().map(|t| (*t).to_owned()).collect();
        Wants { project: 1, tags, protected: false, instance_runners: true }
    }

    #[test]
    fn who_takes_what() {
        assert_eq!(refusal(&offer(&["a", "b"]), &wants(&["b"])), None);
        assert_eq!(refusal(&offer(&["a"]), &wants(&["b"])), Some(Refusal::MissingTag("b".into())));
        assert_eq!(refusal(&offer(&["a"]), &wants(&[])), None);
        let tagged_only = Offer { run_untagged: false, ..offer(&["a"]) };
        assert_eq!(refusal(&tagged_only, &wants(&[])), Some(Refusal::Untagged));
        let protected = Offer { protected_only: true, ..offer(&[]) };
        assert_eq!(refusal(&protected, &wants(&[])), Some(Refusal::NotProtected));
        assert_eq!(refusal(&protected, &Wants { protected: true, ..wants(&[]) }), None);
        let other = Offer { reach: Reach::Projects(vec![2]), ..offer(&[]) };
        assert_eq!(refusal(&other, &wants(&[])), Some(Refusal::OtherProject));
        let alone = Wants { instance_runners: false, ..wants(&[]) };
        assert_eq!(refusal(&offer(&[]), &alone), Some(Refusal::InstanceRunner));
        let own = Offer { reach: Reach::Projects(vec![1]), ..offer(&[]) };
        assert_eq!(refusal(&own, &alone), None);
        assert_eq!(why_pending(&[(offer(&[]), true)], &alone), WhyPending::InstanceRunnersOff);
        let gpu = Wants { instance_runners: false, ..wants(&["gpu"]) };
        let both = [(offer(&["gpu"]), true), (own, true)];
        assert_eq!(why_pending(&both, &gpu), WhyPending::NoTag("gpu".into()));
    }

    #[test]
    fn the_reason_nearest_to_a_match_is_told() {
        let gpu = wants(&["gpu"]);
        assert_eq!(why_pending(&[], &gpu), WhyPending::NoRunner);
        assert_eq!(why_pending(&[(offer(&["cpu"]), true)], &gpu), WhyPending::NoTag("gpu".into()));
        assert_eq!(why_pending(&[(offer(&["gpu"]), false)], &gpu), WhyPending::Offline);
        let paused = Offer { paused: true, ..offer(&["gpu"]) };
        assert_eq!(why_pending(&[(offer(&["cpu"]), true), (paused, true)], &gpu), WhyPending::Paused);
        assert_eq!(why_pending(&[(offer(&["gpu"]), true)], &gpu), WhyPending::Turn);
        let both = wants(&["a", "b"]);
        let apart = [(offer(&["a"]), true), (offer(&["b"]), true)];
        assert_eq!(why_pending(&apart, &both), WhyPending::NoTagSet(both.tags.clone()));
    }
}
