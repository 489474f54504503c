//! Job state updates (`runner-api.md` §5).

use crate::Info;
use harrier_base::{Secret, exposed};
use serde::{Deserialize, Serialize};

/// `PUT /jobs/:id` (§5.1).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateRequest {
    /// §3.2
    pub info: Info,
    /// Job token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// What the job is.
    pub state: JobState,
    /// Only when there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failure_reason: String,
    /// Deprecated copy of `output.checksum`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    /// Always, `{}` when the job is accepted.
    pub output: Output,
    /// Only when not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// §5.1
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// `crc32:` and eight hex digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    /// Bytes of the log.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytesize: u64,
}

/// The states a runner reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Reserved, not accepted.
    Pending,
    /// Accepted, or still at work.
    #[default]
    Running,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptance_has_an_empty_output() {
        let put = UpdateRequest { token: Secret::new("t"), ..UpdateRequest::default() };
        let json = serde_json::to_value(&put).expect("plain data");
        assert_eq!(json["output"], serde_json::json!({}));
        assert_eq!(json["state"], "running");
        for absent in ["failure_reason", "checksum", "exit_code"] {
            assert!(json.get(absent).is_none(), "{absent}");
        }
        assert_eq!(json["info"]["features"]["two_phase_job_commit"], false);
    }
}
