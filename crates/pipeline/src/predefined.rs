//! The predefined variables (`ci-yaml.md` §30), from facts that a host gathered. The local host asks git, the
//! coordinator its database; nothing is looked up here.

use crate::keywords::environment::{environment_slug, environment_tier};
use crate::pipeline::Job;
use harrier_base::Variable;

/// Facts of a pipeline that exist before its jobs.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PipelineFacts {
    /// The server.
    pub server: ServerFacts,
    /// The project.
    pub project: ProjectFacts,
    /// The commit and the ref.
    pub commit: CommitFacts,
    /// Who started it.
    pub user: UserFacts,
    /// `CI_PIPELINE_SOURCE`
    pub source: String,
    /// `CI_PIPELINE_ID`
    pub id: i64,
    /// `CI_PIPELINE_IID`
    pub iid: i64,
    /// `CI_PIPELINE_CREATED_AT`, ISO 8601.
    pub created_at: String,
    /// `CI_CONFIG_PATH`
    pub config_path: String,
    /// `workflow:name`, once it is known.
    pub name: Option<String>,
    /// Of a pipeline that a bridge has made.
    pub upstream: Option<UpstreamFacts>,
    /// Of a merge request's pipeline, and of its children.
    pub merge_request: Option<MergeRequestFacts>,
    /// Open merge requests of the branch, as `group/project!iid` (`CI_OPEN_MERGE_REQUESTS`).
    pub open_merge_requests: Vec<String>,
}

impl PipelineFacts {
    /// What the pipeline runs for, as lists of pipelines name it: the branch or tag, or the merge request's own ref.
    pub fn pipeline_ref(&self) -> String {
        match &self.merge_request {
            Some(request) => request.ref_path(),
            None => self.commit.git_ref.clone(),
        }
    }
}

/// The merge request that a pipeline is for (`CI_MERGE_REQUEST_*`, §30.5). Its source branch is the ref of the commit, both its
/// branches are of the pipeline's project.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct MergeRequestFacts {
    /// Number.
    pub id: i64,
    /// Number within the project.
    pub iid: i64,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Labels.
    pub labels: Vec<String>,
    /// It is not ready.
    pub draft: bool,
    /// The source branch is protected.
    pub source_protected: bool,
    /// Target branch.
    pub target_branch: String,
    /// The target branch is protected.
    pub target_protected: bool,
    /// How often its source branch has moved.
    pub version: i64,
    /// The commit at which the branches parted; empty: there is none.
    pub base_sha: String,
}

impl MergeRequestFacts {
    /// `refs/merge-requests/IID/head`.
    pub fn ref_path(&self) -> String {
        format!("refs/merge-requests/{}/head", self.iid)
    }
}

/// Who made a downstream pipeline (`CI_UPSTREAM_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct UpstreamFacts {
    /// The bridge's pipeline.
    pub pipeline_id: i64,
    /// The bridge.
    pub job_id: i64,
    /// The bridge's project.
    pub project_id: i64,
}

/// The server a pipeline runs on; a local run invents one.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ServerFacts {
    /// `https://host:port/path`, without a slash at the end.
    pub url: String,
    /// Product name.
    pub name: String,
    /// `18.5.0`
    pub version: String,
    /// Commit of the product.
    pub revision: String,
    /// Container registry, `host:port`.
    pub registry: Option<String>,
}

/// The project.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ProjectFacts {
    /// Number.
    pub id: i64,
    /// `group/subgroup/name`
    pub path: String,
    /// Display name.
    pub title: String,
    /// Description.
    pub description: String,
    /// Number of the namespace.
    pub namespace_id: i64,
    /// `public`, `internal`, `private`.
    pub visibility: String,
    /// Default branch.
    pub default_branch: String,
    /// Topics.
    pub topics: Vec<String>,
}

/// The commit and the ref.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct CommitFacts {
    /// Full hash.
    pub sha: String,
    /// Hash before the push; empty means none.
    pub before_sha: String,
    /// Branch or tag name.
    pub git_ref: String,
    /// The ref is a tag, with this message.
    pub tag_message: Option<String>,
    /// The ref is protected.
    pub protected: bool,
    /// Whole message.
    pub message: String,
    /// `Name <email>`
    pub author: String,
    /// ISO 8601.
    pub timestamp: String,
}

/// Who started a pipeline.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct UserFacts {
    /// Number.
    pub id: i64,
    /// Login.
    pub login: String,
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
}

/// A text as GitLab makes slugs of refs, paths and job names: lower case, anything but letters and digits becomes
/// `-`, at most 63 characters, no `-` at either end.
pub fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let mapped: String = lower
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(63)
        .collect();
    mapped.trim_matches('-').to_owned()
}

/// Message bytes that are kept (§30.2).
const MAX_MESSAGE: usize = 100 * 1024;

/// The variables that exist before any job, for [`crate::Context::predefined`].
pub fn pipeline_variables(facts: &PipelineFacts) -> Vec<Variable> {
    let mut out = Out(Vec::with_capacity(80));
    out.put("CI", "true");
    out.put("GITLAB_CI", "true");
    server(&mut out, &facts.server);
    project(&mut out, facts);
    commit(&mut out, facts);
    if let Some(request) = &facts.merge_request {
        merge_request(&mut out, facts, request);
    }
    if !facts.open_merge_requests.is_empty() {
        let shown: Vec<&str> = facts.open_merge_requests.iter().take(4).map(String::as_str).collect();
        out.put("CI_OPEN_MERGE_REQUESTS", shown.join(","));
    }
    out.put("CI_PIPELINE_IID", facts.iid.to_string());
    out.put("CI_PIPELINE_SOURCE", &facts.source);
    if let Some(name) = &facts.name {
        out.put("CI_PIPELINE_NAME", name);
    }
    out.put("CI_CONFIG_PATH", &facts.config_path);
    if let Some(upstream) = &facts.upstream {
        out.put("CI_UPSTREAM_PIPELINE_ID", upstream.pipeline_id.to_string());
        out.put("CI_UPSTREAM_JOB_ID", upstream.job_id.to_string());
        out.put("CI_UPSTREAM_PROJECT_ID", upstream.project_id.to_string());
    }
    out.0
}

struct Out(Vec<Variable>);

impl Out {
    fn put(&mut self, key: &str, value: impl Into<String>) {
        // A predefined value is text, whatever a commit message may look like.
        self.0.push(Variable::public(key, value));
    }
}

fn server(out: &mut Out, server: &ServerFacts) {
    let (protocol, rest) = server.url.split_once("://").unwrap_or(("https", &server.url));
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => (host, port),
        _ => (authority, if protocol == "http" { "80" } else { "443" }),
    };
    out.put("CI_SERVER_FQDN", authority);
    out.put("CI_SERVER_HOST", host);
    out.put("CI_SERVER_PORT", port);
    out.put("CI_SERVER_PROTOCOL", protocol);
    out.put("CI_SERVER_URL", &server.url);
    out.put("CI_SERVER_SHELL_SSH_HOST", host);
    out.put("CI_SERVER_SHELL_SSH_PORT", "22");
    out.put("CI_SERVER_NAME", &server.name);
    out.put("CI_SERVER_VERSION", &server.version);
    let mut parts = server.version.split(['.', '-']);
    for key in ["CI_SERVER_VERSION_MAJOR", "CI_SERVER_VERSION_MINOR", "CI_SERVER_VERSION_PATCH"] {
        out.put(key, parts.next().unwrap_or("0"));
    }
    out.put("CI_SERVER_REVISION", &server.revision);
    out.put("CI_API_V4_URL", format!("{}/api/v4", server.url));
    out.put("CI_API_GRAPHQL_URL", format!("{}/api/graphql", server.url));
    out.put("CI_TEMPLATE_REGISTRY_HOST", "registry.gitlab.com");
    out.put("GITLAB_FEATURES", "");
}

fn project(out: &mut Out, facts: &PipelineFacts) {
    let project = &facts.project;
    let (namespace, name) = project.path.rsplit_once('/').unwrap_or(("", &project.path));
    out.put("CI_PROJECT_ID", project.id.to_string());
    out.put("CI_PROJECT_NAME", name);
    out.put("CI_PROJECT_TITLE", &project.title);
    out.put("CI_PROJECT_DESCRIPTION", &project.description);
    out.put("CI_PROJECT_PATH", &project.path);
    out.put("CI_PROJECT_PATH_SLUG", slug(&project.path));
    out.put("CI_PROJECT_NAMESPACE", namespace);
    out.put("CI_PROJECT_NAMESPACE_SLUG", slug(namespace));
    out.put("CI_PROJECT_NAMESPACE_ID", project.namespace_id.to_string());
    out.put("CI_PROJECT_ROOT_NAMESPACE", namespace.split('/').next().unwrap_or_default());
    out.put("CI_PROJECT_URL", format!("{}/{}", facts.server.url, project.path));
    out.put("CI_PROJECT_VISIBILITY", &project.visibility);
    out.put("CI_PROJECT_TOPICS", project.topics.iter().take(20).cloned().collect::<Vec<_>>().join(","));
    out.put("CI_PROJECT_REPOSITORY_LANGUAGES", "");
    out.put("CI_PROJECT_CLASSIFICATION_LABEL", "");
    out.put("CI_DEFAULT_BRANCH", &project.default_branch);
    out.put("CI_DEFAULT_BRANCH_SLUG", slug(&project.default_branch));
    if let Some(registry) = &facts.server.registry {
        out.put("CI_REGISTRY", registry);
        out.put("CI_REGISTRY_IMAGE", format!("{registry}/{}", project.path.to_lowercase()));
    }
}

fn commit(out: &mut Out, facts: &PipelineFacts) {
    let commit = &facts.commit;
    let short: String = commit.sha.chars().take(8).collect();
    out.put("CI_COMMIT_SHA", &commit.sha);
    out.put("CI_COMMIT_SHORT_SHA", short);
    let none = "0".repeat(40);
    out.put(
        "CI_COMMIT_BEFORE_SHA",
        if commit.before_sha.is_empty() { none.as_str() } else { &commit.before_sha },
    );
    out.put("CI_COMMIT_REF_NAME", &commit.git_ref);
    out.put("CI_COMMIT_REF_SLUG", slug(&commit.git_ref));
    match &commit.tag_message {
        Some(message) => {
            out.put("CI_COMMIT_TAG", &commit.git_ref);
            out.put("CI_COMMIT_TAG_MESSAGE", message);
        }
        None if facts.merge_request.is_some() => {}
        None => out.put("CI_COMMIT_BRANCH", &commit.git_ref),
    }
    out.put("CI_COMMIT_REF_PROTECTED", commit.protected.to_string());
    let mut message = commit.message.trim_end();
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message = &message[..end];
        out.put("CI_COMMIT_MESSAGE_IS_TRUNCATED", "true");
    }
    out.put("CI_COMMIT_MESSAGE", message);
    let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
    let long = first.chars().count() >= 100;
    out.put("CI_COMMIT_TITLE", first.chars().take(100).collect::<String>());
    out.put("CI_COMMIT_DESCRIPTION", if long { message } else { rest.trim_start_matches('\n') });
    out.put("CI_COMMIT_AUTHOR", &commit.author);
    out.put("CI_COMMIT_TIMESTAMP", &commit.timestamp);
}

/// Characters of a merge request's description that are kept (§30.5).
const MAX_DESCRIPTION: usize = 2700;

fn merge_request(out: &mut Out, facts: &PipelineFacts, request: &MergeRequestFacts) {
    let url = format!("{}/{}", facts.server.url, facts.project.path);
    out.put("CI_MERGE_REQUEST_ID", request.id.to_string());
    out.put("CI_MERGE_REQUEST_IID", request.iid.to_string());
    out.put("CI_MERGE_REQUEST_REF_PATH", request.ref_path());
    for side in ["", "SOURCE_"] {
        out.put(&format!("CI_MERGE_REQUEST_{side}PROJECT_ID"), facts.project.id.to_string());
        out.put(&format!("CI_MERGE_REQUEST_{side}PROJECT_PATH"), &facts.project.path);
        out.put(&format!("CI_MERGE_REQUEST_{side}PROJECT_URL"), &url);
    }
    out.put("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", &facts.commit.git_ref);
    out.put("CI_MERGE_REQUEST_SOURCE_BRANCH_PROTECTED", request.source_protected.to_string());
    out.put("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", &request.target_branch);
    out.put("CI_MERGE_REQUEST_TARGET_BRANCH_PROTECTED", request.target_protected.to_string());
    // Those of pipelines of merged results only.
    out.put("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "");
    out.put("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", "");
    out.put("CI_MERGE_REQUEST_TITLE", &request.title);
    let long = request.description.chars().count() > MAX_DESCRIPTION;
    out.put(
        "CI_MERGE_REQUEST_DESCRIPTION",
        request.description.chars().take(MAX_DESCRIPTION).collect::<String>(),
    );
    out.put("CI_MERGE_REQUEST_DESCRIPTION_IS_TRUNCATED", long.to_string());
    out.put("CI_MERGE_REQUEST_DRAFT", request.draft.to_string());
    if !request.labels.is_empty() {
        out.put("CI_MERGE_REQUEST_LABELS", request.labels.join(","));
    }
    out.put("CI_MERGE_REQUEST_EVENT_TYPE", "detached");
    out.put("CI_MERGE_REQUEST_DIFF_ID", request.version.to_string());
    out.put("CI_MERGE_REQUEST_DIFF_BASE_SHA", &request.base_sha);
    out.put("CI_MERGE_REQUEST_SQUASH_ON_MERGE", "false");
}

/// `GITLAB_USER_*`, which come behind the YAML variables (`runner-api.md` §16.4).
pub fn user_variables(user: &UserFacts) -> Vec<Variable> {
    let mut out = Out(Vec::with_capacity(4));
    out.put("GITLAB_USER_ID", user.id.to_string());
    out.put("GITLAB_USER_EMAIL", &user.email);
    out.put("GITLAB_USER_LOGIN", &user.login);
    out.put("GITLAB_USER_NAME", &user.name);
    out.0
}

/// `CI_JOB_NAME`, `CI_NODE_TOTAL`, `CI_ENVIRONMENT_NAME` and what else follows from the job itself.
pub fn job_variables(job: &Job) -> Vec<Variable> {
    let mut out = Out(Vec::with_capacity(12));
    out.put("CI_JOB_NAME", &job.name);
    out.put("CI_JOB_NAME_SLUG", slug(&job.name));
    out.put("CI_JOB_GROUP_NAME", &job.group);
    out.put("CI_JOB_STAGE", &job.stage);
    if let Some(instance) = &job.instance {
        out.put("CI_NODE_INDEX", instance.index.to_string());
    }
    out.put("CI_NODE_TOTAL", job.instance.as_ref().map_or(1, |i| i.total).to_string());
    if let Some(environment) = &job.environment {
        out.put("CI_ENVIRONMENT_NAME", &environment.name);
        out.put("CI_ENVIRONMENT_SLUG", environment_slug(&environment.name));
        out.put("CI_ENVIRONMENT_ACTION", environment.action.word());
        let tier = environment.deployment_tier.as_deref();
        out.put("CI_ENVIRONMENT_TIER", tier.unwrap_or_else(|| environment_tier(&environment.name)));
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_become_variables() {
        let facts = PipelineFacts {
            server: ServerFacts {
                url: "http://git.example:8080".into(),
                version: "18.5.1".into(),
                ..Default::default()
            },
            project: ProjectFacts { path: "group/sub/My.App".into(), ..Default::default() },
            commit: CommitFacts {
                sha: "0123456789abcdef".into(),
                git_ref: "Feature/X_1".into(),
                message: "Title\n\nBody\n".into(),
                ..Default::default()
            },
            source: "push".into(),
            ..Default::default()
        };
        let list = pipeline_variables(&facts);
        let value = |key: &str| list.iter().find(|v| v.key == key).map(|v| v.value.as_str());
        for (key, want) in [
            ("CI_SERVER_HOST", Some("git.example")),
            ("CI_SERVER_PORT", Some("8080")),
            ("CI_SERVER_FQDN", Some("git.example:8080")),
            ("CI_SERVER_VERSION_MINOR", Some("5")),
            ("CI_PROJECT_NAME", Some("My.App")),
            ("CI_PROJECT_NAMESPACE", Some("group/sub")),
            ("CI_PROJECT_ROOT_NAMESPACE", Some("group")),
            ("CI_PROJECT_PATH_SLUG", Some("group-sub-my-app")),
            ("CI_COMMIT_SHORT_SHA", Some("01234567")),
            ("CI_COMMIT_REF_SLUG", Some("feature-x-1")),
            ("CI_COMMIT_BRANCH", Some("Feature/X_1")),
            ("CI_COMMIT_TAG", None),
            ("CI_COMMIT_TITLE", Some("Title")),
            ("CI_COMMIT_DESCRIPTION", Some("Body")),
            ("CI_COMMIT_BEFORE_SHA", Some("0000000000000000000000000000000000000000")),
            ("CI_REGISTRY", None),
        ] {
            assert_eq!(value(key), want, "{key}");
        }
        assert_eq!(slug("--Ä b--"), "b");
    }

    #[test]
    fn a_merge_request_takes_the_place_of_its_branch() {
        let facts = PipelineFacts {
            commit: CommitFacts { git_ref: "topic".into(), ..CommitFacts::default() },
            project: ProjectFacts { path: "g/p".into(), ..ProjectFacts::default() },
            merge_request: Some(MergeRequestFacts {
                iid: 3,
                description: "d".repeat(3000),
                labels: vec!["a".into(), "b".into()],
                target_branch: "main".into(),
                ..MergeRequestFacts::default()
            }),
            open_merge_requests: (1..=5).map(|iid| format!("g/p!{iid}")).collect(),
            ..PipelineFacts::default()
        };
        let list = pipeline_variables(&facts);
        let value = |key: &str| list.iter().find(|v| v.key == key).map(|v| v.value.as_str());
        assert_eq!(facts.pipeline_ref(), "refs/merge-requests/3/head");
        for (key, want) in [
            ("CI_COMMIT_BRANCH", None),
            ("CI_COMMIT_REF_NAME", Some("topic")),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", Some("topic")),
            ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", Some("main")),
            ("CI_MERGE_REQUEST_LABELS", Some("a,b")),
            ("CI_MERGE_REQUEST_DESCRIPTION_IS_TRUNCATED", Some("true")),
            ("CI_MERGE_REQUEST_EVENT_TYPE", Some("detached")),
            ("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", Some("g/p")),
            ("CI_OPEN_MERGE_REQUESTS", Some("g/p!1,g/p!2,g/p!3,g/p!4")),
        ] {
            assert_eq!(value(key), want, "{key}");
        }
        assert_eq!(value("CI_MERGE_REQUEST_DESCRIPTION").map(str::len), Some(2700));
    }
}
