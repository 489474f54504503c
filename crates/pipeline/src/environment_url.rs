//! Where an environment is to be seen once a job has deployed to it (`ci-yaml.md` §22). Called by the coordinator when such a job has
//! passed: only then the variables are known that its own script has left.

use crate::expand::{Winners, expand_existing};
use crate::payload::yaml_variable;
use crate::pipeline::Job;
use crate::predefined::{PipelineFacts, job_variables, pipeline_variables, user_variables};
use harrier_base::Variable;

/// Longest address, in characters.
const LONGEST: usize = 255;

/// What the variables of a job that has passed are made of. The lists are as in [`crate::payload::JobFacts`].
pub struct PassedJob<'a> {
    /// Number of the job.
    pub id: i64,
    /// Its page.
    pub url: &'a str,
    /// Its pipeline.
    pub pipeline: &'a PipelineFacts,
    /// Page of its pipeline.
    pub pipeline_url: &'a str,
    /// From the dotenv reports of jobs before it, then from its own.
    pub dotenv: &'a [Variable],
    /// Project variables.
    pub project: &'a [Variable],
    /// Variables of the run.
    pub run: &'a [Variable],
    /// Variables given when it was played.
    pub manual: &'a [Variable],
}

/// The address; `None`: there is none, or what comes out is no address of the web.
pub fn environment_url(job: &Job, passed: &PassedJob<'_>) -> Option<String> {
    let written = job.environment.as_ref()?.url.as_ref()?;
    let mut all = vec![
        Variable::public("CI_PIPELINE_ID", passed.pipeline.id.to_string()),
        Variable::public("CI_PIPELINE_URL", passed.pipeline_url),
        Variable::public("CI_JOB_ID", passed.id.to_string()),
        Variable::public("CI_JOB_URL", passed.url),
    ];
    all.extend(job_variables(job));
    all.extend(pipeline_variables(passed.pipeline));
    all.extend(job.variables.iter().map(yaml_variable));
    all.extend(user_variables(&passed.pipeline.user));
    for list in [passed.dotenv, passed.project, passed.run, passed.manual] {
        all.extend(list.iter().cloned());
    }
    web_address(&expand_existing(&Winners::new(&all), written))
}

/// The text, if it is an absolute address of the web.
pub fn web_address(text: &str) -> Option<String> {
    let text = text.trim();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fits = !host.is_empty()
        && text.chars().count() <= LONGEST
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    fits.then(|| text.to_owned())
}
