//! Real git repositories and a real HTTP server on loopback.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use harrier_includes::{AddressPolicy, Base, Includes, Remotes, Settings, Templates};
use harrier_pipeline::{FetchError, IncludeSource, ProjectAt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// A project with nothing in it.
struct Bare;

impl IncludeSource for Bare {
    fn local(&self, _: &str) -> Result<String, FetchError> {
        Err(FetchError::NotFound)
    }
    fn files(&self) -> &[String] {
        &[]
    }
    fn changed_since(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=T", "-c", "user.email=t@h.invalid", "-c", "init.defaultBranch=main"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A work tree with one commit tagged `1.0.0` (annotated) and `old`, a second commit, and a branch.
fn repository(dir: &Path) -> (String, String) {
    std::fs::create_dir_all(dir.join("ci")).unwrap();
    git(dir, &["init", "-q"]);
    std::fs::write(dir.join("ci/a.yml"), "a: {script: one}\n").unwrap();
    git(dir, &["add", "."]);
    git(dir, &["commit", "-qm", "one"]);
    git(dir, &["tag", "-m", "one", "1.0.0"]);
    git(dir, &["tag", "old"]);
    git(dir, &["branch", "feature/x"]);
    let first = git(dir, &["rev-parse", "HEAD"]);
    std::fs::write(dir.join("ci/a.yml"), "a: {script: two, rules: [{changes: [x]}]}\n").unwrap();
    std::fs::write(dir.join("ci/big.yml"), format!("# {}\n", "b".repeat(100_000))).unwrap();
    git(dir, &["add", "."]);
    git(dir, &["commit", "-qm", "two"]);
    (first, git(dir, &["rev-parse", "HEAD"]))
}

fn settings(base: Option<Base>, cache: Option<&Path>) -> Settings {
    Settings {
        base,
        templates: None,
        cache: cache.map(Path::to_owned),
        policy: AddressPolicy::own_machine(),
        time: Duration::from_secs(120),
    }
}

fn at(project: &str, sha: &str) -> ProjectAt {
    ProjectAt { project: project.into(), sha: sha.into() }
}

/// `work` is a repository, `bare.git` a bare one, `plain` only files.
fn projects() -> (TempDir, String, String) {
    let dir = TempDir::new().unwrap();
    let group = dir.path().join("g");
    let (first, second) = repository(&group.join("work"));
    git(&group, &["clone", "-q", "--bare", "work", "bare.git"]);
    git(&group.join("bare.git"), &["config", "uploadpack.allowFilter", "true"]);
    std::fs::create_dir_all(group.join("plain/ci")).unwrap();
    std::fs::write(group.join("plain/ci/a.yml"), "a: {script: plain}\n").unwrap();
    (dir, first, second)
}

/// `ci-yaml.md` §7.1: a sha, a tag, a branch, HEAD.
fn check_refs(source: &Includes<'_>, project: &str, first: &str, second: &str) {
    let commit = |name: Option<&str>| source.commit(project, name);
    assert_eq!(commit(None), Ok(Some(second.into())), "{project}");
    assert_eq!(commit(Some("main")), Ok(Some(second.into())));
    assert_eq!(commit(Some("1.0.0")), Ok(Some(first.into())), "an annotated tag is its commit");
    assert_eq!(commit(Some("old")), Ok(Some(first.into())));
    assert_eq!(commit(Some("feature/x")), Ok(Some(first.into())));
    assert_eq!(commit(Some(first)), Ok(Some(first.into())));
    assert_eq!(commit(Some("nope")), Ok(None));
    assert_eq!(commit(Some("--upload-pack=x")), Ok(None));
    assert_eq!(commit(Some(&"a".repeat(40))), Ok(None));
    assert_eq!(source.tags(project), Ok(vec!["1.0.0".into(), "old".into()]));
    let file = |sha: &str, path: &str| source.file_at(&at(project, sha), path);
    assert_eq!(file(first, "ci/a.yml"), Ok("a: {script: one}\n".into()));
    assert!(file(second, "ci/a.yml").is_ok_and(|text| text.contains("two")));
    assert!(
        file(second, "ci/big.yml").is_ok_and(|text| text.len() > 100_000),
        "big files come when they are read"
    );
    assert_eq!(file(first, "ci/big.yml"), Err(FetchError::NotFound));
    assert!(file(first, "ci").is_err(), "a directory is no file");
    assert!(file(first, "../a.yml").is_err());
    assert_eq!(source.files_at(&at(project, second)), Ok(vec!["ci/a.yml".into(), "ci/big.yml".into()]));
}

#[test]
fn projects_of_a_server() {
    let (dir, first, second) = projects();
    let cache = TempDir::new().unwrap();
    let base = Base::parse(&format!("file://{}", dir.path().display()), Path::new("/")).unwrap();
    let heard = std::cell::RefCell::new(String::new());
    let heed = |text: &str| heard.borrow_mut().push_str(text);
    let source = Includes::new(&Bare, settings(Some(base.clone()), Some(cache.path())), &heed);
    check_refs(&source, "g/bare", &first, &second);
    assert!(heard.borrow().contains("changes"), "texts from elsewhere are heeded");
    assert_eq!(source.commit("g/none", None), Err(FetchError::NotFound));

    // A commit that was fetched once needs no server any more; a branch does.
    std::fs::rename(dir.path().join("g/bare.git"), dir.path().join("g/gone.git")).unwrap();
    let source = Includes::new(&Bare, settings(Some(base), Some(cache.path())), &heed);
    assert_eq!(source.commit("g/bare", Some(&first)), Ok(Some(first.clone())));
    assert_eq!(source.file_at(&at("g/bare", &first), "ci/a.yml"), Ok("a: {script: one}\n".into()));
    assert_eq!(source.commit("g/bare", Some("main")), Err(FetchError::NotFound));
}

/// Whoever remembers a commit may ask for its files with nothing else.
#[test]
fn a_commit_is_fetched_for_its_files() {
    let (dir, first, _) = projects();
    let base = Base::parse(&format!("file://{}", dir.path().display()), Path::new("/")).unwrap();
    let source = Includes::new(&Bare, settings(Some(base), None), &|_| {});
    assert_eq!(source.file_at(&at("g/bare", &first), "ci/a.yml"), Ok("a: {script: one}\n".into()));
    assert_eq!(source.files_at(&at("g/bare", &first)), Ok(vec!["ci/a.yml".into()]));
}

#[test]
fn projects_of_a_directory() {
    let (dir, first, second) = projects();
    let base = Base::parse(".", dir.path()).unwrap();
    let source = Includes::new(&Bare, settings(Some(base), None), &|_| {});
    check_refs(&source, "g/work", &first, &second);
    check_refs(&source, "g/bare", &first, &second);
    let sha = source.commit("g/plain", Some("any")).unwrap().unwrap();
    assert_eq!(source.file_at(&at("g/plain", &sha), "ci/a.yml"), Ok("a: {script: plain}\n".into()));
    assert_eq!(source.file_at(&at("g/plain", &sha), "ci"), Err(FetchError::NotFound));
    assert_eq!(source.files_at(&at("g/plain", &sha)), Ok(vec!["ci/a.yml".into()]));
    for none in ["g/none", "../g", "g/../g/work"] {
        assert_eq!(source.commit(none, None), Err(FetchError::NotFound), "{none}");
    }
}

#[test]
fn without_a_base_the_message_says_what_to_do() {
    let source = Includes::new(&Bare, settings(None, None), &|_| {});
    let said = source.commit("g/p", None).unwrap_err().to_string();
    assert!(said.contains("--include-base"), "{said}");
    let said = source.template("T.gitlab-ci.yml").unwrap_err().to_string();
    assert!(said.contains("--template-dir"), "{said}");
}

#[test]
fn templates_of_a_directory_and_of_a_repository() {
    let (dir, ..) = projects();
    let work = dir.path().join("g/work");
    std::fs::create_dir_all(work.join("lib/gitlab/ci/templates/Jobs")).unwrap();
    std::fs::write(work.join("lib/gitlab/ci/templates/Jobs/B.gitlab-ci.yml"), "b: {script: x}\n").unwrap();
    std::fs::write(work.join("T.gitlab-ci.yml"), "t: {script: x}\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-qm", "templates"]);
    for given in ["g/work".to_owned(), format!("file://{}", work.display())] {
        let templates = Some(Templates::parse(&given, dir.path()).unwrap());
        let source = Includes::new(&Bare, Settings { templates, ..settings(None, None) }, &|_| {});
        assert_eq!(source.template("T.gitlab-ci.yml"), Ok("t: {script: x}\n".into()), "{given}");
        assert_eq!(source.template("Jobs/B.gitlab-ci.yml"), Ok("b: {script: x}\n".into()), "{given}");
        assert_eq!(source.template("N.gitlab-ci.yml"), Err(FetchError::NotFound), "{given}");
    }
}

/// What the server has been asked.
#[derive(Default)]
struct Asked {
    fine: AtomicUsize,
    git: AtomicUsize,
}

/// A server at `http://127.0.0.1:PORT`, on a thread of its own until the test process ends.
fn server() -> (String, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let state = Arc::clone(&asked);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fine = |State(asked): State<Arc<Asked>>| async move {
                asked.fine.fetch_add(1, Ordering::SeqCst);
                "fine: {script: x}\n"
            };
            let secret = |State(asked): State<Arc<Asked>>| async move {
                asked.git.fetch_add(1, Ordering::SeqCst);
                let mut headers = HeaderMap::new();
                headers.insert(header::WWW_AUTHENTICATE, "Basic realm=\"x\"".parse().unwrap());
                (StatusCode::UNAUTHORIZED, headers, "who are you?")
            };
            let app = Router::new()
                .route("/fine.yml", get(fine))
                .route("/broken.yml", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
                .route("/moved.yml", get(|| async { Redirect::temporary("/fine.yml") }))
                .route("/loop.yml", get(|| async { Redirect::temporary("/loop.yml") }))
                .route("/nowhere.yml", get(|| async { StatusCode::FOUND }))
                .route(
                    "/to-metadata.yml",
                    get(|| async { Redirect::temporary("http://169.254.169.254/latest/meta-data/x.yml") }),
                )
                .route("/to-file.yml", get(|| async { Redirect::temporary("file:///etc/passwd") }))
                .route("/big.yml", get(|| async { vec![b'b'; (4 << 20) + 1].into_response() }))
                .route("/never.yml", get(|| async { std::future::pending::<&str>().await }))
                .route("/g/secret.git/info/refs", get(secret))
                .with_state(state);
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
    });
    (address, asked)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn remote_files() {
    let (address, asked) = server();
    let remotes = Remotes::new(AddressPolicy::own_machine(), None);
    let get = |path: &str| remotes.get(&format!("{address}{path}"), None, soon());
    assert_eq!(get("/fine.yml").as_deref(), Ok(&b"fine: {script: x}\n"[..]));
    assert_eq!(get("/moved.yml").as_deref(), Ok(&b"fine: {script: x}\n"[..]));
    assert_eq!(asked.fine.load(Ordering::SeqCst), 2);
    assert!(get("/fine.yml").is_ok());
    assert_eq!(asked.fine.load(Ordering::SeqCst), 2, "one address is asked once in a compilation");
    assert_eq!(get("/none.yml"), Err(FetchError::NotFound));
    for (path, words) in [
        ("/broken.yml", "HTTP code `500`"),
        ("/loop.yml", "redirects too often"),
        ("/nowhere.yml", "redirects to nowhere"),
        ("/to-metadata.yml", "169.254.169.254, which may not be reached"),
        ("/to-file.yml", "not an http or https address"),
        ("/big.yml", "more than 4194304 bytes"),
    ] {
        let said = get(path).unwrap_err().to_string();
        assert!(said.contains(words), "{path}: {said}");
    }
    let said =
        remotes.get(&format!("{address}/never.yml"), None, Instant::now() + Duration::from_millis(300));
    assert!(said.unwrap_err().to_string().contains("takes too long"));
    let said = remotes.get("http://127.0.0.1:1/x.yml", None, soon()).unwrap_err().to_string();
    assert!(said.contains("refused"), "{said}");
    // A machine without a network asks its resolvers for a minute.
    let late = Instant::now() + Duration::from_secs(300);
    let said = remotes.get("http://no-such-host.invalid/x.yml", None, late).unwrap_err().to_string();
    assert!(said.contains("cannot be resolved"), "{said}");
}

#[test]
fn a_strict_policy_connects_to_nothing_inside() {
    let (address, asked) = server();
    let port = address.rsplit(':').next().unwrap();
    let strict = Remotes::new(AddressPolicy::strict(), None);
    for host in [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        let said =
            strict.get(&format!("http://{host}:{port}/fine.yml"), None, soon()).unwrap_err().to_string();
        assert!(said.contains("may not be reached") || said.contains("cannot be resolved"), "{host}: {said}");
    }
    assert_eq!(asked.fine.load(Ordering::SeqCst), 0);
    let allowing = AddressPolicy::strict().allowing("127.0.0.0/8".parse().unwrap());
    let allowing = Remotes::new(allowing, None);
    assert!(allowing.get(&format!("{address}/fine.yml"), None, soon()).is_ok());
    // The name is one that resolves to what is allowed: it is connected to as it was checked.
    let by_name = AddressPolicy::own_machine();
    let by_name = Remotes::new(by_name, None);
    assert!(by_name.get(&format!("http://localhost:{port}/fine.yml"), None, soon()).is_ok());
    assert_eq!(asked.fine.load(Ordering::SeqCst), 2);
}

/// `ci-yaml.md` §7.2
#[test]
fn answers_are_kept_as_long_as_they_may() {
    let (address, asked) = server();
    let cache = TempDir::new().unwrap();
    let url = format!("{address}/fine.yml");
    let get = |keep: Option<u64>| {
        let remotes = Remotes::new(AddressPolicy::own_machine(), Some(cache.path().to_owned()));
        assert!(remotes.get(&url, keep.map(Duration::from_secs), soon()).is_ok());
        asked.fine.load(Ordering::SeqCst)
    };
    assert_eq!(get(Some(3600)), 1);
    assert_eq!(get(Some(3600)), 1, "kept");
    assert_eq!(get(None), 2, "without `cache` it is asked anew");
    let file = std::fs::read_dir(cache.path().join("remote")).unwrap().next().unwrap().unwrap().path();
    let long_ago = SystemTime::now() - Duration::from_secs(1800);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(get(Some(3600)), 2);
    assert_eq!(get(Some(600)), 3, "too old");
    assert_eq!(get(Some(600)), 3, "and kept anew");
}

/// A server that wants a log-in: nobody is asked, and the message says what to do.
#[test]
fn git_asks_nobody() {
    let (address, asked) = server();
    let base = Base::parse(&address, Path::new("/")).unwrap();
    let source = Includes::new(&Bare, settings(Some(base), None), &|_| {});
    let said = source.commit("g/secret", None).unwrap_err().to_string();
    assert!(said.contains("credential"), "{said}");
    assert!(asked.git.load(Ordering::SeqCst) > 0, "the server was asked");
}
