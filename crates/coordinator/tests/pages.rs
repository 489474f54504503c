//! The pages over HTTP: every route with every role, logging in, forged forms, and a push that becomes a page.

#![allow(clippy::unwrap_used)]

use harrier_base::{Secret, SystemClock};
use harrier_coordinator::web::table::{Need, routes};
use harrier_coordinator::{App, DataDir, Settings, password};
use harrier_database::{AccessLevel, NewProject, NewToken, NewUser, TokenKind, UserView};
use reqwest::{Client, Method, Response, redirect};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

struct Server {
    app: Arc<App>,
    url: String,
    client: Client,
    place: TempDir,
}

/// Somebody at a browser.
#[derive(Clone)]
struct Browser {
    cookie: String,
    csrf: String,
}

impl Server {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let data = DataDir::open(&place.path().join("data")).unwrap();
        let app = App::open(data, None, Arc::new(SystemClock), Settings::new(&url)).await.unwrap();
        let router = app.router().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
        Self { app, url, client, place }
    }

    async fn user(&self, name: &str, admin: bool) -> UserView {
        let new = NewUser { username: name.into(), name: name.into(), admin, ..NewUser::default() };
        self.app.store.create_user(new, 1).await.unwrap()
    }

    async fn browser(&self, user: &UserView) -> Browser {
        let now = self.app.now();
        let (session, secret) = self.app.store.create_session(user.id, now + 3_600_000, now).await.unwrap();
        Browser {
            cookie: format!("harrier_session={}", secret.expose()),
            csrf: session.csrf.expose().to_owned(),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        browser: Option<&Browser>,
        form: &[(&str, &str)],
    ) -> Response {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
        if let Some(browser) = browser {
            request = request.header("cookie", &browser.cookie);
        }
        if method == Method::POST {
            let mut text = form_urlencoded::Serializer::new(String::new());
            text.extend_pairs(form);
            if let Some(browser) = browser {
                text.append_pair("csrf", &browser.csrf);
            }
            request = request.header("content-type", "application/x-www-form-urlencoded").body(text.finish());
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, browser: &Browser) -> String {
        let answer = self.ask(Method::GET, path, Some(browser), &[]).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(directory);
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    let output = command.output().expect("git is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {arguments:?}: {said}");
    said
}

/// A repository with a configuration, ready to be pushed.
fn work(server: &Server) -> std::path::PathBuf {
    let work = server.place.path().join("work");
    git(server.place.path(), &["init", "-q", "-b", "main", "work"]);
    let config = "stages: [build, test]\nbuild:\n  stage: build\n  script: make\n  tags: [gpu]\n\
                  unit <x>:\n  stage: test\n  script: make test\n  when: manual\n";
    std::fs::write(work.join(".gitlab-ci.yml"), config).unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "The <b>first</b> commit"]);
    work
}

async fn token(server: &Server, user: &UserView) -> Secret {
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(user.id),
        project: None,
        name: "push".into(),
        scopes: vec!["write_repository".into()],
        access_level: None,
        expires_at: None,
    };
    server.app.store.create_token(new, 1).await.unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_makes_the_project_and_its_pipeline_is_a_page() {
    let server = Server::start().await;
    let root = server.user("root", true).await;
    let _tasks = server.app.background().await.unwrap();
    let work = work(&server);
    let secret = token(&server, &root).await;
    let remote =
        server.url.replace("http://", &format!("http://root:{}@", secret.expose())) + "/root/app.git";
    let said = tokio::task::spawn_blocking(move || git(&work, &["push", &remote, "main"])).await.unwrap();
    assert!(said.contains("remote: Pipeline #1 for main:"), "{said}");
    assert!(said.contains(&format!("{}/root/app/-/pipelines/1", server.url)), "{said}");
    assert!(!said.contains(secret.expose()));

    let browser = server.browser(&root).await;
    let page = server.get("/root/app/-/pipelines/1", &browser).await;
    for text in
        ["The &lt;b&gt;first&lt;/b&gt; commit", "unit &lt;x&gt;", "no runner is online", "waits for build"]
    {
        assert!(page.contains(text), "{text} in {page}");
    }
    assert!(server.get("/root/app/-/pipelines/1?graph=needs", &browser).await.contains("<svg"));
    for path in [
        "/",
        "/root/app",
        "/root/app/-/pipelines",
        "/root/app/-/pipelines/charts",
        "/root/app/-/environments",
    ] {
        assert!(server.get(path, &browser).await.contains("root/app"), "{path}");
    }
    assert!(server.get("/root/app/badges/main/pipeline.svg", &browser).await.contains("pipeline: pending"));
    let job = server.get("/root/app/-/jobs/1", &browser).await;
    assert!(job.contains("The log begins when a runner takes the job."));
    std::fs::write(server.app.data.trace(1), "\x1b[32;1mhello\x1b[0m\n<script>\n").unwrap();
    let job = server.get("/root/app/-/jobs/1", &browser).await;
    assert!(job.contains("<span class=\"f2 sb\">hello</span>") && job.contains("&lt;script&gt;"));
    let rows = server.get("/root/app/-/jobs/1/log?line=1", &browser).await;
    assert!(rows.contains("L2") && !rows.contains("hello"), "{rows}");

    // By hand: with variables, for a ref that is there and one that is not.
    let made = server
        .ask(Method::POST, "/root/app/-/pipelines", Some(&browser), &[("ref", "main"), ("variables", "A=1")])
        .await;
    assert_eq!(header(&made, "location"), "/root/app/-/pipelines/2");
    let none = server.ask(Method::POST, "/root/app/-/pipelines", Some(&browser), &[("ref", "nope")]).await;
    assert_eq!(none.status(), 422);
    assert!(none.text().await.unwrap().contains("Reference not found"));
    // A manual job is played from the page.
    let played = server.ask(Method::POST, "/root/app/-/jobs/1/cancel", Some(&browser), &[]).await;
    assert_eq!(played.status(), 303);
    assert!(server.get("/root/app/-/jobs/1", &browser).await.contains("canceled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_its_role() {
    let server = Server::start().await;
    let root = server.user("root", true).await;
    let project = NewProject { path: "root/app".into(), owner: Some(root.id), ..NewProject::default() };
    let project = server.app.create_project(project).await.unwrap();
    let work = work(&server);
    let secret = token(&server, &root).await;
    let remote =
        server.url.replace("http://", &format!("http://root:{}@", secret.expose())) + "/root/app.git";
    tokio::task::spawn_blocking(move || git(&work, &["push", &remote, "main", "main:feature"]))
        .await
        .unwrap();

    let mut roles: Vec<(String, Option<AccessLevel>, Option<Browser>, bool)> = vec![
        ("nobody".into(), None, None, false),
        ("stranger".into(), None, Some(server.browser(&server.user("stranger", false).await).await), false),
    ];
    for level in [
        AccessLevel::Guest,
        AccessLevel::Reporter,
        AccessLevel::Developer,
        AccessLevel::Maintainer,
        AccessLevel::Owner,
    ] {
        let user = server.user(&format!("{level:?}").to_lowercase(), false).await;
        server.app.store.set_member(project.id, user.id, Some(level), 1).await.unwrap();
        roles.push((user.username.clone(), Some(level), Some(server.browser(&user).await), false));
    }
    roles.push(("admin".into(), Some(AccessLevel::Owner), Some(server.browser(&root).await), true));

    let mut asked = 0;
    for route in routes() {
        // What ends a session would end the others' turn, and events never end.
        if ["-/logout", "-/events", ":/events"].contains(&route.path) {
            continue;
        }
        let tail = route.path.replace("{*}", "x").replace("{}", "2");
        let path = match tail.strip_prefix(':') {
            Some("") => "/root/app".to_owned(),
            Some(badge) if badge.starts_with("/badges") => format!("/root/app{badge}"),
            Some(rest) => format!("/root/app/-{rest}"),
            None => format!("/{tail}"),
        };
        for (name, level, browser, admin) in &roles {
            let answer = server.ask(route.method.clone(), &path, browser.as_ref(), &[]).await;
            let status = answer.status().as_u16();
            let to_login = status == 303 && header(&answer, "location").starts_with("/-/login?back=");
            let what = format!("{} {path} as {name}: {status}", route.method);
            let may = match route.need {
                Need::Anyone => true,
                Need::User => browser.is_some(),
                Need::Admin => *admin,
                Need::Level(least) => level.is_some_and(|level| level >= least),
                // The project is private.
                Need::Code => *level >= Some(AccessLevel::Reporter),
            };
            asked += 1;
            match (may, browser) {
                (false, None) => assert!(to_login, "{what}"),
                (false, Some(_)) if level.is_none() && matches!(route.need, Need::Level(_) | Need::Code) => {
                    assert_eq!(
                        status, 404,
                        "{what}: who may not see a project must not learn that it is there"
                    );
                }
                (false, Some(_)) => assert_eq!(status, 403, "{what}"),
                (true, _) => assert!(!to_login && status < 500, "{what}"),
            }
            if may && route.method == Method::GET {
                assert_ne!(status, 403, "{what}");
            }
            assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{what}");
            assert!(header(&answer, "content-security-policy").contains("default-src 'none'"), "{what}");
        }
    }
    assert!(asked > 300, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_cannot_be_forged_and_passwords_cannot_be_guessed() {
    let server = Server::start().await;
    let hash = password::hash(Secret::new("correct horse")).await.unwrap();
    let new = NewUser { username: "ann".into(), password: Some(hash), ..NewUser::default() };
    let ann = server.app.store.create_user(new, 1).await.unwrap();
    let browser = server.browser(&ann).await;

    let without = server
        .client
        .post(format!("{}/-/profile/language", server.url))
        .header("cookie", &browser.cookie)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("language=zh&csrf=guess")
        .send();
    assert_eq!(without.await.unwrap().status(), 422);
    let elsewhere = server
        .client
        .post(format!("{}/-/profile/language", server.url))
        .header("cookie", &browser.cookie)
        .header("sec-fetch-site", "cross-site")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("language=zh&csrf={}", browser.csrf))
        .send();
    assert_eq!(elsewhere.await.unwrap().status(), 403);
    assert_eq!(
        server.ask(Method::POST, "/-/profile/language", Some(&browser), &[("language", "zh")]).await.status(),
        303
    );
    assert!(server.get("/", &browser).await.contains("项目"));

    // Logging in: without the form's own cookie, with a wrong password, with the right one, too often.
    let form = server.ask(Method::GET, "/-/login", None, &[]).await;
    let cookie = header(&form, "set-cookie").to_owned();
    let all: Vec<&str> =
        form.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let login = all.iter().find(|text| text.starts_with("harrier_login=")).copied().unwrap_or(&cookie);
    let csrf = login.split(['=', ';']).nth(1).unwrap().to_owned();
    let browser = Browser { cookie: format!("harrier_login={csrf}"), csrf };
    let log_in = async |password: &str, browser: Option<&Browser>| {
        let form = [("username", "ann"), ("password", password), ("back", "//evil.example")];
        server.ask(Method::POST, "/-/login", browser, &form).await
    };
    assert_eq!(log_in("correct horse", None).await.status(), 422);
    let wrong = log_in("wrong", Some(&browser)).await;
    assert_eq!(wrong.status(), 422);
    assert!(wrong.text().await.unwrap().contains("The user name or the password is wrong."));
    let right = log_in("correct horse", Some(&browser)).await;
    assert_eq!((right.status().as_u16(), header(&right, "location")), (303, "/"));
    let session = header(&right, "set-cookie");
    assert!(
        session.starts_with("harrier_session=")
            && session.contains("HttpOnly")
            && session.contains("SameSite=Lax")
    );
    for _ in 0..10 {
        log_in("wrong", Some(&browser)).await;
    }
    assert_eq!(log_in("correct horse", Some(&browser)).await.status(), 429);
}
