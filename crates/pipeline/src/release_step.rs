//! `release` (`ci-yaml.md` §24.1): as the step that a runner carries out after the script, and as a request for hosts that
//! keep releases themselves. Called by `payload` and by the hosts.

use crate::expand::{Winners, expand_existing};
use crate::pipeline::Release;
use harrier_base::Variable;
use serde_json::Value;

/// The lines of the step `release`: with `glab`, or with `release-cli` where only that is there. The runner expands
/// variables in them before the shell sees them.
pub(crate) fn script(release: &Release) -> Vec<String> {
    let text = |key: &str| release.all.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut both = String::new();
    let option = |out: &mut String, name: &str, value: &str| {
        out.push_str(&format!(" --{name} {}", word(value)));
    };
    if let Some(name) = text("name") {
        option(&mut both, "name", name);
    }
    for (key, name) in [("ref", "ref"), ("tag_message", "tag-message"), ("released_at", "released-at")] {
        if let Some(value) = text(key) {
            option(&mut both, name, value);
        }
    }
    let milestones = match release.all.get("milestones") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    for milestone in milestones {
        option(&mut both, "milestone", milestone);
    }
    let links = release.all.pointer("/assets/links").and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut glab, mut release_cli) = (String::new(), String::new());
    if !links.is_empty() {
        option(&mut glab, "assets-links", &Value::from(links.clone()).to_string());
    }
    for link in &links {
        option(&mut release_cli, "assets-link", &link.to_string());
    }
    let (tag, description) = (word(&release.tag_name), word(&release.description));
    vec![format!(
        "if command -v glab >/dev/null 2>&1; then\n  \
           glab auth login --hostname \"$CI_SERVER_FQDN\" --api-protocol \"$CI_SERVER_PROTOCOL\" --job-token \
         \"$CI_JOB_TOKEN\"\n  \
           if [ -f {description} ]; then\n    \
             glab -R \"$CI_PROJECT_PATH\" release create {tag} --notes-file {description}{both}{glab}\n  \
           else\n    \
             glab -R \"$CI_PROJECT_PATH\" release create {tag} --notes {description}{both}{glab}\n  \
           fi\n\
         elif command -v release-cli >/dev/null 2>&1; then\n  \
           release-cli create --tag-name {tag} --description {description}{both}{release_cli}\n\
         else\n  \
           echo 'release: neither glab nor release-cli is installed in the image of this job' >&2\n  \
           exit 1\n\
         fi"
    )]
}

/// One word for a POSIX shell in which variables are still expanded.
fn word(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '`') {
            out.push('\\');
        }
        out.push(c);
        // `$(` would be a command.
        if c == '(' && out.ends_with("$(") {
            out.truncate(out.len() - 2);
            out.push_str("\\$(");
        }
    }
    out.push('"');
    out
}

/// What is asked for: the keys as written, expanded with the variables of the job.
pub fn request(release: &Release, variables: &[Variable]) -> Value {
    fn walk(scope: &Winners<'_>, value: &Value) -> Value {
        match value {
            Value::String(text) => expand_existing(scope, text).into(),
            Value::Array(items) => items.iter().map(|item| walk(scope, item)).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(key, value)| (key.clone(), walk(scope, value))).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
    let mut all = walk(&Winners::new(variables), &release.all);
    if all.get("name").is_none() {
        all["name"] = all["tag_name"].clone();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn words_keep_variables_and_nothing_else() {
        for (text, want) in [
            ("v$CI_COMMIT_TAG", "\"v$CI_COMMIT_TAG\""),
            ("a \"b\" `c` \\d", "\"a \\\"b\\\" \\`c\\` \\\\d\""),
            ("$(rm x) (y)", "\"\\$(rm x) (y)\""),
        ] {
            assert_eq!(word(text), want);
        }
    }
}
