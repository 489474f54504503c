//! What is wrong around the runner, with the real binary: a broken configuration, a certificate of somebody else, a
//! full disk. Each is told with place and remedy, and the runner lives.

mod rig;

use harrier_testkit::{AUTHORITY, Certificate, JobState, Options, config_toml};
use nix::sys::signal::Signal;
use rig::Rig;
use std::path::Path;
use std::process::Command;

#[tokio::test]
async fn a_broken_configuration_is_refused_and_the_old_one_stays() {
    let rig = Rig::new().await;
    let good = std::fs::read_to_string(rig.home.config()).expect("just written");
    let runner = rig.start();
    assert_eq!(rig.run(rig.job(&["true"])).await.state, JobState::Success);
    rig.home.write_config(&format!("{good}\n[[runners]\n"));
    runner.signal(Signal::SIGHUP);
    let line = good.lines().count() + 2;
    runner.wait_log(&format!("{}:{line}", rig.home.config().display()), rig::PATIENCE).await;
    assert_eq!(rig.run(rig.job(&["true"])).await.state, JobState::Success);
    let second = rig.server.add_runner();
    let more = config_toml(&rig.server, &second, 4, &rig.home, "");
    let more = more.split_once("[[runners]]").expect("one entry").1.replace("\"test\"", "\"second\"");
    rig.home.write_config(&format!("{good}\n[[runners]]{more}"));
    runner.signal(Signal::SIGHUP);
    rig::until("the new entry asks for jobs", || !rig.server.managers(&second).is_empty()).await;
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_broken_configuration_at_the_start_ends_with_place_and_reason() {
    let rig = Rig::new().await;
    rig.home.write_config("concurrent = 4\n[[runners]]\n  url = \n");
    let mut runner = rig.start();
    let status = runner.wait(rig::PATIENCE).await.expect("it ends");
    assert!(!status.success());
    let log = runner.log();
    assert!(log.contains(&format!("{}:3", rig.home.config().display())), "{log}");
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_told_with_the_remedy() {
    let options = Options { tls: Some(Certificate::OtherName), ..Options::default() };
    let rig = Rig::with(options, 1).await;
    trust(&rig);
    let runner = rig.start();
    runner.wait_log("certificate", rig::PATIENCE).await;
    let log = runner.log();
    assert!(log.contains("other.example.com") || log.contains("name"), "says what is wrong: {log}");
    let place = rig.server.url().replace("https://", "");
    assert!(log.contains(&place), "says where: {log}");
}

#[tokio::test]
async fn an_unknown_authority_is_told_with_the_remedy_and_a_known_one_works_with_git_too() {
    let options = Options { tls: Some(Certificate::Ours), ..Options::default() };
    let rig = Rig::with(options, 1).await;
    let runner = rig.start();
    runner.wait_log("tls-ca-file", rig::PATIENCE).await;
    drop(runner);
    trust(&rig);
    let _runner = rig.start();
    let job = rig.run(rig.job(&["cat README.md", "test -s \"$CI_SERVER_TLS_CA_FILE\""])).await;
    assert_eq!(job.state, JobState::Success, "{}", job.log_text());
    assert!(job.job_output().contains("# Kestrel"));
    rig.server.assert_no_slips();
}

fn trust(rig: &Rig) {
    let authority = rig.home.path().join("authority.crt");
    std::fs::write(&authority, AUTHORITY).expect("the home is writable");
    let extra = format!("  tls-ca-file = \"{}\"\n", authority.display());
    rig.home.write_config(&config_toml(&rig.server, rig.server.runner_token(), 1, &rig.home, &extra));
}

/// A small disk of its own below the home.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount<'a>(place: &'a Path, size: &str) -> SmallDisk<'a> {
        std::fs::create_dir_all(place).expect("the home is writable");
        let options = format!("size={size},mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "harrier-test"]).arg(place).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a disk that can be full needs the right to mount a tmpfs: run this test as root, in a container with \
             --cap-add SYS_ADMIN"
        );
        SmallDisk(place)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazy: what still runs there is killed with the home, right after.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_under_the_state_fails_the_job_with_words_and_the_runner_lives() {
    let rig = Rig::new().await;
    let state = rig.home.path().join(".harrier");
    let _disk = SmallDisk::mount(&state, "1m");
    let _runner = rig.start();
    let job = rig.run(rig.job(&["seq 1 300000", "echo the end"])).await;
    assert_eq!((job.state, job.failure_reason.as_deref()), (JobState::Failed, Some("runner_system_failure")));
    let told = format!("{}{}", job.log_text(), rig.runner_log());
    assert!(told.contains("No space left on device") || told.contains("disk is full"), "{told}");
    assert!(told.contains(&state.display().to_string()), "says where: {told}");
    // The job is reported before its directory, which fills the disk, is gone.
    let jobs = state.join("jobs");
    rig::until("the disk has room", || std::fs::read_dir(&jobs).is_ok_and(|mut jobs| jobs.next().is_none()))
        .await;
    assert_eq!(rig.run(rig.job(&["true"])).await.state, JobState::Success, "{}", rig.runner_log());
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_full_disk_under_the_builds_fails_the_job_and_says_so_in_its_log() {
    let rig = Rig::new().await;
    let builds = rig.home.builds();
    let _disk = SmallDisk::mount(&builds, "400k");
    let _runner = rig.start();
    let job = rig.run(rig.job(&["head -c 2000000 /dev/zero > big"])).await;
    assert_eq!((job.state, job.failure_reason.as_deref()), (JobState::Failed, Some("script_failure")));
    assert!(job.log_text().contains("No space left on device"), "{}", job.log_text());
    rig.server.assert_no_slips();
}
