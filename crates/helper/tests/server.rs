//! Sources and artifacts against a GitLab that speaks HTTP and git (`runner-api.md` §9, §10).

mod jobs;

use harrier_base::Secret;
use harrier_plan::{ArchiveFormat, ArtifactDownload, ArtifactUpload, CompressionLevel, Op, Sources};
use harrier_testkit::{FakeGitLab, Fault, JobSpec, On, Options, Repo};
use jobs::{Job, get, git, sources};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A server, and a runtime that must outlive it.
struct World {
    runtime: Runtime,
    server: FakeGitLab,
}

impl World {
    fn new(options: Options) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let server = runtime.block_on(FakeGitLab::start_with(options)).expect("a server");
        Self { runtime, server }
    }

    /// A job that runs from now on, and its payload.
    fn job(&self, spec: JobSpec) -> (Job, serde_json::Value) {
        let id = self.server.add_job(spec);
        let payload = self.server.take_by_hand(id);
        let mut job = Job::new();
        job.id = id;
        job.server = self.server.url();
        job.token = payload["token"].as_str().expect("a token").to_owned();
        (job, payload)
    }

    fn count(&self, on: On) -> usize {
        self.server.requests().iter().filter(|note| note.on == on).count()
    }
}

fn upload(paths: &[&str]) -> Op {
    Op::UploadArtifacts(ArtifactUpload {
        name: "pack".into(),
        paths: paths.iter().map(|p| (*p).to_owned()).collect(),
        exclude: vec![],
        untracked: false,
        expire_in: "3 days".into(),
        artifact_type: "archive".into(),
        artifact_format: ArchiveFormat::Zip,
        level: CompressionLevel::Default,
        upload_timeout: Duration::from_secs(60),
        response_header_timeout: Duration::from_secs(60),
        provenance: None,
    })
}

fn download(job_id: i64, token: &str) -> Op {
    Op::DownloadArtifacts(ArtifactDownload {
        job_id,
        job_name: "build".into(),
        token: Secret::new(token),
        filename: "pack.zip".into(),
        direct_download: true,
    })
}

fn script() -> JobSpec {
    let mut archive = JobSpec::archive("pack", &["out"], "on_success");
    archive["expire_in"] = "3 days".into();
    JobSpec { artifacts: vec![archive], ..JobSpec::script(&["true"]) }
}

#[test]
fn sources_come_over_http_with_the_jobs_token() {
    let world = World::new(Options::default());
    let repo = Repo::with_files(&[("a.txt", "alpha\n"), ("dir/b.txt", "beta\n")]);
    let project = world.server.add_project("group/app", &repo);
    let (job, payload) = world.job(JobSpec::in_project(project, &["true"]));
    let info = &payload["git_info"];
    let with = info["repo_url"].as_str().expect("a URL");
    let (scheme, rest) = with.split_once("://").expect("a scheme");
    let plain = format!("{scheme}://{}", rest.split_once('@').expect("credentials").1);
    let planned = Sources {
        remote_url: plain.clone(),
        rewrites: [(plain.clone(), Secret::new(with))].into(),
        sha: info["sha"].as_str().expect("a commit").into(),
        refspecs: info["refspecs"]
            .as_array()
            .expect("refspecs")
            .iter()
            .map(|r| r.as_str().expect("text").into())
            .collect(),
        ..sources(repo.git_dir())
    };
    let log = job.runs(get(planned));
    assert_eq!(job.read("dir/b.txt"), "beta\n");
    assert!(!log.contains(&job.token) && !job.read(".git/config").contains(&job.token));
    assert_eq!(git(&job.dirs.project, &["remote", "get-url", "origin"]), with, "rewritten when used");
    world.server.assert_no_slips();
    assert!(world.count(On::Git) > 0);
    drop(world.runtime);
}

#[test]
fn an_artifact_travels_by_way_of_the_server() {
    for direct in [false, true] {
        let world =
            World::new(Options { direct_download: direct, redirect_uploads: direct, ..Options::default() });
        let (job, _) = world.job(script());
        job.put("out/a.txt", "alpha");
        job.put("out/big.bin", &"x".repeat(3_000_000));
        let log = job.runs(vec![upload(&["out"])]);
        assert!(log.contains("Uploading artifacts as \"archive\" to coordinator... 201 Created"), "{log}");
        assert!(!log.contains(&job.token), "{log}");
        let stored = world.server.job(job.id).expect("known").artifacts.remove(0);
        assert_eq!(
            (stored.file_name.as_str(), stored.artifact_format.as_str(), stored.expire_in.as_deref()),
            ("pack.zip", "zip", Some("3 days"))
        );
        let (next, _) = world.job(JobSpec { dependencies: vec![job.id], ..script() });
        let log = next.runs(vec![download(job.id, &next.token)]);
        assert!(log.contains("Downloading artifacts from coordinator... ok"), "{log}");
        assert_eq!(next.read("out/a.txt"), "alpha");
        assert_eq!(next.read("out/big.bin").len(), 3_000_000);
        // A redirect repeats the request as it was, its id included, as the library of GitLab Runner does.
        let slips = world.server.slips();
        assert!(slips.iter().all(|slip| slip.contains("/redirected/")), "{slips:?}");
        drop(world.runtime);
    }
}

#[test]
fn an_upload_is_tried_again_and_refusals_are_final() {
    let world = World::new(Options::default());
    let (job, _) = world.job(script());
    job.put("a.txt", "x");
    world.server.fail_next(On::Upload, &[Fault::Status(400)]);
    let log = job.runs(vec![upload(&["a.txt"])]);
    assert!(log.contains("Retrying...") && log.contains("201 Created"), "{log}");
    assert_eq!(world.count(On::Upload), 2);
    for (status, words) in [(413, "too large archive"), (403, "forbidden")] {
        let before = world.count(On::Upload);
        world.server.fail_next(On::Upload, &[Fault::Status(status)]);
        let (code, log) = job.run(vec![upload(&["a.txt"])]);
        assert_eq!(code, 1);
        assert!(log.contains(words) && log.contains("artifacts could not be uploaded"), "{log}");
        assert_eq!(world.count(On::Upload), before + 1, "{status}");
    }
    drop(world.runtime);
}

#[test]
fn a_download_is_tried_again_and_refusals_are_final() {
    let world = World::new(Options::default());
    let (job, _) = world.job(script());
    job.put("a.txt", "x");
    job.runs(vec![upload(&["a.txt"])]);
    let (next, _) = world.job(JobSpec { dependencies: vec![job.id], ..script() });
    world.server.fail_next(On::Download, &[Fault::Status(400)]);
    let log = next.runs(vec![download(job.id, &next.token)]);
    assert!(log.contains("Retrying...") && log.contains("coordinator... ok"), "{log}");
    assert_eq!(next.read("a.txt"), "x");
    for (status, words) in [(404, "not found"), (403, "forbidden"), (401, "unauthorized")] {
        let before = world.count(On::Download);
        world.server.fail_next(On::Download, &[Fault::Status(status)]);
        let (code, log) = next.run(vec![download(job.id, &next.token)]);
        assert_eq!(code, 1);
        assert!(log.contains(words) && log.contains("could not be downloaded"), "{log}");
        assert_eq!(world.count(On::Download), before + 1, "{status}");
    }
    drop(world.runtime);
}
