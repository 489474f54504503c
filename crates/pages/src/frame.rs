//! What is around every page: head, navigation, flash, footer; and the pages that only say that something is not there.

use crate::assets;
use crate::form;
use crate::texts::{Language, Texts};
use maud::{DOCTYPE, Markup, html};

/// Who looks.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    /// `root`.
    pub username: String,
    /// May administer the instance.
    pub admin: bool,
    /// The session's token for forms.
    pub csrf: String,
}

/// Where in a project the page is.
#[derive(Clone, Debug, Default)]
pub struct ProjectPlace {
    /// `group/name`.
    pub path: String,
    /// The viewer may see the settings.
    pub settings: bool,
    /// The viewer may see its code.
    pub code: bool,
}

/// A message shown once, after a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flash {
    /// It worked.
    Done(String),
    /// It did not; the text says why and what to do.
    Failed(String),
    /// A secret that is shown this once.
    Token(String),
}

/// What every page is told.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Language of its texts.
    pub language: Language,
    /// Who looks; nobody: not logged in.
    pub viewer: Option<Viewer>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// Path and query of this page, where a form comes back to.
    pub here: String,
    /// The project it belongs to.
    pub project: Option<ProjectPlace>,
    /// Shown above the content.
    pub flash: Option<Flash>,
    /// Path of the server-sent events after which the page fetches itself again.
    pub events: Option<String>,
    /// How much had happened before the page looked; its events begin there.
    pub seen: u64,
}

impl Page {
    pub(crate) fn t(&self) -> &'static Texts {
        self.language.texts()
    }

    /// The page whole.
    pub(crate) fn whole(&self, title: &str, content: &Markup) -> String {
        let t = self.t();
        let title = match &self.project {
            Some(project) => format!("{title} · {}", project.path),
            None => title.to_owned(),
        };
        html! {
            (DOCTYPE)
            html lang=(self.language.html()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · Harrier" }
                    link rel="icon" href=(assets::path("harrier.svg")) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::path("harrier.css"));
                    script src=(assets::path("theme.js")) {}
                    script src=(assets::path("harrier.js")) defer {}
                }
                body data-events=[self.events.as_deref().map(|path| since(path, self.seen))] data-now=(self.now) {
                    a.skip href="#content" { (t.skip_to_content) }
                    (self.navigation())
                    main #content tabindex="-1" {
                        @match &self.flash {
                            Some(Flash::Done(text)) => p.flash.good role="status" { (text) },
                            Some(Flash::Failed(text)) => p.flash.bad role="alert" { (text) },
                            Some(Flash::Token(token)) => p.flash.good role="status" { (t.new_token_is) " " code.token { (token) } },
                            None => {},
                        }
                        (*content)
                    }
                }
            }
        }
        .into_string()
    }

    fn navigation(&self) -> Markup {
        let t = self.t();
        html! {
            header.top {
                nav aria-label="Harrier" {
                    a.brand href="/" { (assets::sign()) "Harrier" }
                    @let current = |path: &str| (path == self.here).then_some("page");
                    a href="/" aria-current=[current("/")] { (t.projects) }
                    @if let Some(viewer) = &self.viewer {
                        @if viewer.admin {
                            a href="/-/admin/runners" aria-current=[current("/-/admin/runners")] { (t.runners) }
                            a href="/-/admin/users" aria-current=[current("/-/admin/users")] { (t.users) }
                        }
                    }
                    span.grow {}
                    (self.other_language())
                    button.plain data-theme-switch type="button" title=(t.theme) aria-label=(t.theme) { "◐" }
                    @match &self.viewer {
                        Some(viewer) => {
                            a href="/-/profile" { (viewer.username) }
                            (form::button(self, "/-/logout", t.log_out, "plain"))
                        }
                        None => a href="/-/login" { (t.log_in) },
                    }
                }
                @if let Some(project) = &self.project {
                    @let at = format!("/{}", project.path);
                    @let part = self.part();
                    @let current = |name: &str| (name == part).then_some("page");
                    nav.sub aria-label=(t.project) {
                        a.strong href=(at) aria-current=[current("")] { (project.path) }
                        a href=(format!("{at}/-/pipelines")) aria-current=[current("pipelines")] { (t.pipelines) }
                        @if project.code {
                            a href=(format!("{at}/-/merge_requests")) aria-current=[current("merge_requests")] { (t.merge_requests) }
                        }
                        a href=(format!("{at}/-/environments")) aria-current=[current("environments")] { (t.environments) }
                        a href=(format!("{at}/-/pipelines/charts")) aria-current=[current("charts")] { (t.charts) }
                        @if project.settings {
                            a href=(format!("{at}/-/settings/ci_cd")) aria-current=[current("settings")] { (t.settings) }
                        }
                    }
                }
            }
        }
    }

    /// The part of the project that this page belongs to, as its navigation has them.
    fn part(&self) -> &'static str {
        let path = self.here.split('?').next().unwrap_or_default();
        let Some((_, rest)) = path.split_once("/-/") else { return "" };
        match rest.split('/').next() {
            _ if rest == "pipelines/charts" => "charts",
            Some("pipelines" | "jobs") => "pipelines",
            Some("environments") => "environments",
            Some("merge_requests") => "merge_requests",
            Some("settings" | "runners") => "settings",
            _ => "",
        }
    }

    fn other_language(&self) -> Markup {
        let (other, word) = match self.language {
            Language::English => (Language::Chinese, "中文"),
            Language::Chinese => (Language::English, "English"),
        };
        let back = address_part(&self.here);
        html! { a lang=(other.html()) href=(format!("/-/language/{}?back={back}", other.code())) { (word) } }
    }
}

/// One fact of a list of them.
pub(crate) fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (*value) } } }
}

/// A text as a part of a query.
pub(crate) fn address_part(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A page that says why there is none. `detail`: what happened, for 400 and 422.
pub fn error_page(page: &Page, code: u16, detail: Option<&str>) -> String {
    let t = page.t();
    let (title, hint) = match code {
        401 | 403 => (t.forbidden, t.forbidden_hint),
        404 => (t.not_found, t.not_found_hint),
        400..=499 => (t.bad_request, ""),
        _ => (t.something_failed, t.something_failed_hint),
    };
    page.whole(
        title,
        &html! {
            section.narrow.card {
                p.code { (code) }
                h1 { (title) }
                p { (detail.unwrap_or(hint)) }
                @if page.viewer.is_none() { p { a.button.primary href="/-/login" { (t.log_in) } } }
            }
        },
    )
}

fn since(path: &str, seen: u64) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}seen={seen}")
}
