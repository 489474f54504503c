//! The commands of GitLab Runner, run as people run them: the real binary, by its drop-in name, against a fake GitLab.

use harrier_testkit::{FakeGitLab, JobSpec, JobState, TempHome};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The binary under the name that makes it a drop-in.
fn gitlab_runner(home: &TempHome) -> PathBuf {
    let link = home.path().join("gitlab-runner");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_harrier"), &link).expect("a link can be made");
    }
    link
}

struct Ran {
    code: Option<i32>,
    said: String,
    printed: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }
}

fn command(home: &TempHome) -> Command {
    let mut command = Command::new(gitlab_runner(home));
    command.env_clear().env("HOME", home.path()).env("CONFIG_FILE", home.config());
    command
}

/// Runs a command to its end beside the server, answering `answers` on its standard input.
async fn run_with(home: &TempHome, args: &[&str], env: &[(&str, &str)], answers: &str) -> Ran {
    let mut command = command(home);
    command.args(args).envs(env.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let answers = answers.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it was piped");
        // A command that asks nothing may be gone already.
        let _ = stdin.write_all(answers.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("it can be waited for")
    });
    ran.await.expect("nothing panics").into()
}

async fn run(home: &TempHome, args: &[&str]) -> Ran {
    run_with(home, args, &[], "").await
}

fn config(home: &TempHome) -> String {
    std::fs::read_to_string(home.config()).unwrap_or_default()
}

/// The text without what differs from run to run.
fn settled(text: &str, replace: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in replace {
        text = text.replace(from, to);
    }
    text.lines()
        .map(|line| match line.split_once("token_obtained_at = ") {
            Some((indent, _)) => format!("{indent}token_obtained_at = NOW\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

fn token_in(text: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("token = "));
    line.expect("the file has a token").trim_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_how_to_registers_word_for_word() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (url, token) = (server.url(), server.registration_token().to_owned());
    let ran = run(
        &home,
        &[
            "register",
            "--non-interactive",
            "--url",
            &url,
            "--registration-token",
            &token,
            "--executor",
            "docker",
            "--docker-image",
            "docker:stable",
            "--docker-privileged",
            "--description",
            "docker-runner",
            "--tag-list",
            "docker,aws",
            "--run-untagged",
            "--locked=false",
            "--access-level=not_protected",
        ],
    )
    .await;
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(ran.said.contains("Runner registered successfully."), "{}", ran.said);
    assert!(!ran.said.contains("executor yet"), "{}", ran.said);
    let text = config(&home);
    let own = token_in(&text);
    assert!(server.has_runner(&own) && own != token);
    assert!(!ran.said.contains(&own) && !ran.said.contains(&token), "{}", ran.said);
    let note =
        server.requests().into_iter().find(|note| note.path.ends_with("/runners")).expect("it registered");
    let body = note.json.expect("it sent JSON");
    for (key, value) in [
        ("description", serde_json::json!("docker-runner")),
        ("tag_list", serde_json::json!("docker,aws")),
        ("run_untagged", serde_json::json!(true)),
        ("locked", serde_json::json!(false)),
        ("access_level", serde_json::json!("not_protected")),
        ("paused", serde_json::json!(false)),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    let expected = "concurrent = 1\ncheck_interval = 0\nshutdown_timeout = 0\n\n[session_server]\n  session_timeout = 1800\n\n[[runners]]\n  name = \"docker-runner\"\n  url = \"URL\"\n  id = 1\n  token = \"TOKEN\"\n  token_obtained_at = NOW\n  token_expires_at = 0001-01-01T00:00:00Z\n  executor = \"docker\"\n  [runners.cache]\n    MaxUploadedArchiveSize = 0\n    [runners.cache.s3]\n      AssumeRoleMaxConcurrency = 0\n    [runners.cache.gcs]\n    [runners.cache.azure]\n  [runners.docker]\n    tls_verify = false\n    image = \"docker:stable\"\n    privileged = true\n    disable_entrypoint_overwrite = false\n    oom_kill_disable = false\n    disable_cache = false\n    volumes = [\"/cache\"]\n    volume_keep = false\n    shm_size = 0\n    network_mtu = 0\n";
    let id = text.lines().find(|line| line.trim().starts_with("id = ")).expect("the file has an id");
    assert_eq!(settled(&text, &[(&url, "URL"), (&own, "TOKEN"), (id, "  id = 1")]), expected);
    let mode = |path: PathBuf| std::fs::metadata(path).map(|data| data.permissions().mode() & 0o777);
    assert_eq!(mode(home.config()).ok(), Some(0o600));
    assert_eq!(mode(home.path().join(".runner_system_id")).ok(), Some(0o600));
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_runner_keeps_its_settings_on_the_server() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (url, token) = (server.url(), server.add_runner());
    let base = ["register", "-n", "--url", &url, "--executor", "shell", "--name", "mine"];
    let with = |more: &[&'static str]| [&base[..], more].concat();

    let refused =
        run_with(&home, &with(&["--locked=false", "--tag-list", "a"]), &[("CI_SERVER_TOKEN", &token)], "")
            .await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.said.contains("--locked, --tag-list cannot be set"), "{}", refused.said);
    assert_eq!(config(&home), "");

    let done = run_with(&home, &with(&["--locked=true"]), &[("CI_SERVER_TOKEN", &token)], "").await;
    assert_eq!(done.code, Some(0), "{}", done.said);
    assert_eq!(token_in(&config(&home)), token);
    assert!(config(&home).contains("name = \"mine\"") && !config(&home).contains("[runners.docker]"));
    assert!(!done.said.contains("takes no jobs here"), "{}", done.said);

    // Through the old flag the settings are ignored, with a warning; and the token is known by now.
    let again = run_with(&home, &with(&["--run-untagged"]), &[("REGISTRATION_TOKEN", &token)], "").await;
    assert_eq!(again.code, Some(0), "{}", again.said);
    assert!(
        again.said.contains("they are ignored") && again.said.contains("already been registered"),
        "{}",
        again.said
    );
    assert_eq!(config(&home).matches("[[runners]]").count(), 2);

    let wrong =
        run(&home, &["register", "-n", "-u", &url, "-t", "glrt-t1_unknown", "--executor", "shell"]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.said.contains("Failed to verify the runner"), "{}", wrong.said);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_asked_until_they_are_answered() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let token = server.registration_token().to_owned();
    let answers =
        format!("\n{}\n{token}\nmy runner\n\n\nnonsense\nssh\nhost.lan\n\nroot\npw\n\n", server.url());
    let ran = run_with(&home, &["register"], &[], &answers).await;
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(ran.said.contains("Enter the GitLab instance URL"), "{}", ran.said);
    assert!(ran.said.contains("Invalid executor specified"), "{}", ran.said);
    let text = config(&home);
    assert!(
        text.contains(
            "  [runners.ssh]\n    user = \"root\"\n    password = \"pw\"\n    host = \"host.lan\"\n"
        ),
        "{text}"
    );
    // No tags: any job may come.
    let body = server
        .requests()
        .iter()
        .find(|note| note.path.ends_with("/runners"))
        .and_then(|note| note.json.clone());
    assert_eq!(body.expect("it registered")["run_untagged"], true);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_registration_takes_the_runner_off_again() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (url, token) = (server.url(), server.registration_token().to_owned());
    let args = ["register", "-n", "-u", &url, "-r", &token, "--executor", "docker"];
    let ran = run(&home, &args).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.said.contains("the docker-image needs to be entered; give it as --docker-image"),
        "{}",
        ran.said
    );
    assert!(ran.said.contains("Unregistering runner from GitLab succeeded"), "{}", ran.said);
    assert_eq!(config(&home), "");
    let left = run(&home, &[&args[..], &["--leave-runner"]].concat()).await;
    assert_eq!(left.code, Some(1));
    assert!(!left.said.contains("Unregistering"), "{}", left.said);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_during_the_questions_takes_the_runner_off_again() {
    use std::io::{BufRead as _, BufReader};
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (url, token) = (server.url(), server.add_runner());
    let mut command = command(&home);
    command.args(["register", "--url", &url, "--token", &token]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let said = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it was piped");
        stdin.write_all(b"\n\n").expect("it reads");
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        let mut said = String::new();
        for line in &mut lines {
            let line = line.expect("it writes text");
            said.push_str(&line);
            said.push('\n');
            if line.contains("Enter an executor") {
                let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
                break;
            }
        }
        for line in lines {
            said.push_str(&line.expect("it writes text"));
            said.push('\n');
        }
        assert_eq!(child.wait().ok().and_then(|status| status.code()), Some(1), "{said}");
        said
    });
    let said = said.await.expect("nothing panics");
    assert!(said.contains("Unregistering runner manager from GitLab succeeded"), "{said}");
    assert!(server.managers(&token).is_empty());
    assert_eq!(config(&home), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_fills_what_flags_leave_open() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (url, token) = (server.url(), server.add_runner());
    let template = home.path().join("template.toml");
    let text = "[[runners]]\n  limit = 7\n  token = \"ignored\"\n  executor = \"kubernetes\"\n  [runners.docker]\n    image = \"from-template\"\n    privileged = true\n    memory = \"1g\"\n";
    std::fs::write(&template, text).expect("the home is writable");
    let template = template.to_string_lossy().into_owned();
    let ran = run_with(
        &home,
        &[
            "register",
            "-n",
            "--template-config",
            &template,
            "--docker-image",
            "from-flag",
            "--docker-privileged=false",
        ],
        &[
            ("CI_SERVER_URL", &url),
            ("CI_SERVER_TOKEN", &token),
            ("RUNNER_EXECUTOR", "docker"),
            ("DOCKER_VOLUMES", "/data:/cache"),
        ],
        "",
    )
    .await;
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let written = config(&home);
    for line in [
        "  limit = 7\n",
        "  executor = \"docker\"\n",
        "    image = \"from-flag\"\n    memory = \"1g\"\n    privileged = true\n",
        "    volumes = [\"/data:/cache\"]\n",
    ] {
        assert!(written.contains(line), "{line} in {written}");
    }
    assert!(
        ran.said.contains("Specified limit (7) larger than current concurrent limit (1)"),
        "{}",
        ran.said
    );
    std::fs::write(home.path().join("template.toml"), format!("{text}{text}")).expect("the home is writable");
    let two = run(&home, &["register", "-n", "-u", &url, "-t", &token, "--template-config", &template]).await;
    assert_eq!(two.code, Some(1));
    assert!(two.said.contains("exactly one [[runners]] entry, this one has 2"), "{}", two.said);
}

/// Three entries, the middle one unknown to the server, with a comment each.
fn three(server: &FakeGitLab) -> (String, [String; 2]) {
    let tokens = [server.add_runner(), server.add_runner()];
    let entry = |name: &str, token: &str| {
        format!(
            "\n# the {name} one\n[[runners]]\n  name = \"{name}\"\n  url = \"{}/\"\n  token = \"{token}\" # secret\n  executor = \"shell\"\n",
            server.url()
        )
    };
    let text = format!(
        "concurrent = 3 # three\n{}{}{}",
        entry("first", &tokens[0]),
        entry("lost", "glrt-t1_nobodyknowsit"),
        entry("third", &tokens[1])
    );
    (text, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_and_deletes_what_the_server_does_not_know() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (text, tokens) = three(&server);
    home.write_config(&text);
    let one = run(&home, &["verify", "--name", "first"]).await;
    assert_eq!(one.code, Some(0), "{}", one.said);
    let by_token = run(&home, &["verify", "--url", &server.url(), "--token", &tokens[1]]).await;
    assert_eq!(by_token.code, Some(0), "{}", by_token.said);
    let nobody = run(&home, &["verify", "--name", "nobody"]).await;
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.said.contains("matches the filtering parameters"), "{}", nobody.said);
    let all = run(&home, &["verify"]).await;
    assert_eq!(all.code, Some(1));
    assert!(all.said.contains("is removed") && all.said.contains("Failed to verify runners"), "{}", all.said);
    assert_eq!(config(&home), text);
    let deleted = run(&home, &["verify", "--delete"]).await;
    assert_eq!(deleted.code, Some(0), "{}", deleted.said);
    let start = text.find("# the lost one").expect("it is there");
    let end = text.find("# the third one").expect("it is there");
    assert_eq!(config(&home), format!("{}{}", &text[..start], &text[end..]));
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_deletes_nothing() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (text, _) = three(&server);
    home.write_config(&text);
    server.go_down().await;
    let ran = run(&home, &["verify", "--delete"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert_eq!(ran.said.matches("Verifying runner... failed").count(), 3, "{}", ran.said);
    assert_eq!(config(&home), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn unregister_by_name_by_token_and_all() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (text, tokens) = three(&server);
    home.write_config(&text);
    // The managers come to be with the first call of each.
    run(&home, &["verify"]).await;
    let vague = run(&home, &["unregister"]).await;
    assert_eq!(vague.code, Some(1));
    assert!(vague.said.contains("--all-runners"), "{}", vague.said);
    let unknown = run(&home, &["unregister", "--name", "nobody"]).await;
    assert!(unknown.said.contains("could not find a runner with the name \"nobody\""), "{}", unknown.said);
    let named = run(&home, &["unregister", "-n", "first"]).await;
    assert_eq!(named.code, Some(0), "{}", named.said);
    assert!(server.managers(&tokens[0]).is_empty() && server.has_runner(&tokens[0]));
    let failed = run(&home, &["unregister", "-n", "lost"]).await;
    assert_eq!(failed.code, Some(1));
    assert!(config(&home).contains("lost"));
    let all = run(&home, &["unregister", "--all-runners"]).await;
    assert_eq!(all.code, Some(0), "{}", all.said);
    assert!(all.said.contains("Failed to unregister runner lost"), "{}", all.said);
    let left = config(&home);
    assert!(
        left.starts_with("concurrent = 3 # three\n\n# the lost one\n") && !left.contains("third"),
        "{left}"
    );
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_reset_in_place() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (text, tokens) = three(&server);
    home.write_config(&text);
    let ran = run(&home, &["reset-token", "--name", "third"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let written = config(&home);
    assert!(!server.has_runner(&tokens[1]) && !written.contains(&tokens[1]));
    let own = token_in(written.rsplit("[[runners]]").next().expect("it is there"));
    assert!(server.has_runner(&own.replace("\" # secret", "")), "{written}");
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn list_shows_entries_but_no_token() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (text, tokens) = three(&server);
    home.write_config(&text);
    let ran = run(&home, &["list"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    for part in ["first", "third", "Executor", "URL", &server.url()] {
        assert!(ran.said.contains(part), "{part} in {}", ran.said);
    }
    assert!(!ran.said.contains(&tokens[0]), "{}", ran.said);
    home.write_config("concurrent = \"four\"\n");
    let broken = run(&home, &["list"]).await;
    assert_eq!(broken.code, Some(0));
    assert!(broken.said.contains("expected an integer, found a string"), "{}", broken.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_names_every_fault() {
    let home = TempHome::new();
    let missing = run(&home, &["lint"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.said.contains("does not exist"), "{}", missing.said);
    home.write_config("concurent = 4\nlog_level = \"loud\"\n");
    let odd = run(&home, &["lint"]).await;
    assert_eq!(odd.code, Some(1));
    assert!(
        odd.said.contains("did you mean concurrent?") && odd.said.contains("unknown value \"loud\""),
        "{}",
        odd.said
    );
    home.write_config("concurrent = 4\n");
    let fine = run(&home, &["lint"]).await;
    assert_eq!(fine.code, Some(0), "{}", fine.said);
    assert!(fine.printed.contains("valid"), "{}", fine.printed);
    assert!(!home.path().join(".runner_system_id").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_usage_ends_with_1_and_says_why() {
    let home = TempHome::new();
    for (args, words) in [
        (&["bogus"][..], "bogus"),
        (&["register", "--no-such-flag"], "--no-such-flag"),
        (&["register", "--limit", "many"], "--limit: \"many\" is not a whole number"),
        (&["register", "-n"], "the url needs to be entered; give it as --url"),
        (&["register", "-n", "--access-level", "all"], "write not_protected or ref_protected"),
        (&["install", "--service", "../x"], "letters, digits"),
        (&["exec", "docker", "test"], "harrier run"),
    ] {
        let ran = run(&home, args).await;
        assert_eq!(ran.code, Some(1), "{args:?}");
        assert!(ran.said.contains(words), "{words} in {}", ran.said);
    }
    // Variables that are set to nothing say nothing.
    let empty: Vec<(&str, &str)> =
        ["REGISTER_MAXIMUM_TIMEOUT", "REGISTER_LOCKED", "TEMPLATE_CONFIG_FILE", "RUNNER_LIMIT"]
            .into_iter()
            .chain(["DOCKER_TLS_VERIFY", "CI_SERVER_URL", "LOG_LEVEL", "RUNNER_DEBUG"])
            .map(|name| (name, ""))
            .collect();
    let ran = run_with(&home, &["register", "-n"], &empty, "").await;
    assert!(ran.said.contains("the url needs to be entered"), "{}", ran.said);
    let version = run(&home, &["--version"]).await;
    assert!(version.printed.starts_with("Version:      "), "{}", version.printed);
    assert_eq!(version.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn run_single_takes_one_job_from_flags_and_ends() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (url, token) = (server.url(), server.add_runner());
    let first = server.add_job(JobSpec::script(&["echo from-run-single"]));
    let builds = home.builds().to_string_lossy().into_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let ran = run_with(
        &home,
        &["run-single", "--url", &url, "--executor", "shell", "--max-builds", "1", "--builds-dir", &builds],
        &[("CI_SERVER_TOKEN", &token), ("PATH", &path)],
        "",
    )
    .await;
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let job = server.job(first).expect("it was added");
    assert!(job.log_text().contains("from-run-single"), "{}", job.log_text());
    assert_eq!(job.state, JobState::Success, "{}", ran.said);
    let nothing = run(&home, &["run-single", "--url", &url, "--executor", "shell"]).await;
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.said.contains("the token needs to be entered"), "{}", nothing.said);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_register_wrote_runs_in_the_directory_given() {
    let (server, home) = (FakeGitLab::start().await.expect("it starts"), TempHome::new());
    let (url, token) = (server.url(), server.add_runner());
    let done = run(&home, &["register", "-n", "-u", &url, "-t", &token, "--executor", "shell"]).await;
    assert_eq!(done.code, Some(0), "{}", done.said);
    let job = server.add_job(JobSpec::script(&["pwd"]));
    let work = home.path().join("work");
    std::fs::create_dir(&work).expect("the home is writable");
    let mut command = command(&home);
    command
        .args(["run", "--working-directory"])
        .arg(&work)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    let job = server.wait_final(job, Duration::from_secs(60)).await;
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).expect("it runs");
    let ended = tokio::task::spawn_blocking(move || child.wait()).await.expect("nothing panics");
    assert_eq!(ended.ok().and_then(|status| status.code()), Some(0));
    let job = job.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(job.state, JobState::Success, "{}", job.log_text());
    assert!(job.job_output().contains(&*work.join("builds").to_string_lossy()), "{}", job.log_text());
    server.assert_no_slips();
}
