//! How a status looks: its word, its sign and its class. Called by every view; colour is never the only difference.

use crate::texts::Texts;
use harrier_pipeline::Status;
use maud::{Markup, html};

/// What a reader sees of a status.
pub(crate) struct Look {
    pub class: &'static str,
    /// What is drawn in the circle, in a box of 16.
    pub shape: &'static str,
    pub word: &'static str,
}

const CHECK: &str = "M5 8.2l2.1 2.1L11 6";
const CROSS: &str = "M5.7 5.7l4.6 4.6m0-4.6l-4.6 4.6";
const CLOCK: &str = "M8 4.8V8l2.2 1.4";
const SLASH: &str = "M4.2 11.8l7.6-7.6";

/// `warning`: it passed, or failed, in a way that was allowed.
pub(crate) fn look(status: Option<Status>, warning: bool, t: &Texts) -> Look {
    let (class, shape, word) = match status {
        None => ("none", "M5.5 8h5", t.state_none),
        Some(Status::Created | Status::WaitingForCallback) => ("wait", "M8 8h.01", t.state_created),
        Some(Status::WaitingForResource) => ("wait", CLOCK, t.state_waiting),
        Some(Status::Preparing) => ("wait", "M5 8h.01M8 8h.01M11 8h.01", t.state_preparing),
        Some(Status::Scheduled) => ("wait", CLOCK, t.state_scheduled),
        Some(Status::Manual) => ("manual", "M6.6 5.2v5.6L10.8 8z", t.state_manual),
        Some(Status::Pending) => ("wait", "M6.4 5.6v4.8m3.2-4.8v4.8", t.state_pending),
        Some(Status::Running) => ("run", "M8 1a7 7 0 0 1 7 7", t.state_running),
        Some(Status::Success) if warning => ("warn", "M8 4.6v4m0 2.6v.01", t.state_warning),
        Some(Status::Success) => ("good", CHECK, t.state_success),
        Some(Status::Failed) if warning => ("warn", "M8 4.6v4m0 2.6v.01", t.state_failed),
        Some(Status::Failed) => ("bad", CROSS, t.state_failed),
        Some(Status::Canceling) => ("off", SLASH, t.state_canceling),
        Some(Status::Canceled) => ("off", SLASH, t.state_canceled),
        Some(Status::Skipped) => ("off", "M5 5.6L7.4 8 5 10.4m3.6-4.8L11 8l-2.4 2.4", t.state_skipped),
    };
    Look { class, shape, word }
}

/// The circle of a status with what is in it. Its colour is that of the text around it.
pub(crate) fn icon(look: &Look) -> Markup {
    html! {
        svg.icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" {
            circle cx="8" cy="8" r="7" {}
            path d=(look.shape) {}
        }
    }
}

/// The sign and the word.
pub(crate) fn badge(status: Option<Status>, warning: bool, t: &Texts) -> Markup {
    let look = look(status, warning, t);
    html! { span.state.(look.class) { (icon(&look)) (look.word) } }
}

/// The sign alone; the word for those who do not see it.
pub(crate) fn sign(status: Option<Status>, warning: bool, t: &Texts) -> Markup {
    let look = look(status, warning, t);
    html! { span.sign.(look.class) title=(look.word) role="img" aria-label=(look.word) { (icon(&look)) } }
}
