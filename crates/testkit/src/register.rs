//! Runner identities: register, verify, unregister, managers, token reset (`runner-api.md` §2).
//!
//! Called by `server`. It must never hand out jobs.

use crate::server::{Answer, Call, Inner, Shared};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A runner as the server knows it.
pub(crate) struct RunnerEntry {
    pub(crate) id: i64,
    pub(crate) token: String,
    pub(crate) expires: Option<String>,
    pub(crate) managers: BTreeSet<String>,
    /// The current queue value and all before it (§3.4).
    pub(crate) queue_values: Vec<String>,
    /// A queue value arrived at the runner.
    pub(crate) has_queue_value: bool,
    pub(crate) features: serde_json::Value,
}

/// A new runner; its token. `modern` ones have a `glrt-` token.
pub(crate) fn create(inner: &mut Inner, modern: bool, lifetime: Option<u64>) -> String {
    let token = if modern { format!("glrt-t1_{}", inner.word(20)) } else { format!("t1_{}", inner.word(20)) };
    let id = inner.next_runner;
    inner.next_runner += 1;
    let first_value = queue_value(inner);
    inner.runners.push(RunnerEntry {
        id,
        token: token.clone(),
        expires: lifetime.map(expiry),
        managers: BTreeSet::new(),
        queue_values: vec![first_value],
        has_queue_value: false,
        features: serde_json::Value::Null,
    });
    token
}

/// Something may have changed for the runners: each gets a new queue value.
pub(crate) fn tick(inner: &mut Inner) {
    let value = queue_value(inner);
    for runner in &mut inner.runners {
        runner.queue_values.push(value.clone());
    }
}

fn queue_value(inner: &mut Inner) -> String {
    inner.counter += 1;
    let high = crate::faults::mix(inner.counter);
    format!("{high:016x}{:016x}", crate::faults::mix(high))
}

fn expiry(seconds: u64) -> String {
    let at = SystemTime::now() + Duration::from_secs(seconds);
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a civil date, counted in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000Z", rest / 3600, rest / 60 % 60, rest % 60)
}

pub(crate) fn register(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut inner = shared.lock();
    if call.text("token") != shared.registration_token {
        return Answer::message(403, "403 Forbidden");
    }
    let untagged = call.json.as_ref().is_some_and(|json| json["run_untagged"] == true);
    if !untagged && call.text("tag_list").is_empty() {
        let text = json!({ "message": { "tags_list": [
            "can not be empty when runner is not allowed to pick untagged jobs"] } });
        return Answer::json(400, &text);
    }
    let token = create(&mut inner, false, shared.options.token_lifetime);
    identity(201, inner.runners.iter().find(|runner| runner.token == token))
}

pub(crate) fn verify(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut inner = shared.lock();
    let system_id = call.text("system_id").to_owned();
    let Some(runner) = inner.runners.iter_mut().find(|runner| runner.token == call.text("token")) else {
        return Answer::message(403, "403 Forbidden");
    };
    runner.managers.insert(if system_id.is_empty() { "<legacy>".into() } else { system_id });
    identity(200, Some(runner))
}

pub(crate) fn unregister(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut inner = shared.lock();
    if call.text("token").starts_with("glrt-") {
        inner.slip(call, "a glrt- runner is unregistered by DELETE /runners/managers (§2.5)");
    }
    let before = inner.runners.len();
    inner.runners.retain(|runner| runner.token != call.text("token"));
    if inner.runners.len() < before { Answer::plain(204) } else { Answer::message(403, "403 Forbidden") }
}

pub(crate) fn unregister_manager(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut inner = shared.lock();
    if call.text("token").is_empty() || call.text("system_id").is_empty() {
        return Answer::json(400, &json!({ "error": "system_id is missing" }));
    }
    let Some(runner) = inner.runners.iter_mut().find(|runner| runner.token == call.text("token")) else {
        return Answer::message(403, "403 Forbidden");
    };
    if runner.managers.remove(call.text("system_id")) {
        Answer::plain(204)
    } else {
        Answer::message(404, "404 Runner manager Not Found")
    }
}

pub(crate) fn reset(shared: &Arc<Shared>, call: &Call) -> Answer {
    let old = call.text("token").to_owned();
    renew(shared, |runner| runner.token == old)
}

pub(crate) fn reset_by_person(shared: &Arc<Shared>, call: &Call, id: &str) -> Answer {
    if !call.header("private-token").starts_with("glpat-") {
        return Answer::message(401, "401 Unauthorized");
    }
    renew(shared, |runner| runner.id.to_string() == id)
}

fn renew(shared: &Arc<Shared>, chosen: impl Fn(&RunnerEntry) -> bool) -> Answer {
    let mut inner = shared.lock();
    let word = inner.word(20);
    let lifetime = shared.options.token_lifetime;
    let Some(runner) = inner.runners.iter_mut().find(|runner| chosen(runner)) else {
        return Answer::message(403, "403 Forbidden");
    };
    let prefix = if runner.token.starts_with("glrt-") { "glrt-t1_" } else { "t1_" };
    runner.token = format!("{prefix}{word}");
    runner.expires = lifetime.map(expiry);
    Answer::json(201, &json!({ "token": runner.token, "token_expires_at": runner.expires }))
}

fn identity(status: u16, runner: Option<&RunnerEntry>) -> Answer {
    match runner {
        Some(runner) => Answer::json(
            status,
            &json!({ "id": runner.id, "token": runner.token, "token_expires_at": runner.expires }),
        ),
        None => Answer::message(403, "403 Forbidden"),
    }
}
