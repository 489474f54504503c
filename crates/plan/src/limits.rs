//! Time limits (`executors.md` §7.1, `runner-api.md` §13).

use crate::Limits;
use crate::settings::Settings;
use harrier_api::JobPayload;
use harrier_base::format_go_duration;
use harrier_config::RunnerSpec;
use std::time::Duration;

/// `RUNNER_AFTER_SCRIPT_TIMEOUT` unless the job says otherwise.
const AFTER_SCRIPT: Duration = Duration::from_secs(300);

/// The whole job's limit.
pub(crate) fn job(payload: &JobPayload) -> Duration {
    match u64::try_from(payload.runner_info.timeout) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
        Ok(_) | Err(_) => Duration::from_secs(7200),
    }
}

/// All limits.
pub(crate) fn limits(payload: &JobPayload, spec: &RunnerSpec, settings: &Settings<'_>) -> Limits {
    let job = job(payload);
    let clamp = |name: &str, value: Duration| {
        if value > job {
            settings.warn(format!(
                "{name}: {} is longer than the job's timeout, using {}",
                format_go_duration(value),
                format_go_duration(job)
            ));
        }
        value.min(job)
    };
    let from_job = |name: &str| settings.duration(name).map(|value| clamp(name, value));
    let from_config = |name: &str, value: Option<Duration>| {
        value.filter(|value| *value > Duration::ZERO).map(|value| clamp(name, value)).filter(|v| *v < job)
    };
    Limits {
        job,
        script: from_job("RUNNER_SCRIPT_TIMEOUT"),
        after_script: from_job("RUNNER_AFTER_SCRIPT_TIMEOUT").unwrap_or(AFTER_SCRIPT.min(job)),
        prepare: from_config("prepare_timeout", spec.prepare_timeout),
        get_sources: from_config("get_sources_timeout", spec.get_sources_timeout),
        graceful_kill: spec.graceful_kill_timeout,
        force_kill: spec.force_kill_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use harrier_base::{Variable, Variables};

    #[test]
    fn executors_7_1_job_timeout() {
        let mut payload = samples::payload();
        for (given, seconds) in [(3600, 3600), (0, 7200), (-5, 7200), (1, 1)] {
            payload.runner_info.timeout = given;
            assert_eq!(job(&payload).as_secs(), seconds);
        }
    }

    #[test]
    fn executors_7_1_script_timeouts() {
        let payload = samples::payload(); // job: 1 h
        for (script, after, want_script, want_after, warnings) in [
            ("", "", None, 300, 0),
            ("15m", "1m", Some(900), 60, 0),
            ("2h", "2h", Some(3600), 3600, 2),
            ("-1s", "soon", None, 300, 2),
        ] {
            let variables: Variables = [
                Variable::public("RUNNER_SCRIPT_TIMEOUT", script),
                Variable::public("RUNNER_AFTER_SCRIPT_TIMEOUT", after),
            ]
            .into_iter()
            .collect();
            let settings = Settings::new(&variables);
            let got = limits(&payload, &samples::spec(), &settings);
            assert_eq!(got.script.map(|d| d.as_secs()), want_script, "{script}");
            assert_eq!(got.after_script.as_secs(), want_after, "{after}");
            assert_eq!(settings.into_warnings().len(), warnings, "{script} {after}");
        }
    }

    #[test]
    fn runner_config_5_2_prepare_and_get_sources_timeouts() {
        let payload = samples::payload();
        let none = Variables::new();
        for (given, want, warnings) in [(60, Some(60), 0), (0, None, 0), (4000, None, 1)] {
            let mut spec = samples::spec();
            spec.prepare_timeout = Some(Duration::from_secs(given));
            let settings = Settings::new(&none);
            assert_eq!(limits(&payload, &spec, &settings).prepare.map(|d| d.as_secs()), want);
            assert_eq!(settings.into_warnings().len(), warnings);
        }
    }
}
