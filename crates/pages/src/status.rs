//! How a status looks: its word, its sign and its class. Called by every view; colour is never the only difference.

use crate::texts::Texts;
use harrier_pipeline::Status;
use maud::{Markup, html};

/// What a reader sees of a status.
pub(crate) struct Look {
    pub class: &'static str,
    pub sign: &'static str,
    pub word: &'static str,
}

/// `warning`: it passed, or failed, in a way that was allowed.
pub(crate) fn look(status: Option<Status>, warning: bool, t: &Texts) -> Look {
    let (class, sign, word) = match status {
        None => ("none", "–", t.state_none),
        Some(Status::Created | Status::WaitingForCallback) => ("wait", "○", t.state_created),
        Some(Status::WaitingForResource) => ("wait", "◷", t.state_waiting),
        Some(Status::Preparing) => ("wait", "◌", t.state_preparing),
        Some(Status::Scheduled) => ("wait", "◷", t.state_scheduled),
        Some(Status::Manual) => ("manual", "▷", t.state_manual),
        Some(Status::Pending) => ("wait", "◔", t.state_pending),
        Some(Status::Running) => ("run", "◑", t.state_running),
        Some(Status::Success) if warning => ("warn", "!", t.state_warning),
        Some(Status::Success) => ("good", "✓", t.state_success),
        Some(Status::Failed) if warning => ("warn", "!", t.state_failed),
        Some(Status::Failed) => ("bad", "✗", t.state_failed),
        Some(Status::Canceling) => ("off", "⊘", t.state_canceling),
        Some(Status::Canceled) => ("off", "⊘", t.state_canceled),
        Some(Status::Skipped) => ("off", "»", t.state_skipped),
    };
    Look { class, sign, word }
}

/// The sign and the word.
pub(crate) fn badge(status: Option<Status>, warning: bool, t: &Texts) -> Markup {
    let look = look(status, warning, t);
    html! { span.state.(look.class) { span.sign aria-hidden="true" { (look.sign) } (look.word) } }
}

/// The sign alone; the word for those who do not see it.
pub(crate) fn sign(status: Option<Status>, warning: bool, t: &Texts) -> Markup {
    let look = look(status, warning, t);
    html! { span.sign.(look.class) title=(look.word) role="img" aria-label=(look.word) { (look.sign) } }
}
