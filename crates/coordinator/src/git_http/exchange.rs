//! git's own `upload-pack` and `receive-pack` behind HTTP (smart protocol, versions 0 to 2, shallow and partial clones).
//! Called by the routes in `mod.rs` once they know who asks and which repository is meant. Nothing here decides about
//! rights; no shell is involved and no hook of a repository runs.

use super::pkt_line::{Next, Packet, data, message, next};
use super::push::{Push, PushError, RefChange, read_head};
use crate::repository::Repository;
use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use std::future::Future;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;

/// Most bytes of a fetch request, unpacked: it lists what the client has.
const LONGEST_REQUEST: u64 = 64 << 20;

/// The two services of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `git clone`, `git fetch`.
    UploadPack,
    /// `git push`.
    ReceivePack,
}

impl Service {
    /// From `?service=`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    /// As in addresses and content types.
    pub fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// Content type of the answer to `GET info/refs`, without which git does not take it.
    pub fn advertisement_type(self) -> &'static str {
        match self {
            Self::UploadPack => "application/x-git-upload-pack-advertisement",
            Self::ReceivePack => "application/x-git-receive-pack-advertisement",
        }
    }

    /// Content type of the answer to the `POST`.
    pub fn result_type(self) -> &'static str {
        match self {
            Self::UploadPack => "application/x-git-upload-pack-result",
            Self::ReceivePack => "application/x-git-receive-pack-result",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }
}

/// What a push may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Whatever it says.
    Anything,
    /// Its branches go forward only: nothing that was there is lost.
    OnlyForward,
}

/// Why git could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// git could not be started or spoken to.
    #[error("git could not be run for {repository}: {source}; is git installed?")]
    Git {
        /// The bare repository.
        repository: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The request's body broke off or could not be unpacked.
    #[error("the request could not be read: {0}")]
    Request(String),
    /// The push made no sense.
    #[error(transparent)]
    Push(#[from] PushError),
}

/// What holds for every repository, whatever its own configuration says.
const SETTINGS: [(&str, &str); 6] = [
    // The data directory may belong to somebody else than who runs the server: that was decided by who started it.
    ("safe.directory", "*"),
    ("core.hooksPath", "/dev/null"),
    // Runners fetch commits by their id and the refs of pipelines, which nobody may push.
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("uploadpack.allowFilter", "true"),
    ("receive.advertisePushOptions", "true"),
    ("receive.hideRefs", "refs/pipelines"),
];

/// git for a bare repository, with nothing of this machine's or the server's settings.
pub(crate) fn git(repository: &Path) -> Command {
    git_with(repository, &[])
}

/// The same with more settings, which others see as little as the environment.
pub(crate) fn git_with(repository: &Path, more: &[(String, String)]) -> Command {
    let mut command = Command::new("git");
    command.env_clear().kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
        .env("LC_ALL", "C")
        .env("HOME", repository)
        .env("GIT_DIR", repository)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    command.env("GIT_CONFIG_COUNT", (SETTINGS.len() + more.len()).to_string());
    let more = more.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (index, (key, value)) in SETTINGS.into_iter().chain(more).enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command
}

fn serve(
    repository: &Path,
    service: Service,
    protocol: Option<&str>,
    advertise: bool,
    more: &[&str],
) -> Result<Child, ExchangeError> {
    let mut command = git(repository);
    command.args(more);
    // `version=2`, perhaps with other words of the same simple kind.
    let simple = |text: &&str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b':' | b'-' | b'.'))
    };
    if let Some(protocol) = protocol.filter(simple) {
        command.env("GIT_PROTOCOL", protocol);
    }
    command.arg(service.verb()).arg("--stateless-rpc");
    if advertise {
        command.arg("--advertise-refs");
    }
    command.arg(repository).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().map_err(|source| ExchangeError::Git { repository: repository.to_owned(), source })
}

/// The answer to `GET info/refs?service=…`.
pub async fn advertise(
    repository: &Path,
    service: Service,
    protocol: Option<&str>,
) -> Result<Bytes, ExchangeError> {
    let child = serve(repository, service, protocol, true, &[])?;
    let output = child
        .wait_with_output()
        .await
        .map_err(|source| ExchangeError::Git { repository: repository.to_owned(), source })?;
    let second = protocol.is_some_and(|protocol| protocol.split(':').any(|word| word == "version=2"));
    // As git's own HTTP server: version 2 has no head of its own, and pushes never speak version 2.
    let mut out = if second && service == Service::UploadPack {
        Vec::new()
    } else {
        [data(format!("# service={}\n", service.name()).as_bytes()), b"0000".to_vec()].concat()
    };
    out.extend_from_slice(&output.stdout);
    Ok(out.into())
}

/// The answer to `POST git-upload-pack`. `gzip`: the body is packed.
pub async fn upload_pack(
    repository: &Path,
    protocol: Option<&str>,
    body: Body,
    gzip: bool,
) -> Result<Body, ExchangeError> {
    let request = axum::body::to_bytes(body, LONGEST_REQUEST as usize)
        .await
        .map_err(|error| ExchangeError::Request(error.to_string()))?;
    let request = if gzip { unpack(&request)? } else { request };
    let mut child = serve(repository, Service::UploadPack, protocol, false, &[])?;
    let (mut input, mut output) = pipes(&mut child, repository)?;
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        let give = async {
            // A client that has all it wants may end early; git then closes its side.
            let _ = input.write_all(&request).await;
            drop(input);
        };
        let take = async {
            let mut piece = vec![0; 64 << 10];
            while let Ok(long @ 1..) = output.read(&mut piece).await {
                if sender.send(Ok(Bytes::copy_from_slice(&piece[..long]))).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(give, take);
        drop(sender);
        drop(child);
    });
    Ok(streamed(receiver))
}

/// The answer to `POST git-receive-pack`.
///
/// `allow` sees the push before git does and may refuse it with words for the person; what it gives otherwise goes to
/// `after`, with the changes that were carried out, perhaps none, before the client is told that all is well; its words are
/// shown to the person. It is called even when the client is gone by then.
pub async fn receive_pack<Allow, Begun, After, Done>(
    repository: PathBuf,
    body: Body,
    allow: Allow,
    after: After,
) -> Result<Body, ExchangeError>
where
    Allow: FnOnce(&Push) -> Result<(Allowed, Begun), String>,
    Begun: Send + 'static,
    After: FnOnce(Push, Begun) -> Done + Send + 'static,
    Done: Future<Output = Vec<String>> + Send,
{
    let mut stream = body.into_data_stream();
    let mut head = Vec::new();
    let push = loop {
        match read_head(&head)? {
            Some(push) => break push,
            None => match stream.next().await {
                Some(Ok(piece)) => head.extend_from_slice(&piece),
                Some(Err(error)) => return Err(ExchangeError::Request(error.to_string())),
                None => return Err(PushError::Broken.into()),
            },
        }
    };
    let (more, begun): (&[&str], Begun) = match allow(&push) {
        Ok((Allowed::Anything, begun)) => (&[], begun),
        Ok((Allowed::OnlyForward, begun)) => (&["-c", "receive.denyNonFastForwards=true"], begun),
        Err(refusal) => {
            // The client reads the answer only when it has sent everything.
            while let Some(Ok(_)) = stream.next().await {}
            return Ok(Body::from(refused(&push, &refusal)));
        }
    };
    let mut child = serve(&repository, Service::ReceivePack, None, false, more)?;
    let (mut input, mut output) = pipes(&mut child, &repository)?;
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        let give = async {
            if input.write_all(&head).await.is_ok() {
                while let Some(Ok(piece)) = stream.next().await {
                    if input.write_all(&piece).await.is_err() {
                        break;
                    }
                }
            }
            drop(input);
        };
        let take = pass_on(&mut output, &sender);
        let ((), held) = tokio::join!(give, take);
        let _ = child.wait().await;
        let mut last = Vec::new();
        let done = carried_out(&repository, &push);
        let said = after(Push { changes: done, ..push.clone() }, begun).await;
        if push.side_band {
            said.iter().for_each(|line| last.extend(message(line)));
        }
        last.extend_from_slice(&held);
        let _ = sender.send(Ok(last.into())).await;
    });
    Ok(streamed(receiver))
}

/// Passes the answer on, but for its end: the flush after the report, which tells the client that it is over.
async fn pass_on(output: &mut ChildStdout, sender: &mpsc::Sender<Result<Bytes, std::io::Error>>) -> Vec<u8> {
    let mut held = Vec::new();
    let mut piece = vec![0; 16 << 10];
    loop {
        match output.read(&mut piece).await {
            Ok(0) | Err(_) => return held,
            Ok(long) => held.extend_from_slice(&piece[..long]),
        }
        let mut whole = 0;
        while let Next::Packet(Packet::Data(_), long) = next(&held[whole..]) {
            whole += long;
        }
        let rest = held.split_off(whole);
        if !held.is_empty() {
            // A client that went away does not stop the push.
            let _ = sender.send(Ok(std::mem::take(&mut held).into())).await;
        }
        held = rest;
    }
}

/// The report of a push that was refused before git saw it.
fn refused(push: &Push, why: &str) -> Vec<u8> {
    let mut report = data(b"unpack ok\n");
    let short = why.lines().next().unwrap_or_default();
    for change in &push.changes {
        report.extend(data(format!("ng {} {short}\n", change.name).as_bytes()));
    }
    report.extend(b"0000");
    if !push.side_band {
        return report;
    }
    let mut out = message(why);
    for piece in report.chunks(60_000) {
        out.extend(data(&[b"\x01", piece].concat()));
    }
    out.extend(b"0000");
    out
}

/// The changes after which the repository is as they wanted it.
fn carried_out(repository: &Path, push: &Push) -> Vec<RefChange> {
    let repository = Repository::at(repository.to_owned());
    let as_wanted = |change: &&RefChange| match repository.raw_ref(&change.name) {
        Ok(Some(id)) => id == change.new,
        Ok(None) => change.deletes(),
        Err(error) => {
            tracing::error!(name = change.name, error = %error, "a pushed ref cannot be read; its pipeline comes later");
            false
        }
    };
    push.changes.iter().filter(as_wanted).cloned().collect()
}

fn pipes(
    child: &mut Child,
    repository: &Path,
) -> Result<(tokio::process::ChildStdin, ChildStdout), ExchangeError> {
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok((input, output)),
        _ => Err(ExchangeError::Git {
            repository: repository.to_owned(),
            source: std::io::Error::other("it has no pipes"),
        }),
    }
}

fn streamed(receiver: mpsc::Receiver<Result<Bytes, std::io::Error>>) -> Body {
    Body::from_stream(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

fn unpack(bytes: &[u8]) -> Result<Bytes, ExchangeError> {
    let mut out = Vec::new();
    let read = flate2::read::GzDecoder::new(bytes).take(LONGEST_REQUEST + 1).read_to_end(&mut out);
    match read {
        Ok(long) if long as u64 <= LONGEST_REQUEST => Ok(out.into()),
        Ok(_) => Err(ExchangeError::Request("it is longer than 64 MiB when unpacked".to_owned())),
        Err(error) => Err(ExchangeError::Request(format!("it is no gzip: {error}"))),
    }
}
