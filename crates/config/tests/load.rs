//! Files as people have them: read, resolved, warned about, refused.

use harrier_config::{ConfigError, ExecutorSpec, HostSpec, Warning, parse, parse_mirror};
use std::time::Duration;

fn env(name: &str) -> Option<String> {
    (name == "SHELL_TOKEN").then(|| "expanded-token".to_owned())
}

fn read(text: &str) -> (HostSpec, Vec<Warning>) {
    parse(text, "config.toml", &env).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> String {
    match parse(text, "config.toml", &env) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_docker_and_a_shell_runner() {
    let (host, warnings) = read(include_str!("fixtures/docker.toml"));
    assert_eq!(host.concurrent, 4);
    assert_eq!(host.check_interval, Duration::from_secs(3));
    assert_eq!(host.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(host.connection_max_age, Some(Duration::from_secs(900)));
    let [docker, shell] = &host.runners[..] else { panic!("two runners") };
    assert_eq!(docker.url, "https://gitlab.example.com");
    assert_eq!((docker.id, docker.token_expires_at), (Some(41), None));
    assert_eq!(docker.token_obtained_at, Some(1_769_940_672));
    let ExecutorSpec::Docker(settings) = &docker.executor else { panic!("a docker runner") };
    assert!(settings.image.is_some());
    assert_eq!(docker.environment, [("DOCKER_TLS_CERTDIR".to_owned(), "/certs".to_owned())]);
    assert_eq!(docker.custom_build_dir, Some(true));
    assert_eq!(docker.feature_flags.get("FF_NETWORK_PER_BUILD"), Some(&true));
    assert_eq!(shell.url, "http://gitlab.lan:8080");
    assert_eq!(shell.token.expose(), "expanded-token");
    assert_eq!(shell.output_limit, 8192 * 1024);
    assert_eq!(shell.prepare_timeout, Some(Duration::from_secs(300)));
    assert_eq!(shell.pre_build_script.as_deref(), Some("set -x\necho hello\n"));
    assert_eq!(shell.graceful_kill_timeout, Duration::from_secs(600));
    let texts: Vec<&str> = warnings.iter().map(|warning| warning.problem().message.as_str()).collect();
    assert_eq!(texts, ["the url ends in /ci, which is left out"]);
    assert_eq!(warnings[0].problem().line, 54);
}

#[test]
fn every_key_of_the_other_executors_is_known() {
    for text in [include_str!("fixtures/kubernetes.toml"), include_str!("fixtures/fleet.toml")] {
        let (_, warnings) = read(text);
        let unknown: Vec<String> = warnings
            .iter()
            .filter(|warning| matches!(warning, Warning::UnknownKey(_)))
            .map(ToString::to_string)
            .collect();
        assert_eq!(unknown, Vec::<String>::new());
    }
    let (host, _) = read(include_str!("fixtures/fleet.toml"));
    assert_eq!(host.connection_max_age, None);
    assert_eq!(host.runners[2].graceful_kill_timeout, Duration::from_secs(60));
    let (host, _) = read(include_str!("fixtures/kubernetes.toml"));
    let labels: Vec<_> = host.runners[0].labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["pool=large", "site=fra1"]);
    let (mirror, _) =
        parse_mirror(include_str!("fixtures/kubernetes.toml"), "x").unwrap_or_else(|e| panic!("{e}"));
    let kubernetes = mirror.runners[0].kubernetes.as_ref().expect("the section is there");
    assert_eq!(kubernetes.pull_policy.0, ["always", "if-not-present"]);
    assert_eq!(kubernetes.volumes.as_ref().map(|v| v.empty_dir.len()), Some(1));
}

#[test]
fn an_empty_file_has_the_defaults() {
    let (host, warnings) = read("");
    assert_eq!((host.concurrent, host.runners.len(), warnings.len()), (1, 0, 0));
    assert_eq!(host.connection_max_age, Some(Duration::from_secs(900)));
    let (host, _) = read("[[runners]]\n");
    let runner = &host.runners[0];
    assert_eq!(runner.output_limit, 4096 * 1024);
    assert_eq!(
        (runner.request_concurrency, runner.unhealthy_requests_limit, runner.final_update_retry_limit),
        (1, 3, 10)
    );
    assert_eq!(runner.unhealthy_interval, Duration::from_secs(3600));
    assert_eq!(runner.artifact_response_header_timeout, Duration::from_secs(600));
    let (host, _) = read("connection_max_age = 0\n[[runners]]\nprepare_timeout = \"-5m\"\n");
    assert_eq!((host.connection_max_age, host.runners[0].prepare_timeout), (None, None));
}

#[test]
fn exact_spelling_wins() {
    let (host, _) = read("concurrent = 2\nCONCURRENT = 3\n");
    assert_eq!(host.concurrent, 2);
    let (host, _) = read("[[Runners]]\nNAME = \"x\"\n[Runners.Custom_Build_Dir]\nEnabled = false\n");
    assert_eq!(host.runners[0].custom_build_dir, Some(false));
}

#[test]
fn unknown_keys_are_warned_about_with_place_and_guess() {
    let (_, warnings) =
        read("concurent = 2\n[[runners]]\n  exector = \"shell\"\n  token = \"s3cret-token\"\n  zzz = 1\n");
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts[0],
        "config.toml:1:1: unknown key concurent\n 1 | concurent = 2\n   | ^^^^^^^^^\n   = did you mean concurrent? The key has no effect as it is"
    );
    assert!(texts[1].contains("config.toml:3:3: unknown key runners.exector"), "{}", texts[1]);
    assert!(texts[2].contains("it has no effect; remove it"), "{}", texts[2]);
}

#[test]
fn refusals_name_place_line_and_remedy() {
    for (text, expected) in [
        (
            "concurrent = \"four\"\n",
            "config.toml:1:14: concurrent: expected an integer, found a string\n 1 | concurrent = \"four\"\n   |              ^^^^^^\n   = write a whole number without quotes: concurrent = 4",
        ),
        (
            "concurrent = 0\n",
            "config.toml:1:14: concurrent is 0, so no job could ever run\n 1 | concurrent = 0\n   |              ^\n   = write at least concurrent = 1",
        ),
        (
            "[[runners]]\n  unhealthy_interval = \"15\"\n",
            "config.toml:2:24: runners.unhealthy_interval: invalid duration \"15\": missing unit, write 15s for seconds\n 2 |   unhealthy_interval = \"15\"\n   |                        ^^^^\n   = write a number with its unit, such as 30s or 1h30m",
        ),
        (
            "[[runners]]\n  limit = 2\n  limit = 3\n",
            "config.toml:3:3: not valid TOML: duplicate key\n 3 |   limit = 3\n   |   ^^^^^\n   = mend this line; strings need quotes, tables stand in brackets",
        ),
        (
            "runners = 3\n",
            "config.toml:1:11: runners: expected an array of tables, found an integer\n 1 | runners = 3\n   |           ^\n   = write it with two brackets: [[...runners]]",
        ),
        (
            "[[runners]]\n[runners.docker]\nvolumes = \"/cache\"\n",
            "config.toml:3:11: runners.docker.volumes: expected an array of strings, found a string\n 3 | volumes = \"/cache\"\n   |           ^^^^^^^^\n   = put it in brackets: volumes = [...]",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = "concurrent = 1.5\n[labels]\n\"bad key\" = \"x\"\n[[runners]]\nshell = 3\n";
    let Err(ConfigError::Invalid(problems)) = parse(text, "config.toml", &env) else { panic!("accepted") };
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 5, 3]);
}

#[test]
fn a_secret_is_never_shown() {
    for text in [
        "[[runners]]\n  token = \"s3cret\n",
        "[[runners]]\n  token = s3cret\n",
        "[[runners]]\n  TOKEN = [\"s3cret\"]\n",
        "[[runners]]\n  environment = [\"A=s3cret\", 3]\n",
        "[[runners]]\n  environment = [\n \"A=s3cret\", 3\n]\n",
        "[[runners]]\n  environment = [\n \"A=s3cret\n]\n",
        "[[runners]]\n  environment = [\n A=s3cret\"\n]\n",
        "[[runners]]\n token.x = \"s3cret\"\n",
        "[[runners]]\n [runners.cache.s3]\n SecretKey = 's3cret' 's3cret'\n",
        "[[runners]]\n token \"s3cret\"\n",
    ] {
        let said = refusal(text);
        assert!(!said.contains("s3cret"), "{said}");
    }
}
