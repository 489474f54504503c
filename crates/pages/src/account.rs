//! Logging in, the first password, and what a user may change about themselves.

use crate::form;
use crate::frame::Page;
use crate::texts::Language;
use crate::time::ago;
use maud::html;

/// The form to log in.
#[derive(Clone, Debug, Default)]
pub struct LoginPage {
    /// The name of the try before.
    pub username: String,
    /// Where to go afterwards.
    pub back: String,
    /// Against forged log-ins.
    pub csrf: String,
}

/// The form behind a one-time link.
#[derive(Clone, Debug, Default)]
pub struct SetPasswordPage {
    /// Whose password.
    pub username: String,
    /// The secret of the link.
    pub token: String,
}

/// A personal access token.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `api read_api`.
    pub scopes: String,
    /// Milliseconds; `None`: never.
    pub expires: Option<i64>,
    /// Milliseconds.
    pub last_used: Option<i64>,
}

/// What a user may change about themselves.
#[derive(Clone, Debug, Default)]
pub struct ProfilePage {
    /// Their tokens.
    pub tokens: Vec<TokenRow>,
}

/// The form to log in.
pub fn login_page(page: &Page, login: &LoginPage) -> String {
    let t = page.t();
    page.whole(t.log_in, &html! {
        section.narrow.card {
            h1 { (t.log_in) }
            form.fields method="post" action="/-/login" {
                input type="hidden" name="csrf" value=(login.csrf);
                input type="hidden" name="back" value=(login.back);
                label { span { (t.user_name) } input name="username" autocomplete="username" autocapitalize="none" required value=(login.username); }
                (form::required(t.password, "password", "password", "current-password"))
                button type="submit" { (t.log_in) }
            }
        }
    })
}

/// The form that sets the first password.
pub fn set_password_page(page: &Page, set: &SetPasswordPage) -> String {
    let t = page.t();
    page.whole(
        t.set_password,
        &html! {
            section.narrow.card {
                h1 { (t.set_password) ": " (set.username) }
                p { (t.set_password_hint) }
                form.fields method="post" action="/-/setup" {
                    input type="hidden" name="token" value=(set.token);
                    (form::required(t.new_password, "password", "password", "new-password"))
                    (form::required(t.repeat_password, "repeated", "password", "new-password"))
                    button type="submit" { (t.set_password) }
                }
            }
        },
    )
}

/// Password, language and access tokens.
pub fn profile_page(page: &Page, profile: &ProfilePage) -> String {
    let t = page.t();
    let languages = [Language::English, Language::Chinese].map(|language| {
        (
            language.code(),
            match language {
                Language::English => "English",
                Language::Chinese => "中文",
            },
        )
    });
    page.whole(t.profile, &html! {
        h1 { (t.profile) }
        section.block { h2 { (t.tokens) }
        @if profile.tokens.is_empty() { p.empty { (t.none_yet) } } @else { div.scroll { table {
            thead { tr { th { (t.name) } th { (t.scopes) } th { (t.expires) } th { (t.last_used) } th {} } }
            tbody { @for token in &profile.tokens { tr {
                td { (token.name) } td { (token.scopes) }
                td { @if token.expires.is_some() { (ago(token.expires, page.now, t)) } @else { (t.never) } }
                td { @if token.last_used.is_some() { (ago(token.last_used, page.now, t)) } @else { (t.never) } }
                td.deeds { (form::button(page, &format!("/-/profile/tokens/{}/delete", token.id), t.delete, "danger")) }
            } } }
        } } }
        (form::more(page, t.new_token, "/-/profile/tokens", &html! {
            (form::required(t.name, "name", "text", "off"))
            (form::field(t.expires, "expires", "date", ""))
            fieldset { legend { (t.scopes) }
                @for scope in ["api", "read_api", "read_repository", "write_repository", "create_runner"] { (form::tick(scope, &format!("scope:{scope}"), scope == "api")) }
            }
            button type="submit" { (t.add) }
        })) }
        section.block { h2 { (t.password) }
        (form::form(page, "/-/profile/password", &html! {
            (form::required(t.old_password, "old", "password", "current-password"))
            (form::required(t.new_password, "password", "password", "new-password"))
            (form::required(t.repeat_password, "repeated", "password", "new-password"))
            button type="submit" { (t.save) }
        })) }
        section.block { h2 { (t.language) }
        (form::form(page, "/-/profile/language", &html! {
            (form::choice(t.language, "language", languages, page.language.code()))
            button type="submit" { (t.save) }
        })) }
    })
}
