//! What a job asks for before anybody takes it, with its variables put in: tags, resource group, environment (`ci-yaml.md` §10).
//! Called once for each job when the coordinator makes a pipeline.

use crate::expand::{Winners, expand_existing};
use crate::pipeline::Job;
use crate::predefined::{PipelineFacts, job_variables, pipeline_variables, user_variables};
use harrier_base::Variable;

/// What a job asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `tags`
    pub tags: Vec<String>,
    /// `resource_group`
    pub resource_group: Option<String>,
    /// `environment:name`
    pub environment: Option<String>,
}

/// What `job` asks for. `project` and `run` are as in [`crate::payload::JobFacts`].
pub fn wanted(job: &Job, facts: &PipelineFacts, project: &[Variable], run: &[Variable]) -> Wanted {
    let named = [job.environment.as_ref().map(|e| &e.name), job.resource_group.as_ref()];
    let plain = |text: &String| !text.contains(['$', '%']);
    if job.tags.iter().all(plain) && named.iter().flatten().all(|text| plain(text)) {
        return Wanted {
            tags: job.tags.clone(),
            resource_group: job.resource_group.clone(),
            environment: job.environment.as_ref().map(|e| e.name.clone()),
        };
    }
    let mut all = job_variables(job);
    all.extend(pipeline_variables(facts));
    all.extend(job.variables.iter().map(|v| {
        let variable = Variable::public(&v.key, &v.value);
        if v.raw { variable.raw() } else { variable }
    }));
    all.extend(user_variables(&facts.user));
    all.extend(project.iter().cloned());
    all.extend(run.iter().cloned());
    let scope = Winners::new(&all);
    let put_in = |text: &String| expand_existing(&scope, text);
    Wanted {
        tags: job.tags.iter().map(put_in).collect(),
        resource_group: job.resource_group.as_ref().map(put_in),
        environment: job.environment.as_ref().map(|e| put_in(&e.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, YamlVariable};

    #[test]
    fn variables_are_put_in() {
        let job = Job {
            tags: vec!["$SIZE-runner".into(), "plain".into()],
            resource_group: Some("$CI_COMMIT_REF_SLUG/$UNKNOWN".into()),
            environment: Some(Environment {
                name: "review/$CI_COMMIT_REF_SLUG".into(),
                ..Environment::default()
            }),
            variables: vec![YamlVariable { key: "SIZE".into(), value: "small".into(), raw: false }],
            ..sample()
        };
        let mut facts = PipelineFacts::default();
        facts.commit.git_ref = "Feature/1".into();
        let run = [Variable::public("SIZE", "big")];
        let got = wanted(&job, &facts, &[], &run);
        assert_eq!(got.tags, ["big-runner", "plain"]);
        assert_eq!(got.resource_group.as_deref(), Some("feature-1/$UNKNOWN"));
        assert_eq!(got.environment.as_deref(), Some("review/feature-1"));
    }

    fn sample() -> Job {
        let compiled = crate::compile(
            crate::SourceFile { name: "a".into(), text: "a: {script: x}".into() },
            &Nothing,
            &crate::Context::default(),
        );
        compiled.pipeline.and_then(|p| p.jobs.into_iter().next()).expect("one job")
    }

    struct Nothing;

    impl crate::IncludeSource for Nothing {
        fn local(&self, _: &str) -> Result<String, crate::FetchError> {
            Err(crate::FetchError::NotFound)
        }

        fn files(&self) -> &[String] {
            &[]
        }

        fn changed_since(&self, _: &str) -> Result<Vec<String>, String> {
            Ok(Vec::new())
        }
    }
}
