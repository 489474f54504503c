//! A project's settings, and the users of the instance.

use crate::form;
use crate::frame::Page;
use crate::mirror::{self, MirrorRow};
use crate::runners::{RunnersPage, runner_table};
use crate::time::ago;
use maud::{Markup, html};

/// A variable. The value of a masked one never comes to a page.
#[derive(Clone, Debug)]
pub struct VariableRow {
    /// Its id.
    pub id: i64,
    /// Its key.
    pub key: String,
    /// `None`: it is masked.
    pub value: Option<String>,
    /// A file holds its value.
    pub file: bool,
    /// Hidden in logs.
    pub masked: bool,
    /// For protected refs only.
    pub protected: bool,
    /// Not expanded.
    pub raw: bool,
    /// `*`, `production`, `review/*`.
    pub scope: String,
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct ScheduleRow {
    /// Its id.
    pub id: i64,
    /// In its owner's words.
    pub description: String,
    /// Branch or tag.
    pub git_ref: String,
    /// `0 4 * * *`.
    pub cron: String,
    /// `Europe/Berlin`.
    pub time_zone: String,
    /// Milliseconds.
    pub next: Option<i64>,
    /// It is on.
    pub active: bool,
    /// Whose rights it has.
    pub owner: String,
}

/// A trigger token.
#[derive(Clone, Debug)]
pub struct TriggerRow {
    /// Its id.
    pub id: i64,
    /// In its owner's words.
    pub description: String,
    /// Its beginning.
    pub short_token: String,
    /// Whose rights it has.
    pub owner: String,
    /// Milliseconds.
    pub last_used: Option<i64>,
}

/// A member of a project.
#[derive(Clone, Debug)]
pub struct MemberRow {
    /// The user's id.
    pub id: i64,
    /// `root`.
    pub username: String,
    /// GitLab's number: 10, 20, 30, 40, 50.
    pub level: i64,
}

/// A user of the instance.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// Their id.
    pub id: i64,
    /// `root`.
    pub username: String,
    /// Their name.
    pub name: String,
    /// May administer the instance.
    pub admin: bool,
    /// May not log in.
    pub blocked: bool,
}

/// A project's settings.
#[derive(Clone, Debug)]
pub struct SettingsPage {
    /// `group/name`.
    pub project: String,
    /// The branch that counts.
    pub default_branch: String,
    /// `.gitlab-ci.yml`.
    pub config_path: String,
    /// Patterns, a line each.
    pub protected_refs: String,
    /// Seconds a job may run.
    pub timeout: i64,
    /// Everyone may see it.
    pub public: bool,
    /// Runners of the instance take its jobs.
    pub shared_runners: bool,
    /// Its variables.
    pub variables: Vec<VariableRow>,
    /// Its schedules.
    pub schedules: Vec<ScheduleRow>,
    /// Its trigger tokens.
    pub triggers: Vec<TriggerRow>,
    /// The mirror that it is.
    pub mirror: Option<MirrorRow>,
    /// Where webhooks of its mirror go.
    pub webhook_url: String,
    /// Its members.
    pub members: Vec<MemberRow>,
    /// Its runners.
    pub runners: RunnersPage,
}

const ROLES: [(&str, &str); 5] =
    [("10", "Guest"), ("20", "Reporter"), ("30", "Developer"), ("40", "Maintainer"), ("50", "Owner")];

/// Variables, schedules, tokens, members, runners.
pub fn settings_page(page: &Page, settings: &SettingsPage) -> String {
    let t = page.t();
    let at = format!("/{}/-/settings/ci_cd", settings.project);
    let parts = [
        ("general", t.general),
        ("variables", t.variables),
        ("schedules", t.schedules),
        ("triggers", t.triggers),
        ("mirror", t.mirror),
        ("members", t.members),
        ("project-runners", t.runners),
        ("badges", t.badges),
    ];
    let part = |id: &str, content: &Markup| {
        let word = parts.iter().find(|(name, _)| *name == id).map_or("", |(_, word)| word);
        html! { section.block id=(id) { h2 { (word) } (*content) } }
    };
    page.whole(t.settings, &html! {
        h1 { (t.settings) }
        div.settings {
            nav.parts aria-label=(t.settings) { @for (id, word) in parts { a href=(format!("#{id}")) { (word) } } }
            div.blocks {
                (part("general", &general(page, &at, settings)))
                (part("variables", &variables(page, &at, &settings.variables)))
                (part("schedules", &schedules(page, &at, settings)))
                (part("triggers", &triggers(page, &at, &settings.triggers)))
                (part("mirror", &mirror::section(page, &at, &settings.webhook_url, settings.mirror.as_ref())))
                (part("members", &members(page, &at, &settings.members)))
                (part("project-runners", &runner_table(page, &settings.runners)))
                (part("badges", &badges(page, settings)))
            }
        }
    })
}

fn general(page: &Page, at: &str, settings: &SettingsPage) -> Markup {
    let t = page.t();
    form::form(
        page,
        &format!("{at}/general"),
        &html! {
            (form::field(t.default_branch, "default_branch", "text", &settings.default_branch))
            (form::field(t.config_path, "config_path", "text", &settings.config_path))
            (form::field(t.timeout_seconds, "timeout", "number", &settings.timeout.to_string()))
            label { span { (t.protected_refs) } textarea name="protected_refs" rows="3" spellcheck="false" { (settings.protected_refs) } }
            (form::tick(t.public_pipelines, "public", settings.public))
            (form::tick(t.shared_runners, "shared_runners", settings.shared_runners))
            button type="submit" { (t.save) }
        },
    )
}

fn badges(page: &Page, settings: &SettingsPage) -> Markup {
    let t = page.t();
    let address = |name: &str| format!("/{}/badges/{}/{name}.svg", settings.project, settings.default_branch);
    html! { @for (name, word) in [("pipeline", t.pipeline), ("coverage", t.coverage)] {
        p { img src=(address(name)) alt=(word); " " code { (address(name)) } }
    } }
}

fn variables(page: &Page, at: &str, rows: &[VariableRow]) -> Markup {
    let t = page.t();
    let flags = |row: &VariableRow| {
        [(row.file, t.file), (row.masked, t.masked), (row.protected, t.protected), (!row.raw, t.expand)]
    };
    html! {
        @if rows.is_empty() { p.empty { (t.none_yet) } } @else { div.scroll { table {
            thead { tr { th { (t.key) } th { (t.value) } th {} th { (t.scope) } th {} } }
            tbody { @for row in rows { tr {
                td { code { (row.key) } }
                td { @match &row.value { Some(value) => code.value { (value) }, None => span.quiet { (t.hidden_value) } } }
                td { @for (set, word) in flags(row) { @if set { span.tag { (word) } " " } } }
                td { (row.scope) }
                td.deeds { (form::button(page, &format!("{at}/variables/{}/delete", row.id), t.delete, "danger")) }
            } } }
        } } }
        (form::more(page, t.new_variable, &format!("{at}/variables"), &html! {
            (form::required(t.key, "key", "text", "off"))
            label { span { (t.value) } textarea name="value" rows="2" spellcheck="false" {} }
            (form::choice(t.kind, "variable_type", [("env_var", t.plain_variable), ("file", t.file)], "env_var"))
            (form::field(t.scope, "environment_scope", "text", "*"))
            (form::tick(t.masked, "masked", false))
            (form::tick(t.protected, "protected", false))
            (form::tick(t.expand, "expand", true))
            button type="submit" { (t.add) }
        }))
    }
}

fn schedules(page: &Page, at: &str, settings: &SettingsPage) -> Markup {
    let t = page.t();
    html! {
        @if settings.schedules.is_empty() { p.empty { (t.none_yet) } } @else { div.scroll { table {
            thead { tr { th { (t.description) } th { (t.git_ref) } th { (t.cron) } th { (t.next_run) } th { (t.user) } th {} } }
            tbody { @for row in &settings.schedules { tr {
                td { (row.description) } td { span.ref { (row.git_ref) } }
                td { code { (row.cron) } " " span.quiet { (row.time_zone) } }
                td { @if row.active { (ago(row.next, page.now, t)) } @else { (t.inactive) } }
                td { (row.owner) }
                td.deeds {
                    (form::button(page, &format!("{at}/schedules/{}/play", row.id), t.run_now, ""))
                    (form::button(page, &format!("{at}/schedules/{}/delete", row.id), t.delete, "danger"))
                }
            } } }
        } } }
        (form::more(page, t.new_schedule, &format!("{at}/schedules"), &html! {
            (form::required(t.description, "description", "text", "off"))
            (form::field(t.git_ref, "ref", "text", &settings.default_branch))
            (form::field(t.cron, "cron", "text", "0 4 * * *"))
            (form::field(t.time_zone, "cron_timezone", "text", "UTC"))
            label { span { (t.variables) " – " (t.one_variable_a_line) } textarea name="variables" rows="2" spellcheck="false" {} }
            (form::tick(t.active, "active", true))
            button type="submit" { (t.add) }
        }))
    }
}

fn triggers(page: &Page, at: &str, rows: &[TriggerRow]) -> Markup {
    let t = page.t();
    html! {
        @if rows.is_empty() { p.empty { (t.none_yet) } } @else { div.scroll { table {
            thead { tr { th { (t.description) } th { (t.token) } th { (t.user) } th { (t.last_used) } th {} } }
            tbody { @for row in rows { tr {
                td { (row.description) } td { code { (row.short_token) "…" } } td { (row.owner) }
                td { @if row.last_used.is_some() { (ago(row.last_used, page.now, t)) } @else { (t.never) } }
                td.deeds { (form::button(page, &format!("{at}/triggers/{}/delete", row.id), t.delete, "danger")) }
            } } }
        } } }
        (form::more(page, t.new_trigger, &format!("{at}/triggers"), &html! {
            (form::required(t.description, "description", "text", "off"))
            button type="submit" { (t.add) }
        }))
    }
}

fn members(page: &Page, at: &str, rows: &[MemberRow]) -> Markup {
    let t = page.t();
    html! {
        @if rows.is_empty() { p.empty { (t.none_yet) } } @else { div.scroll { table {
            thead { tr { th { (t.user) } th { (t.role) } th {} } }
            tbody { @for row in rows { tr {
                @let level = row.level.to_string();
                td { (row.username) }
                td { (ROLES.iter().find(|(value, _)| *value == level).map_or(level.as_str(), |(_, word)| word)) }
                td.deeds { (form::button(page, &format!("{at}/members/{}/delete", row.id), t.delete, "danger")) }
            } } }
        } } }
        (form::more(page, t.add_member, &format!("{at}/members"), &html! {
            (form::required(t.user_name, "username", "text", "off"))
            (form::choice(t.role, "access_level", ROLES, "30"))
            button type="submit" { (t.add) }
        }))
    }
}

/// The users of the instance.
pub fn users_page(page: &Page, rows: &[UserRow]) -> String {
    let t = page.t();
    page.whole(t.users, &html! {
        h1 { (t.users) }
        div.scroll { table {
            thead { tr { th { (t.user_name) } th { (t.name) } th { (t.role) } th {} } }
            tbody { @for row in rows { tr {
                td { strong { (row.username) } } td { (row.name) }
                td { @if row.admin { (t.administrator) } @else { (t.user) } @if row.blocked { " " span.state.off { (t.paused) } } }
                td.deeds {
                    @if row.blocked { (form::button(page, &format!("/-/admin/users/{}/unblock", row.id), t.resume, "")) }
                    @else { (form::button(page, &format!("/-/admin/users/{}/block", row.id), t.pause, "danger")) }
                }
            } } }
        } }
        (form::more(page, t.new_user, "/-/admin/users", &html! {
            (form::required(t.user_name, "username", "text", "off"))
            (form::field(t.name, "name", "text", ""))
            (form::required(t.password, "password", "password", "new-password"))
            (form::tick(t.administrator, "admin", false))
            button type="submit" { (t.add) }
        }))
    })
}
