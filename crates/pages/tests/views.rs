//! Every page with the worst texts anyone could put into a model: nothing acts, every form is protected, every colour can
//! be read.

use harrier_pages::*;
use harrier_pipeline::Status;
use std::collections::BTreeSet;

/// A text that would act if anything did.
const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\u{202e}";

fn page(language: Language) -> Page {
    Page {
        language,
        viewer: Some(Viewer { username: EVIL.into(), admin: true, csrf: "the-token".into() }),
        now: 1_795_568_523_000,
        seen: 7,
        here: format!("/{EVIL}"),
        project: Some(ProjectPlace { path: EVIL.into(), settings: true, code: true }),
        flash: Some(Flash::Failed(EVIL.into())),
        events: Some("/-/events".into()),
    }
}

fn row() -> PipelineRow {
    PipelineRow {
        id: 7,
        status: Status::Success,
        warning: true,
        title: EVIL.into(),
        git_ref: EVIL.into(),
        sha: EVIL.into(),
        source: EVIL.into(),
        user: Some(EVIL.into()),
        created: 1_795_568_000_000,
        duration: Some(61_000),
        stages: vec![(EVIL.into(), Status::Failed, false)],
    }
}

fn cell(name: &str) -> JobCell {
    JobCell {
        id: 3,
        name: name.into(),
        status: Status::Pending,
        allowed: false,
        duration: Some(1),
        why: Some(Why::NoRunnerHasTags(vec![EVIL.into()]).text(Language::English)),
        may_play: true,
        may_retry: true,
        may_cancel: true,
        needs: vec![EVIL.into()],
    }
}

fn runners() -> RunnersPage {
    RunnersPage {
        at: "/-/admin/runners".into(),
        rows: vec![RunnerRow {
            id: 1,
            short_token: EVIL.into(),
            description: EVIL.into(),
            tags: vec![EVIL.into()],
            run_untagged: true,
            protected_only: true,
            paused: false,
            online: true,
            contacted: Some(1),
            managers: vec![EVIL.into()],
            jobs: vec![RunnerJob { project: EVIL.into(), id: 1, name: EVIL.into() }],
            instance: true,
        }],
        may_manage: true,
    }
}

/// Every page there is, with its name.
fn pages(page: &Page) -> Vec<(&'static str, String)> {
    let mut log = Scanner::default();
    log.feed(
        format!("section_start:1:a[collapsed=true]\r\x1b[0K\x1b[31m{EVIL}\nhttp://x/{EVIL}\n").as_bytes(),
    );
    let pipeline = |order, errors: bool| PipelinePage {
        project: EVIL.into(),
        row: row(),
        stages: vec![
            StageColumn { name: EVIL.into(), jobs: vec![cell(EVIL)] },
            StageColumn { name: "b".into(), jobs: vec![cell("two")] },
        ],
        errors: if errors { vec![EVIL.into()] } else { vec![] },
        warnings: vec![EVIL.into()],
        left_out: vec![(EVIL.into(), EVIL.into())],
        downstream: vec![DownstreamRow {
            bridge: EVIL.into(),
            project: EVIL.into(),
            id: 9,
            status: Status::Running,
        }],
        upstream: Some(DownstreamRow {
            bridge: EVIL.into(),
            project: EVIL.into(),
            id: 1,
            status: Status::Manual,
        }),
        tests: Some((3, 1)),
        coverage: Some(81.5),
        may_retry: true,
        may_cancel: true,
        may_delete: true,
        order,
    };
    let job = JobPage {
        project: EVIL.into(),
        id: 3,
        name: EVIL.into(),
        stage: EVIL.into(),
        status: Status::Failed,
        allowed: true,
        why: Some(Why::Failed(EVIL.into())),
        pipeline: 7,
        git_ref: EVIL.into(),
        sha: EVIL.into(),
        user: Some(EVIL.into()),
        tags: vec![EVIL.into()],
        runner: Some(EVIL.into()),
        created: 1,
        started: Some(2),
        finished: Some(3),
        queued: Some(1),
        duration: Some(1),
        timeout: Some(3_600_000),
        exit_code: Some(1),
        coverage: Some(1.0),
        environment: Some(EVIL.into()),
        needs: vec![(EVIL.into(), Some(1)), (EVIL.into(), None)],
        attempts: vec![(2, Status::Failed)],
        artifacts: true,
        artifacts_expire: Some(1),
        erased: false,
        may: JobPermissions { play: true, retry: true, cancel: true, force_cancel: true, erase: true },
        log_complete: false,
    };
    let settings = SettingsPage {
        project: EVIL.into(),
        default_branch: EVIL.into(),
        config_path: EVIL.into(),
        protected_refs: EVIL.into(),
        timeout: 3600,
        public: true,
        shared_runners: true,
        variables: [Some(EVIL.to_owned()), None]
            .map(|value| VariableRow {
                id: 1,
                key: EVIL.into(),
                value,
                file: true,
                masked: true,
                protected: true,
                raw: false,
                scope: EVIL.into(),
            })
            .into(),
        schedules: vec![ScheduleRow {
            id: 1,
            description: EVIL.into(),
            git_ref: EVIL.into(),
            cron: EVIL.into(),
            time_zone: EVIL.into(),
            next: Some(i64::MAX / 2),
            active: true,
            owner: EVIL.into(),
        }],
        triggers: vec![TriggerRow {
            id: 1,
            description: EVIL.into(),
            short_token: EVIL.into(),
            owner: EVIL.into(),
            last_used: None,
        }],
        mirror: Some(MirrorRow {
            url: EVIL.into(),
            has_login: true,
            enabled: true,
            running: false,
            fetched: Some(1),
            next: None,
            error: Some(EVIL.into()),
            pull_requests: false,
            interval: 300,
            user: EVIL.into(),
        }),
        webhook_url: EVIL.into(),
        members: vec![MemberRow { id: 1, username: EVIL.into(), level: 35 }],
        runners: runners(),
    };
    let deployment = DeploymentRow {
        iid: 1,
        status: Status::Success,
        git_ref: EVIL.into(),
        sha: EVIL.into(),
        job: Some((1, EVIL.into())),
        user: Some(EVIL.into()),
        created: 1,
        finished: Some(1),
    };
    let environment = EnvironmentRow {
        id: 1,
        name: EVIL.into(),
        url: Some("javascript:alert(1)".into()),
        tier: EVIL.into(),
        state: EnvironmentLook::Stopping,
        auto_stop: Some(1),
        latest: Some(deployment.clone()),
        may_stop: true,
        may_delete: true,
    };
    let beside = Beside { newer: Some("page=1".into()), older: Some("page=3".into()) };
    let environments =
        EnvironmentsPage { project: EVIL.into(), rows: vec![environment.clone()], beside: beside.clone() };
    let one_environment = EnvironmentPage {
        project: EVIL.into(),
        environment,
        description: Some(EVIL.into()),
        deployments: vec![deployment],
        beside: Beside { newer: None, older: Some("page=2".into()) },
    };
    let merge_request = MergeRequestRow {
        iid: 1,
        title: EVIL.into(),
        state: MergeRequestLook::Opened,
        source: EVIL.into(),
        target: EVIL.into(),
        labels: vec![EVIL.into()],
        author: Some(EVIL.into()),
        updated: 1,
        pipeline: Some((7, Status::Failed, false)),
    };
    let merge_requests = MergeRequestsPage {
        project: EVIL.into(),
        rows: vec![merge_request.clone()],
        state: EVIL.into(),
        beside: beside.clone(),
        opens: Some((vec![EVIL.into()], EVIL.into())),
    };
    let one_merge_request = MergeRequestPage {
        project: EVIL.into(),
        row: merge_request,
        description: EVIL.into(),
        sha: EVIL.into(),
        pipelines: vec![row()],
        may_run: true,
        may_close: true,
        may_reopen: true,
    };
    let case = |verdict| TestCase {
        class: EVIL.into(),
        name: EVIL.into(),
        verdict,
        seconds: f64::NAN,
        output: Some(EVIL.into()),
    };
    let report = TestReportPage {
        project: EVIL.into(),
        pipeline: 7,
        suites: vec![TestSuite {
            job: EVIL.into(),
            cases: vec![
                case(TestVerdict::Failed),
                case(TestVerdict::Passed),
                case(TestVerdict::Skipped),
                case(TestVerdict::Error),
            ],
            error: Some(EVIL.into()),
        }],
    };
    let project = ProjectRow {
        path: EVIL.into(),
        status: Some(Status::Running),
        warning: false,
        pipeline: Some(1),
        active: None,
    };
    let list = PipelinesPage {
        project: EVIL.into(),
        rows: vec![row()],
        git_ref: EVIL.into(),
        status: "failed".into(),
        beside: beside.clone(),
        may_run: true,
    };
    let new = NewPipelinePage {
        project: EVIL.into(),
        refs: vec![EVIL.into()],
        git_ref: EVIL.into(),
        variables: EVIL.into(),
        described: vec![(EVIL.into(), EVIL.into(), EVIL.into())],
    };
    let charts = ChartsPage {
        project: EVIL.into(),
        pipelines: vec![PipelinePoint { id: 1, status: Status::Success, duration: 1000 }],
        days: vec![Day { date: "2026-11-25".into(), passed: 3, failed: 1, other: 1 }],
    };
    let token = TokenRow { id: 1, name: EVIL.into(), scopes: EVIL.into(), expires: None, last_used: Some(1) };
    let folder = ArtifactsPage {
        project: EVIL.into(),
        job: 3,
        job_name: EVIL.into(),
        folder: EVIL.into(),
        entries: vec![
            ArtifactEntry { name: EVIL.into(), size: Some(5) },
            ArtifactEntry { name: "../..".into(), size: None },
        ],
    };
    let user = UserRow { id: 1, username: EVIL.into(), name: EVIL.into(), admin: true, blocked: true };
    vec![
        ("projects", projects_page(page, &[project], EVIL)),
        ("no projects", projects_page(page, &[], EVIL)),
        (
            "project",
            project_page(
                page,
                &ProjectPage {
                    path: EVIL.into(),
                    clone_url: EVIL.into(),
                    mirror: None,
                    pipelines: vec![row()],
                    may_run: true,
                },
            ),
        ),
        ("pipelines", pipelines_page(page, &list)),
        ("pipeline", pipeline_page(page, &pipeline(GraphOrder::Stages, false))),
        ("pipeline by needs", pipeline_page(page, &pipeline(GraphOrder::Needs, true))),
        ("new pipeline", new_pipeline_page(page, &new)),
        ("job", job_page(page, &job, &log)),
        ("artifacts", artifacts_page(page, &folder)),
        ("tests", test_report_page(page, &report)),
        ("charts", charts_page(page, &charts)),
        ("runners", runners_page(page, &runners())),
        ("settings", settings_page(page, &settings)),
        ("merge requests", merge_requests_page(page, &merge_requests)),
        ("merge request", merge_request_page(page, &one_merge_request)),
        ("environments", environments_page(page, &environments)),
        ("environment", environment_page(page, &one_environment)),
        ("users", users_page(page, &[user])),
        (
            "login",
            login_page(
                page,
                &LoginPage { username: EVIL.into(), back: EVIL.into(), csrf: "the-token".into() },
            ),
        ),
        (
            "set password",
            set_password_page(page, &SetPasswordPage { username: EVIL.into(), token: EVIL.into() }),
        ),
        ("profile", profile_page(page, &ProfilePage { tokens: vec![token] })),
        ("error", error_page(page, 404, None)),
        ("error with words", error_page(page, 422, Some(EVIL))),
    ]
}

/// The tags of a page, each as its text between `<` and `>`; quotes are honoured.
fn tags(html: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut chars = html.chars();
    while let Some(c) = chars.next() {
        if c != '<' {
            continue;
        }
        let (mut tag, mut quoted) = (String::new(), false);
        for c in chars.by_ref() {
            match c {
                '"' => quoted = !quoted,
                '>' if !quoted => break,
                _ => {}
            }
            tag.push(c);
        }
        out.push(tag);
    }
    out
}

#[test]
fn nothing_acts_and_every_form_is_protected() {
    for language in [Language::English, Language::Chinese] {
        for (name, html) in pages(&page(language)) {
            let tags = tags(&html);
            let scripts: Vec<&String> = tags.iter().filter(|tag| tag.starts_with("script")).collect();
            assert_eq!(scripts.len(), 2, "{name}: {scripts:?}");
            assert!(scripts.iter().all(|tag| tag.starts_with("script src=\"/-/assets/")), "{name}");
            for tag in &tags {
                assert!(!tag.contains(" style=") && !tag.contains("javascript:"), "{name}: {tag}");
                // Our own attributes: an `on…` outside of quotes would be a handler.
                let outside: String = tag.split('"').step_by(2).collect();
                assert!(!outside.contains(" on"), "{name}: {tag}");
            }
            assert!(!html.contains("<img src=x"), "{name}");
            for form in html.split("<form").skip(1) {
                let (head, body) = form.split_once('>').expect("a tag ends");
                let body = body.split("</form>").next().expect("a form ends");
                let protected =
                    body.contains("name=\"csrf\" value=\"the-token\"") || body.contains("name=\"token\"");
                assert!(head.contains("method=\"get\"") || protected, "{name}: {head}");
            }
        }
    }
}

#[test]
fn ids_are_single_and_live_parts_have_one() {
    for (name, html) in pages(&page(Language::English)) {
        let mut ids = BTreeSet::new();
        for tag in tags(&html) {
            let id = tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next());
            if let Some(id) = id {
                assert!(ids.insert(id.to_owned()), "{name}: {id} is there twice");
            }
            assert!(!tag.contains("data-live") || id.is_some(), "{name}: {tag}");
        }
    }
}

#[test]
fn links_of_artifacts_stay_in_their_job() {
    let html = pages(&page(Language::English))
        .into_iter()
        .find(|(name, _)| *name == "artifacts")
        .expect("it is named")
        .1;
    for tag in tags(&html).iter().filter(|tag| tag.contains("/artifacts/")) {
        assert!(!tag.contains("<script"), "{tag}");
        let href = tag.split(" href=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let path = href.split("/artifacts/").nth(1).unwrap_or_default();
        assert!(!path.contains('?') && !path.contains('#') && !path.contains(' '), "{href}");
    }
}

fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let value =
            f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("a colour of six digits")) / 255.0;
        if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    if one > other { one / other } else { other / one }
}

#[test]
fn no_text_is_below_contrast_aa() {
    let style = asset("harrier.css").expect("it is named");
    let style = std::str::from_utf8(style.bytes).expect("text");
    let mut themes = 0;
    for block in style.split('{').filter(|block| block.trim_start().starts_with("--ground")) {
        themes += 1;
        let block = block.split('}').next().expect("a block ends");
        let value = |name: &str| {
            let found = block.split(';').find_map(|rule| rule.trim().strip_prefix(&format!("--{name}:")));
            found.unwrap_or_else(|| panic!("{name} has no value")).trim()
        };
        for ground in ["ground", "raised", "soft"] {
            for text in ["text", "quiet", "link", "good", "warn", "bad", "run", "wait", "off", "manual"] {
                let found = contrast(value(text), value(ground));
                assert!(found >= 4.5, "{text} {} on {ground} {}: {found:.2}", value(text), value(ground));
            }
        }
        assert!(contrast(value("button"), value("button-text")) >= 4.5);
    }
    assert_eq!(themes, 3, "light, dark by the system, dark by choice");
    // What the log adds, on each of its grounds.
    for ground in ["#161b22", "#21262d", "#262c36", "#30363d"] {
        assert!(contrast("#e6edf3", ground) >= 4.5, "{ground}");
    }
    for (text, ground) in
        [("#9da7b3", "#161b22"), ("#9da7b3", "#262c36"), ("#0d1117", "#e6edf3"), ("#0d1117", "#f2cc60")]
    {
        assert!(contrast(text, ground) >= 4.5, "{text} on {ground}: {:.2}", contrast(text, ground));
    }
}

#[test]
fn why_names_the_tag_in_both_languages() {
    let why = Why::NoRunnerHasTags(vec!["gpu".into()]);
    assert_eq!(why.text(Language::English), "no online runner has tag `gpu`");
    assert_eq!(why.text(Language::Chinese), "没有在线运行器带有标签 `gpu`");
}
