//! The contract as checks: what each request must look like by itself (`runner-api.md` §1.2, §1.3, §2, §3.1, §3.2,
//! §5.1, §6.1, §9.1, §9.3). Rules about the order of requests live beside the state they need.
//!
//! Called by `server` for every request, faults or not. It must never decide an answer.

use crate::faults::On;
use crate::server::{Call, Inner};
use axum::http::HeaderName;
use serde_json::{Map, Value};

/// Largest trace chunk (§6.1).
pub(crate) const LARGEST_CHUNK: usize = 1 << 20;

/// Largest job request body the front proxy takes (§3.7).
pub(crate) const LARGEST_JOB_REQUEST: usize = 32 << 10;

/// Every feature flag (§3.2).
const FEATURES: [&str; 31] = [
    "variables",
    "image",
    "services",
    "artifacts",
    "cache",
    "fallback_cache_keys",
    "shared",
    "upload_multiple_artifacts",
    "upload_raw_artifacts",
    "session",
    "terminal",
    "refspecs",
    "masking",
    "proxy",
    "raw_variables",
    "artifacts_exclude",
    "multi_build_steps",
    "trace_reset",
    "trace_checksum",
    "trace_size",
    "vault_secrets",
    "cancelable",
    "return_exit_code",
    "service_variables",
    "service_multiple_aliases",
    "image_executor_opts",
    "service_executor_opts",
    "cancel_gracefully",
    "native_steps_integration",
    "two_phase_job_commit",
    "job_inputs",
];

/// What a runner of this contract can always do (§3.2, network layer).
const ALWAYS_TRUE: [&str; 6] = [
    "trace_reset",
    "trace_checksum",
    "trace_size",
    "cancelable",
    "cancel_gracefully",
    "two_phase_job_commit",
];

/// Everything wrong with the form of one request.
pub(crate) fn form(call: &Call) -> Vec<String> {
    let mut slips = Vec::new();
    if call.on == On::Git || call.on == On::Storage {
        return slips;
    }
    common(call, &mut slips);
    match call.on {
        On::Register => register(call, &mut slips),
        On::Verify => {
            members(call, &["token", "system_id", "info"], &["token", "info"], &mut slips);
            system_id(call, &mut slips);
        }
        On::Unregister => {
            let managers = call.uri.path().ends_with("/managers");
            let known: &[&str] = if managers { &["token", "system_id"] } else { &["token"] };
            members(call, known, known, &mut slips);
        }
        On::Request => job_request(call, &mut slips),
        On::Touch | On::Final => update(call, &mut slips),
        On::Trace => trace(call, &mut slips),
        On::Upload => upload(call, &mut slips),
        On::Download => download(call, &mut slips),
        On::Reset | On::Storage | On::Git | On::Other => {}
    }
    if let Some(found) = call.json.as_ref().and_then(|json| json.get("info")) {
        let wants_executor = matches!(call.on, On::Request | On::Touch | On::Final);
        info(found, wants_executor, &mut slips);
    }
    slips
}

/// A correlation id belongs to one request; only a retry of the same request may bear it again (§1.2).
pub(crate) fn request_id(inner: &mut Inner, call: &Call) {
    if matches!(call.on, On::Git | On::Storage) {
        return;
    }
    let id = call.header("x-request-id").to_owned();
    let is_uuid4 = id.len() == 32
        && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && id.as_bytes().get(12) == Some(&b'4');
    if !is_uuid4 {
        inner.slip(call, format_args!("X-Request-Id {id:?} is no UUIDv4 without dashes (§1.2)"));
        return;
    }
    // A redirect that is followed is still the same request.
    let this = format!("{} {}", call.method, call.path.join("/"));
    let first = inner.request_ids.entry(id).or_insert_with(|| this.clone()).clone();
    if first != this {
        inner.slip(call, format_args!("its X-Request-Id was already used for {first} (§1.2)"));
    }
}

fn common(call: &Call, slips: &mut Vec<String>) {
    if !is_user_agent(call.header("user-agent")) {
        slips.push(format!(
            "User-Agent {:?} is not `<name> <version> (<branch>; <compiler>; <os>/<arch>)` (§1.2)",
            call.header("user-agent")
        ));
    }
    for name in call.headers.keys() {
        if is_forbidden(name) {
            slips.push(format!("sends the header {name} (§1.2)"));
        }
    }
    let content_type = call.header("content-type");
    match call.on {
        On::Trace if content_type != "text/plain" => {
            slips.push(format!("Content-Type {content_type:?} instead of text/plain (§1.2)"));
        }
        On::Upload if !content_type.starts_with("multipart/form-data; boundary=") => {
            slips.push(format!("Content-Type {content_type:?} instead of multipart/form-data (§9.1)"));
        }
        On::Trace | On::Upload => {}
        On::Download if !call.body.is_empty() => slips.push("a GET with a body".into()),
        _ if !call.body.is_empty() && content_type != "application/json" => {
            slips.push(format!("Content-Type {content_type:?} instead of application/json (§1.2)"));
        }
        _ if !call.body.is_empty() && call.json.is_none() => slips.push("the body is no JSON".into()),
        _ => {}
    }
    let decodes = matches!(call.on, On::Register | On::Reset | On::Request)
        || (call.on == On::Verify && !call.header("accept").is_empty());
    let accept = call.header("accept");
    if decodes && accept != "application/json" {
        slips.push(format!("Accept {accept:?} although a JSON answer will be decoded (§1.2)"));
    }
    // `*/*` is what an HTTP client library adds by itself and says nothing.
    if matches!(call.on, On::Touch | On::Final | On::Trace | On::Unregister | On::Upload | On::Download)
        && !matches!(accept, "" | "*/*")
    {
        slips.push(format!("Accept {accept:?} where no JSON answer is decoded (§1.2)"));
    }
    tokens(call, slips);
}

fn tokens(call: &Call, slips: &mut Vec<String>) {
    let runner_token = call.header("runner-token");
    let job_token = call.header("job-token");
    match call.on {
        On::Register | On::Verify | On::Unregister | On::Request => {
            if runner_token.is_empty() || runner_token != call.text("token") {
                slips.push("RUNNER-TOKEN is not the token of the body (§1.3)".into());
            }
            if !job_token.is_empty() {
                slips.push("a JOB-TOKEN on a runner's endpoint (§1.2)".into());
            }
        }
        On::Touch | On::Final => {
            if job_token.is_empty() || job_token != call.text("token") {
                slips.push("JOB-TOKEN is not the token of the body (§1.3)".into());
            }
        }
        On::Trace | On::Upload | On::Download => {
            if job_token.is_empty() {
                slips.push("JOB-TOKEN is missing (§1.3)".into());
            }
        }
        On::Reset | On::Storage | On::Git | On::Other => {}
    }
    let for_job = matches!(call.on, On::Touch | On::Final | On::Trace | On::Upload | On::Download);
    if for_job && !runner_token.is_empty() {
        slips.push("a RUNNER-TOKEN on a job's endpoint (§1.2)".into());
    }
    if call.query().iter().any(|(key, _)| key == "token") {
        slips.push("a token in the address".into());
    }
}

fn is_forbidden(name: &HeaderName) -> bool {
    name.as_str().starts_with("if-") || matches!(name.as_str(), "authorization" | "cookie")
}

fn is_user_agent(text: &str) -> bool {
    let Some((front, back)) = text.split_once(" (") else { return false };
    let Some(inside) = back.strip_suffix(')') else { return false };
    let parts: Vec<&str> = inside.split("; ").collect();
    let [branch, compiler, platform] = parts.as_slice() else { return false };
    let program: Vec<&str> = front.split(' ').collect();
    let [name, version] = program.as_slice() else { return false };
    let both = platform.split_once('/').is_some_and(|(os, arch)| !os.is_empty() && !arch.is_empty());
    both && [name, version, branch, compiler].iter().all(|part| !part.is_empty())
}

/// Unknown members, missing members, and empty ones that must be left out.
fn members(call: &Call, known: &[&str], required: &[&str], slips: &mut Vec<String>) {
    let empty = Map::new();
    let object = call.json.as_ref().and_then(Value::as_object).unwrap_or(&empty);
    for (key, value) in object {
        if !known.contains(&key.as_str()) {
            slips.push(format!("the body has an unknown member {key:?}"));
        } else if value.is_null() || value == "" {
            slips.push(format!("{key:?} is empty and should be left out"));
        }
    }
    for key in required {
        if !object.contains_key(*key) {
            slips.push(format!("the body has no {key:?}"));
        }
    }
}

fn register(call: &Call, slips: &mut Vec<String>) {
    let known = [
        "token",
        "description",
        "maintenance_note",
        "tag_list",
        "run_untagged",
        "locked",
        "access_level",
        "maximum_timeout",
        "paused",
        "info",
    ];
    members(call, &known, &["token", "run_untagged", "locked", "paused", "info"], slips);
    let Some(body) = &call.json else { return };
    for flag in ["run_untagged", "locked", "paused"] {
        if !body[flag].is_boolean() {
            slips.push(format!("{flag:?} is not a boolean (§2.1)"));
        }
    }
    if body.get("maximum_timeout").is_some_and(|value| value.as_i64().is_none_or(|seconds| seconds == 0)) {
        slips.push("maximum_timeout is 0 or no number (§2.1)".into());
    }
    if !matches!(call.text("access_level"), "" | "not_protected" | "ref_protected") {
        slips.push(format!("access_level {:?} (§2.1)", call.text("access_level")));
    }
    if body.get("tag_list").is_some_and(|value| !value.is_string()) {
        slips.push("tag_list is no comma separated string (§2.1)".into());
    }
    if !body["info"]["executor"].is_null() {
        slips.push("info.executor at registration (§2.1)".into());
    }
}

fn job_request(call: &Call, slips: &mut Vec<String>) {
    let known = ["info", "token", "system_id", "last_update", "session"];
    members(call, &known, &["info", "token", "system_id"], slips);
    system_id(call, slips);
    if call.body.len() > LARGEST_JOB_REQUEST {
        slips.push(format!("{} bytes of body, over 32 KiB (§3.7)", call.body.len()));
    }
}

fn system_id(call: &Call, slips: &mut Vec<String>) {
    let id = call.text("system_id").as_bytes();
    let good = id.len() == 14
        && matches!(id[0], b's' | b'r')
        && id[1] == b'_'
        && id[2..].iter().all(u8::is_ascii_alphanumeric);
    if !good && !id.is_empty() {
        slips.push(format!("system_id {:?} (§2.8)", call.text("system_id")));
    }
}

fn info(info: &Value, wants_executor: bool, slips: &mut Vec<String>) {
    let Some(object) = info.as_object() else {
        slips.push("info is no object (§3.2)".into());
        return;
    };
    let texts = ["name", "version", "revision", "platform", "architecture", "executor", "shell"];
    for (key, value) in object {
        match key.as_str() {
            key if texts.contains(&key) => {
                if value.as_str().is_none_or(str::is_empty) {
                    slips.push(format!("info.{key} is empty or no text (§3.2)"));
                }
            }
            "features" | "config" => {}
            "labels" => labels(value, slips),
            _ => slips.push(format!("info has an unknown member {key:?} (§3.2)")),
        }
    }
    let required: &[&str] = if wants_executor { &texts } else { &texts[..5] };
    for key in required {
        if !object.contains_key(*key) {
            slips.push(format!("info.{key} is missing (§3.2)"));
        }
    }
    if !info["config"]["gpus"].is_string() {
        slips.push("info.config.gpus is missing (§3.2)".into());
    }
    let empty = Map::new();
    let features = info["features"].as_object().unwrap_or(&empty);
    for flag in FEATURES {
        if !features.get(flag).is_some_and(Value::is_boolean) {
            slips.push(format!("info.features.{flag} is missing; every flag is always sent (§3.2)"));
        }
    }
    for flag in features.keys() {
        if !FEATURES.contains(&flag.as_str()) {
            slips.push(format!("info.features.{flag} is unknown (§3.2)"));
        }
    }
    for flag in ALWAYS_TRUE {
        if features.get(flag) == Some(&Value::Bool(false)) {
            slips.push(format!("info.features.{flag} is false (§3.2)"));
        }
    }
}

fn labels(value: &Value, slips: &mut Vec<String>) {
    let Some(labels) = value.as_object().filter(|labels| (1..=32).contains(&labels.len())) else {
        slips.push("info.labels are none or more than 32 (§3.2)".into());
        return;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    for (key, value) in labels {
        let value = value.as_str().unwrap_or("");
        let good = (3..=65).contains(&key.len())
            && key.bytes().all(plain)
            && !key.starts_with(['.', '-'])
            && (1..=256).contains(&value.len())
            && value.bytes().all(plain);
        if !good {
            slips.push(format!("label {key:?} = {value:?} (§3.2)"));
        }
    }
}

fn update(call: &Call, slips: &mut Vec<String>) {
    let known = [
        "info",
        "token",
        "state",
        "failure_reason",
        "checksum",
        "output",
        "exit_code",
        "runtime_environment_key",
    ];
    members(call, &known, &["info", "token", "state", "output"], slips);
    let Some(body) = &call.json else { return };
    let state = call.text("state");
    if !matches!(state, "running" | "success" | "failed") {
        slips.push(format!("state {state:?} (§5.1)"));
    }
    let reason = call.text("failure_reason");
    if state == "failed" && reason.is_empty() {
        slips.push("failed without a failure_reason (§14.1)".into());
    }
    if state != "failed" && !reason.is_empty() {
        slips.push(format!("{state} with failure_reason {reason:?} (§5.1)"));
    }
    exit_code(body, state, reason, slips);
    let Some(output) = body["output"].as_object() else {
        slips.push("output is no object (§5.1)".into());
        return;
    };
    for key in output.keys() {
        if !matches!(key.as_str(), "checksum" | "bytesize") {
            slips.push(format!("output has an unknown member {key:?} (§5.1)"));
        }
    }
    let checksum = output.get("checksum").map(|value| value.as_str().unwrap_or("no text"));
    if let Some(checksum) = checksum {
        let hex = checksum.strip_prefix("crc32:").unwrap_or("");
        if hex.len() != 8 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            slips.push(format!("checksum {checksum:?} is not crc32: and eight lower-case hex digits (§5.1)"));
        }
    } else if output.contains_key("bytesize") {
        slips.push("a bytesize without a checksum (§5.1)".into());
    }
    if checksum.unwrap_or("") != call.text("checksum") {
        slips.push("checksum is no copy of output.checksum (§5.1)".into());
    }
    if output.get("bytesize").is_some_and(|size| size.as_u64().is_none_or(|size| size == 0)) {
        slips.push("bytesize is 0 or no number (§5.1)".into());
    }
}

fn exit_code(body: &Value, state: &str, reason: &str, slips: &mut Vec<String>) {
    let Some(code) = body.get("exit_code") else { return };
    match code.as_i64() {
        None => slips.push("exit_code is no number (§5.1)".into()),
        Some(0) => slips.push("exit_code 0 is never sent (§5.1)".into()),
        Some(code) if i32::try_from(code).is_err() => slips.push(format!("exit_code {code} (§14.3)")),
        Some(code) => {
            let fits = match reason {
                "script_failure" => true,
                "runner_system_failure" => code == 3,
                _ => false,
            };
            if state != "failed" || !fits {
                slips.push(format!("exit_code {code} with {state} {reason} (§14.2)"));
            }
        }
    }
}

fn trace(call: &Call, slips: &mut Vec<String>) {
    let query = call.query();
    if !matches!(query.as_slice(), [(key, value)] if key == "debug_trace" && (value == "true" || value == "false"))
    {
        slips.push("the query is not debug_trace=true|false alone (§6.1)".into());
    }
    if call.body.is_empty() {
        slips.push("an empty chunk (§6.1)".into());
    }
    if call.body.len() > LARGEST_CHUNK {
        slips.push(format!("a chunk of {} bytes, over 1 MiB (§6.1)", call.body.len()));
    }
    if call.header("content-length") != call.body.len().to_string() {
        slips.push(format!("Content-Length {:?} (§6.1)", call.header("content-length")));
    }
    match range(call) {
        None => {
            let range = call.header("content-range");
            slips.push(format!("Content-Range {range:?} is not <start>-<end> (§6.1)"));
        }
        Some((start, end)) => {
            if end != (start + call.body.len() as u64).wrapping_sub(1) {
                let length = call.body.len();
                slips.push(format!(
                    "Content-Range {start}-{end} for {length} bytes; the end is inclusive (§6.1)"
                ));
            }
        }
    }
}

/// Start and end of `Content-Range`.
pub(crate) fn range(call: &Call) -> Option<(u64, u64)> {
    let (start, end) = call.header("content-range").split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(start) || !digits(end) {
        return None;
    }
    Some((start.parse().ok()?, end.parse().ok()?))
}

fn upload(call: &Call, slips: &mut Vec<String>) {
    for (key, value) in call.query() {
        if !matches!(key.as_str(), "expire_in" | "artifact_format" | "artifact_type") {
            slips.push(format!("an unknown query parameter {key:?} (§9.1)"));
        }
        if value.is_empty() {
            slips.push(format!("the query parameter {key:?} is empty and should be left out (§9.1)"));
        }
    }
}

fn download(call: &Call, slips: &mut Vec<String>) {
    let query = call.query();
    if !query.is_empty() && query != [("direct_download".to_owned(), "true".to_owned())] {
        slips.push("the query is neither empty nor direct_download=true (§9.3)".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, HeaderValue, Method};

    #[test]
    fn user_agents() {
        assert!(is_user_agent("gitlab-runner 19.4.0 (main; go1.25.1; linux/amd64)"));
        assert!(is_user_agent("harrier 0.1.0 (HEAD; rust1.95; linux/amd64)"));
        for bad in ["", "curl/8", "a 1 (b; c)", "a 1 (b; c; d)", "a 1 (b; c; d/)", "a (b; c; d/e)"] {
            assert!(!is_user_agent(bad), "{bad}");
        }
    }

    #[test]
    fn ranges_have_two_numbers_and_no_unit() {
        let range_of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-range", HeaderValue::from_str(text).expect("plain text"));
            let body = axum::body::Bytes::new();
            range(&Call::for_test(Method::PATCH, "/api/v4/jobs/1/trace", headers, body))
        };
        assert_eq!(range_of("0-99"), Some((0, 99)));
        for bad in ["", "bytes 0-9", "0-9/10", "-9", "0-", "+1-3"] {
            assert_eq!(range_of(bad), None, "{bad}");
        }
    }
}
