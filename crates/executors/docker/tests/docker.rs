//! The docker executor with a real engine: whole jobs on the engine's road, stops, stages taken over from a process that
//! is gone, and that nothing is left. `scripts/engine.sh` and `scripts/test-images.sh busybox` make what is needed.

mod bench;

use bench::*;
use harrier_base::FailureReason;
use harrier_docker::DockerExecutor;
use harrier_engine::*;
use harrier_plan::JobPlan;
use harrier_store::{Entry, JobDir, Journal};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_its_image_its_variables_and_leaves_nothing() {
    let bench = Bench::new(&[
        "echo \"$COLOUR, $(cat \"$A_FILE\"), $PWD, $CI_JOB_STATUS\"; busybox id -u",
        "echo kept > in-the-project; echo kept > /in-the-container; echo to stderr >&2",
    ])
    .after("echo after $CI_JOB_STATUS; cat /in-the-container");
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    contains(
        &log,
        &[
            "Using Docker executor with image harrier-test/busybox ...",
            "Using locally found image version due to \"if-not-present\" pull policy",
            "Running on runner-",
            "red and blue, in a file, /builds/g/p, running\n",
            "\n0\n",
            "to stderr",
            "after success\nkept\n",
            "Job succeeded",
        ],
    );
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_script_has_its_code() {
    let bench = Bench::new(&["echo before; exit 42; echo behind"]);
    let (outcome, log) = bench.run().await;
    assert_eq!((outcome.reason, outcome.exit_code), (Some(FailureReason::ScriptFailure), Some(42)), "{log}");
    contains(&log, &["Job failed: exit code 42"]);
    assert!(!log.contains("behind\n"), "{log}");
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_come_by_the_helpers_git() {
    let bench = Bench::new(&["cat hello; cat .git/HEAD"]).with_sources();
    let sha = bench.payload["git_info"]["sha"].as_str().expect("a commit").to_owned();
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    contains(&log, &["Fetching changes", "from the repository", &sha]);
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_can_work_in_the_project() {
    let bench = Bench::new(&["id -u; echo x > mine; cat mine \"$A_FILE\""]).section("user = '1234:1234'\n");
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    contains(&log, &["1234\nx\nin a file"]);
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_volumes_stay_and_their_content() {
    let bench = Bench::new(&["[ -e /cache/mark ] && echo found || { echo made; echo > /cache/mark; }"])
        .section("volumes = ['/cache', '/scratch']\n");
    let (first, log) = bench.run().await;
    assert!(first.success && log.contains("made\n"), "{log}");
    let (second, log) = bench.run().await;
    assert!(second.success && log.contains("found\n"), "{log}");
    let label = bench.label();
    let volumes = docker(&["volume", "ls", "-q", "--filter", &label]);
    assert_eq!(volumes.lines().count(), 2, "{volumes}");
    assert!(volumes.lines().all(|name| name.starts_with("runner-") && name.contains("-cache-")), "{volumes}");
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cache_volumes_go_with_the_job() {
    let bench = Bench::new(&["echo > /cache/mark"]).section("disable_cache = true\nvolumes = ['/cache']\n");
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{log}");
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &bench.label()]), "");
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_answers_to_its_names() {
    for flag in ["", "false", "true"] {
        let bench = Bench::new(&[
            "wget -qO- http://web:8080/; wget -qO- http://harrier-test-busybox:8080/",
            "echo \"network ${CI_BUILD_NETWORK_NAME:-none}, $(cat /sys/class/net/eth0/mtu) bytes\"",
        ])
            .variable("FF_NETWORK_PER_BUILD", flag)
            .with(
                "services",
                json!([{"name": IMAGE, "alias": "web",
                    "command": ["sh", "-c", "mkdir /www; echo from the $$WHICH service > /www/index.html; httpd -f -p 8080 -h /www"],
                    "variables": [{"key": "WHICH", "value": "first"}, {"key": "HEALTHCHECK_TCP_PORT", "value": "8080"}]}]),
            );
        let (outcome, log) = bench.run().await;
        assert!(outcome.success, "{outcome:?}\n{log}");
        contains(
            &log,
            &[
                "Starting service harrier-test/busybox ...",
                "from the first service\nfrom the first service\n",
            ],
        );
        // With services the job has a network of its own unless somebody says no.
        let format = "{{index .Options \"com.docker.network.driver.mtu\"}}";
        let mtu = docker(&["network", "inspect", "bridge", "--format", format]);
        let network = if flag == "false" { "network none, " } else { "network runner-" };
        let mtu = if mtu.is_empty() { "1500".to_owned() } else { mtu };
        contains(&log, &[network, &format!(" {mtu} bytes\n")]);
        assert!(!log.contains("probably didn't start"), "{log}");
        bench.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_start_is_a_warning_with_its_log() {
    let bench = Bench::new(&["echo goes on; sleep 1000"])
        .section("wait_for_services_timeout = 1\n")
        .variable("CI_DEBUG_SERVICES", "true")
        .with(
            "services",
            json!([{"name": IMAGE, "alias": "db", "command": ["sh", "-c", "echo cannot find my data; exit 1"],
                "variables": [{"key": "HEALTHCHECK_TCP_PORT", "value": "1"}]}]),
        );
    let dir = bench.dir();
    let (stop, raw) = (bench.stop.clone(), dir.raw_log());
    let puller = tokio::spawn(async move {
        said(&raw, "goes on\n").await;
        said(&raw, "-db] cannot find my data").await;
        stop.pull(StopReason::Canceled);
    });
    let (_, log) = bench.run_in(&dir).await;
    puller.await.expect("pulled");
    dir.remove().expect("removed");
    contains(
        &log,
        &["probably didn't start properly", "cannot find my data", "goes on", "-db] cannot find my data"],
    );
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_the_script_and_after_script_runs() {
    let bench = Bench::new(&["echo ready; sleep 1000"]).after("echo after $CI_JOB_STATUS");
    let dir = bench.dir();
    let stop = bench.stop.clone();
    let raw = dir.raw_log();
    let puller = tokio::spawn(async move {
        said(&raw, "ready\n").await;
        stop.pull(StopReason::Canceled);
    });
    let (outcome, log) = bench.run_in(&dir).await;
    puller.await.expect("pulled");
    assert_eq!(outcome.reason, Some(FailureReason::JobCanceled), "{log}");
    contains(&log, &["after canceled"]);
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_in_the_middle_of_opening_leaves_nothing() {
    let bench = Bench::new(&["echo never"]).section("wait_for_services_timeout = 600\n").with(
        "services",
        json!([{"name": IMAGE, "alias": "db", "command": ["sleep", "1000"],
            "variables": [{"key": "HEALTHCHECK_TCP_PORT", "value": "1"}]}]),
    );
    let dir = bench.dir();
    let (stop, raw) = (bench.stop.clone(), dir.raw_log());
    let puller = tokio::spawn(async move {
        said(&raw, "Waiting for services").await;
        stop.pull(StopReason::Canceled);
    });
    let (outcome, log) = bench.run_in(&dir).await;
    puller.await.expect("pulled");
    assert_eq!(outcome.reason, Some(FailureReason::JobCanceled), "{log}");
    bench.clean_soon().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_that_are_not_there() {
    let bench = Bench::new(&["true"]).with("image", json!({"name": "127.0.0.1:1/no/such:1"}));
    let (outcome, log) = bench.run().await;
    assert_eq!(outcome.reason, Some(FailureReason::RunnerExternalDependencyFailure), "{log}");
    contains(
        &log,
        &[
            "Pulling docker image 127.0.0.1:1/no/such:1 ...",
            "failed to pull image \"127.0.0.1:1/no/such:1\" from the registry 127.0.0.1:1",
            "connection refused",
            "credentials looked at:",
            "what to do:",
        ],
    );
    bench.assert_clean();
    let mut never = Bench::new(&["true"]).with("image", json!({"name": "no/such:1"}));
    never.section = "pull_policy = 'never'\n".into();
    let (outcome, log) = never.run().await;
    assert_eq!(outcome.reason, Some(FailureReason::RunnerConfigurationError), "{log}");
    contains(&log, &["the image \"no/such:1\" is not present", "(pull policy never)"]);
    never.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_reach_the_container() {
    let bench = Bench::new(&[
        "cat /proc/self/limits | grep 'open files'; hostname; cat /etc/hosts; df /small; cat /etc/resolv.conf",
    ])
    .section(
        "hostname = 'cell'\nextra_hosts = ['far:10.1.2.3']\ndns = ['10.9.8.7']\ncap_drop = ['NET_RAW']\nshm_size = 1048576\n\
         [runners.docker.ulimit]\nnofile = '100:200'\n[runners.docker.tmpfs]\n'/small' = 'size=64k'\n",
    );
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    contains(&log, &["100                  200", "cell\n", "10.1.2.3\tfar", "nameserver 10.9.8.7"]);
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_without_a_shell_is_told() {
    let bench =
        Bench::new(&["true"]).with("image", json!({"name": IMAGE, "entrypoint": ["/no/such/program"]}));
    let (outcome, log) = bench.run().await;
    assert!(!outcome.success, "{log}");
    contains(&log, &["/no/such/program"]);
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_helper_is_the_machines_fault() {
    let mut bench = Bench::new(&["echo never"])
        .with("hooks", json!([{"name": "pre_get_sources_script", "script": ["echo hooked; sleep 1000"]}]))
        .after("echo after");
    bench.payload["variables"][0] = json!({"key": "GIT_STRATEGY", "value": "fetch", "public": true});
    let dir = bench.dir();
    let (label, raw) = (bench.label(), dir.raw_log());
    let killer = tokio::spawn(async move {
        said(&raw, "hooked\n").await;
        let predefined = "label=com.gitlab.gitlab-runner.type=predefined";
        let id = docker(&["ps", "-q", "--filter", &label, "--filter", predefined]);
        docker(&["kill", &id]);
    });
    let (outcome, log) = bench.run_in(&dir).await;
    killer.await.expect("killed");
    assert_eq!(outcome.reason, Some(FailureReason::RunnerSystemFailure), "{outcome:?}\n{log}");
    contains(&log, &["ended in the middle of its work (exit code 137)"]);
    assert!(!log.contains("never\n"), "{log}");
    bench.assert_clean();
}

/// A value of `scripts/registry.sh env`, without the quotes of a shell.
fn registry(name: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scripts/registry.sh");
    let output = Command::new("bash").arg(script).arg("env").output().expect("scripts/registry.sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let prefix = format!("{name}=");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
    value.unwrap_or_else(|| panic!("{name} is not there; run scripts/registry.sh")).replace('\\', "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_image_with_wrong_and_right_credentials() {
    let image = format!("{}/harrier-test/busybox", registry("HARRIER_REGISTRY"));
    let forget = || {
        let _ = Command::new("docker").args(["image", "rm", "-f", &image]).output();
    };
    let bench = |auth: Option<String>| {
        let bench =
            Bench::new(&["echo it runs"]).with("image", json!({"name": image, "pull_policy": ["always"]}));
        let bench = bench.section("allowed_pull_policies = ['always', 'if-not-present']\n");
        match auth {
            Some(text) => bench.variable("DOCKER_AUTH_CONFIG", &text),
            None => bench,
        }
    };
    forget();
    let without = bench(None);
    let (outcome, log) = without.run().await;
    assert_eq!(outcome.reason, Some(FailureReason::RunnerConfigurationError), "{log}");
    contains(&log, &["failed to pull image", &image, "what to do: no credentials were used", "docker login"]);
    without.assert_clean();

    let wrong = bench(Some(
        json!({"auths": {registry("HARRIER_REGISTRY"): {"username": "harrier", "password": "not-the-one"}}})
            .to_string(),
    ));
    let (outcome, log) = wrong.run().await;
    assert_eq!(outcome.reason, Some(FailureReason::RunnerConfigurationError), "{log}");
    contains(
        &log,
        &[
            "Authenticating with credentials from the variable DOCKER_AUTH_CONFIG",
            "the credentials of the user \"harrier\" from the variable DOCKER_AUTH_CONFIG were refused",
        ],
    );
    assert!(!log.contains("not-the-one"), "{log}");

    let right = bench(Some(registry("DOCKER_AUTH_CONFIG")));
    let (outcome, log) = right.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    contains(&log, &["Pulling docker image", "with digest", "it runs"]);
    right.assert_clean();
    let job_login = Bench::new(&["echo it runs"])
        .with("image", json!({"name": image, "pull_policy": ["always"]}))
        .section("allowed_pull_policies = ['always']\n")
        .with("credentials", json!([{"type": "registry", "url": registry("HARRIER_REGISTRY"),
            "username": registry("HARRIER_REGISTRY_USER"), "password": registry("HARRIER_REGISTRY_PASSWORD")}]));
    let (outcome, log) = job_login.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    contains(&log, &["Authenticating with credentials from the job's own credentials"]);

    // The image is present now; that is nobody's leave to use it.
    let id = docker(&["image", "inspect", &image, "--format", "{{.Id}}"]);
    let present = |name: &str, auth: Option<String>| {
        let bench = Bench::new(&["echo it runs"]).with("image", json!({"name": name}));
        match auth {
            Some(text) => bench.variable("DOCKER_AUTH_CONFIG", &text),
            None => bench,
        }
    };
    let short = id.trim_start_matches("sha256:")[..12].to_owned();
    for name in [image.as_str(), short.as_str()] {
        let (outcome, log) = present(name, None).run().await;
        assert_eq!(outcome.reason, Some(FailureReason::RunnerConfigurationError), "{name}\n{log}");
        let said = ["has not shown that it may use it", "answered 401", "HARRIER_TRUST_PRESENT_IMAGES"];
        contains(&log, &said);
        let (outcome, log) = present(name, Some(registry("DOCKER_AUTH_CONFIG"))).run().await;
        assert!(outcome.success, "{name}: {outcome:?}\n{log}");
        contains(&log, &["Using docker image sha256:", "it runs"]);
    }
    let mut trusting = present(&image, None);
    trusting.executor = DockerExecutor::new().trusting_present_images();
    let (outcome, log) = trusting.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    forget();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_made_among_caches_but_not_below_a_job() {
    let bench = Bench::new(&["echo some bytes >/cache/kept"]);
    let dir = JobDir::create(bench.state.path(), "7-0123abcd").expect("made");
    let (outcome, log) = bench.run_in(&dir).await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    let engine = harrier_config::EngineAddress::default();
    let make_room = async |budget, dry_run| {
        let wanted = harrier_docker::MakeRoom { budget, dry_run, others_images: false };
        bench.executor.make_room(bench.state.path(), &engine, wanted).await.expect("looked at")
    };
    let volumes = || {
        let list = docker(&["volume", "ls", "-q", "--filter", &bench.label()]);
        list.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(volumes().len(), 1);
    // The job is not settled: its volumes are in use.
    let room = make_room(0, true).await;
    assert!(room.before > 0 && room.removed.iter().all(|c| c.kind == harrier_docker::CacheKind::HelperImage));
    dir.remove().expect("removed");
    // The volumes were used before the helper image was.
    let room = make_room(room.before - 1, true).await;
    assert!(room.removed.iter().all(|cache| volumes().contains(&cache.name)), "{room:?}");
    assert_eq!(volumes().len(), 1, "it was a dry run");
    let room = make_room(room.before - 1, false).await;
    assert!(!room.removed.is_empty() && room.failed.is_empty(), "{room:?}");
    assert!(room.removed.iter().all(|cache| !volumes().contains(&cache.name)), "{room:?}");
    assert!(room.after() < room.before);
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_made_whoever_else_asks_for_the_disks_usage() {
    let executor = Arc::new(DockerExecutor::new());
    let state = tempfile::tempdir().expect("temp dir");
    std::fs::write(state.path().join("owner"), "0123456789abcdef").expect("written");
    let all: Vec<_> = (0..8)
        .map(|_| {
            let (executor, state) = (Arc::clone(&executor), state.path().to_owned());
            tokio::spawn(async move {
                let wanted = harrier_docker::MakeRoom { budget: 0, dry_run: true, others_images: false };
                executor.make_room(&state, &harrier_config::EngineAddress::default(), wanted).await
            })
        })
        .collect();
    for one in all {
        one.await.expect("no panic").expect("the engine has told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_could_not_be_made_is_made_the_next_time() {
    let dir = tempfile::tempdir().expect("temp dir");
    let way = dir.path().join("engine.sock");
    let there = || std::os::unix::fs::symlink("/var/run/docker.sock", &way).expect("linked");
    let mut bench = Bench::new(&["echo > /cache/mark"])
        .section(&format!("host = 'unix://{}'\nvolumes = ['/cache']\n", way.display()));
    bench.executor = DockerExecutor::new().with_cache_budget(Some(0));
    there();
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    let entry = bench.entry();
    let tidy = || bench.executor.tidy(bench.state.path(), &entry, Duration::from_secs(600));
    std::fs::remove_file(&way).expect("removed");
    tidy().await.expect_err("no engine answers");
    there();
    assert!(tidy().await.expect("the engine answers") > 0);
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &bench.label()]), "");
    std::fs::remove_file(&way).expect("removed");
    assert_eq!(tidy().await.expect("nothing is asked so soon"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_scripts_end_as_they_should() {
    for (script, code) in [
        ("exec >&- 2>&-; sleep 1; exit 3", 3),
        ("kill -9 1; kill -9 $$; sleep 100", 137),
        ("head -c 3000000 /dev/urandom; exit 4", 4),
        ("(sleep 1000 >/dev/null 2>&1 &) ; exit 5", 5),
        ("head -c 20000000 /dev/zero | tr '\\0' y; exit 6", 6),
    ] {
        let bench = Bench::new(&[script]);
        let (outcome, log) = bench.run().await;
        let tail: String = log.chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(outcome.exit_code, Some(code), "{script}: {outcome:?}\n{tail}");
        bench.assert_clean();
    }
    let bench = Bench::new(&["echo after the others"]);
    assert!(bench.run().await.0.success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entrypoint_that_never_gives_way_is_stopped_by_the_jobs_time() {
    let bench = Bench::new(&["true"])
        .with("image", json!({"name": IMAGE, "entrypoint": ["sleep", "1000"]}))
        .with("runner_info", json!({"timeout": 60}));
    let (outcome, log) = bench.run().await;
    // `sleep` does not understand the shell's command line.
    assert!(!outcome.success, "{log}");
    let bench = Bench::new(&["true"])
        .with("image", json!({"name": IMAGE, "entrypoint": ["sh", "-c", "while :; do sleep 1000; done"]}))
        .variable("FF_USE_NATIVE_CONTAINER_STOP", "true")
        .with("runner_info", json!({"timeout": 10}));
    let (outcome, log) = bench.run().await;
    assert_eq!(outcome.reason, Some(FailureReason::JobExecutionTimeout), "{outcome:?}\n{log}");
    bench.clean_soon().await;
}

/// Opens a session and gives it a script, as a runner that dies at the end of this function.
async fn begin(bench: &Bench, dir: &JobDir, plan: &JobPlan) -> SessionTicket {
    let executor = DockerExecutor::new();
    let (raw, probe) = (dir.raw_log(), probe());
    let cx = OpenCx { job_dir: dir.path(), raw_log: &raw, own_binary: &probe, die_with_parent: false };
    let mut session = executor.open(plan, &cx).await.expect("opened");
    for (key, stage) in [("0-prepare_script", &plan.prepare), ("1-get_sources", &plan.get_sources)] {
        let start = StageStart { key, stage, job_status: "running" };
        let exit = wait(session.start(start).await.expect("started"), &bench.stop).await;
        assert!(exit.ok());
    }
    let start = StageStart { key: "2-step_script", stage: &plan.steps[0], job_status: "running" };
    let running = session.start(start).await.expect("started");
    said(&raw, "one\n").await;
    drop(running);
    let ticket = session.ticket();
    drop(session);
    ticket
}

async fn wait(mut running: Box<dyn Running>, stop: &Stop) -> Exit {
    let ladder = Ladder { graceful: Duration::from_secs(10), force: Duration::from_secs(10) };
    running.wait(stop, ladder).await.expect("ended")
}

/// On a runtime of its own, whose end is the end of all its tasks and connections.
fn die_in_the_middle(bench: &Bench, dir: &JobDir, plan: &JobPlan) -> SessionTicket {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                let ticket = runtime.block_on(begin(bench, dir, plan));
                runtime.shutdown_timeout(Duration::ZERO);
                ticket
            })
            .join()
            .expect("no panic")
    })
}

#[test]
fn a_job_goes_on_after_the_runners_death_and_its_log_is_whole() {
    let bench = Bench::new(&[
        "echo one; while [ ! -e /builds/go ]; do sleep 0.1; done; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf 'ü no end'; exit 5",
    ]);
    let dir = bench.dir();
    let plan = bench.plan();
    let SessionTicket(ticket) = die_in_the_middle(&bench, &dir, &plan);
    let build = ticket["build"].as_str().expect("a name").to_owned();
    {
        let mut journal = Journal::open(&dir).expect("journal");
        let ok = json!({"exited": {"code": 0, "text": "exit code 0"}});
        journal.append(&Entry::Opened { ticket }).expect("written");
        for key in ["0-prepare_script", "1-get_sources"] {
            journal.append(&Entry::StageStarting { key: key.into() }).expect("written");
            journal.append(&Entry::StageEnded { key: key.into(), end: ok.clone() }).expect("written");
        }
        journal.append(&Entry::StageStarting { key: "2-step_script".into() }).expect("written");
    }
    // Not waited for: the container ends by it, and the engine may then never tell that it has ended.
    docker(&["exec", "--detach", &build, "touch", "/builds/go"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (outcome, log) = runtime.block_on(bench.run_in(&dir));
    assert_eq!(outcome.exit_code, Some(5), "{outcome:?}\n{log}");
    // The first process was none that writes the job's header, so that stands behind the first line here.
    assert_eq!(log.matches("\none\n").count(), 1, "{log}");
    let mut want = String::new();
    for i in 0..2000 {
        want.push_str(&format!("line {i}\n"));
    }
    want.push_str("ü no end");
    assert!(log.contains(&want), "{log}");
    assert_eq!(log.matches("line 1999\n").count(), 1);
    bench.assert_clean();
}

#[test]
fn what_a_dead_runner_has_left_is_swept() {
    let bench = Bench::new(&["echo one; sleep 1000"]).variable("FF_NETWORK_PER_BUILD", "true");
    let dir = bench.dir();
    let plan = bench.plan();
    die_in_the_middle(&bench, &dir, &plan);
    let entry = bench.entry();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let executor = DockerExecutor::new();
    let sweep = || runtime.block_on(executor.sweep(bench.state.path(), &entry)).expect("swept");
    assert_eq!(sweep(), 0, "the job is alive");
    assert!(bench.left().len() >= 3, "{:?}", bench.left());
    dir.remove().expect("removed");
    assert!(sweep() >= 3);
    bench.assert_clean();
}

#[test]
fn half_made_things_go_and_those_of_others_stay() {
    let bench = Bench::new(&["true"]);
    let state = bench.state.path();
    std::fs::write(state.join("owner"), "0123456789abcdef").expect("written");
    let tag = format!("{}-{}", std::process::id(), bench.project);
    let (ours, job) = ("dev.harrier.owner=0123456789abcdef", "dev.harrier.job=7-gone");
    let ledger = harrier_store::Ledger::open(state).expect("ledger");
    // In the ledger, and never made.
    for (kind, name) in [("docker-container", "c"), ("docker-volume", "v"), ("docker-network", "n")] {
        ledger.add(kind, &format!("never-made-{name}-{tag}"), "7-gone").expect("added");
    }
    let make = |name: &str, labels: &[&str]| {
        let name = format!("{name}-{tag}");
        let mut words = vec!["create", "--name", &name];
        words.extend(labels.iter().flat_map(|label| ["--label", label]));
        words.extend([IMAGE, "true"]);
        docker(&words);
        name
    };
    // Made, never started, and not in the ledger.
    let half = make("runner-x-project-1-concurrent-0-build", &[ours, job]);
    let others = [
        make("runner-x-project-1-concurrent-0-build-2", &[]),
        make("runner-y-project-1-concurrent-0-build", &["dev.harrier.owner=fedcba9876543210", job]),
        make("never-made-c-2", &["com.gitlab.gitlab-runner.managed=true"]),
    ];
    let volume = format!("never-made-v-2-{tag}");
    docker(&["volume", "create", &volume]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (executor, entry) = (DockerExecutor::new(), bench.entry());
    runtime.block_on(executor.sweep(state, &entry)).expect("swept");
    let all = docker(&["ps", "--all", "--format", "{{.Names}}"]);
    let there = |name: &str| all.lines().any(|line| line == name);
    let (kept, gone) = (others.iter().all(|name| there(name)), !there(&half));
    let volume_kept = docker(&["volume", "ls", "--format", "{{.Name}}"]).lines().any(|line| line == volume);
    docker(&[&["rm"], &others.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    docker(&["volume", "rm", &volume]);
    assert!(kept && gone && volume_kept, "{all}");
    assert_eq!(ledger.list().expect("listed"), vec![]);
}
