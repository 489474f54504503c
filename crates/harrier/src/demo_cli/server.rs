//! The coordinator of the demo: the real command, spoken to by git and by its REST API.

use super::stage::{DemoError, Stage, say};
use super::write_project;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;

/// Between two looks at what changes.
const LOOK: Duration = Duration::from_millis(200);

/// A coordinator that answers.
pub struct Server {
    url: String,
    token: String,
    password: String,
    project: String,
    client: reqwest::Client,
}

impl Server {
    /// Starts one, on loopback or on the address where containers find this machine.
    pub async fn start(stage: &mut Stage, address: Option<IpAddr>) -> Result<Self, DemoError> {
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let free = TcpListener::bind((address, 8929)).or_else(|_| TcpListener::bind((address, 0)));
        let listen = free.and_then(|free| free.local_addr());
        let listen =
            listen.map_err(|source| DemoError::Start { command: format!("listen on {address}"), source })?;
        let url = format!("http://{listen}");
        let at = listen.to_string();
        let mut serve = stage.harrier();
        serve.args(["serve", "--data", "data", "--listen", &at]);
        stage.start("coordinator", &format!("harrier serve --data data --listen {listen}"), serve)?;
        // Two providers of cryptography in one program would make the choice a fault at run time.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A proxy does not know this machine's own addresses.
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        let client =
            client.map_err(|error| DemoError::Server { doing: "start".into(), said: error.to_string() })?;
        let health = format!("{url}/-/health");
        loop {
            if client.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            if let Some(said) = stage.ended_early("coordinator") {
                return Err(DemoError::Server { doing: "start".into(), said });
            }
            tokio::time::sleep(LOOK).await;
        }
        let mut admin = stage.harrier();
        admin.args(["admin", "--data", "data", "token", "--scope", "api,write_repository"]);
        let token = stage.show("harrier admin --data data token --scope api,write_repository", admin).await?;
        let mut server = Self {
            url,
            token: token.trim().to_owned(),
            password: String::new(),
            project: String::new(),
            client,
        };
        server.give_password(stage).await?;
        Ok(server)
    }

    /// A password of root's, so that somebody can log in while the demo lasts.
    async fn give_password(&mut self, stage: &Stage) -> Result<(), DemoError> {
        self.password = self.token.chars().rev().take(16).collect();
        let path = stage.home().join("password");
        let write = std::fs::write(&path, &self.password).and_then(|()| std::fs::File::open(&path));
        let file = write.map_err(|source| DemoError::Io { path, source })?;
        let mut admin = stage.harrier();
        admin.args(["admin", "--data", "data", "password", "--stdin"]).stdin(file);
        stage.quiet("harrier admin password --stdin", admin).await?;
        Ok(())
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of the project that was made.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Of root.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What the how-to's `register` asks for.
    pub async fn registration_token(&self, stage: &Stage) -> Result<String, DemoError> {
        let mut admin = stage.harrier();
        admin.args(["admin", "--data", "data", "registration-token"]);
        let token = stage.show("harrier admin --data data registration-token", admin).await?;
        Ok(token.trim().to_owned())
    }

    /// Makes root's project of that name.
    pub async fn make_project(&mut self, stage: &Stage, name: &str) -> Result<(), DemoError> {
        let mut admin = stage.harrier();
        let path = format!("root/{name}");
        admin.args(["admin", "--data", "data", "project", &path]);
        stage.show(&format!("harrier admin --data data project {path}"), admin).await?;
        name.clone_into(&mut self.project);
        Ok(())
    }

    /// Gives the project a variable.
    pub async fn set_variable(&self, key: &str, value: &str) -> Result<(), DemoError> {
        say(&format!("(a variable of the project: {key})"));
        self.post("variables", &json!({ "key": key, "value": value })).await?;
        Ok(())
    }

    /// Commits files and pushes them; the pipeline that makes.
    pub async fn push(&self, stage: &Stage, files: &[(&str, &str)]) -> Result<i64, DemoError> {
        let folder = stage.home().join(&self.project);
        write_project(&folder, files).map_err(|source| DemoError::Io { path: folder.clone(), source })?;
        let git = |args: &[&str]| {
            let mut command = stage.command("git");
            command.args(args).current_dir(&folder);
            command
        };
        stage.quiet("git init", git(&["init", "--quiet", "--initial-branch=main"])).await?;
        stage.quiet("git add", git(&["add", "--all"])).await?;
        stage.quiet("git commit", git(&["commit", "--quiet", "--message", "The demo's project"])).await?;
        let address = format!("{}/root/{}.git", self.url, self.project);
        // The token stays off the command line, for which git has its helpers.
        let token = stage.home().join("git-credentials");
        let (scheme, host) = self.url.split_once("://").unwrap_or(("http", &self.url));
        std::fs::write(&token, format!("{scheme}://root:{}@{host}\n", self.token))
            .map_err(|source| DemoError::Io { path: token.clone(), source })?;
        let helper = format!("credential.helper=store --file={}", token.display());
        let push = git(&["-c", &helper, "push", "--quiet", &address, "main"]);
        stage.show(&format!("git push {address} main"), push).await?;
        let made = self.get("pipelines").await?;
        let id = made.get(0).and_then(|first| first.get("id")).and_then(Value::as_i64);
        let id = id.ok_or_else(|| self.unexpected("pipelines", &made))?;
        say(&format!("Pipeline {id}: {}/root/{}/-/pipelines/{id}", self.url, self.project));
        Ok(id)
    }

    /// The jobs of a pipeline, the first to run first.
    pub async fn jobs(&self, pipeline: i64) -> Result<Vec<(String, i64)>, DemoError> {
        let what = format!("pipelines/{pipeline}/jobs");
        let jobs = self.get(&what).await?;
        let mut found: Vec<(String, i64)> = jobs
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|job| Some((job.get("name")?.as_str()?.to_owned(), job.get("id")?.as_i64()?)))
            .collect();
        found.sort_by_key(|(_, id)| *id);
        Ok(found)
    }

    /// The job of that name.
    pub async fn job(&self, pipeline: i64, name: &str) -> Result<i64, DemoError> {
        let jobs = self.jobs(pipeline).await?;
        let found = jobs.iter().find(|(job, _)| job == name);
        found.map(|(_, id)| *id).ok_or_else(|| DemoError::Server {
            doing: format!("jobs of pipeline {pipeline}"),
            said: format!("there is no job {name}"),
        })
    }

    /// Runs a job again.
    pub async fn retry(&self, job: i64) -> Result<i64, DemoError> {
        let what = format!("jobs/{job}/retry");
        let made = self.post(&what, &json!({})).await?;
        made.get("id").and_then(Value::as_i64).ok_or_else(|| self.unexpected(&what, &made))
    }

    /// Prints a job's log as it grows, until the job has ended, as it should where that is known, or waits for a person.
    pub async fn follow(&self, job: i64, expected: Option<&'static str>) -> Result<(), DemoError> {
        let mut shown = 0;
        loop {
            // The status first: the log of a job that has ended is whole.
            let status = self.get(&format!("jobs/{job}")).await?;
            let status = status.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
            let over = matches!(status.as_str(), "success" | "failed" | "canceled" | "skipped" | "manual");
            let log = self.text(&format!("jobs/{job}/trace")).await?;
            let whole = if over { log.len() } else { log.rfind('\n').map_or(0, |end| end + 1) };
            for line in log.get(shown..whole).unwrap_or_default().lines() {
                if let Some(text) = words_of(line) {
                    println!("  | {text}");
                }
            }
            shown = shown.max(whole);
            if over {
                println!();
                say(&format!("The job's status: {status}"));
                return match expected {
                    Some(expected) if status != expected => Err(DemoError::Ended { ended: status, expected }),
                    Some(_) | None => Ok(()),
                };
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until a pipeline has passed.
    pub async fn pipeline_ended(&self, pipeline: i64) -> Result<(), DemoError> {
        loop {
            let what = format!("pipelines/{pipeline}");
            let found = self.get(&what).await?;
            match found.get("status").and_then(Value::as_str) {
                Some("success") => {
                    say(&format!("Pipeline {pipeline} has passed."));
                    return Ok(());
                }
                Some("running" | "pending" | "created") => tokio::time::sleep(LOOK).await,
                other => {
                    let ended = other.unwrap_or("nothing").to_owned();
                    return Err(DemoError::Ended { ended, expected: "success" });
                }
            }
        }
    }

    async fn get(&self, what: &str) -> Result<Value, DemoError> {
        let text = self.text(what).await?;
        serde_json::from_str(&text)
            .map_err(|error| DemoError::Server { doing: what.to_owned(), said: error.to_string() })
    }

    async fn text(&self, what: &str) -> Result<String, DemoError> {
        self.send(what, self.client.get(self.address(what))).await
    }

    async fn post(&self, what: &str, body: &Value) -> Result<Value, DemoError> {
        let request = self.client.post(self.address(what)).header("Content-Type", "application/json");
        let text = self.send(what, request.body(body.to_string())).await?;
        serde_json::from_str(&text)
            .map_err(|error| DemoError::Server { doing: what.to_owned(), said: error.to_string() })
    }

    async fn send(&self, what: &str, request: reqwest::RequestBuilder) -> Result<String, DemoError> {
        let failed = |said: String| DemoError::Server { doing: what.to_owned(), said };
        let answer = request.header("PRIVATE-TOKEN", &self.token).send().await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(error.to_string()))?;
        if status.is_success() { Ok(text) } else { Err(failed(format!("{status}: {text}"))) }
    }

    fn address(&self, what: &str) -> String {
        format!("{}/api/v4/projects/root%2F{}/{what}", self.url, self.project)
    }

    fn unexpected(&self, what: &str, answer: &Value) -> DemoError {
        DemoError::Server { doing: what.to_owned(), said: format!("it answered {answer}") }
    }
}

/// What a line of a log says: without its time stamp and the marks of sections. `None`: nothing but marks.
fn words_of(line: &str) -> Option<String> {
    let stamped = line.get(10..11) == Some("T") && line.get(26..28) == Some("Z ");
    let text = if stamped { line.get(32..).unwrap_or_default() } else { line };
    let mut said = String::new();
    let mut marks = false;
    for piece in text.split_inclusive('\r') {
        if piece.starts_with("section_start:") || piece.starts_with("section_end:") {
            marks = true;
        } else {
            said.push_str(piece);
        }
    }
    let said = said.replace("\u{1b}[0K", "").trim_end_matches('\r').to_owned();
    (!marks || !said.trim().is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::words_of;

    #[test]
    fn a_line_is_its_words() {
        let cases = [
            ("plain", Some("plain")),
            ("", Some("")),
            ("2026-11-25T04:00:00.123456Z 00O $ pwd", Some("$ pwd")),
            (
                "section_start:1764043200:get_sources\r\u{1b}[0K\u{1b}[36;1mGetting\u{1b}[0;m",
                Some("\u{1b}[36;1mGetting\u{1b}[0;m"),
            ),
            ("section_end:1764043200:get_sources\r\u{1b}[0K", None),
        ];
        for (line, words) in cases {
            assert_eq!(words_of(line).as_deref(), words, "{line:?}");
        }
    }
}
