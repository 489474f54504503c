//! Why a job failed, inside Harrier, and which of it a server is told (`runner-api.md` §14.1).

/// The runner's own failure reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The script, or any stage run for it, ended with a code other than 0.
    ScriptFailure,
    /// Harrier or the machine under it failed.
    RunnerSystemFailure,
    /// A time limit was reached.
    JobExecutionTimeout,
    /// An image could not be pulled and nobody knows why.
    ImagePullFailure,
    /// The job or the runner's settings ask for something that cannot be.
    RunnerConfigurationError,
    /// A registry, a secrets provider or the like is down.
    RunnerExternalDependencyFailure,
    /// The runner was told to stop.
    RunnerInterrupted,
    /// Nothing known.
    UnknownFailure,
    /// The job was cancelled.
    JobCanceled,
}

impl FailureReason {
    /// The name on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::ScriptFailure => "script_failure",
            Self::RunnerSystemFailure => "runner_system_failure",
            Self::JobExecutionTimeout => "job_execution_timeout",
            Self::ImagePullFailure => "image_pull_failure",
            Self::RunnerConfigurationError => "runner_configuration_error",
            Self::RunnerExternalDependencyFailure => "runner_external_dependency_failure",
            Self::RunnerInterrupted => "runner_interrupted",
            Self::UnknownFailure => "unknown_failure",
            Self::JobCanceled => "job_canceled",
        }
    }

    /// The reason to send to a server that lists `supported` (`features.failure_reasons` of the payload).
    pub fn for_server(self, supported: &[String]) -> Self {
        let mut reason = self;
        loop {
            let always =
                matches!(reason, Self::ScriptFailure | Self::RunnerSystemFailure | Self::JobExecutionTimeout);
            if always || supported.iter().any(|name| name == reason.wire()) {
                return reason;
            }
            reason = match reason {
                Self::ImagePullFailure | Self::RunnerExternalDependencyFailure => Self::RunnerSystemFailure,
                Self::RunnerConfigurationError => Self::ScriptFailure,
                Self::ScriptFailure
                | Self::RunnerSystemFailure
                | Self::JobExecutionTimeout
                | Self::RunnerInterrupted
                | Self::UnknownFailure
                | Self::JobCanceled => return Self::UnknownFailure,
            };
        }
    }

    /// Whether the log says "system failure" (`runner-api.md` §15.6).
    pub fn is_system(self) -> bool {
        match self {
            Self::RunnerSystemFailure
            | Self::ImagePullFailure
            | Self::RunnerConfigurationError
            | Self::RunnerExternalDependencyFailure
            | Self::RunnerInterrupted
            | Self::UnknownFailure => true,
            Self::ScriptFailure | Self::JobExecutionTimeout | Self::JobCanceled => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FailureReason::*;

    #[test]
    fn maps_to_what_the_server_knows() {
        let none: [String; 0] = [];
        let listed = ["runner_interrupted".to_owned(), "runner_configuration_error".to_owned()];
        for (reason, supported, sent) in [
            (ScriptFailure, &none[..], ScriptFailure),
            (JobExecutionTimeout, &none, JobExecutionTimeout),
            (ImagePullFailure, &none, RunnerSystemFailure),
            (RunnerExternalDependencyFailure, &none, RunnerSystemFailure),
            (RunnerConfigurationError, &none, ScriptFailure),
            (RunnerConfigurationError, &listed, RunnerConfigurationError),
            (RunnerInterrupted, &none, UnknownFailure),
            (RunnerInterrupted, &listed, RunnerInterrupted),
            (JobCanceled, &none, UnknownFailure),
        ] {
            assert_eq!(reason.for_server(supported), sent);
        }
    }
}
