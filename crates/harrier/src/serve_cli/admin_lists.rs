//! What `harrier admin list` prints: a line for each entry, or JSON for scripts. No secret is in it; none is kept that could be.

use super::ServeError;
use clap::ValueEnum;
use harrier_coordinator::time_text::iso;
use harrier_database::{PageAt, Reach, Store, TokenKind};
use serde_json::{Value, json};

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Users
    Users,
    /// Personal access tokens, projects' tokens and trigger tokens
    Tokens,
    /// Runners
    Runners,
    /// Projects
    Projects,
}

fn time(millis: Option<i64>) -> Value {
    millis.map_or(Value::Null, |millis| iso(millis).into())
}

async fn users(store: &Store) -> Result<Vec<Value>, ServeError> {
    let show = |user: harrier_database::UserView| {
        json!({
            "id": user.id,
            "username": user.username,
            "name": user.name,
            "email": user.email,
            "admin": user.admin,
            "state": if user.blocked { "blocked" } else { "active" },
            "created_at": iso(user.created_at),
        })
    };
    Ok(store.users().await?.into_iter().map(show).collect())
}

async fn tokens(store: &Store) -> Result<Vec<Value>, ServeError> {
    let people = store.users().await?;
    let mut out = Vec::new();
    for kind in [TokenKind::Personal, TokenKind::Project, TokenKind::Trigger] {
        for token in store.tokens(kind, None, None).await? {
            let owner = people.iter().find(|user| token.user == Some(user.id));
            out.push(json!({
                "id": token.id,
                "kind": token.kind,
                "user": owner.map(|user| &user.username),
                "name": token.name,
                "scopes": token.scopes,
                "project_id": token.project,
                "access_level": token.access_level,
                "created_at": iso(token.created_at),
                "expires_at": time(token.expires_at),
                "last_used_at": time(token.used_at),
            }));
        }
    }
    Ok(out)
}

async fn runners(store: &Store) -> Result<Vec<Value>, ServeError> {
    let show = |runner: harrier_database::RunnerView| {
        json!({
            "id": runner.id,
            "description": runner.description,
            "type": runner.kind(),
            "projects": match &runner.offer.reach {
                Reach::Projects(projects) => json!(projects),
                Reach::Instance => Value::Null,
            },
            "tags": runner.offer.tags,
            "run_untagged": runner.offer.run_untagged,
            "protected_only": runner.offer.protected_only,
            "paused": runner.offer.paused,
            "created_at": iso(runner.created_at),
            "contacted_at": time(runner.contacted_at),
        })
    };
    Ok(store.runners(None).await?.into_iter().map(show).collect())
}

async fn projects(store: &Store) -> Result<Vec<Value>, ServeError> {
    let mut out = Vec::new();
    for number in 1.. {
        let page = store.projects(None, true, "", PageAt { number, size: 500 }).await?;
        if page.entries.is_empty() {
            break;
        }
        out.extend(page.entries.into_iter().map(|project| {
            json!({
                "id": project.id,
                "path": project.path,
                "visibility": project.visibility,
                "default_branch": project.default_branch,
                "created_at": iso(project.created_at),
                "last_activity_at": iso(project.active_at),
            })
        }));
    }
    Ok(out)
}

/// The columns of the lines.
fn columns(what: What) -> &'static [&'static str] {
    match what {
        What::Users => &["id", "username", "state", "admin", "email"],
        What::Tokens => &["id", "kind", "user", "name", "scopes", "expires_at"],
        What::Runners => &["id", "type", "description", "tags", "paused", "contacted_at"],
        What::Projects => &["id", "path", "visibility"],
    }
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    // A name must not make lines or columns of its own, nor act on a terminal.
    text.replace(char::is_control, " ")
}

/// The list as it is printed.
pub async fn listing(store: &Store, what: What, as_json: bool) -> Result<String, ServeError> {
    let entries = match what {
        What::Users => users(store).await?,
        What::Tokens => tokens(store).await?,
        What::Runners => runners(store).await?,
        What::Projects => projects(store).await?,
    };
    if as_json {
        return Ok(format!("{:#}\n", Value::Array(entries)));
    }
    let line =
        |one: &Value| columns(what).iter().map(|name| cell(&one[*name])).collect::<Vec<_>>().join("\t");
    let lines = entries.iter().map(line);
    Ok([columns(what).join("\t")].into_iter().chain(lines).map(|line| line + "\n").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cell() {
        for (value, text) in [
            (json!(null), "-"),
            (json!(""), "-"),
            (json!([]), "-"),
            (json!(["a", "b"]), "a,b"),
            (json!("a\tb\u{1b}[2J\nc"), "a b [2J c"),
            (json!(true), "true"),
        ] {
            assert_eq!(cell(&value), text);
        }
    }
}
