//! The fake GitLab by hand: `fake-gitlab JOBS [RATE]` starts it with a repository and JOBS small jobs, prints a
//! config.toml, then says what becomes of each job and what the runner did wrong. RATE is the share of answers that
//! fail.

use harrier_testkit::{FakeGitLab, FaultPlan, JobSpec, Repo, TempHome, config_toml};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let jobs: u32 = arguments.next().unwrap_or_else(|| "1".into()).parse()?;
    let rate: f64 = arguments.next().unwrap_or_else(|| "0".into()).parse()?;
    let server = FakeGitLab::start().await?;
    let repo = Repo::with_files(&[("README.md", "# Kestrel\n")]);
    let project = server.add_project("birds/kestrel", &repo);
    let home = TempHome::new();
    home.write_config(&config_toml(&server, server.runner_token(), 4, &home, ""));
    println!("config.toml: {}", home.config().display());
    println!("registration token: {}", server.registration_token());
    server.set_faults(FaultPlan::everything(1, rate));
    let script = ["echo \"job $CI_JOB_ID on $CI_COMMIT_REF_NAME\"", "cat README.md"];
    let ids: Vec<i64> = (0..jobs).map(|_| server.add_job(JobSpec::in_project(project, &script))).collect();
    for id in ids {
        let job = server.wait_final(id, Duration::from_secs(24 * 3600)).await?;
        println!("job {id}: {}", job.state.wire());
    }
    println!("faults: {:?}", server.faults_fired());
    for slip in server.slips() {
        println!("slip: {slip}");
    }
    Ok(())
}
