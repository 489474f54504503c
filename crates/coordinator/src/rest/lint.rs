//! Checks configurations with the compiler that makes pipelines, without making one.

use super::call::{Call, Done, Failure, Reply};
use crate::include_source::ServerIncludes;
use crate::make_pipeline::{project_facts, user_facts, waiting};
use crate::repository::Commit;
use harrier_pipeline::predefined::{CommitFacts, PipelineFacts, pipeline_variables, user_variables};
use harrier_pipeline::{Compiled, Context, RunKind, Severity, SourceFile, compile};
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
    check(&call, SourceFile { name: path, text }, git_ref, Some(commit)).await
}

pub(super) async fn of_text(call: Call) -> Done {
    let text = call.text("content").ok_or_else(|| Failure::Parameter("content is missing".to_owned()))?;
    let project = call.project()?;
    let git_ref = call.filled("ref").unwrap_or_else(|| project.default_branch.clone());
    let (repository, asked) = (call.app.repository(project.id), git_ref.clone());
    let found = waiting(move || repository.commit_with_files(&asked, &[])).await??;
    let root = SourceFile { name: project.ci_config_path().to_owned(), text };
    check(&call, root, git_ref, found.map(|(commit, _)| commit)).await
}

/// Of no project: there are no files beside it, and no variables but the instance's names of itself.
pub(super) async fn of_text_alone(call: Call) -> Done {
    let text = call.text("content").ok_or_else(|| Failure::Parameter("content is missing".to_owned()))?;
    let root = SourceFile { name: ".gitlab-ci.yml".to_owned(), text };
    let user = call.caller.user();
    let facts = PipelineFacts {
        server: call.app.server_facts(),
        user: user.map(user_facts).unwrap_or_default(),
        source: "push".to_owned(),
        config_path: root.name.clone(),
        ..PipelineFacts::default()
    };
    let run = RunKind { source: "push".to_owned(), git_ref: "main".to_owned(), ..RunKind::default() };
    let predefined = [pipeline_variables(&facts), user_variables(&facts.user)].concat();
    let context = Context { run, predefined, ..Context::default() };
    // There is no such project, so nothing is found beside the text.
    let tree = call.app.repository(0).tree("");
    let elsewhere = call.app.elsewhere(user.map(|user| user.id));
    let with_jobs = call.flag("include_jobs")? == Some(true);
    let answer = waiting(move || {
        let compiled = compile(root, &ServerIncludes::new(tree, elsewhere), &context);
        let mut value = answer(&compiled, false, with_jobs);
        value["status"] = json!(if value["valid"] == true { "valid" } else { "invalid" });
        value
    });
    Ok(Reply::Json(answer.await?))
}

/// Compiles, with the files and facts of the commit and the rights of the caller.
async fn check(call: &Call, root: SourceFile, git_ref: String, commit: Option<Commit>) -> Done {
    let project = call.project()?;
    let commit = commit.unwrap_or_default();
    let tree = call.app.repository(project.id).tree(&commit.sha);
    let protected = project.protects(&git_ref, false);
    let facts = PipelineFacts {
        server: call.app.server_facts(),
        project: project_facts(project),
        commit: CommitFacts {
            sha: commit.sha,
            git_ref: git_ref.clone(),
            protected,
            message: commit.message,
            author: commit.author,
            timestamp: commit.timestamp,
            ..CommitFacts::default()
        },
        user: call.caller.user().map(user_facts).unwrap_or_default(),
        source: "push".to_owned(),
        config_path: root.name.clone(),
        ..PipelineFacts::default()
    };
    let mut predefined = pipeline_variables(&facts);
    predefined.extend(user_variables(&facts.user));
    // The values of protected variables go to those alone who may use them.
    let protected_ref = protected && call.need_run(&git_ref, false).is_ok();
    let context = Context {
        run: RunKind {
            source: "push".to_owned(),
            git_ref,
            tag: false,
            project_path: project.path.clone(),
            ..RunKind::default()
        },
        predefined,
        project: call.app.scoped_variables(project.id).await?,
        protected_ref,
        ..Context::default()
    };
    let elsewhere = call.app.elsewhere(call.actor().await.ok().map(|user| user.id));
    let with_jobs = call.flag("include_jobs")? == Some(true);
    let simulate = call.flag("dry_run")? == Some(true);
    let answer = waiting(move || {
        let compiled = compile(root, &ServerIncludes::new(tree, elsewhere), &context);
        answer(&compiled, simulate, with_jobs)
    });
    Ok(Reply::Json(answer.await?))
}

/// What is said of a compilation. `simulate`: as if it were to run.
fn answer(compiled: &Compiled, simulate: bool, with_jobs: bool) -> Value {
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
}
