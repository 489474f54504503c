//! Debian's docker-registry, by `scripts/registry.sh`, with a state and ports of the test's own.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Ends, and forgets its images, when dropped.
pub struct PrivateRegistry {
    state: tempfile::TempDir,
    ports: (u16, u16),
    pub plain: String,
    pub tls: String,
    pub password: String,
    ca: PathBuf,
}

impl PrivateRegistry {
    /// `kind`: `start`, or `tls` for both.
    pub fn start(kind: &str) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let ports = (free_port(), free_port());
        script(state.path(), ports, kind);
        let assignments = script(state.path(), ports, "env");
        let mut values: HashMap<&str, &str> =
            assignments.lines().filter_map(|line| line.split_once('=')).collect();
        let mut take = |name: &str| values.remove(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
        Self {
            plain: take("HARRIER_REGISTRY"),
            tls: take("HARRIER_REGISTRY_TLS"),
            password: take("HARRIER_REGISTRY_PASSWORD"),
            ca: take("HARRIER_REGISTRY_CA").into(),
            state,
            ports,
        }
    }

    /// A folder like `/etc/docker/certs.d`.
    pub fn certificates(&self) -> PathBuf {
        let folder = self.state.path().join("certs.d");
        std::fs::create_dir_all(folder.join(&self.tls)).expect("created");
        std::fs::copy(&self.ca, folder.join(&self.tls).join("ca.crt")).expect("copied");
        folder
    }

    /// The smallest thing that is an image.
    pub async fn put_image(&self, path: &str, tag: &str) {
        use sha2::Digest as _;
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(no_tls())
            .build()
            .expect("a client");
        let base = format!("http://{}/v2/{path}", self.plain);
        let config = "{}";
        let digest = format!("sha256:{:x}", sha2::Sha256::digest(config));
        let send = async |request: reqwest::RequestBuilder| {
            let answer = request.basic_auth("harrier", Some(&self.password)).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
            answer
        };
        let upload = send(client.post(format!("{base}/blobs/uploads/"))).await;
        let location = upload.headers()["location"].to_str().expect("an address").to_owned();
        send(client.put(format!("{location}&digest={digest}")).body(config)).await;
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "layers": [], "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json", "size": config.len(), "digest": digest } });
        let request = client.put(format!("{base}/manifests/{tag}")).header("content-type", kind);
        send(request.body(manifest.to_string())).await;
    }
}

impl Drop for PrivateRegistry {
    fn drop(&mut self) {
        script(self.state.path(), self.ports, "wipe");
    }
}

/// Plain HTTP needs none, but the library wants one.
fn no_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that the provider has")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn script(state: &Path, ports: (u16, u16), verb: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scripts/registry.sh");
    let output = Command::new(script)
        .arg(verb)
        .env("HARRIER_TEST_STATE", state)
        .env("HARRIER_REGISTRY_PORT", ports.0.to_string())
        .env("HARRIER_REGISTRY_TLS_PORT", ports.1.to_string())
        .env("HARRIER_REGISTRY_TLS_ADDRESS", "127.0.0.1")
        .env_remove("HARRIER_REGISTRY_PASSWORD")
        .output()
        .expect("the script runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "registry.sh {verb}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
