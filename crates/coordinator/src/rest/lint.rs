//! Checks configurations with the compiler that makes pipelines, without making one.

use super::call::{Call, Done, Failure, Reply};
use crate::make_pipeline::waiting;
use harrier_pipeline::{Context, RunKind, Severity, SourceFile, compile};
use serde_json::{Value, json};

pub(super) async fn of_commit(call: Call) -> Done {
    let project = call.project()?;
    let name = ["content_ref", "sha", "ref"].iter().find_map(|name| call.filled(name));
    let name = name.unwrap_or_else(|| project.default_branch.clone());
    let path = project.ci_config_path().to_owned();
    let repository = call.app.repository(project.id);
    let (asked, file) = (name.clone(), path.clone());
    let found = waiting(move || repository.commit_with_files(&asked, &[&file])).await??;
    let (commit, files) = found.ok_or_else(|| Failure::not_found("commit"))?;
    let Some(text) = files.into_iter().next().flatten() else {
        return Ok(Reply::Json(json!({
            "valid": false,
            "errors": ["Please provide content of .gitlab-ci.yml"],
            "warnings": [],
            "merged_yaml": null,
            "includes": [],
        })));
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let git_ref = call.filled("dry_run_ref").unwrap_or(name);
    check(&call, SourceFile { name: path, text }, git_ref, Some(commit.sha)).await
}

pub(super) async fn of_text(call: Call) -> Done {
    let text = call.text("content").ok_or_else(|| Failure::Parameter("content is missing".to_owned()))?;
    let project = call.project()?;
    let git_ref = call.filled("ref").unwrap_or_else(|| project.default_branch.clone());
    let (repository, asked) = (call.app.repository(project.id), git_ref.clone());
    let found = waiting(move || repository.commit_with_files(&asked, &[])).await??;
    let root = SourceFile { name: project.ci_config_path().to_owned(), text };
    check(&call, root, git_ref, found.map(|(commit, _)| commit.sha)).await
}

/// Compiles; files that the configuration includes are those of the commit.
async fn check(call: &Call, root: SourceFile, git_ref: String, sha: Option<String>) -> Done {
    let project = call.project()?;
    let tree = call.app.repository(project.id).tree(sha.as_deref().unwrap_or(&git_ref));
    let protected_ref = project.protects(&git_ref, false);
    let context = Context {
        run: RunKind { source: "push".to_owned(), git_ref, tag: false, project_path: project.path.clone() },
        project: call.app.scoped_variables(project.id).await?,
        protected_ref,
        ..Context::default()
    };
    let with_jobs = call.flag("include_jobs")? == Some(true);
    let simulate = call.flag("dry_run")? == Some(true);
    let answer = waiting(move || -> Value {
        let compiled = compile(root, &tree, &context);
        let said = |severity: Severity| -> Vec<String> {
            let fitting = compiled.diagnostics.iter().filter(|one| one.severity == severity);
            let text = fitting.map(|one| match &one.job {
                Some(job) if !one.message.contains(job.as_str()) => format!("{job}: {}", one.message),
                _ => one.message.clone(),
            });
            text.collect()
        };
        let mut errors = said(Severity::Error);
        if simulate && errors.is_empty() && compiled.filtered.is_some() {
            // Only a simulation asks whether there would be a pipeline.
            errors.push("Pipeline will not run for the selected trigger. The rules configuration prevented any jobs from being added to the pipeline.".to_owned());
        }
        let mut value = json!({
            "valid": errors.is_empty(),
            "errors": errors,
            "warnings": said(Severity::Warning),
            "merged_yaml": compiled.written.merged_yaml(),
            "includes": [],
        });
        if with_jobs {
            let jobs = compiled.pipeline.iter().flat_map(|pipeline| &pipeline.jobs).map(|job| {
                json!({
                    "name": job.name,
                    "stage": job.stage,
                    "when": job.when.word(),
                    "allow_failure": job.allow_failure == harrier_pipeline::AllowFailure::Yes,
                })
            });
            value["jobs"] = jobs.collect();
        }
        value
    })
    .await?;
    Ok(Reply::Json(answer))
}
