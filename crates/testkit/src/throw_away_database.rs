//! A database of its own on the PostgreSQL that `scripts/postgres.sh` starts. Called by tests and the bench.

use std::sync::atomic::{AtomicU64, Ordering};

/// It goes when it is dropped.
#[derive(Debug)]
pub struct ThrowAwayDatabase {
    server: String,
    name: String,
}

impl ThrowAwayDatabase {
    /// An empty one. `HARRIER_TEST_POSTGRES` says where, if it is not where the script puts it.
    ///
    /// # Panics
    /// When no server answers.
    #[track_caller]
    pub fn new() -> ThrowAwayDatabase {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let server = std::env::var("HARRIER_TEST_POSTGRES")
            .unwrap_or_else(|_| "postgres://harrier@127.0.0.1:5466/postgres".to_owned());
        let name = format!("harrier_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // One of a killed run whose id this process has now.
        run(&server, &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
        run(&server, &format!("CREATE DATABASE \"{name}\""));
        ThrowAwayDatabase { server, name }
    }

    /// `postgres://…`
    pub fn address(&self) -> String {
        let (start, _) = self.server.rsplit_once('/').unwrap_or((&self.server, ""));
        format!("{start}/{}", self.name)
    }
}

impl Default for ThrowAwayDatabase {
    #[track_caller]
    fn default() -> ThrowAwayDatabase {
        ThrowAwayDatabase::new()
    }
}

impl Drop for ThrowAwayDatabase {
    fn drop(&mut self) {
        run(&self.server, &format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name));
    }
}

/// One statement, from a thread that drives no tasks.
#[track_caller]
fn run(server: &str, text: &str) {
    let (server, text) = (server.to_owned(), text.to_owned());
    let done = std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&server, postgres::NoTls)
            .unwrap_or_else(|error| panic!("no PostgreSQL at {server} ({error}); run scripts/postgres.sh"));
        client.batch_execute(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    });
    done.join().expect("the message is above");
}
