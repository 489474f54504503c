//! Branches, tags and commits of a project's repository, read.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use crate::make_pipeline::waiting;
use crate::repository::{Commit, Repository};
use harrier_database::Page;
use serde_json::{Value, json};

fn commit_json(call: &Call, one: &Commit) -> Value {
    let parents: Vec<String> = one.parent.iter().cloned().collect();
    let mut value = entities::commit(&one.sha, &one.message, &one.author, &one.timestamp, &parents);
    let path = call.project.as_ref().map_or("", |(project, _)| &project.path);
    value["web_url"] = format!("{}/{path}/-/commit/{}", call.app.settings.external_url, one.sha).into();
    value
}

async fn read<T: Send + 'static>(
    call: &Call,
    work: impl FnOnce(Repository) -> Result<T, crate::GitError> + Send + 'static,
) -> Result<T, Failure> {
    let repository = call.app.repository(call.project()?.id);
    Ok(waiting(move || work(repository)).await??)
}

/// Names and commits of refs below a prefix, narrowed and on one page.
async fn refs(
    call: &Call,
    prefix: &'static str,
    only: Option<String>,
) -> Result<Page<(String, Commit)>, Failure> {
    let search = call.filled("search").map(|text| text.to_lowercase());
    let at = call.page()?;
    read(call, move |repository| {
        let mut found: Vec<(String, String)> = repository
            .refs()?
            .into_iter()
            .filter_map(|(name, sha)| Some((name.strip_prefix(prefix)?.to_owned(), sha)))
            .collect();
        found.retain(|(name, _)| {
            only.as_ref().is_none_or(|only| name == only)
                && search.as_ref().is_none_or(|text| name.to_lowercase().contains(text))
        });
        let total = found.len();
        let skip = (at.number - 1).saturating_mul(at.size);
        let mut entries = Vec::new();
        for (name, sha) in found.into_iter().skip(skip).take(at.size) {
            if let Some((commit, _)) = repository.commit_with_files(&sha, &[])? {
                entries.push((name, commit));
            }
        }
        Ok(Page { entries, total })
    })
    .await
}

fn branch_json(call: &Call, name: &str, commit: &Commit) -> Value {
    let (protected, default) = match &call.project {
        Some((project, _)) => (project.protects(name, false), project.default_branch == name),
        None => (false, false),
    };
    json!({
        "name": name,
        "merged": false,
        "protected": protected,
        "default": default,
        "developers_can_push": false,
        "developers_can_merge": false,
        "can_push": call.need_run(protected).is_ok(),
        "commit": commit_json(call, commit),
    })
}

fn tag_json(call: &Call, name: &str, commit: &Commit) -> Value {
    let protected = call.project.as_ref().is_some_and(|(project, _)| project.protects(name, true));
    json!({
        "name": name,
        "target": commit.sha,
        "protected": protected,
        "release": null,
        "commit": commit_json(call, commit),
    })
}

pub(super) async fn branches(call: Call) -> Done {
    let found = refs(&call, "refs/heads/", None).await?;
    let entries = found.entries.iter().map(|(name, commit)| branch_json(&call, name, commit)).collect();
    Ok(Reply::List(Page { entries, total: found.total }))
}

pub(super) async fn branch(call: Call) -> Done {
    let found = refs(&call, "refs/heads/", Some(call.part("branch").to_owned())).await?;
    let (name, commit) = found.entries.first().ok_or_else(|| Failure::not_found("branch"))?;
    Ok(Reply::Json(branch_json(&call, name, commit)))
}

pub(super) async fn tags(call: Call) -> Done {
    let found = refs(&call, "refs/tags/", None).await?;
    let entries = found.entries.iter().map(|(name, commit)| tag_json(&call, name, commit)).collect();
    Ok(Reply::List(Page { entries, total: found.total }))
}

pub(super) async fn tag(call: Call) -> Done {
    let found = refs(&call, "refs/tags/", Some(call.part("tag_name").to_owned())).await?;
    let (name, commit) = found.entries.first().ok_or_else(|| Failure::not_found("tag"))?;
    let name_of = name.clone();
    let message = read(&call, move |repository| repository.tag_message(&name_of)).await?;
    let mut value = tag_json(&call, name, commit);
    value["message"] = message.into();
    Ok(Reply::Json(value))
}

pub(super) async fn commits(call: Call) -> Done {
    let project = call.project()?;
    let name = call.filled("ref_name").unwrap_or_else(|| project.default_branch.clone());
    let (path, at) = (call.filled("path"), call.page()?);
    let skip = (at.number - 1).saturating_mul(at.size);
    let found = read(&call, move |repository| repository.log(&name, path.as_deref(), skip, at.size)).await?;
    let (commits, total) = found.ok_or_else(|| Failure::not_found("commit"))?;
    let entries = commits.iter().map(|one| commit_json(&call, one)).collect();
    Ok(Reply::List(Page { entries, total }))
}

pub(super) async fn commit(call: Call) -> Done {
    let name = call.part("sha").to_owned();
    let found = read(&call, move |repository| repository.commit_with_files(&name, &[])).await?;
    let (one, _) = found.ok_or_else(|| Failure::not_found("commit"))?;
    Ok(Reply::Json(commit_json(&call, &one)))
}
