//! A terminal in a job that runs, as a GitLab server opens it: over TLS with the certificate of the job request, by a WebSocket
//! of somebody else's making. In shells of this machine, and in containers of a real engine.

mod rig;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use harrier_testkit::{JobSpec, JobState, Note, Var};
use rig::docker::{DockerRig, Engine};
use rig::{PATIENCE, Rig, until};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

const SERVER: &str = "[session_server]\nlisten_address = '127.0.0.1:0'\n";

/// What the server was told of a job's terminal.
struct Told {
    address: String,
    path: String,
    certificate: String,
    token: String,
}

impl Told {
    /// From the request that was answered with the job.
    fn of(requests: &[Note]) -> Option<Self> {
        let note = requests.iter().find(|note| note.path.ends_with("/jobs/request") && note.status == 201)?;
        let json = note.json.as_ref().expect("a request");
        assert_eq!(json["info"]["features"]["terminal"], true);
        assert_eq!(json["info"]["features"]["session"], true);
        let text = |key: &str| json["session"][key].as_str().expect("a text").to_owned();
        let url = text("url");
        let rest = url.strip_prefix("https://").expect("TLS");
        let (address, path) = rest.split_once('/').expect("a path");
        Some(Self {
            address: address.to_owned(),
            path: format!("/{path}"),
            certificate: text("certificate"),
            token: text("authorization"),
        })
    }

    /// The server's certificate is checked against the one that was told.
    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")).expect("added");
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        let host = self.address.rsplit_once(':').expect("a port").0.to_owned();
        let stream = TcpStream::connect(&self.address).await.expect("it listens");
        let name = ServerName::try_from(host).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("the told certificate holds")
    }

    /// The status of a plain request.
    async fn status(&self, path: &str, token: &str) -> u16 {
        let mut stream = self.connect().await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // An end without a TLS goodbye is an end.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Opens a terminal; the status if there is none.
    async fn open(&self, protocol: &str) -> Result<Screen, u16> {
        let mut request =
            format!("wss://{}{}/exec", self.address, self.path).into_client_request().expect("a URL");
        let headers = request.headers_mut();
        headers.insert("Authorization", self.token.parse().expect("a header"));
        headers.insert("Sec-WebSocket-Protocol", protocol.parse().expect("a header"));
        match tokio_tungstenite::client_async(request, self.connect().await).await {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], protocol);
                Ok(Screen { socket, base64: protocol.starts_with("base64"), seen: String::new() })
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a person has before them.
struct Screen {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    base64: bool,
    seen: String,
}

impl Screen {
    async fn type_in(&mut self, text: &str) {
        let message = match self.base64 {
            true => Message::text(STANDARD.encode(text)),
            false => Message::binary(text.as_bytes().to_vec()),
        };
        self.socket.send(message).await.expect("typed");
    }

    /// False at the end.
    async fn look(&mut self) -> bool {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        match next.unwrap_or_else(|_| panic!("nothing more comes after {:?}", self.seen)) {
            Some(Ok(Message::Binary(bytes))) => {
                assert!(!self.base64);
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
            Some(Ok(Message::Text(text))) => {
                assert!(self.base64);
                let bytes = STANDARD.decode(text.as_str()).expect("base64");
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
            Some(Ok(_)) => {}
        }
        true
    }

    async fn see(&mut self, words: &str) {
        // Pings go on for ever.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.seen.contains(words) {
            assert!(self.look().await, "it ends without {words:?}: {:?}", self.seen);
            assert!(tokio::time::Instant::now() < deadline, "never {words:?}: {:?}", self.seen);
        }
    }

    async fn end(&mut self) {
        while self.look().await {}
    }
}

fn told(rig: &Rig) -> Told {
    Told::of(&rig.server.requests()).expect("a job was handed out")
}

async fn shell_rig(more: &str) -> Rig {
    let rig = Rig::new().await;
    let config = std::fs::read_to_string(rig.home.config()).expect("there");
    rig.home.write_config(&format!("{config}\n{SERVER}{more}"));
    rig
}

#[tokio::test]
async fn a_terminal_beside_a_shell_job_holds_its_end() {
    let rig = shell_rig("").await;
    let _runner = rig.start();
    let spec = JobSpec {
        variables: vec![Var::masked("SECRET", "hunter2-and-more")],
        ..rig.job(&["echo it says $SECRET", "until [ -e go ]; do sleep 0.05; done", "echo gone on"])
    };
    let id = rig.server.add_job(spec);
    rig.server.wait_log(id, "it says", PATIENCE).await.expect("it runs");
    let told = told(&rig);
    let exec = format!("{}/exec", told.path);
    let wrong = "0".repeat(told.token.len());
    assert_eq!(told.status(&exec, &wrong).await, 401);
    assert_eq!(told.status(&exec, &told.token[1..]).await, 401);
    assert_eq!(told.status(&exec, "").await, 401);
    assert_eq!(told.status(&exec, &told.token).await, 405);
    assert_eq!(told.status(&format!("/session/{wrong}/exec"), &told.token).await, 404);
    assert_eq!(told.status(&format!("{}/proxy/db/80/", told.path), &told.token).await, 404);
    assert_eq!(told.status("/", &told.token).await, 404);

    let mut screen = told.open("terminal.gitlab.com").await.expect("let in");
    screen.type_in("echo is-$((40+2)); stty size; echo job=${CI_JOB_ID-none} secret=${SECRET-none}\n").await;
    screen.see("is-42\r\n").await;
    screen.see("24 80\r\n").await;
    // It is the machine's shell, not the job's.
    screen.see("job=none secret=none\r\n").await;
    assert_eq!(told.open("terminal.gitlab.com").await.err(), Some(423), "one at a time");
    screen.type_in("touch go\n").await;
    let waits = "A terminal is open: the job waits for its end, ";
    let job = rig.server.wait_log(id, waits, PATIENCE).await.expect("it waits");
    assert!(job.job_output().contains("gone on\n"), "{}", job.log_text());
    assert!(!job.state.is_final());
    screen.type_in("sleep 1000 & exit\n").await;
    screen.end().await;
    let job = rig.end_of(id).await;
    assert_eq!(job.state, JobState::Success, "{}", job.log_text());
    assert!(job.log_text().contains("it says [MASKED]"), "{}", job.log_text());
    for private in ["hunter2", "is-42", "touch go"] {
        assert!(!job.log_text().contains(private), "{private}: {}", job.log_text());
    }
    assert_eq!(told.status(&exec, &told.token).await, 404, "it goes with the job");
    until("what the visitor has left is gone", || {
        !rig.home.processes().iter().any(|id| {
            std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\x001000"))
        })
    })
    .await;
    let log = rig.runner_log();
    assert!(!log.contains(&told.token), "{log}");
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_terminal_that_stays_open_holds_the_job_no_longer_than_it_may() {
    let rig = shell_rig("session_timeout = 1\n").await;
    let _runner = rig.start();
    let id = rig.server.add_job(rig.job(&["echo started", "until [ -e go ]; do sleep 0.05; done"]));
    rig.server.wait_log(id, "started", PATIENCE).await.expect("it runs");
    let mut screen = told(&rig).open("base64.terminal.gitlab.com").await.expect("let in");
    screen.type_in("echo seen-$((3*4)); touch go\n").await;
    screen.see("seen-12\r\n").await;
    let job = rig.end_of(id).await;
    assert_eq!(job.state, JobState::Success, "{}", job.log_text());
    assert!(job.log_text().contains("waits for its end, 1s at most"), "{}", job.log_text());
    screen.end().await;
}

#[tokio::test]
async fn without_a_session_server_nothing_is_offered() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    rig.run(rig.job(&["true"])).await;
    let requests = rig.server.requests();
    let asked: Vec<&Note> = requests.iter().filter(|note| note.path.ends_with("/jobs/request")).collect();
    assert!(!asked.is_empty());
    for note in asked {
        let json = note.json.as_ref().expect("a request");
        assert_eq!(json.get("session"), None);
        for feature in ["session", "terminal"] {
            assert_ne!(json["info"]["features"][feature], true, "{feature}");
        }
    }
}

#[tokio::test]
async fn a_terminal_in_the_build_container_goes_on_after_the_script() {
    let engine = Engine::of_machine(&["busybox"]).await;
    let rig =
        DockerRig::new(engine, Default::default(), 1, &format!("network_mode = 'host'\n{SERVER}")).await;
    let _runner = rig.start();
    let id = rig.server.add_job(rig.job(&[
        "echo started",
        "until [ -e go ]; do sleep 0.05; done",
        "echo by the script > /left; exit 3",
    ]));
    rig.server.wait_log(id, "started", PATIENCE).await.expect("it runs");
    let told = Told::of(&rig.server.requests()).expect("a job was handed out");
    let mut screen = told.open("terminal.gitlab.com").await.expect("let in");
    screen.type_in("echo job-$CI_JOB_ID; pwd; stty size; touch go\n").await;
    screen.see(&format!("job-{id}\r\n")).await;
    screen.see("/builds/birds/kestrel\r\n").await;
    screen.see("24 80\r\n").await;
    screen.see("[the script has ended, and this shell with its container]").await;
    // A failed job's container is there to be looked at, in a new shell.
    screen.seen.clear();
    screen.see("# ").await;
    screen.type_in("cat /left; echo $((70+7))\n").await;
    screen.see("by the script\r\n77\r\n").await;
    let job = rig.server.wait_log(id, "A terminal is open", PATIENCE).await.expect("it waits");
    assert!(!job.state.is_final());
    screen.type_in("exit\n").await;
    screen.end().await;
    let job = rig.end_of(id).await;
    assert_eq!((job.state, job.exit_code), (JobState::Failed, Some(3)), "{}", job.log_text());
    rig.nothing_is_left("after a terminal").await;
    rig.remove_caches().await;
    rig.server.assert_no_slips();
}
