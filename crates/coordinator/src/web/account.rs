//! Logging in and out, the one-time link, and what users change about themselves.

use super::table::same;
use super::visit::{
    Failure, Shown, Visit, cookie, go, go_with, html, local, set_cookie, set_language as keep_language,
};
use crate::auth::{COOKIE, Scope, log_in as check};
use crate::password;
use axum::http::StatusCode;
use harrier_database::{NewToken, TokenKind, UserEdit};
use harrier_pages::{
    Flash, Language, LoginPage, ProfilePage, SetPasswordPage, TokenRow, login_page, profile_page,
    set_password_page,
};

/// How long a log-in lasts, in milliseconds.
const SESSION: i64 = 14 * 24 * 3_600_000;
/// Cookie against log-ins that another site sends.
const LOGIN: &str = "harrier_login";

fn secure(visit: &Visit) -> bool {
    visit.app.settings.external_url.starts_with("https://")
}

pub(super) async fn login(visit: Visit) -> Shown {
    if visit.session().is_some() {
        return Ok(go(local(visit.asked("back"))));
    }
    login_form(&visit, "", visit.asked("back"), None)
}

fn login_form(visit: &Visit, username: &str, back: &str, wrong: Option<String>) -> Shown {
    let csrf = match cookie(&visit.headers, LOGIN) {
        Some(csrf) => csrf,
        None => TokenKind::Session.make()?.expose().to_owned(),
    };
    let shown = LoginPage { username: username.to_owned(), back: local(back).to_owned(), csrf: csrf.clone() };
    let mut page = visit.page();
    if let Some(wrong) = wrong {
        page.flash = Some(Flash::Failed(wrong));
    }
    let mut response = html(login_page(&page, &shown));
    set_cookie(&mut response, LOGIN, &csrf, "; Max-Age=3600", secure(visit));
    Ok(response)
}

pub(super) async fn log_in(visit: Visit) -> Shown {
    let username = visit.sent("username").trim().to_owned();
    let known = cookie(&visit.headers, LOGIN).is_some_and(|cookie| same(&cookie, visit.sent("csrf")));
    if !known {
        return Err(Failure::Bad("the form is out of date; load the log-in page again".to_owned()));
    }
    match check(&visit.app, &username, visit.secret("password"), visit.peer).await {
        Ok(user) => begin(&visit, user.id, local(visit.sent("back"))).await,
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
            let wrong = match visit.language() {
                Language::English => "The user name or the password is wrong.",
                Language::Chinese => "用户名或密码错误。",
            };
            let mut response = login_form(&visit, &username, visit.sent("back"), Some(wrong.to_owned()))?;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
        Err(refusal) => Err(refusal.into()),
    }
}

async fn begin(visit: &Visit, user: i64, to: &str) -> Shown {
    let (_, secret) = visit.app.store.create_session(user, visit.now + SESSION, visit.now).await?;
    let mut response = go(to);
    set_cookie(
        &mut response,
        COOKIE,
        secret.expose(),
        &format!("; Max-Age={}", SESSION / 1000),
        secure(visit),
    );
    Ok(response)
}

pub(super) async fn log_out(visit: Visit) -> Shown {
    if let Some(session) = visit.session() {
        visit.app.store.delete_session(session.id).await?;
    }
    let mut response = go("/-/login");
    set_cookie(&mut response, COOKIE, "", "; Max-Age=0", secure(&visit));
    Ok(response)
}

pub(super) async fn language(visit: Visit) -> Shown {
    let language = Language::from_code(visit.part(0)).ok_or(Failure::NotFound)?;
    let mut response = go(local(visit.asked("back")));
    keep_language(&mut response, language);
    if let Some(user) = visit.caller.user() {
        let edit = UserEdit { locale: Some(language.code().to_owned()), ..UserEdit::default() };
        visit.app.store.edit_user(user.id, edit).await?;
    }
    Ok(response)
}

/// The form behind the link that `harrier serve` prints at its first start.
pub(super) async fn setup(visit: Visit) -> Shown {
    let shown = SetPasswordPage { username: "root".to_owned(), token: visit.part(0).to_owned() };
    Ok(html(set_password_page(&visit.page(), &shown)))
}

pub(super) async fn set_up(visit: Visit) -> Shown {
    let hash = new_password(&visit).await?;
    let Some(token) = visit.app.store.use_once(&visit.secret("token"), visit.now).await? else {
        return Err(Failure::Bad(
            "this link was used already or is too old; `harrier admin password --user root` makes a new one"
                .to_owned(),
        ));
    };
    let user = token.user.ok_or(Failure::NotFound)?;
    visit.app.store.edit_user(user, UserEdit { password: Some(hash), ..UserEdit::default() }).await?;
    begin(&visit, user, "/").await
}

async fn new_password(visit: &Visit) -> Result<String, Failure> {
    if visit.sent("password") != visit.sent("repeated") {
        return Err(Failure::Bad("the two new passwords are not the same".to_owned()));
    }
    password::hash(visit.secret("password")).await.map_err(|error| Failure::Bad(error.to_string()))
}

pub(super) async fn profile(visit: Visit) -> Shown {
    profile_with(&visit, None).await
}

async fn profile_with(visit: &Visit, flash: Option<Flash>) -> Shown {
    let user = visit.user()?;
    let tokens = visit.app.store.tokens(TokenKind::Personal, Some(user.id), None).await?;
    let rows = tokens.into_iter().map(|token| TokenRow {
        id: token.id,
        name: token.name,
        scopes: token.scopes.join(", "),
        expires: token.expires_at,
        last_used: token.used_at,
    });
    let mut page = visit.page();
    page.flash = flash.or(page.flash);
    Ok(html(profile_page(&page, &ProfilePage { tokens: rows.collect() })))
}

pub(super) async fn set_language(visit: Visit) -> Shown {
    let language = Language::from_code(visit.sent("language")).ok_or(Failure::NotFound)?;
    let edit = UserEdit { locale: Some(language.code().to_owned()), ..UserEdit::default() };
    visit.app.store.edit_user(visit.user()?.id, edit).await?;
    Ok(go("/-/profile"))
}

pub(super) async fn set_password(visit: Visit) -> Shown {
    let user = visit.user()?;
    check(&visit.app, &user.username, visit.secret("old"), visit.peer).await.map_err(
        |refusal| match refusal.status {
            StatusCode::UNAUTHORIZED => Failure::Bad("the present password is wrong".to_owned()),
            _ => refusal.into(),
        },
    )?;
    let hash = new_password(&visit).await?;
    visit.app.store.edit_user(user.id, UserEdit { password: Some(hash), ..UserEdit::default() }).await?;
    Ok(go_with("/-/profile", &Flash::Done("✓".to_owned())))
}

pub(super) async fn add_token(visit: Visit) -> Shown {
    let scopes: Vec<String> = Scope::ALL
        .map(Scope::word)
        .into_iter()
        .filter(|word| visit.ticked(&format!("scope:{word}")))
        .map(Into::into)
        .collect();
    if scopes.is_empty() {
        return Err(Failure::Bad("choose at least one scope".to_owned()));
    }
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(visit.user()?.id),
        project: None,
        name: visit.required("name")?,
        scopes,
        access_level: None,
        expires_at: expiry(visit.sent("expires"))?,
    };
    let (_, secret) = visit.app.store.create_token(new, visit.now).await?;
    profile_with(&visit, Some(Flash::Token(secret.expose().to_owned()))).await
}

/// The end of a day, as `2026-11-25` names it; empty: never.
fn expiry(day: &str) -> Result<Option<i64>, Failure> {
    if day.is_empty() {
        return Ok(None);
    }
    let date: jiff::civil::Date = day.parse().map_err(|_| Failure::Bad(format!("`{day}` is no date")))?;
    let end = date.at(23, 59, 59, 0).to_zoned(jiff::tz::TimeZone::UTC);
    end.map(|end| Some(end.timestamp().as_millisecond()))
        .map_err(|_| Failure::Bad(format!("`{day}` is no date")))
}

pub(super) async fn delete_token(visit: Visit) -> Shown {
    let id = visit.id(0)?;
    let own = visit.app.store.tokens(TokenKind::Personal, Some(visit.user()?.id), None).await?;
    if !own.iter().any(|token| token.id == id) {
        return Err(Failure::NotFound);
    }
    visit.app.store.revoke_token(id, visit.now).await?;
    Ok(go("/-/profile"))
}
