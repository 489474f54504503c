//! Git's smart HTTP for the projects, read only, answered by git itself (`runner-api.md` §10). Answers that cannot
//! change, the capability list and packs for given wants, are kept so that a test measures the runner.
//!
//! Called by `server`. It must never accept a push.

use crate::jobs::{Job, JobSpec, JobState};
use crate::server::{Answer, Call, Inner, Shared};
use axum::body::Bytes;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

/// Answers of git by repository, protocol version and request.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<(PathBuf, String, Bytes), Bytes>>);

/// The commit a job gets, with the persistent ref of its pipeline made to exist (§4.3).
pub(crate) fn pin(git_dir: Option<&Path>, spec: &JobSpec, pipeline: usize) -> String {
    let Some(git_dir) = git_dir else {
        return spec.sha.clone().unwrap_or_else(|| "0123456789abcdef0123456789abcdef01234567".into());
    };
    let tip = std::fs::read_to_string(git_dir.join("refs/heads").join(&spec.ref_name)).unwrap_or_default();
    let sha = spec.sha.clone().unwrap_or_else(|| tip.trim().to_owned());
    let pipelines = git_dir.join("refs/pipelines");
    let kept = pipelines.join(pipeline.to_string());
    let line = format!("{sha}\n");
    if std::fs::read_to_string(&kept).is_ok_and(|known| known == line) {
        return sha;
    }
    // Renamed into place: a git that reads at this moment must not meet half a ref. A repository that cannot be
    // written shows itself at once, for the fetch of the missing ref fails.
    let fresh = git_dir.join(format!("pipeline-{pipeline}.new"));
    let _ = std::fs::create_dir_all(&pipelines)
        .and_then(|()| std::fs::write(&fresh, line))
        .and_then(|()| std::fs::rename(&fresh, &kept));
    sha
}

pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call) -> Answer {
    let (repo, service) = match locate(call) {
        Some(found) => found,
        None => return Answer::plain(404),
    };
    let git_dir = {
        let mut inner = shared.lock();
        match admit(&mut inner, call, &repo) {
            Ok(git_dir) => git_dir,
            Err(refusal) => return refusal,
        }
    };
    let protocol = call.header("git-protocol").to_owned();
    let Some(request) = request_body(call) else { return Answer::plain(400) };
    let advertises = service == "info/refs";
    let is_v2 = protocol.contains("version=2");
    let stable = if advertises { is_v2 } else { is_v2 && contains(&request, b"command=fetch") };
    let key = (git_dir.clone(), format!("{service} {protocol}"), request.clone());
    let kept =
        stable.then(|| shared.git_cache.0.lock().expect("no holder panics").get(&key).cloned()).flatten();
    let output = match kept {
        Some(output) => output,
        None => match upload_pack(&git_dir, &protocol, advertises, &request).await {
            Ok(output) => {
                let output = Bytes::from(output);
                if stable {
                    shared.git_cache.0.lock().expect("no holder panics").insert(key, output.clone());
                }
                output
            }
            Err(error) => return Answer::message(500, &format!("git upload-pack: {error}")),
        },
    };
    if advertises {
        let mut body = Vec::new();
        if !is_v2 {
            body.extend_from_slice(b"001e# service=git-upload-pack\n0000");
        }
        body.extend_from_slice(&output);
        reply("application/x-git-upload-pack-advertisement", body.into())
    } else {
        reply("application/x-git-upload-pack-result", output)
    }
}

fn reply(content_type: &str, body: Bytes) -> Answer {
    let headers = vec![("content-type", content_type.to_owned()), ("cache-control", "no-cache".to_owned())];
    Answer { status: 200, headers, body }
}

/// Project path and service of the address.
fn locate(call: &Call) -> Option<(String, &'static str)> {
    let (repo, rest) = call.uri.path().trim_start_matches('/').split_once(".git/")?;
    let service = match (call.method.as_str(), rest) {
        ("GET", "info/refs") if call.uri.query() == Some("service=git-upload-pack") => "info/refs",
        ("POST", "git-upload-pack") => "git-upload-pack",
        _ => return None,
    };
    Some((repo.to_owned(), service))
}

/// Basic authentication by the token of a job that executes.
fn admit(inner: &mut Inner, call: &Call, repo: &str) -> Result<PathBuf, Answer> {
    let ask = || Answer::plain(401).with("www-authenticate", "Basic realm=\"GitLab\"");
    let Some((user, password)) = credentials(call.header("authorization")) else { return Err(ask()) };
    let job = inner.jobs.values().find(|job| !job.token.is_empty() && job.token == password);
    let mut slips = Vec::new();
    let admitted = match job {
        None => false,
        Some(job) => {
            check(job, call, &user, &mut slips);
            job.is_executing()
        }
    };
    for slip in slips {
        inner.slip(call, slip);
    }
    if !admitted {
        return Err(ask());
    }
    let project = inner.projects.iter().find(|project| project.path == repo);
    project.map(|project| project.git_dir.clone()).ok_or_else(|| Answer::plain(404))
}

fn check(job: &Job, call: &Call, user: &str, slips: &mut Vec<String>) {
    if user != "gitlab-ci-token" {
        slips.push(format!("git user {user:?} (§10)"));
    }
    if job.state == JobState::Pending {
        slips.push("git before the acceptance (§3.8)".into());
    }
    let agent: Vec<&str> = call.header("user-agent").split(' ').collect();
    if !matches!(agent.as_slice(), [_, _, platform] if platform.contains('/')) {
        slips.push(format!(
            "git's User-Agent {:?} is not `<name> <version> <os>/<arch>` (§10)",
            call.header("user-agent")
        ));
    }
    if call.header("x-gitaly-correlation-id") != job.correlation_id {
        slips.push(format!(
            "X-Gitaly-Correlation-ID {:?} is not the job request's {:?} (§10)",
            call.header("x-gitaly-correlation-id"),
            job.correlation_id
        ));
    }
}

fn credentials(header: &str) -> Option<(String, String)> {
    let decoded = base64(header.strip_prefix("Basic ")?)?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

fn request_body(call: &Call) -> Option<Bytes> {
    if call.header("content-encoding") != "gzip" {
        return Some(call.body.clone());
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(call.body.as_ref()).read_to_end(&mut plain).ok()?;
    Some(plain.into())
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

async fn upload_pack(
    git_dir: &Path,
    protocol: &str,
    advertises: bool,
    request: &Bytes,
) -> std::io::Result<Vec<u8>> {
    let mut command = tokio::process::Command::new("git");
    command.arg("upload-pack").arg("--stateless-rpc");
    if advertises {
        command.arg("--http-backend-info-refs");
    }
    command.arg(git_dir).env("GIT_PROTOCOL", protocol).env("GIT_CONFIG_NOSYSTEM", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // git may have heard enough before the end of the request.
            let _ = stdin.write_all(request).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(std::io::Error::other(output.status.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_with_and_without_padding() {
        assert_eq!(base64("dXNlcjpwYXNz").as_deref(), Some(b"user:pass".as_slice()));
        assert_eq!(base64("YQ==").as_deref(), Some(b"a".as_slice()));
        assert_eq!(base64("YWI=").as_deref(), Some(b"ab".as_slice()));
        assert_eq!(base64("a b"), None);
    }
}
