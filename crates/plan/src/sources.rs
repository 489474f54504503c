//! `get_sources` as data (`executors.md` §4, `runner-api.md` §10): strategy, remote, URL rewrites, `GIT_*` variables,
//! hooks.

use crate::flags::{Flag, Flags};
use crate::git_url::{GitUrl, userinfo};
use crate::scripts::Scripts;
use crate::settings::{Settings, split_words};
use crate::{Facts, GitStrategy, Op, Sources, Submodules};
use harrier_api::JobPayload;
use harrier_base::Secret;
use harrier_config::RunnerSpec;
use std::collections::BTreeMap;

/// User of the job token.
const TOKEN_USER: &str = "gitlab-ci-token";

/// `GIT_STRATEGY` (`executors.md` §4.2).
pub(crate) fn strategy(payload: &JobPayload, settings: &Settings<'_>) -> GitStrategy {
    let default = if payload.allow_git_fetch { GitStrategy::Fetch } else { GitStrategy::Clone };
    settings.choice(
        "GIT_STRATEGY",
        "a git strategy",
        &[
            ("clone", GitStrategy::Clone),
            ("fetch", GitStrategy::Fetch),
            ("none", GitStrategy::None),
            ("empty", GitStrategy::Empty),
        ],
        default,
    )
}

/// `GIT_CLEAN_FLAGS`: `None` is no clean (`executors.md` §4.3).
pub(crate) fn clean_flags(settings: &Settings<'_>) -> Option<Vec<String>> {
    match settings.text("GIT_CLEAN_FLAGS") {
        None => Some(vec!["-ffdx".to_owned()]),
        Some("none") => None,
        Some(flags) => Some(split_words(flags)),
    }
}

/// `clean_git_config` (`runner-config.md` §5.2).
pub(crate) fn clean_git_config(spec: &RunnerSpec, facts: &Facts, strategy: GitStrategy) -> bool {
    spec.clean_git_config.unwrap_or(facts.abilities.clean_git_config_default && strategy != GitStrategy::None)
}

/// What is needed besides the settings.
pub(crate) struct Cx<'a> {
    pub payload: &'a JobPayload,
    pub spec: &'a RunnerSpec,
    pub facts: &'a Facts,
    pub flags: &'a Flags,
    pub settings: &'a Settings<'a>,
    pub scripts: &'a Scripts,
    pub strategy: GitStrategy,
}

/// The operation of `get_sources`.
pub(crate) fn op(cx: &Cx<'_>) -> Op {
    let git = &cx.payload.git_info;
    let with_git = matches!(cx.strategy, GitStrategy::Clone | GitStrategy::Fetch);
    let submodules = match submodules(cx) {
        Ok(submodules) => submodules.filter(|_| with_git),
        Err(fault) => return Op::Fail(fault),
    };
    let remote = Remote::choose(cx);
    let tokenless = cx.flags.on(Flag::GitUrlsWithoutTokens);
    let config_script = |script: &Option<String>, prefix: &str| {
        script.as_ref().map(|text| cx.scripts.script([text.as_str()], prefix, None))
    };
    let hook = |name: &str, prefix: &str| {
        cx.payload
            .hooks
            .iter()
            .find(|hook| hook.name == name && !hook.script.is_empty())
            .map(|hook| cx.scripts.script(hook.script.iter().map(String::as_str), prefix, None))
    };
    let (pre, post) = if with_git {
        (
            config_script(&cx.spec.pre_get_sources_script, "pre_clone_script")
                .into_iter()
                .chain(hook("pre_get_sources_script", "pre_clone_script"))
                .collect(),
            hook("post_get_sources_script", "post_clone_script")
                .into_iter()
                .chain(config_script(&cx.spec.post_get_sources_script, "post_clone_script"))
                .collect(),
        )
    } else {
        (Vec::new(), Vec::new())
    };
    let correlation = &cx.facts.correlation_id;
    let extra_headers = if cx.flags.on(Flag::UseGitalyCorrelationId) && is_header_value(correlation) {
        vec![format!("X-Gitaly-Correlation-ID: {correlation}")]
    } else {
        Vec::new()
    };
    let fetch_flags = match cx.settings.text("GIT_FETCH_EXTRA_FLAGS") {
        None => vec!["--prune".to_owned(), "--quiet".to_owned()],
        Some("none") => Vec::new(),
        Some(flags) => split_words(flags),
    };
    Op::Sources(Box::new(Sources {
        strategy: cx.strategy,
        remote_url: remote.plain.clone(),
        rewrites: remote.rewrites(cx, tokenless),
        sha: git.sha.clone(),
        git_ref: git.git_ref.clone(),
        refspecs: git.refspecs.clone(),
        depth: git.depth,
        object_format: if git.repo_object_format == "sha1" {
            String::new()
        } else {
            git.repo_object_format.clone()
        },
        checkout: with_git && cx.settings.boolean("GIT_CHECKOUT", true),
        clean_flags: clean_flags(cx.settings),
        fetch_flags,
        clone_flags: cx.settings.words("GIT_CLONE_EXTRA_FLAGS").unwrap_or_default(),
        native_clone: cx.flags.on(Flag::UseGitNativeClone) && cx.strategy == GitStrategy::Clone,
        submodules,
        lfs_skip_smudge: cx.settings.boolean("GIT_LFS_SKIP_SMUDGE", false),
        extra_headers,
        bundle_uris: cx.flags.on(Flag::UseGitBundleUris),
        proactive_auth: cx.flags.on(Flag::UseGitProactiveAuth),
        credential_helper: tokenless,
        safe_directory: cx.spec.safe_directory_checkout.unwrap_or(cx.facts.abilities.safe_directory_default),
        clean_git_config: clean_git_config(cx.spec, cx.facts, cx.strategy),
        pre,
        post,
    }))
}

/// A correlation id that can stand in a header and in a git configuration file.
fn is_header_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// `GIT_SUBMODULE_*` (`executors.md` §4.4); an error fails the stage.
fn submodules(cx: &Cx<'_>) -> Result<Option<Submodules>, String> {
    let settings = cx.settings;
    let recursive = match settings.text("GIT_SUBMODULE_STRATEGY") {
        None | Some("none") => return Ok(None),
        Some("normal") => false,
        Some("recursive") => true,
        Some(other) => {
            return Err(format!("unknown GIT_SUBMODULE_STRATEGY {other:?}: use none, normal or recursive"));
        }
    };
    let paths = settings.words("GIT_SUBMODULE_PATHS").unwrap_or_default();
    if paths.iter().any(|word| word == ":(exclude)") {
        return Err(
            "GIT_SUBMODULE_PATHS: write the path of an exclusion without a space before it, as in :(exclude)path"
                .to_owned(),
        );
    }
    Ok(Some(Submodules {
        recursive,
        depth: settings.number("GIT_SUBMODULE_DEPTH", cx.payload.git_info.depth),
        update_flags: settings.words("GIT_SUBMODULE_UPDATE_FLAGS").unwrap_or_default(),
        paths,
    }))
}

/// The remote, with and without its credentials.
struct Remote {
    plain: String,
    /// `None`: it takes no credentials (ssh, a path of this machine).
    with_credentials: Option<String>,
    url: Option<GitUrl>,
    userinfo: String,
}

impl Remote {
    fn choose(cx: &Cx<'_>) -> Self {
        let job_token = userinfo(TOKEN_USER, cx.payload.token.expose());
        if let Some(base) = &cx.spec.clone_url {
            let project =
                cx.settings.text("CI_PROJECT_PATH").unwrap_or(&cx.payload.job_info.project_full_path);
            let text = format!("{}/{project}.git", base.trim_end_matches('/'));
            return match GitUrl::parse(&text) {
                Some(url) if url.is_http() => Self::http(url, job_token),
                Some(url) if url.scheme == "ssh" => Self {
                    plain: url.with_userinfo("git"),
                    with_credentials: None,
                    url: None,
                    userinfo: job_token,
                },
                Some(_) | None => {
                    Self { plain: text, with_credentials: None, url: None, userinfo: job_token }
                }
            };
        }
        let text = cx.payload.git_info.repo_url.expose();
        match GitUrl::parse(text) {
            Some(url) if url.is_http() => {
                let userinfo = url.userinfo.clone().unwrap_or(job_token);
                Self::http(url, userinfo)
            }
            Some(url) => Self { plain: url.plain(), with_credentials: None, url: None, userinfo: job_token },
            None => Self { plain: text.to_owned(), with_credentials: None, url: None, userinfo: job_token },
        }
    }

    fn http(url: GitUrl, userinfo: String) -> Self {
        Self {
            plain: url.plain(),
            with_credentials: Some(url.with_userinfo(&userinfo)),
            url: Some(url),
            userinfo,
        }
    }

    /// `insteadOf` rules. A rule for a whole host ends in `/`: without it, `https://host` would also match
    /// `https://host.elsewhere` in a submodule's URL and send the token there.
    fn rewrites(&self, cx: &Cx<'_>, tokenless: bool) -> BTreeMap<String, Secret> {
        let mut rules = BTreeMap::new();
        let token = userinfo(TOKEN_USER, cx.payload.token.expose());
        let base_text = cx.spec.clone_url.as_ref().unwrap_or(&cx.spec.url);
        let base = GitUrl::parse(base_text.trim_end_matches('/')).filter(GitUrl::is_http);
        // Whole hosts: the repository's own, then the base, which wins for an equal address.
        let mut hosts: Vec<(GitUrl, &str)> = Vec::new();
        if let Some(url) = &self.url {
            hosts.push((url.at(""), &self.userinfo));
        }
        if let Some(url) = &base {
            hosts.push((url.clone(), &token));
        }
        if !tokenless {
            if let Some(with) = &self.with_credentials {
                rules.insert(self.plain.clone(), Secret::new(with.clone()));
            }
            for (url, credentials) in &hosts {
                rules.insert(
                    format!("{}/", url.plain()),
                    Secret::new(format!("{}/", url.with_userinfo(credentials))),
                );
            }
        }
        if cx.settings.boolean("GIT_SUBMODULE_FORCE_HTTPS", false) {
            for (url, credentials) in &hosts {
                let target = if tokenless { url.plain() } else { url.with_userinfo(credentials) };
                let target = format!("{target}/");
                let ssh_host = cx.settings.text("CI_SERVER_SHELL_SSH_HOST");
                for host in [Some(url.host_name()), ssh_host].into_iter().flatten() {
                    rules.insert(format!("git@{host}:"), Secret::new(target.clone()));
                    rules.insert(format!("ssh://git@{host}/"), Secret::new(target.clone()));
                    match cx.settings.text("CI_SERVER_SHELL_SSH_PORT") {
                        None | Some("22") => {}
                        Some(port) => {
                            rules.insert(format!("ssh://git@{host}:{port}/"), Secret::new(target.clone()));
                        }
                    }
                }
            }
        }
        rules
    }
}
