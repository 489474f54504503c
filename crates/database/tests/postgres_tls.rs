//! TLS to a real PostgreSQL (`scripts/postgres.sh`): each mode against the certificate it has, and what is said when it is refused.

#![allow(clippy::unwrap_used)]

use harrier_base::Secret;
use harrier_database::{DatabaseError, Place, Sealer, Store};
use std::path::PathBuf;

/// Where the server is, with a database of this test's own; gone with the test.
struct Database {
    admin: String,
    at: String,
    name: String,
}

impl Database {
    fn make() -> Self {
        let admin = std::env::var("HARRIER_TEST_POSTGRES")
            .unwrap_or_else(|_| "postgres://harrier@127.0.0.1:5466/postgres".into());
        let name = format!("harrier_tls_{}_{}", std::process::id(), rand());
        let mut client = postgres::Client::connect(&admin, postgres::NoTls)
            .expect("a PostgreSQL; scripts/postgres.sh starts one");
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let port = admin.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
        Self { at: port, admin, name }
    }

    fn url(&self, user: &str, host: &str, options: &str) -> String {
        format!("postgres://{user}@{host}:{}/{}?{options}", self.at, self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut client) = postgres::Client::connect(&self.admin, postgres::NoTls) {
            let _ = client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

fn rand() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}

fn authority() -> PathBuf {
    std::env::var_os("HARRIER_TEST_POSTGRES_CA")
        .map_or_else(|| PathBuf::from("/var/lib/harrier-test/postgres-5466/tls/ca.pem"), PathBuf::from)
}

async fn open(url: String) -> Result<Store, String> {
    let sealer = Sealer::new(&[3; 32]).unwrap();
    match Store::open(Place::Postgres(Secret::new(url)), sealer).await {
        Ok(store) => Ok(store),
        Err(DatabaseError::Open { place, message }) => Err(format!("{place}: {message}")),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_mode_checks_what_it_says() {
    let database = tokio::task::spawn_blocking(Database::make).await.unwrap();
    let ca = authority();
    assert!(ca.is_file(), "{}: run scripts/postgres.sh", ca.display());
    let ca = ca.display();
    let full = format!("sslmode=verify-full&sslrootcert={ca}");
    for (user, host, options) in [
        ("harrier", "127.0.0.1", "sslmode=disable".to_owned()),
        // This user is let in over TLS only: that it works shows that TLS is used.
        ("harrier_tls", "127.0.0.1", String::new()),
        ("harrier_tls", "127.0.0.1", "sslmode=require".into()),
        ("harrier_tls", "127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")),
        ("harrier_tls", "localhost", format!("hostaddr=127.0.0.1&{full}")),
    ] {
        let opened = open(database.url(user, host, &options)).await;
        opened.unwrap_or_else(|error| panic!("{user}@{host} {options}: {error}"));
    }
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (user, host, options, said) in [
        ("harrier_tls", "127.0.0.1", "sslmode=disable".to_owned(), "add sslmode=verify-full to the address"),
        ("harrier_tls", "127.0.0.1", full.clone(), "write the host as the certificate has it"),
        ("harrier_tls", "localhost", "hostaddr=127.0.0.1&sslmode=verify-full".into(), "&sslrootcert=FILE"),
        ("harrier", "127.0.0.1", "sslmode=sometimes".into(), "verify-ca or verify-full"),
        ("harrier", "127.0.0.1", "sslmode=verify-ca&sslrootcert=/no/such".into(), "sslrootcert /no/such"),
        (
            "harrier",
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={}", empty.display()),
            "no certificate",
        ),
    ] {
        let error = open(database.url(user, host, &options)).await.err();
        let error = error.unwrap_or_else(|| panic!("{user}@{host} {options} is let in"));
        assert!(error.contains(said), "{options}: {error}");
    }
    tokio::task::spawn_blocking(|| drop(database)).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    // Says no to the request for TLS, as a server does that has none.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        let _ = stream.read(&mut request).await;
    });
    let error = open(format!("postgres://harrier@{at}/x?sslmode=require")).await.err().unwrap();
    assert!(error.contains("set `ssl = on` there"), "{error}");
    server.abort();
}
