//! A project's settings: variables, schedules, trigger tokens, members, runners.

use super::admin;
use super::visit::{Failure, Shown, Visit, go, html};
use crate::ci_variable::{can_be_masked, is_key, key_values};
use crate::cron::Cron;
use harrier_base::Variable;
use harrier_database::{
    AccessLevel, CiVariable, NewSchedule, NewToken, ProjectEdit, Protection, Reach, TokenKind,
};
use harrier_pages::{
    Flash, MemberRow, RunnersPage, ScheduleRow, SettingsPage, TriggerRow, VariableRow, settings_page,
};

pub(super) async fn show(visit: Visit) -> Shown {
    shown(&visit, None).await
}

pub(super) async fn shown(visit: &Visit, flash: Option<Flash>) -> Shown {
    let project = visit.project()?.clone();
    let store = &visit.app.store;
    let names = visit.names().await?;
    let name = |user: Option<i64>| user.and_then(|user| names.get(&user).cloned()).unwrap_or_default();
    let variables =
        store.variables(Some(project.id)).await?.into_iter().enumerate().map(|(at, one)| VariableRow {
            id: at as i64,
            key: one.variable.key.clone(),
            value: (!one.variable.masked && !one.hidden).then(|| one.variable.value.clone()),
            file: one.variable.file,
            masked: one.variable.masked,
            protected: one.protected,
            raw: one.variable.raw,
            scope: one.environment_scope,
        });
    let schedules = store.schedules(Some(project.id)).await?.into_iter().map(|one| ScheduleRow {
        id: one.id,
        description: one.description,
        git_ref: one.git_ref,
        cron: one.cron,
        time_zone: one.time_zone,
        next: one.next_at,
        active: one.active,
        owner: name(one.owner),
    });
    let triggers =
        store.tokens(TokenKind::Trigger, None, Some(project.id)).await?.into_iter().map(|one| TriggerRow {
            id: one.id,
            description: one.name,
            short_token: one.hint,
            owner: name(one.user),
            last_used: one.used_at,
        });
    let members = store.members(project.id).await?.into_iter().map(|(user, level)| MemberRow {
        id: user,
        username: name(Some(user)),
        level: level.number(),
    });
    let runners = store.runners(Some(project.id)).await?;
    let settings = &project.settings;
    let refs = settings
        .protected_branches
        .iter()
        .map(|rule| rule.name.clone())
        .chain(settings.protected_tags.iter().map(|rule| format!("tag {}", rule.name)));
    let shown = SettingsPage {
        default_branch: project.default_branch.clone(),
        config_path: project.ci_config_path().to_owned(),
        protected_refs: refs.collect::<Vec<_>>().join("\n"),
        timeout: settings.build_timeout,
        public: settings.public_jobs,
        shared_runners: settings.shared_runners,
        variables: variables.collect(),
        schedules: schedules.collect(),
        triggers: triggers.collect(),
        mirror: super::mirror::row(visit, project.id, &names).await?,
        webhook_url: crate::rest::webhook_url(&visit.app, project.id),
        members: members.collect(),
        runners: RunnersPage {
            at: format!("/{}/-/runners", project.path),
            rows: admin::rows(visit, runners).await?,
            may_manage: true,
        },
        project: project.path,
    };
    let mut page = visit.page();
    page.flash = flash.or(page.flash);
    Ok(html(settings_page(&page, &shown)))
}

pub(super) fn back(visit: &Visit, part: &str) -> Shown {
    Ok(go(&format!("/{}/-/settings/ci_cd#{part}", visit.project()?.path)))
}

pub(super) async fn general(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let mut settings = project.settings.clone();
    let timeout: i64 =
        visit.sent("timeout").trim().parse().ok().filter(|seconds| *seconds >= 10).ok_or_else(|| {
            Failure::Bad("the time limit needs to be a number of seconds, ten at least".to_owned())
        })?;
    settings.build_timeout = timeout;
    settings.ci_config_path = visit.sent("config_path").trim().to_owned();
    settings.public_jobs = visit.ticked("public");
    settings.shared_runners = visit.ticked("shared_runners");
    let lines: Vec<&str> =
        visit.sent("protected_refs").lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tag = |line: &&str| line.strip_prefix("tag ").map(|tag| tag.trim().to_owned());
    // A rule that stays keeps what was set by the API.
    let rule = |known: &[Protection], name: String| {
        known.iter().find(|rule| rule.name == name).cloned().unwrap_or_else(|| Protection::new(name))
    };
    settings.protected_tags =
        lines.iter().filter_map(tag).map(|name| rule(&settings.protected_tags, name)).collect();
    settings.protected_branches = lines
        .iter()
        .filter(|line| tag(line).is_none())
        .map(|line| rule(&settings.protected_branches, (*line).to_owned()))
        .collect();
    let edit = ProjectEdit {
        default_branch: Some(visit.required("default_branch")?),
        settings: Some(settings),
        ..ProjectEdit::default()
    };
    visit.app.store.edit_project(project.id, edit).await?;
    back(&visit, "general")
}

pub(super) async fn add_variable(visit: Visit) -> Shown {
    let key = visit.required("key")?;
    if !is_key(&key) {
        return Err(Failure::Bad(format!(
            "`{key}` is no key: it takes letters, digits and `_`, at most 255"
        )));
    }
    let value = visit.sent("value").replace("\r\n", "\n");
    let masked = visit.ticked("masked");
    if masked && !can_be_masked(&value) {
        return Err(Failure::Bad(
            "a masked value needs eight characters or more in one line without spaces".to_owned(),
        ));
    }
    let variable = Variable {
        key,
        value,
        file: visit.sent("variable_type") == "file",
        masked,
        raw: !visit.ticked("expand"),
        ..Variable::default()
    };
    let scope = Some(visit.sent("environment_scope").trim()).filter(|scope| !scope.is_empty()).unwrap_or("*");
    let new = CiVariable {
        variable,
        protected: visit.ticked("protected"),
        hidden: false,
        environment_scope: scope.to_owned(),
        description: String::new(),
    };
    visit.app.store.set_variable(Some(visit.project()?.id), new, false).await?;
    back(&visit, "variables")
}

pub(super) async fn delete_variable(visit: Visit) -> Shown {
    let project = visit.project()?.id;
    let all = visit.app.store.variables(Some(project)).await?;
    let at = usize::try_from(visit.id(0)?).map_err(|_| Failure::NotFound)?;
    let one = all.get(at).ok_or(Failure::NotFound)?;
    visit.app.store.delete_variable(Some(project), &one.variable.key, &one.environment_scope).await?;
    back(&visit, "variables")
}

pub(super) async fn add_schedule(visit: Visit) -> Shown {
    let (cron, time_zone) = (visit.required("cron")?, visit.sent("cron_timezone").trim().to_owned());
    let parsed = Cron::parse(&cron, &time_zone).map_err(|error| Failure::Bad(error.to_string()))?;
    let active = visit.ticked("active");
    let new = NewSchedule {
        project: visit.project()?.id,
        owner: visit.user()?.id,
        description: visit.required("description")?,
        git_ref: visit.required("ref")?,
        next_at: if active { parsed.after(visit.now) } else { None },
        cron,
        time_zone: if time_zone.is_empty() { "UTC".to_owned() } else { time_zone },
        active,
        variables: key_values(visit.sent("variables"))
            .map_err(Failure::Bad)?
            .into_iter()
            .map(|(key, value)| Variable { key, value, ..Variable::default() })
            .collect(),
    };
    visit.app.store.create_schedule(new, visit.now).await?;
    back(&visit, "schedules")
}

pub(super) async fn delete_schedule(visit: Visit) -> Shown {
    let found = visit.app.store.schedule(visit.id(0)?).await?;
    if found.project != visit.project()?.id {
        return Err(Failure::NotFound);
    }
    visit.app.store.delete_schedule(found.id).await?;
    back(&visit, "schedules")
}

pub(super) async fn play_schedule(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let found = visit.app.store.schedule(visit.id(0)?).await?;
    if found.project != project.id {
        return Err(Failure::NotFound);
    }
    let made = visit.app.start_schedule(&found).await.map_err(Failure::Bad)?;
    Ok(go(&format!("/{}/-/pipelines/{made}", project.path)))
}

pub(super) async fn add_trigger(visit: Visit) -> Shown {
    let new = NewToken {
        kind: TokenKind::Trigger,
        user: Some(visit.user()?.id),
        project: Some(visit.project()?.id),
        name: visit.required("description")?,
        scopes: Vec::new(),
        access_level: None,
        expires_at: None,
    };
    let (_, secret) = visit.app.store.create_token(new, visit.now).await?;
    shown(&visit, Some(Flash::Token(secret.expose().to_owned()))).await
}

pub(super) async fn delete_trigger(visit: Visit) -> Shown {
    let id = visit.id(0)?;
    let own = visit.app.store.tokens(TokenKind::Trigger, None, Some(visit.project()?.id)).await?;
    if !own.iter().any(|token| token.id == id) {
        return Err(Failure::NotFound);
    }
    visit.app.store.revoke_token(id, visit.now).await?;
    back(&visit, "triggers")
}

/// Nobody gives or takes a role that is above their own.
fn within(visit: &Visit, level: AccessLevel) -> Result<(), Failure> {
    if visit.level() >= Some(level) { Ok(()) } else { Err(Failure::Forbidden) }
}

pub(super) async fn add_member(visit: Visit) -> Shown {
    let username = visit.required("username")?;
    let found = visit.app.store.user_named(&username).await?;
    let (user, _) = found.ok_or_else(|| Failure::Bad(format!("there is no user `{username}`")))?;
    let number = visit.sent("access_level").parse().ok();
    let level =
        number.and_then(AccessLevel::from_number).ok_or_else(|| Failure::Bad("choose a role".to_owned()))?;
    within(&visit, level)?;
    let project = visit.project()?.id;
    if let Some(was) = visit.app.store.access(project, user.id).await? {
        within(&visit, was)?;
    }
    visit.app.store.set_member(project, user.id, Some(level), visit.now).await?;
    back(&visit, "members")
}

pub(super) async fn delete_member(visit: Visit) -> Shown {
    let (project, user) = (visit.project()?.id, visit.id(0)?);
    let was = visit.app.store.access(project, user).await?.ok_or(Failure::NotFound)?;
    within(&visit, was)?;
    visit.app.store.set_member(project, user, None, visit.now).await?;
    back(&visit, "members")
}

pub(super) async fn add_runner(visit: Visit) -> Shown {
    let new = admin::from_form(&visit, Some(vec![visit.project()?.id]))?;
    let (_, token) = visit.app.store.create_runner(new, TokenKind::Runner, visit.now).await?;
    shown(&visit, Some(Flash::Token(token.expose().to_owned()))).await
}

pub(super) async fn change_runner(visit: Visit) -> Shown {
    let (project, id) = (visit.project()?.id, visit.id(0)?);
    let runner = visit.app.store.runner(id).await?;
    match &runner.offer.reach {
        // Only a runner of this project alone is this project's to change.
        Reach::Projects(projects) if projects.as_slice() == [project] => {}
        Reach::Projects(_) | Reach::Instance => return Err(Failure::Forbidden),
    }
    admin::change(&visit, id, visit.part(1)).await?;
    back(&visit, "project-runners")
}
