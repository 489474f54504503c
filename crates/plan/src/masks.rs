//! What the log must hide (`runner-api.md` §15.5): values and token prefixes.

use crate::flags::{Flag, Flags};
use crate::git_url::GitUrl;
use harrier_api::JobPayload;
use harrier_base::{Secret, Variables};
use std::collections::HashSet;

/// Always looked for.
const FIRST_PREFIX: &str = "glpat-";

/// With `FF_MASK_ALL_DEFAULT_TOKENS`.
const DEFAULT_PREFIXES: [&str; 13] = [
    "gloas-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glrtr-",
    "glptt-",
    "glft-",
    "glimt-",
    "glagent-",
    "glsoat-",
    "glffct-",
    "_gitlab_session=",
    "gltok-",
];

/// Most prefixes.
const MOST_PREFIXES: usize = 15;

/// Shortest value that is hidden though no variable says so.
const SHORTEST_UNASKED: usize = 8;

/// Values to hide: those of all masked variables, as the job sees them and as they were given, overridden ones too;
/// the job's token and the password in the remote's URL even if no variable holds them.
pub(crate) fn masks(payload: &JobPayload, given: &Variables, expanded: &Variables) -> Vec<Secret> {
    let mut seen = HashSet::new();
    let asked = expanded.iter().chain(given.iter()).filter(|v| v.masked).map(|v| v.value.trim());
    let remote = GitUrl::parse(payload.git_info.repo_url.expose());
    let unasked = std::iter::once(payload.token.expose())
        .chain(remote.as_ref().and_then(GitUrl::password))
        .map(str::trim)
        .filter(|value| value.len() >= SHORTEST_UNASKED);
    asked
        .chain(unasked)
        .filter(|value| !value.is_empty() && seen.insert(value.to_string()))
        .map(Secret::new)
        .collect()
}

/// Prefixes after which a token is hidden: without duplicates, the shortest first, at most 15.
pub(crate) fn token_prefixes(payload: &JobPayload, flags: &Flags) -> Vec<String> {
    let defaults: &[&str] = if flags.on(Flag::MaskAllDefaultTokens) { &DEFAULT_PREFIXES } else { &[] };
    let mut seen = HashSet::new();
    let mut list: Vec<String> = std::iter::once(FIRST_PREFIX)
        .chain(defaults.iter().copied())
        .chain(payload.features.token_mask_prefixes.iter().map(|prefix| prefix.trim()))
        .filter(|prefix| !prefix.is_empty() && seen.insert(prefix.to_string()))
        .map(str::to_owned)
        .collect();
    list.sort_by_key(String::len);
    list.truncate(MOST_PREFIXES);
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use harrier_base::Variable;
    use std::collections::BTreeMap;

    #[test]
    fn runner_api_15_5_values_are_trimmed_and_unique() {
        let given: Variables = [
            Variable::internal("A", " one ").masked(),
            Variable::internal("B", "one").masked(),
            Variable::internal("C", " \n").masked(),
            Variable::internal("D", "two$A").masked(),
            Variable::internal("E", "open"),
            Variable::internal("A", "three").masked(),
        ]
        .into_iter()
        .collect();
        let expanded = given.expanded(|k| k.to_owned());
        let masks = masks(&samples::payload(), &given, &expanded);
        let texts: Vec<&str> = masks.iter().map(Secret::expose).collect();
        assert_eq!(texts, ["three", "one", "twothree", "two$A", samples::TOKEN]);
    }

    #[test]
    fn runner_api_15_5_prefixes() {
        let mut payload = samples::payload();
        let flags = |on: bool| {
            let config = BTreeMap::from([("FF_MASK_ALL_DEFAULT_TOKENS".to_owned(), on)]);
            Flags::resolve(&config, &Variables::new(), &mut Vec::new())
        };
        assert_eq!(token_prefixes(&payload, &flags(false)), ["glpat-"]);
        let all = token_prefixes(&payload, &flags(true));
        assert_eq!((all.len(), all[0].as_str(), all[13].as_str()), (14, "gldt-", "_gitlab_session="));
        payload.features.token_mask_prefixes =
            vec!["glpat-".into(), "x-".into(), "yy-".into(), String::new()];
        let all = token_prefixes(&payload, &flags(true));
        assert_eq!((all.len(), all[0].as_str(), all[14].as_str()), (15, "x-", "glagent-"));
    }
}
