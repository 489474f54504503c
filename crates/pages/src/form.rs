//! The forms of the pages: each posts, each carries the session's token against forged requests.

use crate::frame::Page;
use maud::{Markup, html};

/// A form of several fields.
pub(crate) fn form(page: &Page, action: &str, fields: &Markup) -> Markup {
    html! { form.fields method="post" action=(action) { (token(page)) (*fields) } }
}

/// A form that is only opened by who wants it: `title` says what it makes.
pub(crate) fn more(page: &Page, title: &str, action: &str, fields: &Markup) -> Markup {
    html! { details.more { summary { (title) } (form(page, action, fields)) } }
}

/// A form that is one button.
pub(crate) fn button(page: &Page, action: &str, text: &str, class: &str) -> Markup {
    html! { form.inline method="post" action=(action) { (token(page)) button.(class) type="submit" { (text) } } }
}

/// A form that is one small button in a list: a sign, with its word and what it is for.
pub(crate) fn sign(page: &Page, action: &str, sign: &str, word: &str, what: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (token(page))
            button.sign type="submit" title=(word) aria-label=(format!("{word}: {what}")) { (sign) }
        }
    }
}

/// A field with its label.
pub(crate) fn field(label: &str, name: &str, kind: &str, value: &str) -> Markup {
    html! { label { span { (label) } input name=(name) type=(kind) value=(value); } }
}

/// A field that must be filled in.
pub(crate) fn required(label: &str, name: &str, kind: &str, completes: &str) -> Markup {
    html! { label { span { (label) } input name=(name) type=(kind) autocomplete=(completes) required; } }
}

/// A box to tick.
pub(crate) fn tick(label: &str, name: &str, ticked: bool) -> Markup {
    html! { label.tick { input name=(name) type="checkbox" value="1" checked[ticked]; span { (label) } } }
}

/// One of several.
pub(crate) fn choice<'a>(
    label: &str,
    name: &str,
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
    now: &str,
) -> Markup {
    html! {
        label { span { (label) } select name=(name) {
            @for (value, text) in options { option value=(value) selected[value == now] { (text) } }
        } }
    }
}

fn token(page: &Page) -> Markup {
    html! { @if let Some(viewer) = &page.viewer { input type="hidden" name="csrf" value=(viewer.csrf); } }
}
