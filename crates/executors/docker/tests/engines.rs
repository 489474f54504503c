//! Ways to an engine: TLS with a client's certificate, the environment, Docker's contexts, Podman's socket.
//! `scripts/podman.sh images` makes what the last one needs.

mod bench;

use bench::*;
use harrier_docker::DockerExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

/// A certificate authority with a certificate for 127.0.0.1 and one for a client.
fn certificates(dir: &Path) {
    let script = "set -e\n\
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.pem\n\
        for name in server client; do\n\
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr\n\
        printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext\n\
        openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out $name.pem\n\
        done\n\
        cp client.pem cert.pem; cp client.key key.pem\n";
    let output = Command::new("sh").args(["-c", script]).current_dir(dir).output().expect("sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Speaks TLS in front of the engine's socket; counts who came through.
struct Front {
    port: u16,
    came: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Front {
    async fn open(dir: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = |name: &str| CertificateDer::from_pem_file(dir.join(name)).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).expect("an authority");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).expect("a key");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate("server.pem")], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&came);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(mut outer) = acceptor.accept(stream).await else { return };
                    counted.fetch_add(1, Ordering::Relaxed);
                    let Ok(mut inner) = UnixStream::connect("/var/run/docker.sock").await else { return };
                    // An end of either side is the end.
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Self { port, came, task }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_the_certificates_of_the_configuration() {
    let dir = tempfile::tempdir().expect("temp dir");
    certificates(dir.path());
    let front = Front::open(dir.path()).await;
    let section = |more: &str| format!("host = 'tcp://127.0.0.1:{}'\n{more}", front.port);
    let certificates = format!("tls_verify = true\ntls_cert_path = '{}'\n", dir.path().display());
    let bench = Bench::new(&["echo through the wall"]).section(&section(&certificates));
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    contains(&log, &["through the wall\n"]);
    assert!(front.came.load(Ordering::Relaxed) > 3, "the engine was asked this way");
    bench.assert_clean();

    let bare = Bench::new(&["true"]).section(&section(""));
    let (outcome, log) = bare.run().await;
    assert!(!outcome.success, "{log}");
    contains(&log, &["no Docker Engine answers at tcp://127.0.0.1:", "host in [runners.docker]"]);
}

/// Started by the test below, with an environment of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is a part of another test"]
async fn a_job_where_the_environment_says() {
    let bench = Bench::new(&["echo found it"]);
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_and_contexts() {
    let dir = tempfile::tempdir().expect("temp dir");
    certificates(dir.path());
    let front = Front::open(dir.path()).await;
    let host = format!("tcp://127.0.0.1:{}", front.port);
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let config = at("config");
    let endpoint = format!("host={host},ca={},cert={},key={}", at("ca.pem"), at("cert.pem"), at("key.pem"));
    docker(&["--config", &config, "context", "create", "far", "--docker", &endpoint]);
    let in_use = |name: &str| {
        let path = dir.path().join("config-in-use");
        let _ = std::fs::remove_dir_all(&path);
        let status = Command::new("cp").args(["-r", &config]).arg(&path).status().expect("cp");
        assert!(status.success());
        std::fs::write(path.join("config.json"), json!({"currentContext": name}).to_string())
            .expect("written");
        path.to_string_lossy().into_owned()
    };
    let cert_path = dir.path().to_string_lossy().into_owned();
    let current = in_use("far");
    for environment in [
        vec![("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", &cert_path)],
        vec![("DOCKER_CONFIG", &config), ("DOCKER_CONTEXT", "far")],
        vec![("DOCKER_CONFIG", &current)],
    ] {
        let before = front.came.load(Ordering::Relaxed);
        let mut command = tokio::process::Command::new(std::env::current_exe().expect("this test"));
        command.args(["--ignored", "--exact", "a_job_where_the_environment_says"]);
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"] {
            command.env_remove(name);
        }
        let output = command.envs(environment.iter().copied()).output().await.expect("started");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{environment:?}\n{}", String::from_utf8_lossy(&said));
        assert!(front.came.load(Ordering::Relaxed) > before + 3, "{environment:?}");
    }
}

/// Podman 4 speaks the oldest API that will do, 1.41.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_runs_a_job_with_a_service() {
    let socket = std::env::var("HARRIER_PODMAN_SOCKET").unwrap_or("/run/harrier-podman/podman.sock".into());
    assert!(Path::new(&socket).exists(), "{socket} is not there; run scripts/podman.sh images");
    let host = format!("unix://{socket}");
    let podman = |arguments: &[&str]| docker(&[&["--host", &host], arguments].concat());
    let service = json!([{"name": IMAGE, "alias": "web",
        "command": ["sh", "-c", "mkdir /www; echo from podman > /www/index.html; httpd -f -p 8080 -h /www"],
        "variables": [{"key": "HEALTHCHECK_TCP_PORT", "value": "8080"}]}]);
    for (script, services) in
        [("wget -qO- http://web:8080/", service), ("echo alone; cat /etc/hosts", json!([]))]
    {
        let mut bench =
            Bench::new(&[script]).section(&format!("host = '{host}'\n")).with("services", services);
        // Podman gives images that were made there a registry's name.
        bench.executor = DockerExecutor::new().trusting_present_images();
        let (outcome, log) = bench.run().await;
        assert!(outcome.success, "{outcome:?}\n{log}");
        assert!(log.contains("from podman\n") || log.contains("alone\n"), "{log}");
        assert!(!log.contains("probably didn't start"), "{log}");
        let label = bench.label();
        assert_eq!(podman(&["ps", "-aq", "--filter", &label]), "", "{log}");
        let volumes = podman(&["volume", "ls", "-q", "--filter", &label]);
        assert!(volumes.lines().all(|name| name.contains("-cache-")), "{volumes}");
        for volume in volumes.lines() {
            podman(&["volume", "rm", volume]);
        }
    }
}
