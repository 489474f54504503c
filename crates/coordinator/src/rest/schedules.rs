//! Schedules and their variables.

use super::call::{Call, Done, Failure, Reply};
use super::entities::{self, People, time};
use super::projects::same_project;
use crate::answer::Refusal;
use crate::cron::Cron;
use crate::time_text::iso;
use axum::http::StatusCode;
use harrier_base::Variable;
use harrier_database::{AccessLevel, NewSchedule, Page, PipelineFilter, ScheduleEdit, ScheduleView};
use serde_json::{Value, json};

fn show(one: &ScheduleView, people: &People) -> Value {
    json!({
        "id": one.id,
        "description": one.description,
        "ref": one.git_ref,
        "cron": one.cron,
        "cron_timezone": one.time_zone,
        "next_run_at": time(one.next_at),
        "active": one.active,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
        "owner": people.get(one.owner),
    })
}

async fn whole(call: &Call, one: &ScheduleView) -> Done {
    let mut value = show(one, &People::read(&call.app).await?);
    value["last_pipeline"] = match one.last_pipeline {
        Some(id) => super::pipelines::linked(call, id).await?,
        None => Value::Null,
    };
    if mine(call, one) {
        let variables = call.app.store.schedule_variables(one.id).await?;
        value["variables"] = variables.iter().map(entities::variable).collect();
    }
    Ok(Reply::Json(value))
}

/// The owner and maintainers may change a schedule.
fn mine(call: &Call, one: &ScheduleView) -> bool {
    let owner = call.caller.user().is_some_and(|user| one.owner == Some(user.id));
    call.level() >= Some(AccessLevel::Maintainer) || owner && call.level() >= Some(AccessLevel::Developer)
}

async fn find(call: &Call) -> Result<ScheduleView, Failure> {
    let found = call.app.store.schedule(call.id("schedule_id")?).await?;
    same_project(call, found.project, "pipeline schedule")?;
    Ok(found)
}

async fn own(call: &Call) -> Result<ScheduleView, Failure> {
    let found = find(call).await?;
    if mine(call, &found) { Ok(found) } else { Err(Failure::forbidden()) }
}

pub(super) async fn list(call: Call) -> Done {
    let scope = call.word("scope", &["active", "inactive"])?;
    let mut all = call.app.store.schedules(Some(call.project()?.id)).await?;
    all.retain(|one| scope.is_none_or(|scope| one.active == (scope == "active")));
    let people = People::read(&call.app).await?;
    call.list_of(all, |one| show(&one, &people))
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    whole(&call, &found).await
}

/// Who may not start a pipeline of a ref may not have it started for them.
fn need_ref(call: &Call, git_ref: &str) -> Result<(), Failure> {
    let (name, tag) = match git_ref.strip_prefix("refs/tags/") {
        Some(name) => (name, true),
        None => (git_ref.strip_prefix("refs/heads/").unwrap_or(git_ref), false),
    };
    call.need_run(name, tag)
}

fn parsed(cron: &str, zone: &str) -> Result<Cron, Failure> {
    Cron::parse(cron, zone).map_err(|error| Failure::invalid("cron", &error.to_string()))
}

pub(super) async fn create(call: Call) -> Done {
    let (description, git_ref, cron) =
        (call.required("description")?, call.required("ref")?, call.required("cron")?);
    need_ref(&call, &git_ref)?;
    let time_zone = call.filled("cron_timezone").unwrap_or_else(|| "UTC".to_owned());
    let time = parsed(&cron, &time_zone)?;
    let active = call.flag("active")?.unwrap_or(true);
    let new = NewSchedule {
        project: call.project()?.id,
        owner: call.actor().await?.id,
        description,
        git_ref,
        next_at: if active { time.after(call.now) } else { None },
        cron,
        time_zone,
        active,
        variables: Vec::new(),
    };
    let made = call.app.store.create_schedule(new, call.now).await?;
    whole(&call, &made).await
}

pub(super) async fn edit(call: Call) -> Done {
    let was = own(&call).await?;
    let git_ref = call.filled("ref");
    if let Some(git_ref) = &git_ref {
        need_ref(&call, git_ref)?;
    }
    let cron = call.filled("cron").unwrap_or_else(|| was.cron.clone());
    let zone = call.filled("cron_timezone").unwrap_or_else(|| was.time_zone.clone());
    let time = parsed(&cron, &zone)?;
    let active = call.flag("active")?.unwrap_or(was.active);
    let edit = ScheduleEdit {
        description: call.filled("description"),
        git_ref,
        time: Some((cron, zone)),
        active: Some(active),
        next_at: Some(if active { time.after(call.now) } else { None }),
        ..ScheduleEdit::default()
    };
    let changed = call.app.store.edit_schedule(was.id, edit, call.now).await?;
    whole(&call, &changed).await
}

pub(super) async fn delete(call: Call) -> Done {
    let found = own(&call).await?;
    call.app.store.delete_schedule(found.id).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn play(call: Call) -> Done {
    let found = find(&call).await?;
    need_ref(&call, &found.git_ref)?;
    match call.app.start_schedule(&found).await {
        Ok(_) => Ok(Reply::Json(json!({ "message": "201 Created" }))),
        Err(why) => Err(Refusal::bad(&why).into()),
    }
}

pub(super) async fn take_ownership(call: Call) -> Done {
    let found = find(&call).await?;
    let edit = ScheduleEdit { owner: Some(call.actor().await?.id), ..ScheduleEdit::default() };
    let changed = call.app.store.edit_schedule(found.id, edit, call.now).await?;
    whole(&call, &changed).await
}

pub(super) async fn pipelines(call: Call) -> Done {
    let (found, project) = (find(&call).await?, call.project()?);
    let filter = PipelineFilter {
        schedule: Some(found.id),
        oldest_first: call.word("sort", &["asc", "desc"])? != Some("desc"),
        ..PipelineFilter::default()
    };
    let page = call.app.store.pipelines(project.id, filter, call.page()?).await?;
    let entries = page.entries.iter().map(|one| entities::pipeline(&call.app, project, one)).collect();
    Ok(Reply::List(Page { entries, total: page.total }))
}

async fn keep(call: &Call, schedule: i64, variables: Vec<Variable>) -> Result<(), Failure> {
    let edit = ScheduleEdit { variables: Some(variables), ..ScheduleEdit::default() };
    call.app.store.edit_schedule(schedule, edit, call.now).await?;
    Ok(())
}

fn changed(call: &Call, mut one: Variable) -> Result<Variable, Failure> {
    if let Some(value) = call.text("value") {
        one.value = value;
    }
    if let Some(word) = call.word("variable_type", &["env_var", "file"])? {
        one.file = word == "file";
    }
    Ok(one)
}

pub(super) async fn add_variable(call: Call) -> Done {
    let schedule = own(&call).await?;
    let key = call.required("key")?;
    if !crate::ci_variable::is_key(&key) {
        return Err(Failure::invalid("key", "can contain only letters, digits and '_'."));
    }
    if call.text("value").is_none() {
        return Err(Failure::Parameter("value is missing".to_owned()));
    }
    let mut all = call.app.store.schedule_variables(schedule.id).await?;
    if all.iter().any(|one| one.key == key) {
        return Err(Failure::invalid("key", "has already been taken"));
    }
    let new = changed(&call, Variable { key, ..Variable::default() })?;
    let shown = entities::variable(&new);
    all.push(new);
    keep(&call, schedule.id, all).await?;
    Ok(Reply::Json(shown))
}

/// The schedule, its variables, and which of them is meant.
async fn of_key(call: &Call) -> Result<(ScheduleView, Vec<Variable>, usize), Failure> {
    let schedule = own(call).await?;
    let all = call.app.store.schedule_variables(schedule.id).await?;
    let at = all.iter().position(|one| one.key == call.part("key"));
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "404 Pipeline Schedule Variable Not Found");
    let at = at.ok_or_else(missing)?;
    Ok((schedule, all, at))
}

pub(super) async fn variable(call: Call) -> Done {
    let (_, all, at) = of_key(&call).await?;
    Ok(Reply::Json(entities::variable(&all[at])))
}

pub(super) async fn edit_variable(call: Call) -> Done {
    let (schedule, mut all, at) = of_key(&call).await?;
    all[at] = changed(&call, all[at].clone())?;
    let shown = entities::variable(&all[at]);
    keep(&call, schedule.id, all).await?;
    Ok(Reply::Json(shown))
}

pub(super) async fn delete_variable(call: Call) -> Done {
    let (schedule, mut all, at) = of_key(&call).await?;
    let gone = entities::variable(&all.remove(at));
    keep(&call, schedule.id, all).await?;
    Ok(Reply::Json(gone))
}
