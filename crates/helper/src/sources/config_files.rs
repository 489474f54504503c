//! git's configuration for one job: the repository's own file, which holds no secret, and the external file in the
//! job's temporary directory, which holds the credentials and is included from it (`executors.md` §4.2,
//! `runner-api.md` §10).

use super::Place;
use crate::env::Environment;
use crate::failure::Failure;
use crate::git::{Git, find_program};
use crate::tree;
use harrier_plan::{Dirs, Sources};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Name of a job's own global configuration.
const SEED: &str = ".glr.gconf";

/// The external configuration of a job.
pub(crate) fn external_config(dirs: &Dirs) -> PathBuf {
    dirs.tmp.join(".gitlab-runner.ext.conf")
}

/// Writes the external configuration and, if the plan says so, trusts the work tree globally.
pub(super) fn write(place: &Place<'_>) -> Result<(), Failure> {
    let dirs = &place.request.dirs;
    tree::private_dir(&dirs.tmp, place.request.dir_mode())?;
    let text = external_text(place.sources, place.env)?;
    tree::write_private(&external_config(dirs), text.as_bytes(), place.request.file_mode())?;
    if place.sources.credential_helper {
        seed_global(place)?;
    }
    if place.sources.safe_directory {
        trust(place)?;
    }
    Ok(())
}

/// Without tokens in URLs, git in the job's scripts needs the credential helper wherever it works: a global
/// configuration of the job's own, which includes the user's and the external one (`executors.md` §4.1, step 2). The
/// env file names it to the later stages. A job that has a global configuration of its own keeps it.
fn seed_global(place: &Place<'_>) -> Result<(), Failure> {
    let dirs = &place.request.dirs;
    let seed = dirs.tmp.join(SEED);
    let shown = seed.to_string_lossy();
    if place.env.of_job("GIT_CONFIG_GLOBAL").is_some_and(|path| path != shown) {
        return Ok(());
    }
    let mut text = String::new();
    let users = user_configs(place.env).into_iter().filter(|file| File::open(file).is_ok());
    for file in users.chain([external_config(dirs)]) {
        put(&mut text, "include", None, &[("path", &file.to_string_lossy())])?;
    }
    tree::write_private(&seed, text.as_bytes(), place.request.file_mode())?;
    let env_file = dirs.env_file();
    let line = format!("GIT_CONFIG_GLOBAL={shown}\n");
    let known = std::fs::read_to_string(&env_file).is_ok_and(|text| text.contains(&line));
    if known {
        return Ok(());
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&env_file)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(Failure::io("write", &env_file))
}

fn external_text(sources: &Sources, env: &Environment) -> Result<String, Failure> {
    let mut text = String::new();
    for header in &sources.extra_headers {
        put(&mut text, "http", None, &[("extraHeader", header)])?;
    }
    if sources.bundle_uris {
        put(&mut text, "transfer", None, &[("bundleURI", "true")])?;
    }
    let host = origin_of(&sources.remote_url).unwrap_or_default();
    for (variable, key) in [
        ("CI_SERVER_TLS_CA_FILE", "sslCAInfo"),
        ("CI_SERVER_TLS_CERT_FILE", "sslCert"),
        ("CI_SERVER_TLS_KEY_FILE", "sslKey"),
    ] {
        if let Some(path) = env.get(variable).filter(|path| host.starts_with("https:") && !path.is_empty()) {
            put(&mut text, "http", Some(host), &[(key, &path)])?;
        }
    }
    if sources.credential_helper {
        // The token is read from the environment when git asks, so that it is in no file.
        let helper = "!f() { if [ \"$1\" = get ]; then echo \"password=${CI_JOB_TOKEN}\"; fi; }; f";
        let user = ("username", "gitlab-ci-token");
        put(&mut text, "credential", Some(host), &[("helper", ""), user, ("helper", helper)])?;
    }
    for (plain, with) in &sources.rewrites {
        put(&mut text, "url", Some(with.expose()), &[("insteadOf", plain)])?;
    }
    Ok(text)
}

/// The repository's own configuration, as `git init` and `git remote add` with the job's template make it.
pub(super) fn repository_text(place: &Place<'_>) -> Result<String, Failure> {
    let mut text = String::new();
    let sha256 = place.sources.object_format == "sha256";
    put(
        &mut text,
        "core",
        None,
        &[
            ("repositoryformatversion", if sha256 { "1" } else { "0" }),
            ("filemode", "true"),
            ("bare", "false"),
            ("logallrefupdates", "true"),
        ],
    )?;
    if sha256 {
        put(&mut text, "extensions", None, &[("objectformat", "sha256")])?;
    }
    text.push_str(&template_text(place)?);
    let url = place.sources.remote_url.as_str();
    let fetch = "+refs/heads/*:refs/remotes/origin/*";
    put(&mut text, "remote", Some("origin"), &[("url", url), ("fetch", fetch)])?;
    Ok(text)
}

/// The part that does not depend on the repository.
pub(super) fn template_text(place: &Place<'_>) -> Result<String, Failure> {
    let external = external_config(&place.request.dirs);
    let mut text = String::new();
    put(&mut text, "init", None, &[("defaultBranch", "none")])?;
    put(&mut text, "fetch", None, &[("recurseSubmodules", "false")])?;
    put(&mut text, "credential", None, &[("interactive", "never")])?;
    put(&mut text, "gc", None, &[("autoDetach", "false")])?;
    put(&mut text, "include", None, &[("path", &external.to_string_lossy())])?;
    Ok(text)
}

/// Appends the include of the external configuration to the repositories of submodules, so that scripts can use them.
pub(super) fn include_in_submodules(place: &Place<'_>) -> Result<(), Failure> {
    let external = external_config(&place.request.dirs);
    let mut section = String::new();
    put(&mut section, "include", None, &[("path", &external.to_string_lossy())])?;
    let modules = place.project.join(".git/modules");
    for entry in walkdir::WalkDir::new(&modules).into_iter().flatten() {
        let path = entry.path();
        let is_repository = entry.file_name() == "config"
            && entry.file_type().is_file()
            && path.with_file_name("HEAD").is_file()
            && path.with_file_name("objects").is_dir();
        if !is_repository {
            continue;
        }
        let mut text = std::fs::read_to_string(path).map_err(Failure::io("read", path))?;
        if text.contains(&section) {
            continue;
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&section);
        std::fs::write(path, text).map_err(Failure::io("write", path))?;
    }
    Ok(())
}

/// Appends a section in git's syntax.
fn put(to: &mut String, section: &str, sub: Option<&str>, keys: &[(&str, &str)]) -> Result<(), Failure> {
    match sub {
        Some(sub) if sub.contains(['\n', '\0']) => {
            return Err(Failure::Refused {
                what: "a URL with a line break in git's configuration",
                value: section.to_owned(),
                remedy: "Check clone_url, the runner's url and the job's token",
            });
        }
        Some(sub) => {
            let _ = writeln!(to, "[{section} \"{}\"]", sub.replace('\\', "\\\\").replace('"', "\\\""));
        }
        None => {
            let _ = writeln!(to, "[{section}]");
        }
    }
    for (key, value) in keys {
        let _ = writeln!(to, "\t{key} = {}", quoted(value));
    }
    Ok(())
}

/// A value as git writes it: quoted only when it must be.
fn quoted(value: &str) -> String {
    let escaped = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('\0', "");
    if value.starts_with(' ') || value.ends_with(' ') || value.contains([';', '#']) || value.is_empty() {
        format!("\"{escaped}\"")
    } else {
        escaped
    }
}

/// `scheme://host[:port]` of an HTTP URL.
pub(super) fn origin_of(url: &str) -> Option<&str> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme))?;
    let end = url[scheme.len()..].find('/').map_or(url.len(), |at| scheme.len() + at);
    Some(&url[..end])
}

/// `git config --global --add safe.directory`, once.
fn trust(place: &Place<'_>) -> Result<(), Failure> {
    let known = user_configs(place.env)
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .any(|text| text.contains("safe") && text.contains(&*place.project.to_string_lossy()));
    if known {
        return Ok(());
    }
    tree::dir(place.project)?;
    let directory = place.project.to_string_lossy();
    if place.git.quietly(&["config", "--global", "--add", "safe.directory", &directory], b"") {
        return Ok(());
    }
    Err(Failure::Refused {
        what: "git cannot write its global configuration to trust the work tree",
        value: directory.into_owned(),
        remedy: "Give the job's user a writable HOME, or set safe_directory_checkout = false",
    })
}

/// Where git looks for the user's configuration.
fn user_configs(env: &Environment) -> Vec<PathBuf> {
    // The job's own seed, when a stage is run again, is not the user's.
    if let Some(path) = env.get("GIT_CONFIG_GLOBAL").filter(|path| !path.ends_with(SEED)) {
        return vec![path.into()];
    }
    let home = env.get("HOME").map(PathBuf::from);
    let xdg = env.get("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let mut files: Vec<PathBuf> = home.iter().map(|home| home.join(".gitconfig")).collect();
    files.extend(xdg.or(home.map(|home| home.join(".config"))).map(|dir| dir.join("git/config")));
    files
}

/// Makes credential helpers of the machine forget the job's token for the host of `url` (`executors.md` §4.1, step 8),
/// best effort. git is only asked when the machine's configuration may name a helper.
pub(crate) fn reject_credential(git: &Git<'_>, env: &Environment, url: &str) {
    if let Some(host) = origin_of(url).filter(|_| helper_possible(env)) {
        let input = format!("url={host}\nusername=gitlab-ci-token\n\n");
        git.quietly(&["credential", "reject"], input.as_bytes());
    }
}

fn helper_possible(env: &Environment) -> bool {
    let mut files = user_configs(env);
    match env.get("GIT_CONFIG_SYSTEM") {
        Some(path) => files.push(path.into()),
        None => {
            files.push("/etc/gitconfig".into());
            let git = find_program(env, "git");
            let prefix = git.as_deref().and_then(Path::parent).and_then(Path::parent);
            files.extend(prefix.map(|prefix| prefix.join("etc/gitconfig")));
        }
    }
    env.get("GIT_CONFIG_COUNT").is_some()
        || files.iter().filter_map(|file| std::fs::read(file).ok()).any(|bytes| {
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            text.contains("credential") || text.contains("include")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_git_reads_them() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("config");
        for value in ["plain", " a b ", "x;y#z", "q\"uo\\te", "tab\tline\nend", "", "https://h:1/ü"] {
            let mut text = String::new();
            put(&mut text, "a", Some("s\"u\\b"), &[("key", value)]).expect("it can be written");
            std::fs::write(&path, text).expect("written");
            let output = std::process::Command::new("git")
                .args(["config", "-z", "-f"])
                .arg(&path)
                .arg("a.s\"u\\b.key")
                .output()
                .expect("git runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{value}\0"));
        }
        assert!(put(&mut String::new(), "url", Some("a\nb"), &[]).is_err());
    }

    #[test]
    fn origins_are_for_http_only() {
        for (url, want) in [
            ("https://h.example:8443/g/p.git", Some("https://h.example:8443")),
            ("http://h", Some("http://h")),
            ("ssh://git@h/x", None),
            ("/srv/x", None),
        ] {
            assert_eq!(origin_of(url), want);
        }
    }
}
