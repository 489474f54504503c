//! Calls of git that may reach another machine: with the user's own credentials, never asking anybody, ended when
//! their time is over. An address may hold a log-in, so it goes to git through the environment.

use harrier_base::GIT_REPOSITORY_VARIABLES;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// Why git has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// What was asked for is not there, or may not be read.
    #[error("it does not exist")]
    NotFound,
    /// The program is not there or could not be started.
    #[error("git could not be started: {0}; install git and have it in PATH")]
    Start(std::io::Error),
    /// In git's words.
    #[error("{0}")]
    Failed(String),
    /// Its time was over.
    #[error("{}", crate::OUT_OF_TIME)]
    TooLong,
    /// It said more than it may.
    #[error("it is bigger than {0} bytes")]
    TooBig(u64),
}

/// The name of the remote, in the environment only.
pub(crate) const REMOTE: &str = "include";

/// One call.
pub(crate) struct Call<'a> {
    /// The repository, or anywhere.
    pub dir: &'a Path,
    /// The address of [`REMOTE`].
    pub url: Option<&'a str>,
    pub args: &'a [&'a str],
    pub time: Duration,
    /// Bytes of the answer.
    pub most: u64,
}

impl Call<'_> {
    /// Its standard output.
    pub fn run(self) -> Result<Vec<u8>, GitError> {
        crate::waiting::wait(self.answer()).map_err(GitError::Start)?
    }

    async fn answer(self) -> Result<Vec<u8>, GitError> {
        let mut command = Command::new("git");
        command.current_dir(self.dir);
        for name in GIT_REPOSITORY_VARIABLES {
            command.env_remove(name);
        }
        command.env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
        // Whoever runs this has no time to answer: a question is a failure.
        command.env("GIT_TERMINAL_PROMPT", "0").env("GCM_INTERACTIVE", "never");
        command.env("SSH_ASKPASS_REQUIRE", "never").env_remove("GIT_ASKPASS").env_remove("SSH_ASKPASS");
        command.args(["-c", "core.askPass=", "-c", "core.quotePath=false", "-c", "gc.auto=0"]);
        if self.url.is_none() {
            // A question about what is here must not become a fetch.
            command.env("GIT_NO_LAZY_FETCH", "1");
        }
        if let Some(url) = self.url {
            command.env("GIT_CONFIG_COUNT", "1");
            command.env("GIT_CONFIG_KEY_0", format!("remote.{REMOTE}.url")).env("GIT_CONFIG_VALUE_0", url);
            if is_ssh(url) && std::env::var_os("GIT_SSH").is_none() {
                command.env("GIT_SSH_COMMAND", format!("{} -o BatchMode=yes", ssh(self.dir).await));
            }
        }
        command.args(self.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let (url, most) = (self.url, self.most);
        let work = async move {
            let mut child = command.spawn().map_err(GitError::Start)?;
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let read = |pipe, most| async move { read(pipe, most).await.map_err(GitError::Start) };
            let (out, err) =
                tokio::join!(read(out.map(Pipe::Out), most + 1), read(err.map(Pipe::Err), 64 << 10));
            let (out, err) = (out?, err?);
            if out.len() as u64 > most {
                return Err(GitError::TooBig(most));
            }
            let status = child.wait().await.map_err(GitError::Start)?;
            if status.success() { Ok(out) } else { Err(failure(&String::from_utf8_lossy(&err), url)) }
        };
        tokio::time::timeout(self.time, work).await.unwrap_or(Err(GitError::TooLong))
    }
}

enum Pipe {
    Out(tokio::process::ChildStdout),
    Err(tokio::process::ChildStderr),
}

async fn read(pipe: Option<Pipe>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match pipe {
        Some(Pipe::Out(pipe)) => pipe.take(most).read_to_end(&mut bytes).await?,
        Some(Pipe::Err(pipe)) => pipe.take(most).read_to_end(&mut bytes).await?,
        None => 0,
    };
    Ok(bytes)
}

/// The ssh program that the user's git would start.
async fn ssh(dir: &Path) -> String {
    if let Ok(command) = std::env::var("GIT_SSH_COMMAND") {
        return command;
    }
    let asked =
        Command::new("git").current_dir(dir).args(["config", "--get", "core.sshCommand"]).output().await;
    let configured = asked.ok().filter(|output| output.status.success());
    let configured = configured.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    configured.filter(|command| !command.is_empty()).unwrap_or_else(|| "ssh".into())
}

/// `ssh://…` or `host:path`.
fn is_ssh(url: &str) -> bool {
    match url.split_once("://") {
        Some((scheme, _)) => scheme.contains("ssh"),
        None => url.split_once(':').is_some_and(|(host, _)| !host.contains('/')),
    }
}

/// git's complaint, without the log-in of the address.
fn failure(said: &str, url: Option<&str>) -> GitError {
    let mut said = said.trim().to_owned();
    if let Some((_, rest)) = url.and_then(|url| url.split_once("://"))
        && let Some((login, _)) =
            rest.split_once('/').map_or(rest, |(authority, _)| authority).rsplit_once('@')
        && login.contains(':')
    {
        said = said.replace(login, "***");
    }
    let none = [
        "not found",
        "does not appear to be a git repository",
        "could not be found",
        "does not exist",
        "exists on disk, but not in",
        "not a git repository",
    ];
    if none.iter().any(|words| said.contains(words)) && !said.contains("Could not resolve") {
        return GitError::NotFound;
    }
    if said.contains("could not read Username") || said.contains("could not read Password") {
        return GitError::Failed(
            "git has no credentials for that server, and it must not ask for any here; set up a credential helper \
             (`git credential approve`), or an address with ssh"
                .into(),
        );
    }
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(4).collect();
    GitError::Failed(format!("git says: {}", lines.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_for_ssh() {
        for (url, want) in [
            ("ssh://git@h/g/p.git", true),
            ("git@h:g/p.git", true),
            ("https://h/g/p.git", false),
            ("/srv/git/p.git", false),
            ("file:///srv/p.git", false),
        ] {
            assert_eq!(is_ssh(url), want, "{url}");
        }
    }

    #[test]
    fn complaints_hide_the_log_in() {
        let url = Some("https://me:s3cr3t@h/g/p.git");
        let said =
            failure("fatal: unable to access 'https://me:s3cr3t@h/g/p.git/': Broken pipe", url).to_string();
        assert!(said.contains("https://***@h/g/p.git") && !said.contains("s3cr3t"), "{said}");
        assert!(matches!(
            failure("fatal: repository 'https://h/g/p.git/' not found", url),
            GitError::NotFound
        ));
        let said = failure("fatal: could not read Username for 'https://h': terminal prompts disabled", url);
        assert!(said.to_string().contains("credential helper"));
    }
}
