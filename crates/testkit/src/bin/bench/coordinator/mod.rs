//! The coordinator under load, on SQLite and on PostgreSQL side by side: a thousand runners that wait, two thousand jobs, ten
//! thousand stored pipelines, memory; and the way from a push to the first byte of a script. The runners are tasks of this process,
//! so that their memory is not the server's.

mod load;
mod pages;
mod push;
mod seed;

use crate::page::Page;
use crate::{Failed, PATIENCE, timed};
use harrier_testkit::{Message, PlainClient, RunnerProcess, TempHome, ThrowAwayDatabase};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The project of the load.
const PROJECT: &str = "root/kestrel";

/// A server with its data.
struct Server {
    binary: PathBuf,
    home: TempHome,
    database: Option<ThrowAwayDatabase>,
    at: SocketAddr,
    token: String,
    process: Option<RunnerProcess>,
}

impl Server {
    /// `harrier serve` on an empty directory; with a token of root's.
    async fn start(binary: &Path, postgres: bool) -> Result<Self, Failed> {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        let at = free.local_addr()?;
        drop(free);
        let mut server = Self {
            binary: binary.to_owned(),
            home: TempHome::new(),
            database: postgres.then(ThrowAwayDatabase::new),
            at,
            token: String::new(),
            process: None,
        };
        server.run(&["serve"])?;
        server.process()?.wait_log("once:", PATIENCE).await;
        server.token = server.admin(&["token", "--scope", "api,read_repository,write_repository"])?;
        server.ready().await?;
        Ok(server)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let data = self.home.path().join("data").to_string_lossy().into_owned();
        let address = self.database.iter().map(|database| ("HARRIER_DATABASE", database.address()));
        address.chain([("HARRIER_DATA", data)]).collect()
    }

    fn run(&mut self, verb: &[&str]) -> Result<(), Failed> {
        let environment = self.environment();
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let at = self.at.to_string();
        let arguments = [verb, &["--listen", &at, "--log-level", "warn"]].concat();
        self.process = Some(RunnerProcess::start_with(&self.binary, &self.home, &arguments, &environment));
        Ok(())
    }

    fn process(&self) -> Result<&RunnerProcess, Failed> {
        self.process.as_ref().ok_or_else(|| "the server does not run".into())
    }

    fn admin(&self, arguments: &[&str]) -> Result<String, Failed> {
        let mut command = Command::new(&self.binary);
        let output = command.arg("admin").args(arguments).envs(self.environment()).output()?;
        if !output.status.success() {
            return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    async fn ready(&self) -> Result<(), Failed> {
        let begun = Instant::now();
        while self.client().ask("GET", "/api/v4/version", None).await.is_err() {
            if begun.elapsed() > PATIENCE {
                return Err("the server does not answer".into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Ends it as `kill` does and waits for that.
    async fn stop(&mut self) -> Result<(), Failed> {
        if let Some(mut process) = self.process.take() {
            process.signal(nix::sys::signal::Signal::SIGTERM);
            process.wait(PATIENCE).await.ok_or("the server does not end")?;
        }
        Ok(())
    }

    fn client(&self) -> Caller {
        Caller { client: PlainClient::new(self.at), token: self.token.clone() }
    }

    /// A line of `/proc/<id>/status` in MiB: `VmRSS`, `VmHWM`.
    fn memory(&self, line: &str) -> f64 {
        let id = self.process.as_ref().map_or(0, RunnerProcess::id);
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.unwrap_or(0.0) / 1024.0
    }

    fn database_name(&self) -> &'static str {
        if self.database.is_some() { "PostgreSQL" } else { "SQLite" }
    }
}

/// Somebody with root's token.
struct Caller {
    client: PlainClient,
    token: String,
}

impl Caller {
    /// Calls; anything but success is an error.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Message, Failed> {
        let headers = [("private-token", self.token.as_str())];
        let answer = match body {
            Some(body) => self.client.send_json(method, path, &headers, body).await?,
            None => self.client.send(method, path, &headers, b"").await?,
        };
        match answer.status() {
            200..300 => Ok(answer),
            _ => Err(format!("{method} {path}: {}\n{}", answer.first, String::from_utf8_lossy(&answer.body))
                .into()),
        }
    }
}

/// git without this person's settings.
fn git(home: &Path, dir: &Path, arguments: &[&str]) -> Result<std::time::Duration, Failed> {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Bench", "-c", "user.email=bench@harrier.invalid"]).args(arguments);
    command
        .current_dir(dir)
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    timed(&mut command)
}

/// A repository with this configuration.
fn work_tree(home: &Path, name: &str, configuration: &str) -> Result<PathBuf, Failed> {
    let dir = home.join(name);
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join(".gitlab-ci.yml"), configuration)?;
    std::fs::write(dir.join("README.md"), "# Kestrel\n")?;
    git(home, &dir, &["init", "--quiet", "--initial-branch=main"])?;
    git(home, &dir, &["add", "-A"])?;
    git(home, &dir, &["commit", "--quiet", "-m", "First"])?;
    Ok(dir)
}

/// `share` (0.99) of the values are at most this.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1));
    values.get(at - 1).copied().unwrap_or_default()
}

pub(crate) async fn measure(binary: &Path, page: &mut Page) -> Result<(), Failed> {
    push::measure(binary, page).await?;
    for postgres in [false, true] {
        let mut server = Server::start(binary, postgres).await?;
        load::measure(&server, page).await.map_err(|error| with_log(&server, error))?;
        server.stop().await?;
        seed::pipelines(&server)?;
        server.run(&["serve"])?;
        server.ready().await?;
        pages::measure(&server, page).await.map_err(|error| with_log(&server, error))?;
        server.stop().await?;
    }
    Ok(())
}

fn with_log(server: &Server, error: Failed) -> Failed {
    let log = server.process.as_ref().map(RunnerProcess::log).unwrap_or_default();
    let tail: String = log.chars().skip(log.chars().count().saturating_sub(4000)).collect();
    format!("{error}\nthe server's log:\n{tail}").into()
}
