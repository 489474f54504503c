//! Hostile jobs in containers: each ends with the right state and reason, the runner's memory stays flat, the next job is
//! unharmed and nothing is left. The engine and the images are those of `scripts/test-images.sh`.

mod rig;

use harrier_testkit::{JobSpec, JobState, Options};
use rig::docker::{BUSYBOX, DockerRig, Engine, verdict};

/// How a job has to end.
struct Case {
    name: &'static str,
    spec: JobSpec,
    reason: Option<&'static str>,
    code: Option<i64>,
    says: &'static [&'static str],
}

fn good(name: &'static str, spec: JobSpec) -> Case {
    Case { name, spec, reason: None, code: None, says: &["Job succeeded"] }
}

/// A script that decides for itself.
fn exits(name: &'static str, code: i64, spec: JobSpec) -> Case {
    Case { name, spec, reason: Some("script_failure"), code: Some(code), says: &[] }
}

fn fails(name: &'static str, reason: &'static str, spec: JobSpec, says: &'static [&'static str]) -> Case {
    Case { name, spec, reason: Some(reason), code: None, says }
}

fn within(seconds: u64, spec: JobSpec) -> JobSpec {
    JobSpec { timeout: seconds, ..spec }
}

/// Peak of a process' resident memory in KiB since the last call of [`forget_peak`].
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the runner lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("every process has a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn forget_peak(process: u32) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("as root");
}

/// What the runner may hold beyond what it holds at rest, in KiB: far below what the jobs print.
const MEMORY: u64 = 48 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_jobs_end_right_and_harm_nobody() {
    let engine = Engine::of_machine(&["busybox", "dind"]).await;
    let own = |name: &str| format!("harrier-test/{name}-{}", std::process::id());
    let (shell_less, off_path) = (own("shell-less"), own("off-path"));
    engine
        .make_image(&shell_less, "mkdir -p \"$1/opt\"; cp /bin/busybox \"$1/opt/true\"", &["ENV PATH=/opt"])
        .await;
    engine
        .make_image(&off_path, "mkdir -p \"$1/opt\"; cp /bin/busybox \"$1/opt/sh\"", &["ENV PATH=/nowhere"])
        .await;
    let section = "network_mode = 'host'\npids_limit = 200\nvolumes = ['/cache', '/var/run/docker.sock:/var/run/docker.sock']\n\
                   [runners.docker.tmpfs]\n'/small' = 'size=1m'\n";
    let rig = DockerRig::new(engine, Options::default(), 3, section).await;
    let runner = rig.start();
    // The first job makes the helper image.
    let first = rig.end_of(rig.server.add_job(rig.job(&["grep Kestrel README.md"]))).await;
    assert_eq!(first.state, JobState::Success, "{}", first.log_text());
    forget_peak(runner.id());
    let at_rest = peak(runner.id());

    let mut helped = rig.job(&[
        "rm -rf out; mkdir out; ln -s /etc out/etc; ln -s /etc/passwd out/passwd; echo mine > out/mine",
    ]);
    helped.artifacts = vec![JobSpec::archive("links", &["out/", "out/etc/*", "../../../etc/*"], "always")];
    let mut swapped = rig.job(&["cd /; rm -rf \"$CI_PROJECT_DIR\"; ln -s /etc \"$CI_PROJECT_DIR\"; exit 14"]);
    swapped.artifacts = vec![JobSpec::archive("links", &["passwd", "*"], "always")];
    let mut gone = rig.job(&["cd /; rm -rf /builds /builds/* /builds/.[!.]* || true; exit 15"]);
    gone.after_script = vec!["echo after".into()];
    let cases = vec![
        fails("no shell", "runner_configuration_error", rig.job_in(&shell_less, None, &["true"]), &["has no `sh` on its PATH"]),
        fails("sh is not on PATH", "runner_configuration_error", rig.job_in(&off_path, None, &["true"]), &["has no `sh` on its PATH"]),
        fails(
            "an entrypoint that never ends",
            "job_execution_timeout",
            within(8, rig.job_in(BUSYBOX, Some(&["sh", "-c", "while :; do sleep 1000; done"]), &["true"])),
            &[],
        ),
        exits(
            "an entrypoint that prints 1 GB",
            7,
            rig.job_in(BUSYBOX, Some(&["sh", "-c", "tr '\\0' y < /dev/zero | head -c 1000000000; exec \"$@\"", "-"]), &["exit 7"]),
        ),
        Case {
            says: &["No space left on device"],
            ..exits("a full disk", 1, rig.job(&["dd if=/dev/zero of=/small/file bs=64k"]))
        },
        exits("forks without end", 2, rig.job(&["while :; do sleep 1000 & done"])),
        fails(
            "a fork bomb that never ends",
            "job_execution_timeout",
            within(8, rig.job(&["sh -c 'bomb() { bomb | bomb & }; bomb' & while :; do :; done"])),
            &[],
        ),
        exits("kills PID 1", 16, rig.job(&["kill -9 1; exit 16"])),
        exits("ends PID 1", 1, rig.job(&["kill -TERM 1; sleep 2; exit 17"])),
        exits("kills itself", 137, rig.job(&["kill -9 $$; sleep 1000"])),
        exits("closes its output", 9, rig.job(&["exec >&- 2>&-; exit 9"])),
        exits("prints binary", 4, rig.job(&["head -c 3000000 /dev/urandom; exit 4"])),
        exits("one long line", 6, rig.job(&["head -c 100000000 /dev/zero | tr '\\0' y; exit 6"])),
        fails(
            "ignores TERM",
            "job_execution_timeout",
            within(5, rig.job(&["trap '' TERM; while :; do sleep 1; done"])),
            &[],
        ),
        good("leaves a daemon", rig.job(&["(setsid sleep 1000 > /dev/null 2>&1 &); sleep 1000 & true"])),
        exits("removes /builds", 15, gone),
        exits("reads its input", 11, rig.job(&["cat; ! read line; exit 11"])),
        exits("writes to its input", 12, rig.job(&["for n in 1 2 3; do echo 'exit 0' > /proc/$$/fd/0; done; exit 12"])),
        exits("a link in place of its project", 14, swapped),
        exits(
            "kills its own container",
            137,
            rig.job_in(
                "harrier-test/dind",
                Some(&[""]),
                &["docker kill $(docker ps -q --filter label=com.gitlab.gitlab-runner.job.id=$CI_JOB_ID --filter label=com.gitlab.gitlab-runner.type=build); sleep 1000"],
            ),
        ),
        good("links in its artifacts", helped),
    ];
    let ids: Vec<i64> = cases.iter().map(|case| rig.server.add_job(case.spec.clone())).collect();
    let mut wrong = Vec::new();
    for (case, id) in cases.iter().zip(ids) {
        let job = rig.end_of(id).await;
        let state = if case.reason.is_none() { JobState::Success } else { JobState::Failed };
        let log = job.log_text();
        let tail: String = log.chars().skip(log.chars().count().saturating_sub(3000)).collect();
        // Codes are reported with every state.
        let found = verdict(&job);
        let code = case.code.or(found.2.filter(|_| case.reason != Some("script_failure")));
        if found != (state, case.reason, code) || case.says.iter().any(|part| !log.contains(part)) {
            wrong.push(format!("== {}: {found:?}\n{tail}", case.name));
        }
        // A log is cut at its limit, with a notice.
        assert!(job.log.len() < 5 << 20, "{}: {} bytes of log", case.name, job.log.len());
        if let Some(archive) = job.artifact("archive") {
            let text = String::from_utf8_lossy(&archive.bytes);
            assert!(!text.contains("root:x:0"), "{}: a file of the helper is in the artifacts", case.name);
        }
    }
    assert!(wrong.is_empty(), "{}\nthe runner's log:\n{}", wrong.join("\n"), rig.runner_log());
    let grown = peak(runner.id()).saturating_sub(at_rest);
    assert!(grown < MEMORY, "the runner held {grown} KiB more than the {at_rest} KiB at rest");

    // Every slot once more, side by side.
    let next: Vec<i64> = (0..3)
        .map(|_| rig.server.add_job(rig.job(&["sleep 2; grep Kestrel README.md; test ! -e out;"])))
        .collect();
    for id in next {
        let job = rig.end_of(id).await;
        assert_eq!(job.state, JobState::Success, "{}\n{}", job.log_text(), rig.runner_log());
    }
    rig.nothing_is_left("after all").await;
    let images = rig.engine.command(&["image", "rm", "--force", &shell_less, &off_path]);
    rig::docker::output_of(images).await;
    rig.remove_caches().await;
    rig.server.assert_no_slips();
}
