//! Answers that say no, in GitLab's form (`runner-api.md` §1.5), and how the store's errors become them. Called by every surface that
//! speaks JSON.

use crate::make_pipeline::MakeError;
use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use harrier_database::DatabaseError;

/// What a handler gives.
pub type Answer<T = Response> = Result<T, Refusal>;

/// An answer that says no.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Under `message`: a text, or an object of lists by field.
    pub message: serde_json::Value,
    /// More headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// With a text of its own.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: serde_json::Value::String(message.into()), headers: Vec::new() }
    }

    /// `400 Bad request - …`
    pub fn bad(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("400 Bad request - {why}"))
    }

    /// `401 Unauthorized`
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "401 Unauthorized")
    }

    /// `403 Forbidden`, with a reason or without.
    pub fn forbidden(why: &str) -> Self {
        let text = if why.is_empty() { "403 Forbidden".to_owned() } else { format!("403 Forbidden - {why}") };
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// `404 … Not Found`
    pub fn not_found(what: &str) -> Self {
        let mut name = what.to_owned();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self::new(StatusCode::NOT_FOUND, format!("404 {name} Not Found"))
    }

    /// With one more header; a value that cannot be one is left out.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let headers: HeaderMap = self.headers.into_iter().collect();
        (self.status, headers, Json(serde_json::json!({ "message": self.message }))).into_response()
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::NotFound(what) => Self::not_found(what),
            DatabaseError::Conflict { .. } => {
                Self::new(StatusCode::CONFLICT, format!("409 Conflict - {error}"))
            }
            DatabaseError::Taken { what, .. } => Self {
                status: StatusCode::BAD_REQUEST,
                message: serde_json::json!({ what: ["has already been taken"] }),
                headers: Vec::new(),
            },
            DatabaseError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "503 Service Unavailable - the server stops")
                    .with("retry-after", "5")
            }
            DatabaseError::Newer { .. }
            | DatabaseError::Open { .. }
            | DatabaseError::Failed { .. }
            | DatabaseError::Damaged { .. }
            | DatabaseError::Sealed => {
                tracing::error!(error = %error, "a request failed in the database");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error")
            }
        }
    }
}

impl From<MakeError> for Refusal {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Database(error) => error.into(),
            MakeError::Storage(error) => error.into(),
            MakeError::NoCommit(_) => Self::not_found("commit"),
            MakeError::Git(_) | MakeError::Missing(_) | MakeError::Compiler => {
                tracing::error!(error = %error, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error")
            }
        }
    }
}
