//! From a claim to the payload that the runner gets (`runner-api.md` §4), made by the same code as local runs. Called by the job
//! request.

use crate::app::App;
use crate::make_pipeline::{MakeError, tree, waiting};
use crate::time_text::iso;
use harrier_api::{ArtifactsFile, Credentials, Dependency, GitInfo, JobInfo, JobPayload};
use harrier_base::{Secret, Variable};
use harrier_database::{Claim, DatabaseError, JobView, ProjectView, Reach, RunnerView};
use harrier_pipeline::JobId;
use harrier_pipeline::environment_url::{PassedJob, environment_url};
use harrier_pipeline::payload::{JobFacts, RunnerFacts, job_payload};
use sha2::{Digest, Sha256};

/// So many jobs of a project and more on runners of the instance are not told apart (§4.2).
const MANY: usize = 5;

impl App {
    /// The payload of a claim. Its time limit is written to the store.
    pub async fn payload(&self, claim: Claim) -> Result<JobPayload, MakeError> {
        let project = self.store.project(claim.job.project).await?;
        let environment = claim.job.environment.as_deref();
        let variables = self.store.variables_for(project.id, claim.job.protected, environment).await?;
        let environment_id = match environment {
            Some(name) => self.store.environment_named(project.id, name).await?,
            None => None,
        };
        let elsewhere = self.needed_elsewhere(&claim.job, &claim.config, &claim.token).await?;
        let id_tokens = self.id_tokens(&claim, &project).await?;
        let credentials = self.registry_credentials();
        let repository = self.repository(project.id);
        repository.keep_for_pipeline(claim.pipeline.id, &claim.pipeline.sha)?;
        let git = git_info(self, &project, &claim);
        let tree = tree(self, project.id, &claim.pipeline.sha);
        let base = format!("{}/{}", self.settings.external_url, project.path);
        let now = self.now();
        let id = claim.job.id;
        let instance = self.instance.clone();
        let payload = waiting(move || {
            let mut facts = claim.pipeline.facts.clone();
            facts.id = claim.pipeline.id;
            facts.created_at = iso(claim.pipeline.created_at);
            let mut job = claim.config.job(JobId(claim.job.position)).clone();
            if let (Some(environment), Some(name)) = (&mut job.environment, &claim.job.environment) {
                environment.name.clone_from(name);
            }
            let waited = claim.job.queued_at.map_or(0, |at| now.saturating_sub(at));
            let shared = claim.runner.offer.reach == Reach::Instance;
            let info = JobInfo {
                pipeline_id: claim.pipeline.id,
                project_id: project.id,
                project_name: project.name.clone(),
                project_full_path: project.path.clone(),
                namespace_id: project.namespace,
                root_namespace_id: project.namespace,
                organization_id: 1,
                instance_id: instance.clone(),
                instance_uuid: instance,
                user_id: claim.pipeline.user.unwrap_or_default(),
                #[expect(clippy::cast_precision_loss, reason = "seconds, not counted to the last digit")]
                time_in_queue_seconds: waited as f64 / 1000.0,
                project_jobs_running_on_instance_runners_count: match claim.on_instance_runners {
                    _ if !shared => "+Inf".to_owned(),
                    few if few < MANY => few.to_string(),
                    _ => format!("{MANY}+"),
                },
                queue_size: i64::try_from(claim.queue).unwrap_or(i64::MAX),
                queue_depth: i64::try_from(claim.queue).unwrap_or(i64::MAX),
                ..JobInfo::default()
            };
            let token = claim.token.clone();
            let own = claim.sources.into_iter().map(|source| Dependency {
                id: source.job,
                token: token.clone(),
                name: source.name,
                artifacts_file: source.archive.map(|(filename, size)| ArtifactsFile { filename, size }),
            });
            let dependencies = own.chain(elsewhere.dependencies).collect();
            let mut dotenv = claim.dotenv;
            dotenv.extend(elsewhere.dotenv);
            job_payload(
                &job,
                JobFacts {
                    id: claim.job.id,
                    token: claim.token,
                    url: format!("{base}/-/jobs/{}", claim.job.id),
                    pipeline_url: format!("{base}/-/pipelines/{}", claim.pipeline.id),
                    started_at: iso(now),
                    played: claim.job.when == "manual",
                    pipeline: &facts,
                    info,
                    git,
                    allow_git_fetch: project.settings.git_fetch,
                    default_timeout: project.settings.build_timeout,
                    max_timeout: claim.runner.maximum_timeout.unwrap_or_default(),
                    runner: Some(RunnerFacts {
                        id: claim.runner.id,
                        description: claim.runner.description.clone(),
                        tags: claim.runner.offer.tags.clone(),
                        uuid: uuid_of(&claim.runner),
                    }),
                    dotenv: dotenv
                        .into_iter()
                        .map(|(key, value)| Variable::public(key, value).raw())
                        .collect(),
                    id_tokens: &id_tokens,
                    inputs: &[],
                    project: &variables,
                    run: &claim.run,
                    manual: &claim.manual,
                    dependencies,
                    credentials,
                    tree: &tree,
                    separate_caches: project.settings.separate_caches,
                    cache_generation: u64::try_from(project.cache_generation).unwrap_or_default(),
                    environment_id,
                },
            )
        })
        .await?;
        self.store.set_timeout(id, payload.runner_info.timeout).await?;
        Ok(payload)
    }
}

impl App {
    /// A job is about to pass: where its environment is to be seen then, with what its own script has left.
    pub async fn keep_environment_url(&self, job: &JobView) -> Result<(), DatabaseError> {
        let Some(name) = &job.environment else { return Ok(()) };
        let deploying = self.store.deploying_job(job).await?;
        let mut compiled = deploying.config.job(JobId(job.position)).clone();
        if let Some(environment) = &mut compiled.environment {
            environment.name.clone_from(name);
        }
        let project = self.store.project(job.project).await?;
        let variables = self.store.variables_for(project.id, job.protected, Some(name)).await?;
        let mut facts = deploying.pipeline.facts.clone();
        facts.id = deploying.pipeline.id;
        let base = format!("{}/{}/-", self.settings.external_url, project.path);
        let dotenv = deploying.dotenv.into_iter().map(|(key, value)| Variable::public(key, value).raw());
        let passed = PassedJob {
            id: job.id,
            url: &format!("{base}/jobs/{}", job.id),
            pipeline: &facts,
            pipeline_url: &format!("{base}/pipelines/{}", facts.id),
            dotenv: &dotenv.collect::<Vec<_>>(),
            project: &variables,
            run: &deploying.run,
            manual: &deploying.manual,
        };
        match environment_url(&compiled, &passed) {
            Some(url) => self.store.set_deployment_url(job.id, url).await,
            None => Ok(()),
        }
    }
}

impl App {
    /// §4.10: the log-in of the server's registry.
    fn registry_credentials(&self) -> Vec<Credentials> {
        let login =
            self.settings.registry.as_ref().and_then(|registry| Some((registry, registry.login.as_ref()?)));
        let entry = login.map(|(registry, login)| Credentials {
            kind: "registry".to_owned(),
            url: registry.host.clone(),
            username: login.user.clone(),
            password: login.password.clone(),
        });
        entry.into_iter().collect()
    }
}

/// §4.3. A ref that has gone since is left out: a missing ref makes the whole fetch fail.
fn git_info(app: &App, project: &ProjectView, claim: &Claim) -> GitInfo {
    let pipeline = &claim.pipeline;
    let own = format!("refs/pipelines/{}", pipeline.id);
    let mut refspecs = vec![format!("+{own}:{own}")];
    let depth = project.settings.git_depth;
    if depth == 0 {
        refspecs.push("+refs/heads/*:refs/remotes/origin/*".to_owned());
        refspecs.push("+refs/tags/*:refs/tags/*".to_owned());
    } else {
        let (from, to) = match pipeline.tag {
            true => (format!("refs/tags/{}", pipeline.git_ref), format!("refs/tags/{}", pipeline.git_ref)),
            false => (
                format!("refs/heads/{}", pipeline.git_ref),
                format!("refs/remotes/origin/{}", pipeline.git_ref),
            ),
        };
        if app.repository(project.id).has_ref(&from) {
            refspecs.push(format!("+{from}:{to}"));
        }
    }
    GitInfo {
        repo_url: Secret::new(clone_url(&app.settings.external_url, &project.path, claim.token.expose())),
        git_ref: pipeline.git_ref.clone(),
        sha: pipeline.sha.clone(),
        before_sha: match pipeline.before_sha.as_str() {
            "" => "0".repeat(40),
            before => before.to_owned(),
        },
        ref_type: if pipeline.tag { "tag" } else { "branch" }.to_owned(),
        refspecs,
        depth,
        repo_object_format: if pipeline.sha.len() == 64 { "sha256" } else { "sha1" }.to_owned(),
        protected: Some(pipeline.protected),
    }
}

/// §4.4: the same for as long as the runner is registered, whatever its token is, and another one on other servers.
fn uuid_of(runner: &RunnerView) -> String {
    let made = format!("runner {} of {}", runner.id, runner.created_at);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(made)[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// `https://gitlab-ci-token:<token>@host/group/name.git` (§10).
fn clone_url(external: &str, path: &str, token: &str) -> String {
    let (scheme, rest) = external.split_once("://").unwrap_or(("http", external));
    format!("{scheme}://gitlab-ci-token:{token}@{rest}/{path}.git")
}

#[cfg(test)]
mod tests {
    use super::clone_url;

    #[test]
    fn clone_urls_have_the_token() {
        assert_eq!(
            clone_url("https://ci.example:8443/sub", "g/p", "T"),
            "https://gitlab-ci-token:T@ci.example:8443/sub/g/p.git"
        );
    }
}
