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
    let merge_request = facts.source == "merge_request_event";
    match &commit.tag_message {
        Some(message) => {
            out.put("CI_COMMIT_TAG", &commit.git_ref);
            out.put("CI_COMMIT_TAG_MESSAGE", message);
        }
        None if merge_request => {}
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
}
