//! `${{ job.inputs.NAME }}` in the payload of a job (`ci-yaml.md` §26): the values are put in before a runner sees it, so
//! that every runner can carry the job out. Called by `payload`.

use crate::inputs::text_of;
use crate::pipeline::Job;
use harrier_api::{Image, JobPayload};
use serde_json::Value;

/// Puts the values of a job's inputs into the places of its payload where they count. `given` go before defaults. What is
/// no input of the job stays as written.
pub(crate) fn put_in(job: &Job, given: &[(String, Value)], payload: &mut JobPayload) {
    if job.inputs.is_empty() {
        return;
    }
    let value = |name: &str| {
        let given = given.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value);
        given
            .or_else(|| job.inputs.iter().find(|input| input.name == name).map(|input| &input.default))
            .map(text_of)
    };
    let fill = |text: &mut String| {
        if text.contains("${{") {
            *text = filled(text, &value);
        }
    };
    let image = |image: &mut Image| {
        fill(&mut image.name);
        image.command.iter_mut().flatten().for_each(fill);
        image.entrypoint.iter_mut().flatten().for_each(fill);
        image.pull_policy.iter_mut().for_each(fill);
        for option in image.executor_opts.values_mut() {
            for text in option.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
                if let Value::String(text) = text {
                    fill(text);
                }
            }
        }
    };
    payload.steps.iter_mut().flat_map(|step| &mut step.script).for_each(fill);
    payload.image.iter_mut().for_each(image);
    payload.services.iter_mut().for_each(image);
    for artifact in &mut payload.artifacts {
        [&mut artifact.name, &mut artifact.when, &mut artifact.expire_in].into_iter().for_each(fill);
        artifact.paths.iter_mut().chain(&mut artifact.exclude).for_each(fill);
    }
    for cache in &mut payload.cache {
        [&mut cache.key, &mut cache.policy, &mut cache.when].into_iter().for_each(fill);
        cache.paths.iter_mut().chain(&mut cache.fallback_keys).for_each(fill);
    }
}

fn filled(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("${{") {
        let Some(close) = rest[open..].find("}}").map(|at| open + at) else { break };
        let name = rest[open + 3..close].trim().strip_prefix("job.inputs.");
        out.push_str(&rest[..open]);
        match name.and_then(value) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[open..close + 2]),
        }
        rest = &rest[close + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn only_known_inputs_are_put_in() {
        let value = |name: &str| (name == "a").then(|| "${{ job.inputs.a }}".to_owned());
        for (text, want) in [
            ("x ${{ job.inputs.a }} ${{job.inputs.a}}", "x ${{ job.inputs.a }} ${{ job.inputs.a }}"),
            ("${{ job.inputs.b }} ${{ other }} ${{", "${{ job.inputs.b }} ${{ other }} ${{"),
        ] {
            assert_eq!(filled(text, &value), want);
        }
    }
}
