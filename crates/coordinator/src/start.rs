//! Starts pipelines for what people, scripts and schedules ask: a ref by name, with variables. Called by the pages, the API and
//! the timetable; pushes have their own way (`pushes.rs`).

use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::make_pipeline::{Made, MakeError, Start, waiting};
use axum::http::StatusCode;
use harrier_base::Variable;
use harrier_database::{AccessLevel, PipelineView, ProjectView, UserView};
use serde_json::json;

/// A pipeline that somebody asks for.
pub struct StartRequest {
    /// Branch or tag; `refs/heads/…` and `refs/tags/…` say which.
    pub git_ref: String,
    /// Variables of the run.
    pub variables: Vec<Variable>,
    /// `web`, `api`, `trigger`, `schedule`.
    pub source: &'static str,
    /// Whose rights it has.
    pub user: UserView,
    /// What they are in the project.
    pub level: Option<AccessLevel>,
}

/// Makes the pipeline; says in GitLab's words why there is none.
pub async fn start(app: &App, project: &ProjectView, request: StartRequest) -> Answer<PipelineView> {
    let (git_ref, tag, sha) = find(app, project, &request.git_ref).await?;
    if !request.level.is_some_and(|level| project.may_run(&git_ref, tag, level)) {
        return Err(base("You do not have sufficient permission to run a pipeline on this ref"));
    }
    let begun = Start {
        source: request.source.to_owned(),
        git_ref,
        tag,
        sha,
        before: None,
        user: Some(request.user),
        variables: request.variables,
        ..Start::default()
    };
    match app.make_pipeline(project, begun).await? {
        Made::Pipeline(made) => Ok(*made),
        Made::None(why) => Err(base(&why.message())),
    }
}

/// Whether a member of a level may stop and repeat a pipeline. What ran with protected variables stays for maintainers when its ref
/// is protected no more.
pub(crate) fn may_run(project: &ProjectView, of: &PipelineView, level: AccessLevel) -> bool {
    let now = project.may_run(&of.git_ref, of.tag, level);
    now && (level >= AccessLevel::Maintainer || !of.protected || project.protects(&of.git_ref, of.tag))
}

/// The ref as it is called, whether it is a tag, and its commit.
async fn find(app: &App, project: &ProjectView, name: &str) -> Answer<(String, bool, String)> {
    let repository = app.repository(project.id);
    let refs = waiting(move || repository.refs()).await?.map_err(MakeError::from)?;
    let at = |full: &str| refs.iter().find(|(found, _)| found == full).map(|(_, sha)| sha.clone());
    for (prefix, tag) in [("refs/heads/", false), ("refs/tags/", true)] {
        let short = name.strip_prefix(prefix).unwrap_or(name);
        let full = if name.starts_with("refs/") { name.to_owned() } else { format!("{prefix}{name}") };
        if let Some(sha) = at(&full).filter(|_| full.starts_with(prefix)) {
            return Ok((short.to_owned(), tag, sha));
        }
    }
    Err(base("Reference not found"))
}

/// `{"message": {"base": ["…"]}}`, as GitLab answers here.
fn base(text: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, message: json!({ "base": [text] }), headers: Vec::new() }
}
