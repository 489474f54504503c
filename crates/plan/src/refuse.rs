//! Payloads that this runner must not start (`runner-api.md` §3.8, §4.6, §4.14, §4.15).

use crate::Refusal;
use crate::flags::{Flag, Flags};
use harrier_api::JobPayload;
use harrier_base::FailureReason;
use serde_json::{Map, Value};

/// Sections of `executor_opts` and their keys.
const EXECUTOR_OPTS: [(&str, &[&str]); 2] = [("docker", &["platform", "user"]), ("kubernetes", &["user"])];

/// Why the payload is refused, if it is.
pub(crate) fn refusal(payload: &JobPayload, flags: &Flags) -> Option<Refusal> {
    let mut messages = Vec::new();
    let images = payload.image.iter().map(|image| ("image", image));
    for (section, image) in images.chain(payload.services.iter().map(|image| ("services", image))) {
        unsupported_options(section, &image.executor_opts, &mut messages);
    }
    if payload.run.as_ref().is_some_and(|run| !run.is_empty()) {
        messages.push(if payload.steps.iter().any(|step| !step.script.is_empty()) {
            "the job has both `run` and `script`: keep only one of them".to_owned()
        } else {
            "this runner does not carry out jobs with the keyword `run`: write the job with `script`"
                .to_owned()
        });
    }
    if let Some(step) = payload.steps.iter().find(|step| !is_step_name(&step.name)) {
        messages.push(format!("the job has a step with the unusable name {:?}", step.name));
    }
    if !messages.is_empty() {
        return Some(Refusal {
            message: messages.join("\n"),
            reason: FailureReason::RunnerSystemFailure,
            exit_code: Some(3),
        });
    }
    if !payload.inputs.is_empty() && flags.on(Flag::EnableJobInputsInterpolation) {
        return Some(Refusal {
            message: "this runner does not expand job inputs: remove `inputs` from the job, or set \
                      FF_ENABLE_JOB_INPUTS_INTERPOLATION to false to leave ${{ … }} as it is"
                .to_owned(),
            reason: FailureReason::RunnerConfigurationError,
            exit_code: None,
        });
    }
    None
}

/// A step's name becomes part of stage and file names.
fn is_step_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn unsupported_options(section: &str, options: &Map<String, Value>, messages: &mut Vec<String>) {
    let mut complain = |unknown: Vec<&str>, place: &str, known: Vec<&str>| {
        if !unknown.is_empty() {
            messages.push(format!(
                "Unsupported {section:?} options [{}] for {place:?}; supported options are [{}]",
                unknown.join(" "),
                known.join(" ")
            ));
        }
    };
    let sections: Vec<&str> = EXECUTOR_OPTS.iter().map(|(name, _)| *name).collect();
    let unknown = options.keys().map(String::as_str).filter(|key| !sections.contains(key)).collect();
    complain(unknown, "executor_opts", sections.clone());
    for (executor, known) in EXECUTOR_OPTS {
        let Some(Value::Object(given)) = options.get(executor) else { continue };
        let unknown = given.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
        complain(unknown, &format!("{executor} executor"), known.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use harrier_base::Variables;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn check(change: impl FnOnce(&mut JobPayload)) -> Option<Refusal> {
        let mut payload = samples::payload();
        change(&mut payload);
        let flags = Flags::resolve(&BTreeMap::new(), &Variables::new(), &mut Vec::new());
        refusal(&payload, &flags)
    }

    fn options(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn runner_api_4_6_executor_opts() {
        assert!(check(|_| ()).is_none());
        let fine =
            options(json!({"docker": {"platform": "arm64", "user": 1}, "kubernetes": {"user": "1:1"}}));
        assert!(check(|p| p.services[0].executor_opts = fine).is_none());
        let odd = options(json!({"docker": {"platfrom": "arm64"}, "podman": {}}));
        let got = check(|p| p.services[0].executor_opts = odd).expect("refused");
        assert_eq!(
            got.message,
            "Unsupported \"services\" options [podman] for \"executor_opts\"; supported options are [docker kubernetes]\n\
             Unsupported \"services\" options [platfrom] for \"docker executor\"; supported options are [platform user]"
        );
        assert_eq!((got.reason, got.exit_code), (FailureReason::RunnerSystemFailure, Some(3)));
    }

    #[test]
    fn runner_api_4_14_run_is_refused() {
        let both = check(|p| p.run = Some("[]".into())).expect("refused");
        assert!(both.message.contains("both"));
        let run = check(|p| {
            p.run = Some("[{}]".into());
            p.steps.clear();
        })
        .expect("refused");
        assert_eq!((run.reason, run.exit_code), (FailureReason::RunnerSystemFailure, Some(3)));
        assert!(check(|p| p.run = Some(String::new())).is_none());
    }

    #[test]
    fn runner_api_4_15_inputs_are_refused() {
        let got = check(|p| p.inputs = vec![json!({"key": "env"})]).expect("refused");
        assert_eq!((got.reason, got.exit_code), (FailureReason::RunnerConfigurationError, None));
    }

    #[test]
    fn a_step_name_cannot_lead_out_of_a_directory() {
        assert!(check(|p| p.steps[0].name = "../x".into()).is_some());
        assert!(check(|p| p.steps[0].name = String::new()).is_some());
    }
}
