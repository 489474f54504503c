//! The client over real HTTP: the rules every request keeps (`runner-api.md` §1), and each endpoint.

use crate::scripted::*;
use harrier_api::{DeleteRequest, JobRequest, JobState, RegisterRequest, UpdateRequest, VerifyRequest};
use harrier_base::Secret;
use harrier_client::*;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn job_request() -> JobRequest {
    JobRequest { token: Secret::new("glrt-A"), system_id: "s_0123456789ab".into(), ..JobRequest::default() }
}

fn upload() -> ArtifactUpload {
    ArtifactUpload {
        job_id: 7,
        token: Secret::new("glcbt-T"),
        filename: "my files.zip".into(),
        expire_in: "1 week".into(),
        format: "zip".into(),
        kind: "archive".into(),
        timeout: Duration::from_secs(60),
        header_timeout: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_job_request_bears_both_tokens_and_echoes_the_queue_version() {
    let server = Scripted::start([
        with(reply(204), "x-gitlab-last-update", "q1"),
        reply(204),
        with(json(201, r#"{"id":7001,"token":"glcbt-T","image":null}"#), "x-request-id", "theirs"),
    ])
    .await;
    let client = server.client();
    for _ in 0..2 {
        assert!(matches!(client.request_job(&job_request()).await.asked, Asked::Nothing));
    }
    let Asked::Job { payload, correlation_id } = client.clone().request_job(&job_request()).await.asked
    else {
        panic!("no job")
    };
    assert_eq!((payload.id, correlation_id.as_str()), (7001, "theirs"));
    let seen = server.seen();
    let updates: Vec<_> = seen
        .iter()
        .map(|s| serde_json::from_slice::<serde_json::Value>(&s.body).expect("json")["last_update"].clone())
        .collect();
    assert_eq!(updates, [serde_json::Value::Null, "q1".into(), "q1".into()]);
    let first = &seen[0];
    assert_eq!(first.path, "/api/v4/jobs/request");
    for (name, value) in [
        ("runner-token", "glrt-A"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("user-agent", "gitlab-runner 19.4.0 (main; go1.25.1; linux/amd64)"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    let ids: Vec<_> = seen.iter().filter_map(|s| s.header("x-request-id")).collect();
    assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn every_answer_to_a_job_request_has_its_class() {
    for (answer, want) in [
        (json(403, r#"{"message":"403 Forbidden"}"#), "forbidden"),
        (reply(409), "failed"),
        (reply(401), "failed"),
        (json(201, r#"{"id":"seven"}"#), "failed"),
        ((201, vec![("content-type", "text/html".into())], b"{}".to_vec()), "failed"),
    ] {
        let status = answer.0;
        let server = Scripted::start([answer]).await;
        let answer = server.client().request_job(&job_request()).await;
        let got = match answer.asked {
            Asked::Job { .. } => "job",
            Asked::Nothing => "nothing",
            Asked::Forbidden(_) => "forbidden",
            Asked::Unusable(_) => "unusable",
            Asked::Failed(_) => "failed",
        };
        assert_eq!((got, answer.pushed_back), (want, false), "{status}");
        assert_eq!(server.seen().len(), 1, "{status} is asked once");
    }
}

#[tokio::test]
async fn pushed_back_requests_come_again_five_times_in_all() {
    let server = Scripted::start([reply(500), reply(429), reply(204)]).await;
    let answer = server.client().request_job(&job_request()).await;
    assert!(matches!(answer.asked, Asked::Nothing) && answer.pushed_back && server.used_up());
    let ids: Vec<_> = server.seen().iter().map(|s| s.header("x-request-id").map(str::to_owned)).collect();
    assert_eq!(ids[0], ids[2], "one call, one id");

    let server = Scripted::start((0..6).map(|_| reply(503))).await;
    let answer = server.client().request_job(&job_request()).await;
    assert!(matches!(answer.asked, Asked::Failed(_)) && answer.pushed_back);
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_wait_ends_when_the_call_is_dropped() {
    let server = Scripted::start([with(reply(503), "retry-after", "3600"), reply(204)]).await;
    let client = server.client();
    let task = tokio::spawn(async move { client.request_job(&job_request()).await.pushed_back });
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.is_err_and(|e| e.is_cancelled()));
    assert!(!server.used_up());
}

#[tokio::test]
async fn redirects_replay_the_body_and_leave_the_token_at_home() {
    let other = Scripted::start([reply(202)]).await;
    let same = Scripted::start([]).await;
    same.push(with(reply(307), "location", "/elsewhere?x=1"));
    same.push(with(reply(308), "location", format!("{}/far", other.url)));
    let answer =
        same.client().patch_trace(7, &Secret::new("glcbt-T"), 10, b"hello".as_slice().into(), true).await;
    assert_eq!(answer.patched, Patched::Appended);
    let seen = same.seen();
    assert_eq!(seen[0].path, "/api/v4/jobs/7/trace?debug_trace=true");
    assert_eq!(seen[0].header("content-range"), Some("10-14"));
    assert_eq!((seen[0].header("content-type"), seen[0].header("accept")), (Some("text/plain"), Some("*/*")));
    assert_eq!(
        (seen[1].path.as_str(), seen[1].header("job-token"), seen[1].body.as_slice()),
        ("/elsewhere?x=1", Some("glcbt-T"), b"hello".as_slice())
    );
    let far = &other.seen()[0];
    assert_eq!(
        (far.method.as_str(), far.header("job-token"), far.body.as_slice()),
        ("PATCH", None, b"hello".as_slice())
    );

    let moved = Scripted::start([with(reply(301), "location", "https://new.example.com/")]).await;
    let error = moved.client().unregister(&Secret::new("t")).await.expect_err("not followed");
    assert!(error.to_string().contains("https://new.example.com/"), "{error}");
}

#[tokio::test]
async fn state_updates_are_read_as_the_contract_says() {
    use Updated::*;
    let failed = |unreachable| Failed { why: String::new(), unreachable };
    for (answer, updated, cancel) in [
        (reply(200), Accepted, false),
        (with(reply(200), "job-status", "canceling"), Accepted, true),
        (with(reply(200), "job-status", "canceled"), Abort(String::new()), false),
        (with(reply(202), "job-status", "failed"), Abort(String::new()), false),
        (reply(202), Pending, false),
        (reply(412), TraceInvalid, false),
        (reply(403), Abort(String::new()), false),
        (reply(404), Abort(String::new()), false),
        (reply(400), failed(false), false),
        (reply(501), failed(true), false),
    ] {
        let shown = format!("{answer:?}");
        let server = Scripted::start([answer]).await;
        let request = UpdateRequest { token: Secret::new("glcbt-T"), ..UpdateRequest::default() };
        let mut got = server.client().update_job(7, &request).await;
        match &mut got.updated {
            Abort(why) | Failed { why, .. } => {
                assert!(!why.is_empty());
                why.clear();
            }
            Accepted | Pending | TraceInvalid => {}
        }
        assert_eq!((got.updated, got.cancel_requested), (updated, cancel), "{shown}");
        let seen = &server.seen()[0];
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/api/v4/jobs/7"));
        assert_eq!(seen.header("job-token"), Some("glcbt-T"));
    }
}

#[tokio::test]
async fn a_failure_that_comes_back_was_taken() {
    for (status, updated) in [(200, Updated::Accepted), (202, Updated::Abort(String::new()))] {
        let server = Scripted::start([with(reply(status), "job-status", "failed")]).await;
        let request = UpdateRequest { state: JobState::Failed, ..UpdateRequest::default() };
        let mut got = server.client().update_job(7, &request).await;
        if let Updated::Abort(why) = &mut got.updated {
            why.clear();
        }
        assert_eq!(got.updated, updated, "{status}");
    }
}

#[tokio::test]
async fn log_answers_are_read_as_the_contract_says() {
    use Patched::*;
    for (answer, patched) in [
        (with(reply(202), "range", "0-3"), Appended),
        (with(reply(416), "range", "0-1501"), Resync(1501)),
        (with(reply(416), "range", "rubbish"), Resync(0)),
        (with(reply(202), "job-status", "canceled"), Abort(String::new())),
        (reply(403), Abort(String::new())),
        (reply(404), NotFound),
        (reply(400), Failed { why: String::new(), unreachable: false }),
    ] {
        let shown = format!("{answer:?}");
        let server = Scripted::start([with(answer, "x-gitlab-trace-update-interval", "60")]).await;
        let mut got =
            server.client().patch_trace(7, &Secret::new("t"), 0, b"abc".as_slice().into(), false).await;
        if let Abort(why) | Failed { why, .. } = &mut got.patched {
            why.clear();
        }
        assert_eq!((got.patched, got.interval), (patched, Some(Duration::from_secs(60))), "{shown}");
    }
    let nobody = client(ServerAccess { url: "http://127.0.0.1:1".into(), ..ServerAccess::default() });
    let got = nobody.patch_trace(7, &Secret::new("t"), 0, b"abc".as_slice().into(), false).await;
    let Failed { why, unreachable: true } = got.patched else { panic!("{got:?}") };
    assert!(why.contains("cannot connect to 127.0.0.1:1"), "{why}");
}

#[tokio::test]
async fn runners_come_and_go() {
    let identity = r#"{"id":41,"token":"t1_X","token_expires_at":null}"#;
    let server = Scripted::start([
        json(201, identity),
        json(200, identity),
        (200, vec![("content-type", "text/plain".into())], b"200".to_vec()),
        json(403, r#"{"message":"403 Forbidden"}"#),
        reply(204),
        reply(204),
        json(201, r#"{"token":"new","token_expires_at":"2027-01-31T12:00:00.000Z"}"#),
        json(201, r#"{"token":"new","token_expires_at":null}"#),
        json(400, r#"{"message":{"tags_list":["can not be empty"]}}"#),
    ])
    .await;
    let client = server.client();
    let token = Secret::new("glrt-A");
    let register = RegisterRequest { token: token.clone(), ..RegisterRequest::default() };
    let verify = VerifyRequest { token: token.clone(), ..VerifyRequest::default() };
    assert_eq!(client.register(&register).await.expect("201").id, 41);
    assert_eq!(client.verify(&verify).await.expect("200").id, 41);
    assert_eq!(client.verify(&verify).await.expect("old servers").id, 0);
    let gone = client.verify(&verify).await.map(|_| ()).expect_err("gone");
    assert_eq!(gone.status(), Some(403));
    client.unregister(&token).await.expect("204");
    client.unregister_manager(&token, "s_0123456789ab").await.expect("204");
    assert_eq!(client.reset_token(&token).await.expect("201").token.expose(), "new");
    client.reset_token_by_id(41, &Secret::new("glpat-x")).await.expect("201");
    let refused = client.register(&register).await.map(|_| ()).expect_err("400");
    assert_eq!(refused.to_string(), "POST runners: 400 Bad Request (tags_list: can not be empty)");
    let seen = server.seen();
    let calls: Vec<String> = seen.iter().map(|s| format!("{} {}", s.method, &s.path[8..])).collect();
    assert_eq!(
        calls,
        [
            "POST runners",
            "POST runners/verify",
            "POST runners/verify",
            "POST runners/verify",
            "DELETE runners",
            "DELETE runners/managers",
            "POST runners/reset_authentication_token",
            "POST runners/41/reset_authentication_token",
            "POST runners",
        ]
    );
    let body: DeleteRequest = serde_json::from_slice(&seen[5].body).expect("json");
    assert_eq!(body.system_id, "s_0123456789ab");
    assert_eq!(
        (seen[6].header("runner-token"), seen[6].body.as_slice()),
        (None, br#"{"token":"glrt-A"}"#.as_slice())
    );
    assert_eq!(
        (seen[7].header("private-token"), seen[7].body.as_slice()),
        (Some("glpat-x"), b"null".as_slice())
    );
}

#[tokio::test]
async fn an_upload_is_made_anew_for_every_attempt() {
    let server = Scripted::start([reply(503), with(reply(307), "location", "/there"), reply(201)]).await;
    let made = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&made);
    let archive: BodySource = Arc::new(move |out: &mut dyn Write| {
        count.fetch_add(1, Ordering::SeqCst);
        for piece in 0..300_u32 {
            out.write_all(&vec![piece as u8; 1000])?;
        }
        Ok(())
    });
    assert_eq!(server.client().upload_artifact(&upload(), archive).await, UploadOutcome::Stored);
    assert_eq!(made.load(Ordering::SeqCst), 3);
    let seen = server.seen();
    assert_eq!(
        seen[0].path,
        "/api/v4/jobs/7/artifacts?expire_in=1+week&artifact_format=zip&artifact_type=archive"
    );
    assert_eq!(seen[0].header("transfer-encoding"), Some("chunked"));
    assert_eq!((seen[2].path.as_str(), seen[2].header("job-token")), ("/there", Some("glcbt-T")));
    for s in &seen {
        let boundary =
            s.header("content-type").and_then(|t| t.split("boundary=").nth(1)).expect("a boundary");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"my files.zip\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        assert_eq!(s.body.len(), head.len() + 300_000 + tail.len());
        assert!(s.body.starts_with(head.as_bytes()) && s.body.ends_with(tail.as_bytes()));
    }
}

#[tokio::test]
async fn an_archive_that_cannot_be_made_is_never_taken_for_whole() {
    let server = Scripted::start([reply(201)]).await;
    let archive: BodySource = Arc::new(|out: &mut dyn Write| {
        out.write_all(&[0; 200_000])?;
        Err(io::Error::other("disk on fire"))
    });
    let outcome = server.client().upload_artifact(&upload(), archive).await;
    assert_eq!(outcome, UploadOutcome::Source("disk on fire".into()));
    let bodies: Vec<_> = server.seen().into_iter().map(|s| s.body).collect();
    assert!(bodies.iter().all(|b| b == b"<torn>"), "the server saw a whole body");
}

#[test]
fn the_blocking_client_uploads_and_downloads() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let storage = runtime.block_on(Scripted::start([(200, Vec::new(), vec![7; 3_000_000])]));
    let server = runtime.block_on(Scripted::start([
        with(reply(302), "location", format!("{}/signed?sig=1", storage.url)),
        json(404, r#"{"message":"404 Not found"}"#),
        reply(413),
        reply(403),
    ]));
    let access = ServerAccess { url: server.url.clone(), ..ServerAccess::default() };
    let client = BlockingClient::new(access, options()).expect("a client");
    let mut wanted = ArtifactDownload { job_id: 5, token: Secret::new("dep"), direct: true };
    let mut got = Vec::new();
    assert_eq!(client.download_artifact(&wanted, &mut got), DownloadOutcome::Done(3_000_000));
    assert_eq!(got.len(), 3_000_000);
    assert_eq!(storage.seen()[0].header("job-token"), None);
    wanted.direct = false;
    assert_eq!(
        client.download_artifact(&wanted, &mut got),
        DownloadOutcome::NotFound("GET jobs/5/artifacts: 404 Not Found (404 Not found)".into())
    );
    let archive: BodySource = Arc::new(|out: &mut dyn Write| out.write_all(b"x"));
    assert!(matches!(client.upload_artifact(&upload(), Arc::clone(&archive)), UploadOutcome::TooLarge(_)));
    assert!(matches!(client.upload_artifact(&upload(), archive), UploadOutcome::Forbidden(_)));
    let paths: Vec<_> = server.seen().into_iter().map(|s| s.path).collect();
    assert_eq!(paths[..2], ["/api/v4/jobs/5/artifacts?direct_download=true", "/api/v4/jobs/5/artifacts"]);
}
