//! The way to the other pages of a long list. Used by every list that has pages.

use crate::frame::Page;
use maud::{Markup, html};

/// The pages beside one, each as the query of its address; `None`: there is none.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The page before.
    pub newer: Option<String>,
    /// The page behind.
    pub older: Option<String>,
}

/// Nothing where all is on one page. `label`: what is listed.
pub(crate) fn pager(page: &Page, label: &str, at: &str, beside: &Beside) -> Markup {
    let t = page.t();
    html! {
        @if beside.newer.is_some() || beside.older.is_some() { nav.pager aria-label=(label) {
            @if let Some(query) = &beside.newer { a href=(format!("{at}?{query}")) rel="prev" { "← " (t.newer) } }
            span.grow {}
            @if let Some(query) = &beside.older { a href=(format!("{at}?{query}")) rel="next" { (t.older) " →" } }
        } }
    }
}
