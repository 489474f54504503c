//! Logs and artifacts in a bucket of an S3 server: where each is at which time, what is read back, what goes, and what happens when
//! the server has trouble.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_base::{Secret, SystemClock};
use harrier_coordinator::{App, Credentials, DataDir, ObjectStorage, Settings, StartError};
use harrier_database::{NewToken, NewUser, ProjectEdit, TokenKind};
use harrier_pipeline::Status;
use harrier_testkit::{S3Server, S3Wire, WireFault as Fault};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use support::{PATIENCE, Server, Taken, header};

const TWO: &str = "stages: [one, two]\nmake:\n  stage: one\n  script: x\n  artifacts: {paths: [out]}\n\
                   use:\n  stage: two\n  script: x\n";

/// What a server is told of the S3 server, which it reaches at an endpoint.
fn storage(s3: &S3Server, endpoint: &str, secret: &str) -> ObjectStorage {
    let secret_key = Secret::new(secret);
    let credentials = Credentials { access_key: s3.key.clone(), secret_key, session_token: None };
    let address = format!("s3://{}/ci?endpoint={endpoint}&region={}", S3Server::BUCKET, S3Server::REGION);
    ObjectStorage::parse(&address, None, credentials).unwrap()
}

fn here(s3: &S3Server) -> ObjectStorage {
    storage(s3, &s3.url, &s3.secret)
}

/// Until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !so().await {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "not reached: {what}");
}

/// A zip archive with a long file that packs badly, and a short one.
fn archive() -> (Vec<u8>, Vec<u8>) {
    let mut seed = 1_u64;
    let long: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as u8
    })
    .take(700_000)
    .collect();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("out/long", options).unwrap();
    zip.write_all(&long).unwrap();
    zip.start_file("out/short.txt", options).unwrap();
    zip.write_all(b"short\n").unwrap();
    (zip.finish().unwrap().into_inner(), long)
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

impl Server {
    /// A token of an administrator's.
    async fn token(&self) -> String {
        let now = self.app.now();
        let new = NewUser { username: "root".into(), name: "root".into(), admin: true, ..NewUser::default() };
        let user = self.app.store.create_user(new, now).await.unwrap();
        let new = NewToken {
            kind: TokenKind::Personal,
            user: Some(user.id),
            project: None,
            name: "t".into(),
            scopes: vec!["api".into()],
            access_level: None,
            expires_at: None,
        };
        self.app.store.create_token(new, now).await.unwrap().1.expose().to_owned()
    }

    async fn read(&self, token: &str, path: &str) -> (StatusCode, Vec<u8>) {
        let answer = self.call(Method::GET, path).header("PRIVATE-TOKEN", token).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap().to_vec())
    }

    async fn fetch(&self, job: i64, by: &Taken, query: &str) -> reqwest::Response {
        let call = self.call(Method::GET, &format!("/jobs/{job}/artifacts{query}"));
        call.header("JOB-TOKEN", &by.token).send().await.unwrap()
    }

    async fn moved(&self, job: i64) {
        until("the log is moved", async || !self.app.data.trace(job).exists()).await;
    }
}

#[tokio::test]
async fn logs_and_artifacts_are_in_the_bucket() {
    let mut s3 = S3Server::start(true);
    let home = tempfile::tempdir().unwrap();
    let there = here(&s3);
    let server = Server::start_with(home.path(), |settings| settings.storage = Some(there)).await;
    let token = server.token().await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", TWO)]).await;
    let pipeline = server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let (zip, long) = archive();

    let make = server.take(&runner).await;
    assert_eq!(server.patch(&make, 0, b"hello\n").await.status(), 202);
    assert_eq!(server.upload(&make, "artifact_type=archive", "a.zip", &zip).await.status(), 201);
    let archived = format!("ci/artifacts/{}/archive", make.id);
    assert_eq!(s3.files(), [archived.as_str()], "the artifact was acknowledged, the log still grows");
    assert_eq!(server.upload(&make, "artifact_type=archive", "a.zip", &zip).await.status(), 201);
    assert_eq!(server.upload(&make, "artifact_type=archive", "a.zip", b"other").await.status(), 400);
    assert_eq!(s3.files(), [archived.as_str()], "once for each kind");
    let project_path = format!("/projects/{}/jobs/{}", project.id, make.id);
    assert_eq!(server.read(&token, &format!("{project_path}/trace")).await.1, b"hello\n", "while it runs");
    assert_eq!(server.patch(&make, 6, b"world\n").await.status(), 202);
    assert_eq!(server.put(&make, json!({"state": "success"})).await.status(), 200);
    server.moved(make.id).await;
    let logged = format!("ci/traces/{}", make.id);
    assert_eq!(s3.files(), [archived.clone(), logged.clone()]);
    assert_eq!(entries(&server.app.data.all_artifacts()) + entries(&server.app.data.incoming()), 0);
    assert_eq!(server.patch(&make, 12, b"late\n").await.status(), 403);

    // By the API and by a later job.
    assert_eq!(server.read(&token, &format!("{project_path}/trace")).await.1, b"hello\nworld\n");
    assert_eq!(server.read(&token, &format!("{project_path}/artifacts")).await.1, zip);
    assert_eq!(server.read(&token, &format!("{project_path}/artifacts/out/short.txt")).await.1, b"short\n");
    assert_eq!(server.read(&token, &format!("{project_path}/artifacts/out/long")).await.1, long);
    assert_eq!(server.read(&token, &format!("{project_path}/artifacts/out/none")).await.0, 404);
    let user = server.take(&runner).await;
    assert_eq!(server.fetch(make.id, &user, "").await.bytes().await.unwrap(), zip);
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = format!("{}/api/v4/jobs/{}/artifacts?direct_download=true", server.url, make.id);
    let sent = client.get(url).header("JOB-TOKEN", &user.token).send().await.unwrap();
    assert_eq!(sent.status(), 302);
    let to = header(&sent, "location");
    assert!(to.starts_with(&format!("{}/harrier-files/ci/artifacts/", s3.url)), "{to}");
    assert!(to.contains("X-Amz-Signature=") && !to.contains(&s3.secret), "{to}");

    // Erased, nothing of the job is left.
    assert_eq!(server.put(&user, json!({"state": "success"})).await.status(), 200);
    server.wait(pipeline.id, Status::Success).await;
    let erased = server.call(Method::POST, &format!("{project_path}/erase")).header("PRIVATE-TOKEN", &token);
    assert_eq!(erased.send().await.unwrap().status(), 201);
    until("what was erased is gone", async || s3.files().is_empty()).await;
    assert_eq!(server.read(&token, &format!("{project_path}/trace")).await, (StatusCode::OK, vec![]));
    assert_eq!(server.read(&token, &format!("{project_path}/artifacts")).await.0, 404);
}

#[tokio::test]
async fn expired_and_deleted_files_leave_the_bucket() {
    let mut s3 = S3Server::start(false);
    let home = tempfile::tempdir().unwrap();
    let there = here(&s3);
    let server = Server::start_with(home.path(), |settings| settings.storage = Some(there)).await;
    let token = server.token().await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", TWO)]).await;
    let runner = server.runner(&[]).await;
    let (zip, _) = archive();
    let mut pipelines = Vec::new();
    for query in ["artifact_type=archive&expire_in=1+second", "artifact_type=archive"] {
        pipelines.push(server.pipeline(&project, &sha).await);
        let job = server.take(&runner).await;
        assert_eq!(server.patch(&job, 0, b"log\n").await.status(), 202);
        assert_eq!(server.upload(&job, query, "a.zip", &zip).await.status(), 201);
        assert_eq!(server.put(&job, json!({"state": "failed"})).await.status(), 200);
        server.moved(job.id).await;
    }
    until("the expired one is gone", async || {
        // Whatever is due makes it look.
        server.app.store.give_up_object("none".into(), 0).await.unwrap();
        s3.files().len() == 3
    })
    .await;
    assert!(!s3.files().iter().any(|key| key.starts_with("ci/artifacts/1/")), "{:?}", s3.files());

    // A runner that may be sent there reads it by itself.
    let third = server.pipeline(&project, &sha).await;
    let make = server.take(&runner).await;
    assert_eq!(server.upload(&make, "artifact_type=archive", "a.zip", &zip).await.status(), 201);
    assert_eq!(server.put(&make, json!({"state": "success"})).await.status(), 200);
    let user = server.take(&runner).await;
    let fetched = server.fetch(make.id, &user, "?direct_download=true").await;
    assert!(fetched.url().as_str().starts_with(&s3.url), "{}", fetched.url());
    assert_eq!(fetched.bytes().await.unwrap(), zip);

    // A file that somebody else removed is said to be gone.
    s3.drop_files();
    let path = format!("/projects/{}/jobs/{}/artifacts", project.id, make.id);
    assert_eq!(server.read(&token, &path).await.0, 404);
    assert_eq!(server.read(&token, &format!("{path}/out/long")).await.0, 404);
    assert_eq!(server.put(&user, json!({"state": "success"})).await.status(), 200);
    server.wait(third.id, Status::Success).await;

    let fourth = server.pipeline(&project, &sha).await;
    let job = server.take(&runner).await;
    assert_eq!(server.patch(&job, 0, b"log\n").await.status(), 202);
    assert_eq!(server.put(&job, json!({"state": "failed"})).await.status(), 200);
    server.moved(job.id).await;
    assert_eq!(s3.files(), [format!("ci/traces/{}", job.id)]);
    let delete = |path: String| server.call(Method::DELETE, &path).header("PRIVATE-TOKEN", &token).send();
    let path = format!("/projects/{}/pipelines/{}", project.id, fourth.id);
    assert_eq!(delete(path).await.unwrap().status(), 204);
    until("the deleted pipeline's files are gone", async || s3.files().is_empty()).await;
    assert_eq!(delete(format!("/projects/{}", project.id)).await.unwrap().status(), 202);
}

#[tokio::test]
async fn trouble_of_the_bucket_is_nobody_elses_loss() {
    let mut s3 = S3Server::start(false);
    let wire = S3Wire::start(&s3).await;
    let home = tempfile::tempdir().unwrap();
    let there = storage(&s3, &wire.url, &s3.secret);
    let server = Server::start_with(home.path(), |settings| settings.storage = Some(there)).await;
    let token = server.token().await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", TWO)]).await;
    server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let (zip, _) = archive();
    let job = server.take(&runner).await;
    assert_eq!(server.patch(&job, 0, b"log\n").await.status(), 202);

    for fault in [Fault::Closed, Fault::Answer503, Fault::CutRequest(100_000), Fault::CutAnswer(9)] {
        wire.set(fault);
        let refused = server.upload(&job, "artifact_type=archive", "a.zip", &zip).await;
        assert_eq!(
            (refused.status().as_u16(), header(&refused, "retry-after")),
            (503, "5".into()),
            "{fault:?}"
        );
        assert!(wire.fired() >= 3, "{fault:?} happened {} times", wire.fired());
        assert!(server.app.store.artifacts(job.id).await.unwrap().is_empty(), "{fault:?}");
    }
    // What was whole there before its answer was cut goes again; what comes now stays.
    wire.set(Fault::None);
    assert_eq!(server.upload(&job, "artifact_type=archive", "a.zip", &zip).await.status(), 201);
    until("half uploads are gone", async || s3.files() == [format!("ci/artifacts/{}/archive", job.id)]).await;

    // A log stays on this machine, readable, until the bucket is there again.
    wire.set(Fault::Answer503);
    let ready = server.client.get(format!("{}/-/readiness", server.url)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains(r#""storage_check":[{"status":"failed"}]"#));
    wire.set(Fault::Answer503);
    assert_eq!(server.put(&job, json!({"state": "success"})).await.status(), 200);
    until("moving the log was tried", async || wire.fired() > 0).await;
    let of_job = format!("/projects/{}/jobs/{}", project.id, job.id);
    assert_eq!(server.read(&token, &format!("{of_job}/trace")).await.1, b"log\n");
    assert_eq!(server.read(&token, &format!("{of_job}/artifacts")).await.0, 503);
    assert_eq!(server.read(&token, &format!("{of_job}/artifacts/out/long")).await.0, 503);
    wire.set(Fault::None);
    server.moved(job.id).await;

    // Moved, it cannot be read while the bucket is away; the page is there and says so.
    wire.set(Fault::Closed);
    assert_eq!(server.read(&token, &format!("{of_job}/trace")).await.0, 503);
    server.app.store.edit_project(project.id, open()).await.unwrap();
    let page = server.client.get(format!("{}/g/p/-/jobs/{}", server.url, job.id)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("the log cannot be read now"));
    assert!(wire.fired() > 0);

    // Cut in the middle of a download: a reader sees that it is not whole.
    wire.set(Fault::CutAnswer(300_000));
    let user = server.take(&runner).await;
    let cut = server.fetch(job.id, &user, "").await;
    assert!(cut.bytes().await.is_err(), "a part of an archive passed for all of it");
    assert_eq!(wire.fired(), 1);
    wire.set(Fault::None);
    assert_eq!(server.fetch(job.id, &user, "").await.bytes().await.unwrap(), zip);
}

/// Everybody sees it and its jobs.
fn open() -> ProjectEdit {
    ProjectEdit { visibility: Some("public".into()), ..ProjectEdit::default() }
}

#[tokio::test]
async fn an_upload_goes_on_when_its_runner_leaves() {
    let mut s3 = S3Server::start(false);
    let wire = S3Wire::start(&s3).await;
    let home = tempfile::tempdir().unwrap();
    let there = storage(&s3, &wire.url, &s3.secret);
    let server = Server::start_with(home.path(), |settings| settings.storage = Some(there)).await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", TWO)]).await;
    server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let (zip, _) = archive();
    let job = server.take(&runner).await;
    wire.set(Fault::Hold);
    let upload = server.upload(&job, "artifact_type=archive", "a.zip", &zip);
    tokio::select! {
        answer = upload => panic!("it was answered: {}", answer.status()),
        () = until("the object is there, the answer is not", async || wire.fired() > 0) => {}
    }
    assert!(server.app.store.artifacts(job.id).await.unwrap().is_empty());
    wire.set(Fault::None);
    until("it is kept", async || !server.app.store.artifacts(job.id).await.unwrap().is_empty()).await;
    assert_eq!(server.upload(&job, "artifact_type=archive", "a.zip", &zip).await.status(), 201);
    assert_eq!(s3.files(), [format!("ci/artifacts/{}/archive", job.id)]);
    until("uploads are gone from this machine", async || entries(&server.app.data.incoming()) == 0).await;
}

#[tokio::test]
async fn files_of_this_machine_move_when_a_bucket_is_given() {
    let mut s3 = S3Server::start(true);
    let home = tempfile::tempdir().unwrap();
    let (zip, _) = archive();
    let server = Server::start(home.path()).await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", TWO)]).await;
    server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let job = server.take(&runner).await;
    assert_eq!(server.patch(&job, 0, b"log\n").await.status(), 202);
    assert_eq!(server.upload(&job, "artifact_type=archive", "a.zip", &zip).await.status(), 201);
    assert_eq!(server.put(&job, json!({"state": "success"})).await.status(), 200);
    let user = server.take(&runner).await;
    assert_eq!(server.patch(&user, 0, b"it runs\n").await.status(), 202);
    std::fs::write(server.app.data.artifacts(job.id).join(".incoming-x"), "half").unwrap();
    drop(server);

    let there = here(&s3);
    let server = Server::start_with(home.path(), |settings| settings.storage = Some(there)).await;
    server.moved(job.id).await;
    until("artifacts are moved", async || entries(&server.app.data.all_artifacts()) == 0).await;
    assert_eq!(s3.files(), [format!("ci/artifacts/{}/archive", job.id), format!("ci/traces/{}", job.id)]);
    assert_eq!(server.fetch(job.id, &user, "").await.bytes().await.unwrap(), zip);
    assert_eq!(server.patch(&user, 8, b"still\n").await.status(), 202);
    assert!(server.app.data.trace(user.id).exists(), "a log that grows stays");
    drop(server);

    // Without the bucket, and on a bucket that is another's, no server starts.
    let why = refused(home.path(), None).await;
    assert!(matches!(why, StartError::StorageMissing), "{why}");
    let other = tempfile::tempdir().unwrap();
    let why = refused(other.path(), Some(here(&s3))).await;
    assert!(matches!(why, StartError::StorageTaken { .. }), "{why}");
    let why = refused(home.path(), Some(storage(&s3, &s3.url, "wrong"))).await.to_string();
    assert!(why.contains("harrier-files") && why.contains("check AWS_SECRET_ACCESS_KEY"), "{why}");
    assert!(!why.contains("wrong"), "{why}");
    // One that cannot be reached at present is no reason not to start.
    let nowhere = storage(&s3, "http://127.0.0.1:1", &s3.secret);
    let server = Server::start_with(home.path(), |settings| settings.storage = Some(nowhere)).await;
    assert_eq!(server.fetch(job.id, &user, "").await.status(), 503);
}

async fn refused(dir: &Path, storage: Option<ObjectStorage>) -> StartError {
    let mut settings = Settings::new("http://127.0.0.1:1");
    settings.storage = storage;
    let open = async || {
        let data = DataDir::open(dir).unwrap();
        App::open(data, None, Arc::new(SystemClock), settings.clone()).await
    };
    let refused = async {
        loop {
            match open().await {
                // The one before has not let it go yet.
                Err(StartError::Taken { .. }) => {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await
                }
                Err(error) => return error,
                Ok(_) => panic!("it started"),
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, refused).await.expect("the directory becomes free")
}
