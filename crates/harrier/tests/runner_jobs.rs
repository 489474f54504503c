//! Jobs from a GitLab-speaking server through the real binary: many, cancelled, timed out, with artifacts, caches and
//! secrets. Each ends without a breach of the protocol.

mod rig;

use harrier_testkit::{JobSpec, JobState, Options, Var};
use rig::{Rig, until};
use serde_json::json;
use std::path::Path;

#[tokio::test]
async fn two_hundred_jobs_at_four_slots_are_all_reported() {
    let rig = Rig::new().await;
    let ids: Vec<i64> =
        (0..200).map(|_| rig.server.add_job(rig.job(&["echo \"this is $CI_JOB_ID\""]))).collect();
    let _runner = rig.start();
    for id in ids {
        let job = rig.end_of(id).await;
        assert_eq!((job.state, job.times_handed_out), (JobState::Success, 1), "{}", job.log_text());
        assert!(job.job_output().contains(&format!("\nthis is {id}\n")), "{}", job.log_text());
        assert!(job.log_text().contains("Job succeeded"));
    }
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_cancelled_job_still_runs_its_after_script() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let spec = JobSpec {
        after_script: vec!["echo \"after: $CI_JOB_STATUS\"".into()],
        artifacts: vec![JobSpec::archive("kept", &["kept.txt"], "always")],
        ..rig.job(&["echo kept > kept.txt", "while :; do echo tick; sleep 0.1; done"])
    };
    let id = rig.server.add_job(spec);
    rig.server.wait_log(id, "tick", rig::PATIENCE).await.expect("it runs");
    rig.server.cancel(id);
    let job = rig.end_of(id).await;
    assert_eq!(job.state, JobState::Canceled);
    assert!(job.job_output().contains("after: canceled"), "{}", job.log_text());
    assert!(job.artifact("archive").is_some(), "{}", job.log_text());
    let last = job.puts.last().expect("a final update");
    assert_eq!((last.failure_reason.as_deref(), last.exit_code), (Some("unknown_failure"), None));
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_dropped_job_is_killed_at_once_with_all_its_processes() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let pids = rig.marks().display().to_string();
    let spec = JobSpec {
        after_script: vec!["echo after".into()],
        ..rig.job(&[
            &format!("setsid bash -c 'echo $$ >> {pids}; exec sleep 600' &"),
            &format!("echo $$ >> {pids}"),
            "while :; do echo tick; sleep 0.1; done",
        ])
    };
    let id = rig.server.add_job(spec);
    rig.server.wait_log(id, "tick", rig::PATIENCE).await.expect("it runs");
    until("both processes have said who they are", || rig.marked().len() == 2).await;
    rig.server.force_cancel(id);
    let runs = |pid: &String| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    until("the processes of the job are gone", || !rig.marked().iter().any(runs)).await;
    let job = rig.server.job(id).expect("a job");
    assert_eq!(job.state, JobState::Canceled);
    assert!(!job.job_output().contains("after\n"), "{}", job.log_text());
    // The slot is free again.
    assert_eq!(rig.run(rig.job(&["true"])).await.state, JobState::Success);
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_stopped() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let spec = JobSpec { timeout: 2, ..JobSpec::script(&["echo begun", "sleep 600"]) };
    let job = rig.run(spec).await;
    assert_eq!(
        (job.state, job.failure_reason.as_deref(), job.exit_code),
        (JobState::Failed, Some("job_execution_timeout"), None)
    );
    assert!(job.log_text().contains("execution took longer than 2s seconds"), "{}", job.log_text());
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn exit_codes_and_signals_are_reported() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    for (line, code) in [("exit 7", Some(7)), ("kill -9 $$", Some(-1)), ("false", Some(1)), ("true", None)] {
        let job = rig.run(JobSpec::script(&[line])).await;
        let reason = code.map(|_| "script_failure");
        assert_eq!(
            (job.exit_code, job.failure_reason.as_deref()),
            (code, reason),
            "{line}\n{}",
            job.log_text()
        );
    }
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn artifacts_and_variables_travel_to_the_next_job() {
    for options in [
        Options::default(),
        Options { direct_download: false, redirect_uploads: true, two_phase: false, ..Options::default() },
    ] {
        let rig = Rig::with(options, 2).await;
        let _runner = rig.start();
        let first = JobSpec {
            artifacts: vec![
                JobSpec::archive("bread", &["out/", "*.txt"], "on_success"),
                JobSpec::report("dotenv", "gzip", "build.env"),
                JobSpec::report("codequality", "raw", "quality.json"),
            ],
            ..rig.job(&[
                "mkdir -p out/deep",
                "echo loaf > out/deep/loaf",
                "ln -s deep/loaf out/link",
                "chmod 750 out/deep/loaf",
                "echo top > top.txt",
                "echo 'BATCH=forty-two' > build.env",
                "echo '[]' > quality.json",
            ])
        };
        let first = rig.server.add_job(first);
        let second = JobSpec {
            dependencies: vec![first],
            git_strategy: Some("clone".into()),
            ..rig.job(&["cat out/link top.txt", "stat -c %a out/deep/loaf", "echo \"batch $BATCH\""])
        };
        let second = rig.server.add_job(second);
        let job = rig.end_of(first).await;
        assert_eq!(job.state, JobState::Success, "{}", job.log_text());
        assert_eq!(job.artifact("archive").map(|found| found.file_name.as_str()), Some("bread.zip"));
        assert_eq!(job.artifact("codequality").map(|found| found.bytes.as_ref()), Some(b"[]\n".as_slice()));
        let job = rig.end_of(second).await;
        assert_eq!(job.state, JobState::Success, "{}", job.log_text());
        for line in ["\nloaf\n", "\ntop\n", "\n750\n", "\nbatch forty-two\n"] {
            assert!(job.job_output().contains(line), "{line:?} in {}", job.log_text());
        }
        rig.server.assert_no_slips();
    }
}

#[tokio::test]
async fn a_failed_job_uploads_what_is_for_failure() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let mut coverage = JobSpec::report("junit", "gzip", "junit.xml");
    coverage["when"] = json!("on_success");
    let spec = JobSpec {
        artifacts: vec![JobSpec::archive("why", &["why.txt"], "on_failure"), coverage],
        ..rig.job(&["echo because > why.txt", "echo '<x/>' > junit.xml", "exit 4"])
    };
    let job = rig.run(spec).await;
    assert_eq!((job.state, job.exit_code), (JobState::Failed, Some(4)));
    assert!(job.artifact("archive").is_some() && job.artifact("junit").is_none(), "{}", job.log_text());
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_cache_is_there_for_the_next_job() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let job = |policy: &str, script: &[&str]| JobSpec {
        cache: vec![JobSpec::cached("deps-$CI_COMMIT_REF_NAME", &["deps/"], policy)],
        git_strategy: Some("clone".into()),
        ..rig.job(script)
    };
    let first = rig.run(job("pull-push", &["test ! -e deps", "mkdir deps", "echo one > deps/list"])).await;
    assert_eq!(first.state, JobState::Success, "{}", first.log_text());
    let second = rig.run(job("pull", &["cat deps/list", "echo two > deps/list"])).await;
    assert_eq!(second.state, JobState::Success, "{}", second.log_text());
    let third = rig.run(job("pull", &["test \"$(cat deps/list)\" = one"])).await;
    assert_eq!(third.state, JobState::Success, "{}", third.log_text());
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn secrets_stay_secret() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let secret = "correct-horse-battery";
    let spec = JobSpec {
        variables: vec![Var::masked("SECRET", secret), Var::file("KEY_FILE", "file content\n")],
        ..rig.job(&[
            "echo \"it is $SECRET.\"",
            "printf 'correct-horse'; sleep 0.05; echo '-battery'",
            "echo \"token $CI_JOB_TOKEN\"",
            "echo 'glpat-abcdefghij0123456789'",
            "cat \"$KEY_FILE\"",
            "cat .git/config; git remote -v",
        ])
    };
    let job = rig.run(spec).await;
    let log = job.log_text();
    assert_eq!(job.state, JobState::Success, "{log}");
    assert!(!log.contains(secret) && !log.contains(&job.token) && !log.contains("abcdefghij"), "{log}");
    for line in ["it is [MASKED].", "token [MASKED]", "glpat-[MASKED]", "file content"] {
        assert!(log.contains(line), "{line:?} in {log}");
    }
    let own = rig.runner_log();
    assert!(!own.contains(secret) && !own.contains(&job.token) && !own.contains(rig.server.runner_token()));
    until("the job's state is gone", || {
        let state = rig.home.path().join(".harrier/jobs");
        std::fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_none())
    })
    .await;
    for entry in walk(rig.home.path()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        let found = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!found(secret) && !found(&job.token), "{} holds a secret after the job", entry.display());
    }
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_long_log_arrives_in_chunks_and_is_cut_at_its_limit() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let job = rig.run(JobSpec::script(&["seq 1 200000"])).await;
    assert_eq!(job.state, JobState::Success);
    assert!(job.log.len() > 4 << 20 && job.log.len() < (4 << 20) + 1000, "{}", job.log.len());
    assert!(job.log_text().contains("Job's log exceeded limit of 4194304 bytes."));
    let output = job.job_output();
    let numbers: Vec<u32> = output.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(numbers.len() > 50_000 && numbers.iter().zip(1..).all(|(found, wanted)| *found == wanted));
    rig.server.assert_no_slips();
}

fn walk(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut places = vec![root.to_owned()];
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => places.push(entry.path()),
                Ok(kind) if kind.is_file() && entry.file_name() != "config.toml" => files.push(entry.path()),
                Ok(_) | Err(_) => {}
            }
        }
    }
    files
}
