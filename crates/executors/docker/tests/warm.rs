//! Helpers that stay for the next job: who gets one, what is visible of the job before, and that they go.

mod bench;

use bench::*;
use harrier_docker::DockerExecutor;
use harrier_engine::Executor;
use serde_json::json;

fn helpers(bench: &Bench) -> Vec<String> {
    let predefined = "label=com.gitlab.gitlab-runner.type=predefined";
    let list = ["ps", "-a", "--filter", &bench.label(), "--filter", predefined, "--format", "{{.Names}}"];
    docker(&list).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_job_finds_the_helper_and_nothing_of_the_job_before() {
    let executor = DockerExecutor::new().keeping_helpers();
    let bench =
        Bench::new(&["cat hello; wc -l < /etc/hosts; echo 10.9.9.9 mark >> /etc/hosts; echo nameserver 10.9.9.9 >> /etc/resolv.conf"])
            .with_sources();
    let (outcome, first_log) = bench.run_by(&executor).await;
    assert!(outcome.success, "{outcome:?}\n{first_log}");
    let first = helpers(&bench);
    assert_eq!(first.len(), 1, "{first:?}");
    // What a job could leave in the container itself, if it came to run there.
    docker(&[
        "exec",
        &first[0],
        "sh",
        "-c",
        "echo > /tmp/mark; echo > /root/mark; sleep 1000 >/dev/null 2>&1 &",
    ]);
    let lines = |log: &str| {
        log.split("from the repository\n").nth(1).map(|rest| rest.lines().next().map(str::to_owned))
    };
    for round in 0..2 {
        let (outcome, log) = bench.run_by(&executor).await;
        assert!(outcome.success, "{outcome:?}\n{log}");
        assert_eq!(helpers(&bench), first);
        assert_eq!(lines(&log), lines(&first_log), "round {round}: the hosts of the job before\n{log}");
        let left = docker(&[
            "exec",
            &first[0],
            "sh",
            "-c",
            "ls /tmp /root; cat /etc/resolv.conf; cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
        ]);
        assert!(!left.contains("mark") && !left.contains("10.9.9.9") && !left.contains("sleep"), "{left}");
        let environment = docker(&["inspect", "--format", "{{.Config.Env}} {{.Config.Labels}}", &first[0]]);
        assert!(!environment.contains("COLOUR") && !environment.contains("job.id"), "{environment}");
        // It waits, so the sweep leaves it alone.
        executor.sweep(bench.state.path(), &bench.entry()).await.expect("swept");
        assert_eq!(helpers(&bench), first);
    }
    // Somebody stops it while it waits: the next job has a new one.
    docker(&["kill", &first[0]]);
    let (outcome, log) = bench.run_by(&executor).await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    let second = helpers(&bench);
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    let of_another_life = DockerExecutor::new();
    let swept = of_another_life.sweep(bench.state.path(), &bench.entry()).await.expect("swept");
    assert_eq!(swept, 1, "what nobody holds any more goes");
    assert!(helpers(&bench).is_empty());
    executor.retire().await;
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_could_reach_further_has_a_helper_alone() {
    let executor = DockerExecutor::new().keeping_helpers();
    let hook = json!([{"name": "post_get_sources_script", "script": ["echo hooked"]}]);
    for bench in [
        Bench::new(&["true"]).with_sources().section("privileged = true\n"),
        Bench::new(&["true"]).with_sources().section("cap_add = ['NET_ADMIN']\n"),
        Bench::new(&["true"]).with_sources().section("disable_cache = true\n"),
        Bench::new(&["true"]).with_sources().with("hooks", hook),
    ] {
        let (outcome, log) = bench.run_by(&executor).await;
        assert!(outcome.success, "{outcome:?}\n{log}");
        bench.assert_clean();
    }
    // One that waits is gone when the host ends.
    let bench = Bench::new(&["true"]).with_sources();
    assert!(bench.run_by(&executor).await.0.success);
    assert_eq!(helpers(&bench).len(), 1);
    executor.retire().await;
    bench.assert_clean();
}
