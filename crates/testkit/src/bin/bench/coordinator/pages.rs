//! Every page and the main lists of the API with ten thousand stored pipelines: how long each takes.

use super::Server;
use crate::page::Page;
use crate::{Failed, median, ms};
use harrier_testkit::PlainClient;
use std::time::{Duration, Instant};

const TIMES: usize = 7;

const PAGES: [&str; 18] = [
    "/",
    "/root/kestrel",
    "/root/kestrel/-/pipelines",
    "/root/kestrel/-/pipelines?page=300",
    "/root/kestrel/-/pipelines?ref=main",
    "/root/kestrel/-/pipelines?status=failed",
    "/root/kestrel/-/pipelines/charts",
    "/root/kestrel/-/pipelines/new",
    "/root/kestrel/-/pipelines/5000",
    "/root/kestrel/-/pipelines/5000/test_report",
    "/root/kestrel/-/jobs/100",
    "/root/kestrel/-/jobs/50000",
    "/root/kestrel/-/environments",
    "/root/kestrel/-/settings/ci_cd",
    "/root/kestrel/-/badges/main/pipeline.svg",
    "/-/admin/runners",
    "/-/admin/users",
    "/-/profile",
];

const LISTS: [&str; 20] = [
    "/api/v4/projects",
    "/api/v4/projects/1",
    "/api/v4/projects/1/pipelines?per_page=100",
    "/api/v4/projects/1/pipelines?per_page=100&page=100",
    "/api/v4/projects/1/pipelines?ref=main",
    "/api/v4/projects/1/pipelines?status=failed",
    "/api/v4/projects/1/pipelines?scope=running",
    "/api/v4/projects/1/pipelines?scope=branches",
    "/api/v4/projects/1/pipelines?order_by=updated_at",
    "/api/v4/projects/1/pipelines/latest",
    "/api/v4/projects/1/pipelines/5000",
    "/api/v4/projects/1/pipelines/5000/jobs",
    "/api/v4/projects/1/jobs?per_page=100",
    "/api/v4/projects/1/jobs?scope[]=failed",
    "/api/v4/projects/1/jobs?scope[]=pending&scope[]=running",
    "/api/v4/projects/1/variables",
    "/api/v4/projects/1/repository/branches",
    "/api/v4/runners/all?per_page=100",
    "/api/v4/runners/1/jobs",
    "/metrics",
];

pub(super) async fn measure(server: &Server, page: &mut Page) -> Result<(), Failed> {
    page.part(&format!("coordinator on {}: {} stored pipelines", server.database_name(), super::seed::COUNT));
    tokio::time::sleep(Duration::from_secs(2)).await;
    page.row("memory, idle", server.memory("VmRSS"), "MiB", "below 40");
    let mut client = PlainClient::new(server.at);
    let cookie = log_in(server, &mut client).await?;
    let mut slowest = Vec::new();
    for (kind, paths) in [("page", &PAGES[..]), ("list of the API", &LISTS[..])] {
        let mut times = Vec::new();
        for path in paths {
            let headers = match kind {
                "page" => [("cookie", cookie.as_str()), ("accept", "text/html")],
                _ => [("private-token", server.token.as_str()), ("accept", "application/json")],
            };
            let mut each = Vec::new();
            for _ in 0..TIMES {
                let begun = Instant::now();
                let answer = client.send("GET", path, &headers, b"").await?;
                each.push(begun.elapsed());
                if !matches!(answer.status(), 200 | 404) || answer.status() == 404 && !may_lack(path) {
                    return Err(format!("GET {path}: {}", answer.first).into());
                }
            }
            times.push((median(&mut each), *path));
        }
        times.sort_unstable_by(|a, b| b.cmp(a));
        let middle = times[times.len() / 2].0;
        slowest.push((kind, times, middle));
    }
    for (kind, times, middle) in &slowest {
        page.row(format!("median {kind} of {}", times.len()), ms(*middle), "ms", "");
        for (time, path) in times.iter().take(4) {
            page.row(format!("slow {kind}: {path}"), ms(*time), "ms", "");
        }
    }
    page.row("memory, peak", server.memory("VmHWM"), "MiB", "");
    Ok(())
}

/// What the copies of a pipeline do not have.
fn may_lack(path: &str) -> bool {
    path.ends_with("/test_report")
}

/// Root's session.
async fn log_in(server: &Server, client: &mut PlainClient) -> Result<String, Failed> {
    const PASSWORD: &str = "a long password of root's";
    let mut command = std::process::Command::new(&server.binary);
    command.args(["admin", "password", "--stdin"]).envs(server.environment());
    let mut child = command.stdin(std::process::Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        std::io::Write::write_all(&mut input, PASSWORD.as_bytes())?;
    }
    child.wait()?;
    let form = client.send("GET", "/-/login", &[], b"").await?;
    let set = form.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let given =
        set.filter_map(|(_, value)| value.split(';').next()).find(|one| one.starts_with("harrier_login="));
    let given = given.ok_or("the log-in page sets no cookie for its form")?.to_owned();
    let csrf = given.split_once('=').map(|(_, value)| value).unwrap_or_default();
    let origin = format!("http://{}", server.at);
    let body = format!(
        "username=root&password={}&csrf={csrf}&back=/",
        PASSWORD.replace(' ', "+").replace('\'', "%27")
    );
    let headers = [
        ("cookie", given.as_str()),
        ("origin", origin.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = client.send("POST", "/-/login", &headers, body.as_bytes()).await?;
    let cookies = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookies: Vec<&str> = cookies.filter_map(|(_, value)| value.split(';').next()).collect();
    match answer.status() {
        302 | 303 => Ok(cookies.join("; ")),
        _ => Err(format!("log-in: {}\n{}", answer.first, String::from_utf8_lossy(&answer.body)).into()),
    }
}
