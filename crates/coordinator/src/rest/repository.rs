//! Branches, tags and commits of a project's repository: read, made, removed. A ref that the API makes has its pipeline like one that
//! was pushed.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use crate::answer::Refusal;
use crate::browse::{FileChange, LogFilter};
use crate::git_http::{Push, RefChange};
use crate::make_pipeline::waiting;
use crate::repository::{Commit, Repository};
use crate::time_text::iso;
use axum::http::StatusCode;
use harrier_database::{AccessLevel, Page, PageAt, PipelineFilter, ProjectView};
use serde_json::{Value, json};

fn commit_json(call: &Call, one: &Commit) -> Value {
    let parents: Vec<String> = one.parent.iter().cloned().collect();
    let mut value = entities::commit(&one.sha, &one.message, &one.author, &one.timestamp, &parents);
    let path = call.project.as_ref().map_or("", |(project, _)| &project.path);
    value["web_url"] = format!("{}/{path}/-/commit/{}", call.app.settings.external_url, one.sha).into();
    value
}

pub(super) async fn read<T: Send + 'static>(
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
    let descending = prefix == "refs/tags/" && call.word("sort", &["asc", "desc"])? != Some("asc");
    let at = call.page()?;
    // `^x` is a beginning and `x$` an end.
    let fits = move |name: &str| {
        let (name, Some(search)) = (name.to_lowercase(), &search) else { return true };
        match (search.strip_prefix('^'), search.strip_suffix('$')) {
            (Some(rest), _) => match rest.strip_suffix('$') {
                Some(whole) => name == whole,
                None => name.starts_with(rest),
            },
            (None, Some(rest)) => name.ends_with(rest),
            (None, None) => name.contains(search.as_str()),
        }
    };
    read(call, move |repository| {
        let mut found: Vec<(String, String)> = repository
            .refs()?
            .into_iter()
            .filter_map(|(name, sha)| Some((name.strip_prefix(prefix)?.to_owned(), sha)))
            .collect();
        found.retain(|(name, _)| only.as_ref().is_none_or(|only| name == only) && fits(name));
        if descending {
            found.reverse();
        }
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

/// Branches whose commits the default branch has.
async fn merged(call: &Call) -> Result<Vec<String>, Failure> {
    let default = call.project()?.default_branch.clone();
    let merged = read(call, move |repository| match repository.named(&default)? {
        Some(commit) => repository.merged_into(&commit.sha),
        None => Ok(Vec::new()),
    });
    merged.await
}

fn branch_json(call: &Call, name: &str, commit: &Commit, merged: &[String]) -> Value {
    let (protected, default, developers, push) = match &call.project {
        Some((project, level)) => (
            project.protects(name, false),
            project.default_branch == name,
            project.may_push(name, false, AccessLevel::Developer),
            project.may_push(name, false, *level),
        ),
        None => (false, false, false, false),
    };
    let path = call.project.as_ref().map_or("", |(project, _)| &project.path);
    let is_merged = !default && merged.iter().any(|one| one.strip_prefix("refs/heads/") == Some(name));
    json!({
        "name": name,
        "merged": is_merged,
        "protected": protected,
        "default": default,
        "developers_can_push": developers,
        "developers_can_merge": developers,
        "can_push": push,
        "web_url": format!("{}/{path}", call.app.settings.external_url),
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
    let merged = merged(&call).await?;
    let shown = |(name, commit): &(String, Commit)| branch_json(&call, name, commit, &merged);
    let entries = found.entries.iter().map(shown).collect();
    Ok(Reply::List(Page { entries, total: found.total }))
}

pub(super) async fn branch(call: Call) -> Done {
    let found = refs(&call, "refs/heads/", Some(call.part("branch").to_owned())).await?;
    let (name, commit) = found.entries.first().ok_or_else(|| Failure::not_found("branch"))?;
    Ok(Reply::Json(branch_json(&call, name, commit, &merged(&call).await?)))
}

/// The commit that a request wants a new ref at.
async fn target(call: &Call) -> Result<Commit, Failure> {
    let name = call.required("ref")?;
    let found = read(call, move |repository| repository.named(&name)).await?;
    found.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "Invalid reference name").into())
}

/// What a ref names, which for an annotated tag is the tag itself.
fn object_of(repository: &Repository, name: &str) -> Result<Option<String>, crate::GitError> {
    repository.raw_ref(name).map_err(|source| crate::GitError::Io { path: name.into(), source })
}

/// Whether the caller may make or move a ref.
fn need_push(call: &Call, name: &str, tag: bool) -> Result<(), Failure> {
    let may = |(project, level): &(ProjectView, AccessLevel)| project.may_push(name, tag, *level);
    if call.project.as_ref().is_some_and(may) { Ok(()) } else { Err(Failure::forbidden()) }
}

/// What follows a ref that changed, as if it had been pushed.
async fn told(call: &Call, name: String, old: String, new: String) -> Result<(), Failure> {
    let user = call.actor().await.ok();
    let change = RefChange { name, old, new };
    let (project, push) = (call.project()?.clone(), Push { changes: vec![change], ..Push::default() });
    let begun = call.app.begin_push(project.id, user.as_ref(), &push);
    call.app.pushed(project, user, push, begun).await;
    Ok(())
}

pub(super) async fn create_branch(call: Call) -> Done {
    let name = call.required("branch")?;
    need_push(&call, &name, false)?;
    let commit = target(&call).await?;
    let (full, sha) = (format!("refs/heads/{name}"), commit.sha.clone());
    let made = read(&call, move |repository| match repository.has_ref(&full) {
        true => Ok(None),
        false => repository.make_ref(&full, &sha).map(Some),
    });
    match made.await? {
        None => return Err(Refusal::new(StatusCode::BAD_REQUEST, "Branch already exists").into()),
        Some(false) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "Branch name is invalid").into()),
        Some(true) => {}
    }
    let none = "0".repeat(commit.sha.len());
    told(&call, format!("refs/heads/{name}"), none, commit.sha.clone()).await?;
    Ok(Reply::Json(branch_json(&call, &name, &commit, &merged(&call).await?)))
}

/// Removes a ref and tells of it.
async fn remove(call: &Call, full: String, what: &str) -> Done {
    let name = full.clone();
    let removed = read(call, move |repository| {
        let was = object_of(&repository, &name)?.map(|id| (name.clone(), id));
        Ok(if repository.remove_ref(&name)? { was } else { None })
    });
    let (name, was) = removed.await?.ok_or_else(|| Failure::not_found(what))?;
    let none = "0".repeat(was.len());
    told(call, name, was, none).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn delete_branch(call: Call) -> Done {
    let name = call.part("branch").to_owned();
    let project = call.project()?;
    if project.default_branch == name {
        return Err(Refusal::bad("the default branch cannot be removed").into());
    }
    if project.protects(&name, false) && call.level() < Some(AccessLevel::Maintainer) {
        return Err(Refusal::forbidden("Protected branch cant be removed").into());
    }
    remove(&call, format!("refs/heads/{name}"), "branch").await
}

pub(super) async fn tags(call: Call) -> Done {
    let found = refs(&call, "refs/tags/", None).await?;
    let entries = with_objects(&call, &found.entries).await?;
    Ok(Reply::List(Page { entries, total: found.total }))
}

/// Tags with the objects they name, and what those say.
async fn with_objects(call: &Call, tags: &[(String, Commit)]) -> Result<Vec<Value>, Failure> {
    let names: Vec<String> = tags.iter().map(|(name, _)| name.clone()).collect();
    let objects = read(call, move |repository| {
        repository.tag_objects(&names.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let objects = objects.await?.into_iter().chain(std::iter::repeat(None));
    let shown = tags.iter().zip(objects).map(|((name, commit), object)| {
        let mut value = tag_json(call, name, commit);
        let object = object.unwrap_or_default();
        value["target"] = object.id.into();
        value["message"] = object.message.into();
        value
    });
    Ok(shown.collect())
}

pub(super) async fn tag(call: Call) -> Done {
    let found = refs(&call, "refs/tags/", Some(call.part("tag_name").to_owned())).await?;
    let value = with_objects(&call, &found.entries).await?.into_iter().next();
    Ok(Reply::Json(value.ok_or_else(|| Failure::not_found("tag"))?))
}

pub(super) async fn create_tag(call: Call) -> Done {
    let name = call.required("tag_name")?;
    need_push(&call, &name, true)?;
    let commit = target(&call).await?;
    let message = call.filled("message");
    let by = call.actor().await?;
    let (short, sha, text) = (name.clone(), commit.sha.clone(), message.clone());
    let made = read(&call, move |repository| {
        let full = format!("refs/tags/{short}");
        if repository.has_ref(&full) {
            return Ok(None);
        }
        let good = match text {
            Some(text) => repository.make_tag(&short, &sha, &text, (&by.name, &by.email))?,
            None => repository.make_ref(&full, &sha)?,
        };
        Ok(Some(object_of(&repository, &full)?.filter(|_| good)))
    });
    let id = match made.await? {
        None => {
            let text = format!("Tag {name} already exists");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text).into());
        }
        Some(None) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "Tag name invalid").into()),
        Some(Some(id)) => id,
    };
    told(&call, format!("refs/tags/{name}"), "0".repeat(id.len()), id.clone()).await?;
    let mut value = tag_json(&call, &name, &commit);
    value["target"] = id.into();
    value["message"] = message.into();
    Ok(Reply::Json(value))
}

pub(super) async fn delete_tag(call: Call) -> Done {
    let name = call.part("tag_name").to_owned();
    need_push(&call, &name, true)?;
    remove(&call, format!("refs/tags/{name}"), "tag").await
}

pub(super) async fn commits(call: Call) -> Done {
    let project = call.project()?;
    let name = call.filled("ref_name").unwrap_or_else(|| project.default_branch.clone());
    let filter = LogFilter {
        path: call.filled("path"),
        since: call.time("since")?.map(iso),
        until: call.time("until")?.map(iso),
        first_parent: call.flag("first_parent")? == Some(true),
        all: call.flag("all")? == Some(true),
    };
    let at = call.page()?;
    let skip = (at.number - 1).saturating_mul(at.size);
    let found = read(&call, move |repository| match repository.named(&name)? {
        Some(tip) => repository.history(&tip.sha, &filter, skip, at.size).map(Some),
        None => Ok(None),
    });
    let (commits, total) = found.await?.ok_or_else(|| Failure::not_found("commit"))?;
    let entries = commits.iter().map(|one| commit_json(&call, one)).collect();
    Ok(Reply::List(Page { entries, total }))
}

async fn find(call: &Call, name: &str) -> Result<Commit, Failure> {
    let name = name.to_owned();
    let found = read(call, move |repository| repository.named(&name)).await?;
    found.ok_or_else(|| Failure::not_found("commit"))
}

pub(super) async fn commit(call: Call) -> Done {
    let one = find(&call, call.part("sha")).await?;
    let project = call.project()?;
    let mut value = commit_json(&call, &one);
    let filter = PipelineFilter { sha: Some(one.sha), ..PipelineFilter::default() };
    let newest = call.app.store.pipelines(project.id, filter, PageAt { number: 1, size: 1 }).await?;
    let newest = newest.entries.first().map(|found| entities::pipeline(&call.app, project, found));
    value["project_id"] = project.id.into();
    value["status"] = newest.as_ref().map_or(Value::Null, |found| found["status"].clone());
    value["last_pipeline"] = newest.into();
    Ok(Reply::Json(value))
}

fn change_json(one: &FileChange) -> Value {
    json!({
        "old_path": one.old_path,
        "new_path": one.new_path,
        "a_mode": one.old_mode,
        "b_mode": one.new_mode,
        "new_file": one.letter == 'A',
        "renamed_file": one.letter == 'R',
        "deleted_file": one.letter == 'D',
        "generated_file": null,
        "collapsed": false,
        "too_large": one.too_long,
        "diff": one.patch,
    })
}

pub(super) async fn commit_diff(call: Call) -> Done {
    let one = find(&call, call.part("sha")).await?;
    let changes = read(&call, move |repository| repository.changes(one.parent.as_deref(), &one.sha)).await?;
    call.list_of(changes, |change| change_json(&change))
}

pub(super) async fn commit_refs(call: Call) -> Done {
    let wanted = call.word("type", &["branch", "tag", "all"])?.unwrap_or("all");
    let one = find(&call, call.part("sha")).await?;
    let names = read(&call, move |repository| repository.refs_with(&one.sha)).await?;
    let refs = names.iter().filter_map(|name| {
        let branch = name.strip_prefix("refs/heads/").map(|name| ("branch", name));
        branch.or_else(|| name.strip_prefix("refs/tags/").map(|name| ("tag", name)))
    });
    let refs: Vec<(&str, &str)> = refs.filter(|(kind, _)| wanted == "all" || wanted == *kind).collect();
    call.list_of(refs, |(kind, name)| json!({ "type": kind, "name": name }))
}

pub(super) async fn compare(call: Call) -> Done {
    let (from, to) = (find(&call, &call.required("from")?).await?, find(&call, &call.required("to")?).await?);
    let straight = call.flag("straight")? == Some(true);
    let (before, after) = (from.sha.clone(), to.sha.clone());
    let (commits, changes) = read(&call, move |repository| {
        let base = match straight {
            true => Some(before.clone()),
            false => repository.merge_base(&before, &after)?,
        };
        let commits = repository.commits_between(&before, &after)?;
        Ok((commits, repository.changes(Some(base.as_deref().unwrap_or(&before)), &after)?))
    })
    .await?;
    let path = &call.project()?.path;
    Ok(Reply::Json(json!({
        "commit": commits.last().map(|one| commit_json(&call, one)),
        "commits": commits.iter().map(|one| commit_json(&call, one)).collect::<Vec<_>>(),
        "diffs": changes.iter().map(change_json).collect::<Vec<_>>(),
        "compare_timeout": false,
        "compare_same_ref": from.sha == to.sha,
        "web_url": format!("{}/{path}", call.app.settings.external_url),
    })))
}

pub(super) async fn merge_base(call: Call) -> Done {
    let names = call.list("refs").unwrap_or_default();
    if names.len() < 2 || names.len() > 20 {
        return Err(Failure::value("refs"));
    }
    let mut base: Option<Commit> = None;
    for name in names {
        let next = find(&call, &name).await?;
        let so_far = base.take();
        base = match so_far {
            None => Some(next),
            Some(known) => {
                let found =
                    read(&call, move |repository| repository.merge_base(&known.sha, &next.sha)).await?;
                Some(find(&call, &found.ok_or_else(|| Failure::not_found("merge base"))?).await?)
            }
        };
    }
    Ok(Reply::Json(base.map_or(Value::Null, |one| commit_json(&call, &one))))
}
