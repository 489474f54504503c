//! git that fetches a mirror into its bare repository. The host was resolved once and git connects to what came out; a log-in goes
//! through git's environment, for that host only; nothing is followed elsewhere, asked of a person or run by a shell that a
//! remote has a word in. Called by `keep.rs`.

use super::address::MirrorAddress;
use crate::git_http::git_with;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harrier_database::Login;
use harrier_includes::{AddressPolicy, permitted};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Most bytes of a list of refs; some five hundred thousand.
const LONGEST_LIST: u64 = 64 << 20;
/// Most bytes that are read of git's complaints.
const LONGEST_WORDS: u64 = 64 << 10;
/// Longest time for a list of refs.
const LISTING: Duration = Duration::from_secs(120);
/// Longest time for a fetch; git itself gives up a connection that brings nothing.
const FETCHING: Duration = Duration::from_secs(3600);

/// What a remote has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// The branch that its HEAD names.
    pub head: Option<String>,
    /// Names as they are here, with their objects.
    pub refs: BTreeMap<String, String>,
}

/// A remote, ready to be asked.
pub(super) struct Remote<'a> {
    repository: &'a Path,
    address: &'a MirrorAddress,
    pull_requests: bool,
    settings: Vec<(String, String)>,
    ssh: Option<String>,
    /// Holds the key while it is needed.
    _key: Option<tempfile::NamedTempFile>,
}

impl<'a> Remote<'a> {
    /// Resolves the host, under the policy. `root`: the data directory, into which its owner alone can look; a key is there while
    /// this lives, and the ssh hosts that were met stay there.
    pub async fn open(
        repository: &'a Path,
        address: &'a MirrorAddress,
        login: Option<&Login>,
        pull_requests: bool,
        policy: &AddressPolicy,
        root: &Path,
    ) -> Result<Self, String> {
        let found = permitted(address.host(), address.port(), policy).await.map_err(|why| match why {
            harrier_includes::HttpError::Forbidden { .. } => {
                format!("{why}; --allow-network lets a server reach it")
            }
            other => other.to_string(),
        })?;
        let mut remote = Self {
            repository,
            address,
            pull_requests,
            settings: settings(address, login, &found),
            ssh: None,
            _key: None,
        };
        if address.is_ssh() {
            let failed = |why: std::io::Error| format!("{}: {why}", root.display());
            let key = match login.and_then(|login| login.key.as_ref()) {
                None => None,
                Some(key) => {
                    // Of mode 0600 from its first moment.
                    let mut file =
                        tempfile::Builder::new().prefix(".key-").tempfile_in(root).map_err(failed)?;
                    file.write_all(key.expose().trim_end().as_bytes()).map_err(failed)?;
                    file.write_all(b"\n").and_then(|()| file.flush()).map_err(failed)?;
                    Some(file)
                }
            };
            let hosts = root.join("known_hosts");
            let at = found.first().map(|at| at.ip().to_string()).unwrap_or_default();
            remote.ssh = Some(ssh(address.host(), &at, key.as_ref().map(|key| key.path()), &hosts));
            remote._key = key;
        }
        Ok(remote)
    }

    /// Which refs are mirrored: there, here.
    fn refspecs(&self) -> Vec<&'static str> {
        let mut all = vec!["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        if self.pull_requests {
            all.push("+refs/pull/*/head:refs/merge-requests/*/head");
            all.push("+refs/merge-requests/*/head:refs/merge-requests/*/head");
        }
        all
    }

    /// What the remote has.
    pub async fn list(&self) -> Result<Listing, String> {
        let mut args = vec!["ls-remote", "--quiet", "--symref", self.address.as_str(), "HEAD"];
        let specs = self.refspecs();
        args.extend(specs.iter().filter_map(|spec| spec.trim_start_matches('+').split(':').next()));
        let bytes = self.run(&args, LONGEST_LIST, LISTING).await?;
        Ok(listing(&String::from_utf8_lossy(&bytes), self.pull_requests))
    }

    /// Brings everything here; what is gone there goes here.
    pub async fn fetch(&self) -> Result<(), String> {
        let mut args = vec![
            "fetch",
            "--quiet",
            "--prune",
            "--force",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--end-of-options",
            self.address.as_str(),
        ];
        args.extend(self.refspecs());
        self.run(&args, LONGEST_WORDS, FETCHING).await.map(|_| ())
    }

    async fn run(&self, args: &[&str], most: u64, time: Duration) -> Result<Vec<u8>, String> {
        let mut command = git_with(self.repository, &self.settings);
        command.env("GIT_ALLOW_PROTOCOL", self.address.scheme());
        // Which authorities this server trusts, where its own surroundings say so.
        for name in ["GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(ssh) = &self.ssh {
            command.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh");
        }
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let work = async {
            let not_run = |why: std::io::Error| format!("git could not be run: {why}; is git installed?");
            let mut child = command.spawn().map_err(not_run)?;
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let (mut said, mut words) = (Vec::new(), Vec::new());
            let read_out = async {
                match out {
                    Some(pipe) => pipe.take(most + 1).read_to_end(&mut said).await,
                    None => Ok(0),
                }
            };
            let read_err = async {
                match err {
                    Some(pipe) => pipe.take(LONGEST_WORDS).read_to_end(&mut words).await,
                    None => Ok(0),
                }
            };
            let (out, err) = tokio::join!(read_out, read_err);
            out.and(err).map_err(not_run)?;
            if said.len() as u64 > most {
                return Err("the remote says more than this server takes".to_owned());
            }
            match child.wait().await.map_err(not_run)?.success() {
                true => Ok(said),
                false => Err(complaint(&String::from_utf8_lossy(&words))),
            }
        };
        let late = || format!("the remote did not answer within {} minutes", time.as_secs() / 60);
        tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(late()))
    }
}

/// git's settings for a remote.
fn settings(address: &MirrorAddress, login: Option<&Login>, found: &[SocketAddr]) -> Vec<(String, String)> {
    let fixed = [
        ("http.followRedirects", "false"),
        ("http.lowSpeedLimit", "1000"),
        ("http.lowSpeedTime", "60"),
        ("credential.helper", ""),
        ("core.askPass", ""),
        // Cleaning up is part of the fetch: nothing goes on behind it.
        ("gc.autoDetach", "false"),
        ("maintenance.autoDetach", "false"),
        ("fetch.recurseSubmodules", "false"),
    ];
    let mut all: Vec<(String, String)> =
        fixed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    if address.is_ssh() {
        return all;
    }
    let (host, port) = (address.host(), address.port());
    if host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err() {
        let text = |at: &SocketAddr| match at {
            SocketAddr::V4(at) => at.ip().to_string(),
            SocketAddr::V6(at) => format!("[{}]", at.ip()),
        };
        let addresses: Vec<String> = found.iter().map(text).collect();
        all.push(("http.curloptResolve".to_owned(), format!("{host}:{port}:{}", addresses.join(","))));
    }
    if let Some(Login { username, password: Some(password), .. }) = login {
        // Servers that take a token alone want any name beside it.
        let name = if username.is_empty() { "oauth2" } else { username };
        let pair = STANDARD.encode(format!("{name}:{}", password.expose()));
        let key = format!("http.{}://{host}:{port}/.extraHeader", address.scheme());
        all.push((key, format!("Authorization: Basic {pair}")));
    }
    all
}

/// The ssh that git starts: to that address, with this key or none, and without settings of whoever runs the server.
fn ssh(host: &str, at: &str, key: Option<&Path>, hosts: &Path) -> String {
    let mut words: Vec<String> = ["ssh", "-F", "/dev/null"].map(str::to_owned).to_vec();
    let mut options = vec![
        format!("HostName={at}"),
        format!("HostKeyAlias={host}"),
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=accept-new".to_owned(),
        format!("UserKnownHostsFile=\"{}\"", hosts.display()),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ConnectTimeout=20".to_owned(),
    ];
    match key {
        Some(key) => options.push(format!("IdentityFile=\"{}\"", key.display())),
        None => options.push("IdentityFile=none".to_owned()),
    }
    for option in options {
        words.push("-o".to_owned());
        words.push(option);
    }
    let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

/// What `ls-remote --symref` printed, with names as they are here.
fn listing(text: &str, pull_requests: bool) -> Listing {
    let mut found = Listing::default();
    for line in text.lines() {
        let Some((id, name)) = line.split_once('\t') else { continue };
        if let Some(head) = id.strip_prefix("ref: refs/heads/") {
            if name == "HEAD" {
                found.head = Some(head.to_owned());
            }
            continue;
        }
        if name.ends_with("^{}") || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        let request = || {
            let rest =
                name.strip_prefix("refs/pull/").or_else(|| name.strip_prefix("refs/merge-requests/"))?;
            let number = rest.strip_suffix("/head")?;
            pull_requests.then(|| format!("refs/merge-requests/{number}/head"))
        };
        let here = match name.starts_with("refs/heads/") || name.starts_with("refs/tags/") {
            true => Some(name.to_owned()),
            false => request(),
        };
        if let Some(here) = here {
            found.refs.insert(here, id.to_owned());
        }
    }
    found
}

/// git's complaint for a person: its last lines, without what a terminal or a page would act on.
fn complaint(said: &str) -> String {
    let lines: Vec<String> = said
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).take(300).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect();
    let text = lines[lines.len().saturating_sub(4)..].join("; ");
    let hint = if text.contains("Authentication failed") || text.contains("could not read Username") {
        " (the remote wants a log-in: give the mirror a user name and a token)"
    } else if text.contains("unable to update url base from redirection") || text.contains("error: 30") {
        " (the remote leads elsewhere, which is not followed: give the mirror the new address)"
    } else if text.contains("Permission denied (publickey") {
        " (the remote wants a key: give the mirror one, and its public half to the remote)"
    } else {
        ""
    };
    match text.is_empty() {
        true => "git failed without a word".to_owned(),
        false => format!("{text}{hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_base::Secret;

    #[test]
    fn lists_of_refs_are_read() {
        let text = "ref: refs/heads/trunk\tHEAD\n11\tHEAD\n11\trefs/heads/trunk\n22\trefs/tags/v1\n33\trefs/tags/v1^{}\n\
                    44\trefs/pull/7/head\n55\trefs/pull/7/merge\n66\trefs/merge-requests/8/head\n";
        let found = listing(text, false);
        assert_eq!(found.head.as_deref(), Some("trunk"));
        let names: Vec<&str> = found.refs.keys().map(String::as_str).collect();
        assert_eq!(names, ["refs/heads/trunk", "refs/tags/v1"]);
        let names: Vec<String> = listing(text, true).refs.into_keys().collect();
        assert_eq!(names[1..3], ["refs/merge-requests/7/head", "refs/merge-requests/8/head"]);
    }

    #[test]
    fn git_connects_to_what_was_resolved_and_shows_the_log_in_there_only() {
        let (address, _) = MirrorAddress::parse("https://git.example/g/p.git").expect("good");
        let login = Login { username: "me".into(), password: Some(Secret::new("word")), key: None };
        let found =
            ["192.0.2.7:443".parse().expect("an address"), "[2001:db8::1]:443".parse().expect("an address")];
        let all = settings(&address, Some(&login), &found);
        let value = |key: &str| all.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        assert_eq!(value("http.curloptResolve"), Some("git.example:443:192.0.2.7,[2001:db8::1]"));
        assert_eq!(
            value("http.https://git.example:443/.extraHeader"),
            Some("Authorization: Basic bWU6d29yZA==")
        );
        assert_eq!(value("http.followRedirects"), Some("false"));
    }

    #[test]
    fn ssh_goes_to_the_address_that_was_asked_about() {
        let line =
            ssh("git.example", "192.0.2.7", Some(Path::new("/d/it's/.key-1")), Path::new("/d/known hosts"));
        assert!(
            line.starts_with(
                "'ssh' '-F' '/dev/null' '-o' 'HostName=192.0.2.7' '-o' 'HostKeyAlias=git.example'"
            ),
            "{line}"
        );
        assert!(line.contains("'UserKnownHostsFile=\"/d/known hosts\"'"), "{line}");
        assert!(line.ends_with("'IdentityFile=\"/d/it'\\''s/.key-1\"'"), "{line}");
    }

    #[test]
    fn complaints_are_words() {
        let said = complaint(
            "warning: x\nremote: \x1b[31mno\x1b[0m\nfatal: Authentication failed for 'https://h/p/'\n",
        );
        assert!(
            said.starts_with("warning: x; remote: [31mno[0m; fatal: Auth") && said.contains("log-in"),
            "{said}"
        );
        assert_eq!(complaint("\n"), "git failed without a word");
    }
}
