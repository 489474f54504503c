//! Reading answers: error bodies (`runner-api.md` §1.5), content types and lenient JSON (§1.4), the headers
//! that steer a job. Pure.

use crate::ClientError;
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// A whole answer.
pub(crate) struct Answer {
    /// Method and path, for messages.
    pub(crate) call: String,
    /// The server, for messages.
    pub(crate) host: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The server's `X-Request-Id`, or ours.
    pub(crate) correlation_id: String,
    /// A retriable status was seen on the way.
    pub(crate) pushed_back: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim).filter(|v| !v.is_empty())
    }

    /// The body as JSON; the content type must be exactly `application/json`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        let bad = |why: String| ClientError::Answer { call: self.call.clone(), host: self.host.clone(), why };
        if !is_json(&self.headers) {
            let found = self.header(CONTENT_TYPE.as_str()).unwrap_or("none");
            return Err(bad(format!("its content type is {found}, not application/json")));
        }
        serde_json::from_slice(&self.body).map_err(|e| bad(e.to_string()))
    }

    /// This answer as an error.
    pub(crate) fn error(&self) -> ClientError {
        ClientError::Status {
            call: self.call.clone(),
            status: self.status.as_u16(),
            reason: self.status.canonical_reason().unwrap_or("unknown status").to_owned(),
            message: self.message(),
        }
    }

    /// What the body says (§1.5), empty if nothing that can be read.
    pub(crate) fn message(&self) -> String {
        if matches!(self.status.as_u16(), 301..=303) {
            let to = self.header("location").unwrap_or("another address");
            return format!("the server sends us to {to}; use that server's address as url in config.toml");
        }
        if is_json(&self.headers) {
            return json_message(&self.body).unwrap_or_default();
        }
        storage_message(&self.body).unwrap_or_default()
    }

    /// `Job-Status`
    pub(crate) fn job_status(&self) -> Option<&str> {
        self.header("Job-Status")
    }

    /// `X-GitLab-Trace-Update-Interval`, when it is a number above 0.
    pub(crate) fn interval(&self) -> Option<Duration> {
        let text = self.header("X-GitLab-Trace-Update-Interval")?;
        match text.parse::<u64>() {
            Ok(0) => None,
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                tracing::warn!(interval = text, "the server's trace update interval is not a whole number");
                None
            }
        }
    }

    /// The right side of `Range: 0-<size>`: bytes the server has (§6.2).
    pub(crate) fn stored(&self) -> u64 {
        self.header("Range")
            .and_then(|r| r.split_once('-'))
            .and_then(|(_, size)| size.trim().parse().ok())
            .unwrap_or(0)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/json"))
}

fn json_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    match body.get("message") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Object(fields)) => {
            let fields: Vec<String> = fields
                .iter()
                .filter_map(|(key, list)| {
                    let texts: Vec<&str> = list.as_array()?.iter().filter_map(Value::as_str).collect();
                    Some(format!("{key}: {}", texts.join("; ")))
                })
                .collect();
            (!fields.is_empty()).then(|| fields.join(", "))
        }
        // The API framework's own refusals have this member instead.
        _ => body.get("error").and_then(Value::as_str).map(str::to_owned),
    }
}

/// An object storage's `<Error><Code/><Message/></Error>`.
fn storage_message(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let error = &text[text.find("<Error>")?..];
    let inner = |tag: &str| {
        let from = error.find(&format!("<{tag}>"))? + tag.len() + 2;
        let to = error[from..].find(&format!("</{tag}>"))? + from;
        Some(&error[from..to])
    };
    Some(format!("{}: {}", inner("Code")?, inner("Message").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        Answer {
            call: "POST runners/verify".to_owned(),
            host: "h".to_owned(),
            status: StatusCode::from_u16(status).expect("a status"),
            headers: headers
                .iter()
                .map(|(k, v)| (k.parse().expect("a name"), HeaderValue::from_static(v)))
                .collect(),
            body: Bytes::from_static(body.as_bytes()),
            correlation_id: String::new(),
            pushed_back: false,
        }
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    #[test]
    fn error_texts() {
        for (headers, body, want) in [
            (vec![JSON], r#"{"message":"403 Forbidden"}"#, "403 Forbidden"),
            (vec![JSON], r#"{"message":{"a":["x","y"],"b":["z"]}}"#, "a: x; y, b: z"),
            (vec![JSON], r#"{"error":"token is missing"}"#, "token is missing"),
            (vec![JSON], r#"{"message":[1]}"#, ""),
            (vec![JSON], "not json", ""),
            (vec![], r#"{"message":"no content type"}"#, ""),
            (
                vec![("content-type", "application/xml")],
                "<?xml?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
                "AccessDenied: Request has expired",
            ),
        ] {
            assert_eq!(answer(400, &headers, body).message(), want, "{body}");
        }
        let error = answer(403, &[JSON], r#"{"message":"403 Forbidden"}"#).error();
        assert_eq!(error.to_string(), "POST runners/verify: 403 Forbidden (403 Forbidden)");
    }

    #[test]
    fn only_json_is_decoded() {
        assert!(answer(200, &[JSON], "{}").json::<Value>().is_ok());
        assert!(answer(200, &[("content-type", "text/plain")], "{}").json::<Value>().is_err());
        assert!(answer(200, &[JSON], "{").json::<Value>().is_err());
    }

    #[test]
    fn steering_headers() {
        let a = answer(202, &[("range", "0-1501"), ("x-gitlab-trace-update-interval", "60")], "");
        assert_eq!((a.stored(), a.interval()), (1501, Some(Duration::from_secs(60))));
        for bad in ["", "nonsense", "0-", "0-x", "0"] {
            let headers: &'static str = bad;
            assert_eq!(answer(416, &[("range", headers)], "").stored(), 0, "{bad}");
        }
        for none in ["0", "-1", "1/2", ""] {
            assert_eq!(answer(202, &[("x-gitlab-trace-update-interval", none)], "").interval(), None);
        }
    }
}
