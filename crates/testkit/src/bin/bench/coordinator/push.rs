//! From `git push` to the first byte of the script, and to the result in the terminal and on the page, with `harrier up`. Beside it
//! the same push to a bare repository over git's own HTTP server without hooks, and the start of a shell.

use super::{Server, git, work_tree};
use crate::page::Page;
use crate::{Failed, PATIENCE, median, ms, timed};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use harrier_testkit::{PlainClient, TempHome, ThrowAwayDatabase};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::AsyncWriteExt;

const ROUNDS: usize = 20;

pub(super) async fn measure(binary: &Path, page: &mut Page) -> Result<(), Failed> {
    let home = TempHome::new();
    let mark = home.path().join("mark");
    let configuration = format!("hello:\n  script:\n    - echo $EPOCHREALTIME > {}\n", mark.display());
    let free = std::net::TcpListener::bind("127.0.0.1:0")?;
    let at = free.local_addr()?;
    drop(free);
    let mut server = Server {
        binary: binary.to_owned(),
        home: TempHome::new(),
        database: None::<ThrowAwayDatabase>,
        at,
        token: String::new(),
        process: None,
    };
    server.run(&["up"])?;
    server.process()?.wait_log("its runner:", PATIENCE).await;
    server.token = server.admin(&["token", "--scope", "api,read_repository,write_repository"])?;
    server.ready().await?;
    page.part("from a push to its job, `harrier up` on an empty directory");
    tokio::time::sleep(Duration::from_secs(2)).await;
    page.row("memory, idle", server.memory("VmRSS"), "MiB", "below 40");
    let work = work_tree(home.path(), "work", &configuration)?;
    let url = format!("http://root:{}@{at}/root/swift.git", server.token);
    let bare = bare(home.path()).await?;

    // The first makes the project, the runner's clone and its directories.
    let first = one(&server, home.path(), &work, &url, &mark, 0).await?;
    git(home.path(), &work, &["push", "--quiet", &bare, "main"])?;
    let (mut script, mut pushes, mut terminal, mut on_page) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut floor, mut shell) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        git(home.path(), &work, &["commit", "--quiet", "--allow-empty", "-m", "Another"])?;
        let took = one(&server, home.path(), &work, &url, &mark, round).await?;
        script.push(took.script);
        pushes.push(took.push);
        terminal.push(took.terminal);
        on_page.push(took.page);
        floor.push(git(home.path(), &work, &["push", "--quiet", &bare, "main"])?);
        shell.push(timed(Command::new("bash").args(["--login", "-c", "true"]).env("HOME", home.path()))?);
    }
    let (script, floor, shell) = (median(&mut script), median(&mut floor), median(&mut shell));
    page.row(
        format!("git push to the script's first byte, median of {ROUNDS}"),
        ms(script),
        "ms",
        "at most 150",
    );
    page.row("the first push, which makes the project", ms(first.script), "ms", "");
    page.row("git push itself", ms(median(&mut pushes)), "ms", "");
    page.row("git push to git http-backend, no hooks", ms(floor), "ms", "");
    page.row("bash --login -c true", ms(shell), "ms", "");
    page.row("ratio of push and script to those two", ms(script) / ms(floor + shell), "", "");
    page.row("git push to its result in the terminal", ms(median(&mut terminal)), "ms", "at most 2000");
    page.row("git push to its result on the page", ms(median(&mut on_page)), "ms", "at most 2000");
    page.row("memory, peak", server.memory("VmHWM"), "MiB", "");
    Ok(())
}

struct Took {
    script: Duration,
    push: Duration,
    terminal: Duration,
    page: Duration,
}

async fn one(
    server: &Server,
    home: &Path,
    work: &Path,
    url: &str,
    mark: &Path,
    round: usize,
) -> Result<Took, Failed> {
    let _ = std::fs::remove_file(mark);
    let (begun, wall) = (Instant::now(), SystemTime::now());
    let push = git(home, work, &["push", "--quiet", url, "main"])?;
    let result = format!("pipeline #{} success", round + 1);
    server.process()?.wait_log(&result, PATIENCE).await;
    let terminal = begun.elapsed();
    let mut client = PlainClient::new(server.at);
    let path = format!("/api/v4/projects/1/pipelines/{}", round + 1);
    while client.send("GET", &path, &[("private-token", &server.token)], b"").await?.json()["status"]
        != "success"
    {
        if begun.elapsed() > PATIENCE {
            return Err("a pipeline never succeeds".into());
        }
    }
    let page = begun.elapsed();
    let at: f64 = std::fs::read_to_string(mark)?.trim().replace(',', ".").parse()?;
    let wall = wall.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    Ok(Took { script: Duration::from_secs_f64((at - wall).max(0.0)), push, terminal, page })
}

/// A bare repository behind `git http-backend`; its address.
async fn bare(home: &Path) -> Result<String, Failed> {
    let root = home.join("bare");
    std::fs::create_dir(&root)?;
    timed(Command::new("git").args(["init", "--quiet", "--bare", "swift.git"]).current_dir(&root))?;
    timed(
        Command::new("git").args(["config", "http.receivepack", "true"]).current_dir(root.join("swift.git")),
    )?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let router = axum::Router::new()
        .fallback(backend)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(root);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{at}/swift.git"))
}

/// One request as git's own program answers it.
async fn backend(
    State(root): State<PathBuf>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("GIT_PROTOCOL", text("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let answer = async {
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(&body).await?;
        }
        child.wait_with_output().await
    };
    let Ok(output) = answer.await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let end = output.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or_default();
    let head = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
    let kind =
        head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap_or_default().to_owned();
    let rest = output.stdout.get(end + 4..).unwrap_or_default().to_vec();
    ([("content-type", kind)], rest).into_response()
}
