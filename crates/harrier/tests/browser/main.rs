//! The pages in a real browser, against `harrier up` and real pushes: what a person does and sees, with a mouse, with the keyboard
//! alone, on a phone, in the dark and in Chinese. Pictures are left in `target/screenshots`.

#![allow(clippy::unwrap_used)]

#[path = "../rig/mod.rs"]
mod rig;

use harrier_testkit::Browser;
use rig::site::{Site, commit};
use serde_json::json;
use std::path::{Path, PathBuf};

const CONTRAST: &str = include_str!("contrast.js");
const PASSWORD: &str = "correct horse battery";
/// WebDriver's names of keys.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SHIFT: &str = "\u{e008}";

/// On the page of kestrel's pipeline: nothing moves any more, and one job waits.
const SETTLED: &str = "document.querySelectorAll('#pipeline .sign.good').length == 3 && document.querySelector('#pipeline .sign.manual') && \
    document.querySelectorAll('#pipeline .sign.bad').length == 1 && document.querySelectorAll('#pipeline .sign.warn').length == 1";

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots")
}

/// A site and a browser that is logged in as root.
async fn at_home() -> (Site, Browser) {
    let site = Site::up().await;
    let mut browser = Browser::start(&site.url, &pictures()).await;
    browser.go(&site.link).await;
    browser.fill("[name=password]", PASSWORD).await;
    browser.fill("[name=repeated]", PASSWORD).await;
    browser.click("main button").await;
    browser.until("location.pathname == '/'").await;
    (site, browser)
}

impl Site {
    fn gate(&self) -> PathBuf {
        self.home.path().join("gate")
    }

    fn kestrel(&self) -> PathBuf {
        let config = include_str!("kestrel.yml")
            .replace("GATE", self.gate().to_str().unwrap())
            .replace("MARK", self.home.path().join("mark").to_str().unwrap());
        let evil = "document.title='acted'";
        let files = [
            (".gitlab-ci.yml", config.as_str()),
            ("README.md", "# Kestrel\n"),
            ("report.xml", include_str!("report.xml")),
            (
                "evil.html",
                &format!("<title>quiet</title><script>{evil}</script><img src=x onerror=\"{evil}\">"),
            ),
            (
                "evil.svg",
                &format!(
                    "<svg xmlns='http://www.w3.org/2000/svg' onload=\"{evil}\"><script>{evil}</script></svg>"
                ),
            ),
        ];
        self.project("kestrel", &files)
    }
}

/// The address of the newest job of a name in the pipeline that is shown.
async fn job(browser: &mut Browser, name: &str) -> String {
    let found = format!(
        "[...document.querySelectorAll('main a')].find((a) => a.textContent.trim().endsWith({}) && a.pathname.includes('/-/jobs/'))?.pathname",
        serde_json::Value::from(name)
    );
    browser.until(&found).await.as_str().unwrap().to_owned()
}

/// Nothing on the console, since the page before.
async fn quiet(browser: &mut Browser, what: &str) {
    let said = browser.console().await;
    assert!(said.is_empty(), "the console on {what}: {said:#?}");
}

#[tokio::test]
async fn a_newcomer_sets_a_password_pushes_and_watches() {
    let (site, mut browser) = at_home().await;
    browser.until_text("git push").await;
    browser.picture("projects-none").await;

    // Out and in again.
    browser.click("form[action='/-/logout'] button").await;
    browser.until("location.pathname == '/-/login'").await;
    browser.fill("[name=username]", "root").await;
    browser.fill("[name=password]", "wrong").await;
    browser.click("main button").await;
    browser.until_text("wrong").await;
    browser.picture("login-wrong").await;
    // The status of a refused form is all that the console may say.
    assert!(browser.console().await.iter().all(|line| line.contains("422")));
    browser.fill("[name=password]", PASSWORD).await;
    browser.click("main button").await;
    browser.until("location.pathname == '/'").await;

    // The list shows the new project without being loaded again.
    browser.run("window.same = 1").await;
    site.kestrel();
    browser.until_text("root/kestrel").await;
    assert_eq!(browser.run("return window.same").await, 1);
    browser.click("main a[href='/root/kestrel']").await;
    browser.click("main a[href='/root/kestrel/-/pipelines/1']").await;

    // The pipeline moves by itself, and says why a job waits.
    browser.run("window.same = 1").await;
    browser.until_text("no online runner has tag `gpu`").await;
    browser.until("document.querySelector('#pipeline').innerText.match(/compile/) && document.querySelectorAll('#pipeline .sign.good').length >= 2").await;
    assert_eq!(browser.run("return window.same").await, 1);
    browser.picture("pipeline-running").await;
    let (compile, watch) = (job(&mut browser, "compile").await, job(&mut browser, "watch").await);
    let (flaky, deploy) = (job(&mut browser, "flaky").await, job(&mut browser, "deploy").await);

    // A live log.
    browser.go(&watch).await;
    browser.until_text("the first line").await;
    browser.run("window.same = 1").await;
    browser.picture("job-live").await;
    assert_eq!(browser.run("return document.body.innerText.includes('the last line')").await, false);
    std::fs::write(site.gate(), "").unwrap();
    browser.until_text("the last line").await;
    browser.until("document.querySelector('#job .state.good')").await;
    browser.until("document.querySelector('#log').dataset.complete == 'true'").await;
    browser.until_text("Job succeeded").await;
    // Its end was followed, until the reader goes to another place.
    let last =
        "document.querySelector('#log').lastElementChild.getBoundingClientRect().bottom <= innerHeight + 1";
    browser.until(&format!("scrollY > 0 && {last}")).await;
    browser.click("[data-log-top]").await;
    browser.until("document.querySelector('#L1').getBoundingClientRect().top > 0 && document.querySelector('[data-log-follow]').ariaPressed == 'false'").await;
    browser.click("[data-log-follow]").await;
    browser.until(last).await;
    assert_eq!(browser.run("return window.same").await, 1, "the page was not loaded again");

    // A log that folds, is searched, shows times and has links to its lines.
    browser.go(&compile).await;
    let hidden = "[...document.querySelectorAll('#log .l')].find((l) => l.textContent.includes('inside the folded section')).hidden";
    assert_eq!(browser.run(&format!("return {hidden}")).await, true);
    browser.run("[...document.querySelectorAll('#log .l.h')].find((l) => l.textContent.includes('Fetch crates')).querySelector('.fold').dataset.here = 1").await;
    browser.click("[data-here]").await;
    browser.until(&format!("!{hidden}")).await;
    browser.click("[data-log-fold]").await;
    browser.until(hidden).await;
    browser.fill("[data-log-search]", "UNIT 77 OF").await;
    browser.until("document.querySelector('[data-log-found]').textContent == '1/1'").await;
    let seen = "document.querySelector('.l.match.here')?.getBoundingClientRect().top > 0 && !document.querySelector('.l.match.here').hidden";
    browser.until(seen).await;
    assert_eq!(browser.run("return CSS.highlights.get('found').size").await, 1);
    browser.picture("job-search").await;
    browser.click("[data-log-times]").await;
    browser.until("/^\\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('.l .t').innerText)").await;
    browser.until("document.querySelector('#log .f35, #log [class*=f]')").await;
    browser.go(&format!("{compile}#L12")).await;
    browser.until("document.querySelector('#L12.target') && document.querySelector('#L12').getBoundingClientRect().top > 0").await;
    browser.click("#L14 .n").await;
    browser.until("location.hash == '#L14' && document.querySelector('#L14.target') && !document.querySelector('#L12.target')").await;
    browser.until("document.querySelector('#log .x a[href^=\"https://example.com/docs\"]')?.rel.includes('noopener')").await;
    quiet(&mut browser, "a log").await;

    // Raw: the bytes as text.
    browser.go(&format!("{compile}/raw")).await;
    browser.until("document.contentType == 'text/plain'").await;
    browser.until_text("section_start:").await;
    quiet(&mut browser, "a raw log").await;

    // Its files.
    browser.go(&compile).await;
    browser.click("a[href$='/artifacts/browse']").await;
    browser.click("a[href$='/browse/out']").await;
    browser.until_text("hello.txt").await;
    browser.picture("artifacts").await;
    browser.click("a[href$='/browse/out/docs']").await;
    browser.until_text("README.md").await;
    browser.click("a[href$='/browse/out']").await;
    browser.click("a[href$='/hello.txt']").await;
    browser.until_text("hello from a file").await;

    // A manual job is played, a failed one repeated.
    browser.go(&deploy).await;
    browser.click("form[action$='/play'] button").await;
    browser.until("document.querySelector('#job .state.good')").await;
    browser.until_text("out it goes").await;
    browser.go(&flaky).await;
    browser.until("document.querySelector('#job .state.bad')").await;
    browser.until_text("not this time").await;
    browser.click("form[action$='/retry'] button").await;
    browser.until("document.querySelector('#job .state.good')").await;
    browser.until_text("this time").await;
    browser.until(&format!("document.querySelector('#facts a[href=\"{flaky}\"]')")).await;

    // From the list of a pipeline too.
    browser.go("/root/kestrel/-/pipelines/1").await;
    browser.click(&format!("form[action='{deploy}/retry'] button")).await;
    browser.until(&format!("location.pathname == '/root/kestrel/-/pipelines/1' && !document.querySelector('a[href=\"{deploy}\"]')")).await;

    // The last job that waits is cancelled: the pipeline ends before the reader's eyes.
    browser.run("window.same = 1").await;
    let (gpu, lint) = (job(&mut browser, "gpu").await, job(&mut browser, "lint").await);
    // Pressed while the page hears of something else: the press counts.
    let fetched =
        "performance.getEntriesByName(location.href).filter((e) => e.initiatorType == 'fetch').length";
    browser.hold(&format!("form[action='{gpu}/cancel'] button")).await;
    let before = browser.run(&format!("return {fetched}")).await;
    let retry = format!(
        "const form = document.querySelector(\"form[action='{lint}/retry']\"); fetch(form.action, {{method: 'POST', body: new URLSearchParams(new FormData(form))}})"
    );
    browser.run(&retry).await;
    browser.until(&format!("{fetched} > {before} + 1")).await;
    browser.release().await;
    browser.until("document.querySelector('#pipeline h1 .state:not(.run)')").await;
    browser.click("#pipeline .tab:not([aria-current])").await;
    browser.until("document.querySelectorAll('svg.graph a').length == 7 && document.querySelectorAll('svg.graph .edges path').length == 3").await;
    browser.click("svg.graph a[aria-label^='unit'] rect").await;
    browser.until("document.querySelector('#job h1')?.innerText.endsWith('unit')").await;
    quiet(&mut browser, "the way through").await;
}

/// Every page, with a word it must have.
const PAGES: &[(&str, &str, &str)] = &[
    ("projects", "/", "root/kestrel"),
    ("environment", "/root/kestrel/-/environments/1", "production"),
    ("project", "/root/kestrel", "First"),
    ("pipelines", "/root/kestrel/-/pipelines", "#1"),
    ("pipelines-filtered", "/root/kestrel/-/pipelines?status=failed", ""),
    ("pipeline-new", "/root/kestrel/-/pipelines/new", ""),
    ("pipeline", "/root/kestrel/-/pipelines/1", "compile"),
    ("pipeline-needs", "/root/kestrel/-/pipelines/1?graph=needs", ""),
    ("pipeline-broken", "/root/broken/-/pipelines/6", "stage"),
    ("tests", "/root/kestrel/-/pipelines/1/test_report", "lands"),
    ("tests-none", "/root/broken/-/pipelines/6/test_report", ""),
    ("charts", "/root/swift/-/pipelines/charts", "%"),
    ("charts-none", "/root/kestrel/-/pipelines/charts", ""),
    ("job", "JOB compile", "unit 1 of the build"),
    ("job-failed", "JOB lint", ""),
    ("job-pending", "JOB gpu", "`gpu`"),
    ("job-manual", "JOB deploy", ""),
    ("artifacts-top", "JOB compile/artifacts/browse", "out"),
    ("environments", "/root/kestrel/-/environments", ""),
    ("merge-requests", "/root/kestrel/-/merge_requests", ""),
    ("settings", "/root/kestrel/-/settings/ci_cd", ""),
    ("runners", "/-/admin/runners", ""),
    ("users", "/-/admin/users", "root"),
    ("profile", "/-/profile", ""),
    ("not-found", "/root/nothing", ""),
];

#[tokio::test]
async fn every_page_can_be_read_in_light_and_dark_in_chinese_and_on_a_phone() {
    let (site, mut browser) = at_home().await;
    std::fs::write(site.gate(), "").unwrap();
    site.kestrel();
    let swift = site.project("swift", &[(".gitlab-ci.yml", "go: {script: [\"test ! -e broken\"]}\n")]);
    browser.go("/root/swift/-/pipelines").await;
    for (number, file) in [(2, "a"), (3, "broken"), (4, "b")] {
        commit(&swift, &[(file, "")], &format!("Change {number}"));
        // A pipeline that has not begun is cancelled for the next.
        let ended = format!("document.querySelectorAll('.state.good, .state.bad').length == {}", number - 1);
        browser.until(&ended).await;
        site.push(&swift, "swift");
    }
    browser.until("document.querySelectorAll('.state.good, .state.bad').length == 4").await;
    site.project("broken", &[(".gitlab-ci.yml", "a:\n  stage: nowhere\n  script: x\n")]);
    browser.go("/root/kestrel/-/pipelines/1").await;
    browser.until(SETTLED).await;
    browser.go("/root/kestrel/-/pipelines/1").await;
    let mut jobs = Vec::new();
    for name in ["compile", "lint", "gpu", "deploy"] {
        jobs.push((name, job(&mut browser, name).await));
    }
    let mut faults = Vec::new();
    for (name, path, word) in PAGES {
        let path = match path.strip_prefix("JOB ") {
            Some(rest) => {
                let (job, rest) =
                    rest.split_once('/').map_or((rest, String::new()), |(a, b)| (a, format!("/{b}")));
                format!("{}{rest}", jobs.iter().find(|(name, _)| *name == job).unwrap().1)
            }
            None => (*path).to_owned(),
        };
        browser.size(1280, 900).await;
        browser.prefers_dark(false).await;
        browser.go(&path).await;
        browser.until_text(word).await;
        let error = *name == "not-found";
        let said = browser.console().await;
        assert!(said.iter().all(|line| error && line.contains("404")), "the console on {name}: {said:#?}");
        browser.run("for (const more of document.querySelectorAll('main details')) more.open = true").await;
        for dark in [false, true] {
            let ground = if dark { "dark" } else { "light" };
            browser.prefers_dark(dark).await;
            let low = browser.run(CONTRAST).await;
            faults.extend(low.as_array().unwrap().iter().map(|low| format!("{name}, {ground}: {low}")));
            browser.picture(&format!("{name}-{ground}")).await;
        }
        browser.size(360, 740).await;
        let wide = browser.run("return document.documentElement.scrollWidth").await;
        if wide.as_i64() > Some(360) {
            let who = "return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > 361 && !e.closest('.scroll, .columns')).map((e) => e.outerHTML.slice(0, 80)).slice(0, 3).join(' | ')";
            faults.push(format!("{name} is {wide} wide on a phone: {}", browser.run(who).await));
        }
        browser.picture(&format!("{name}-phone")).await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    // The reader's own choice goes over the system's, and stays.
    browser.size(1280, 900).await;
    browser.go("/").await;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let dark = browser.run(ground).await;
    browser.click("[data-theme-switch]").await;
    let light = browser.run(ground).await;
    assert_ne!(dark, light);
    browser.go("/root/kestrel").await;
    assert_eq!(browser.run(ground).await, light);

    // Chinese: chosen on the page, kept for all pages.
    browser.click("header a[lang=zh-CN]").await;
    browser.until("document.documentElement.lang == 'zh-CN'").await;
    for (name, path, word) in [
        ("project", "/root/kestrel", "流水线"),
        ("pipeline", "/root/kestrel/-/pipelines/1", "没有在线运行器带有标签"),
        ("settings", "/root/kestrel/-/settings/ci_cd", "变量"),
    ] {
        browser.go(path).await;
        browser.until_text(word).await;
        let low = browser.run(CONTRAST).await;
        assert_eq!(low, json!([]), "{name}");
        browser.picture(&format!("{name}-chinese")).await;
    }
    quiet(&mut browser, "pages in Chinese").await;
}

#[tokio::test]
async fn settings_are_changed_and_a_new_pipeline_is_run() {
    let (site, mut browser) = at_home().await;
    let config = "say:\n  script:\n    - echo \"the word is $WORD, of $KIND\"\n";
    site.project("settings", &[(".gitlab-ci.yml", config)]);
    let at = "/root/settings/-/settings/ci_cd";
    browser.go(at).await;
    browser.until_text("Variables").await;
    let open = "for (const more of document.querySelectorAll('main details')) more.open = true";

    browser.run(open).await;
    browser.fill("#variables [name=key]", "WORD").await;
    browser.fill("#variables [name=value]", "kestrel").await;
    browser.click("#variables form.fields button").await;
    browser.until("document.querySelector('#variables table')?.innerText.includes('kestrel')").await;
    browser.run(open).await;
    browser.fill("#variables [name=key]", "SECRET").await;
    browser.fill("#variables [name=value]", "hidden-away-4711").await;
    browser.click("#variables [name=masked]").await;
    browser.click("#variables form.fields button").await;
    browser.until("document.querySelector('#variables table')?.innerText.includes('SECRET')").await;
    assert_eq!(
        browser.run("return document.documentElement.outerHTML.includes('hidden-away-4711')").await,
        false
    );

    browser.run(open).await;
    browser.fill("#schedules [name=description]", "every night").await;
    browser.click("#schedules form.fields button").await;
    browser.until("document.querySelector('#schedules table')?.innerText.includes('every night')").await;
    browser.run(open).await;
    browser.fill("#triggers [name=description]", "from elsewhere").await;
    browser.click("#triggers form.fields button").await;
    browser.until("/^glptt-/.test(document.querySelector('.flash .token')?.innerText)").await;
    browser.picture("settings-token").await;
    browser.go(at).await;
    browser.until("document.querySelector('#triggers table')?.innerText.includes('from elsewhere')").await;
    assert_eq!(browser.run("return document.querySelector('.flash')").await, json!(null), "it is shown once");

    // A personal token.
    browser.go("/-/profile").await;
    browser.run(open).await;
    browser.fill("[action$='/tokens'] [name=name]", "script").await;
    browser.click("[action$='/tokens'] button").await;
    browser.until("/^glpat-/.test(document.querySelector('.flash .token')?.innerText)").await;

    // Runners: the one that is there, and a new one.
    browser.go("/-/admin/runners").await;
    browser.until_text("this machine").await;
    browser.run(open).await;
    browser.fill("[name=description]", "second").await;
    browser.click("form.fields button").await;
    browser.until("/^glrt-/.test(document.querySelector('.flash .token')?.innerText)").await;
    browser.until_text("second").await;

    // A pipeline with a variable of its own.
    browser.go("/root/settings/-/pipelines/new").await;
    browser.fill("[name=variables]", "KIND=falcon").await;
    browser.click("main button").await;
    browser.until("/pipelines\\/2$/.test(location.pathname)").await;
    browser.until("document.querySelector('#pipeline .state.good')").await;
    let say = job(&mut browser, "say").await;
    browser.go(&say).await;
    browser.until_text("the word is kestrel, of falcon").await;
    quiet(&mut browser, "settings").await;
}

#[tokio::test]
async fn the_keyboard_alone_does() {
    let (site, mut browser) = at_home().await;
    std::fs::write(site.gate(), "").unwrap();
    site.kestrel();
    browser.go("/root/kestrel/-/pipelines/1").await;
    browser.until(SETTLED).await;
    let compile = job(&mut browser, "compile").await;

    // Everything that can be used is a stop, in the order of the page, and shows that it is one.
    let stops = "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex=\"0\"]')].filter((e) => e.checkVisibility() && e.getAttribute('tabindex') != '-1')";
    let stop = "const e = document.activeElement; const s = getComputedStyle(e); STOPS.forEach((stop, at) => stop === e && (window.met ??= new Set()).add(at)); const box = e.getBoundingClientRect(); return [e === document.body ? '' : e.outerHTML.slice(0, 90), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, box.bottom > 0 && box.top < innerHeight]".replace("STOPS", stops);
    for path in [
        "/root/kestrel/-/pipelines/1",
        "/root/kestrel/-/pipelines/1?graph=needs",
        compile.as_str(),
        "/root/kestrel/-/settings/ci_cd",
        "/-/admin/runners",
    ] {
        browser.go(path).await;
        let all = browser.run(&format!("return {stops}.length")).await.as_i64().unwrap();
        for number in 0..all {
            browser.press(&[TAB]).await;
            let met = browser.run(&stop).await;
            assert_eq!(
                (&met[1], &met[2]),
                (&json!(true), &json!(true)),
                "{path}: stop {number} is not seen: {met}"
            );
        }
        let left = format!(
            "return {stops}.filter((e, at) => !window.met.has(at)).map((e) => e.outerHTML.slice(0, 90))"
        );
        let left = browser.run(&left).await;
        assert_eq!(left, json!([]), "{path}: never reached");
    }

    // The first stop leads past the navigation.
    browser.go("/root/kestrel").await;
    browser.press(&[TAB]).await;
    browser.press(&[ENTER]).await;
    browser.until("document.activeElement.id == 'content'").await;

    // In a log: `/` searches, Enter and Shift+Enter step, a section folds by its button.
    browser.go(&compile).await;
    browser.press(&["/"]).await;
    browser.until("document.activeElement.matches('[data-log-search]')").await;
    browser.press(&["u", "n", "i", "t", " ", "1", "0"]).await;
    browser.until("document.querySelector('[data-log-found]').textContent == '1/11'").await;
    browser.press(&[ENTER]).await;
    browser.until("document.querySelector('[data-log-found]').textContent == '2/11'").await;
    browser.press(&[SHIFT, ENTER]).await;
    browser.until("document.querySelector('[data-log-found]').textContent == '1/11'").await;
    browser.run("document.querySelector('#log .fold').focus()").await;
    let expanded = "document.activeElement.getAttribute('aria-expanded')";
    let before = browser.run(&format!("return {expanded}")).await;
    browser.press(&[ENTER]).await;
    browser.until(&format!("{expanded} != '{}'", before.as_str().unwrap())).await;
    quiet(&mut browser, "a log by keyboard").await;
}

#[tokio::test]
async fn nothing_that_a_job_brings_acts() {
    let (site, mut browser) = at_home().await;
    let evil = "<img src=x onerror=document.title='acted'>";
    let config = format!(
        "\"{evil}\":\n  script:\n    - cat evil.html\n    - printf '\\033]0;acted\\007\\033[31m%s\\n' \"$(cat evil.html)\"\n    \
         - mkdir out && cp evil.* out\n    - cp evil.html 'out/{}.html'\n  artifacts: {{paths: [out]}}\n",
        evil.replace('\'', "")
    );
    let acts = "document.title='acted'";
    let page = format!("<title>quiet</title><script>{acts}</script><img src=x onerror=\"{acts}\">");
    let picture =
        format!("<svg xmlns='http://www.w3.org/2000/svg' onload=\"{acts}\"><script>{acts}</script></svg>");
    let work =
        site.work_tree("evil", &[(".gitlab-ci.yml", &config), ("evil.html", &page), ("evil.svg", &picture)]);
    commit(&work, &[], evil);
    rig::site::git(&work, &["checkout", "-q", "-b", "<svg/onload=document.title=1>"]);
    site.push(&work, "evil");

    browser.go("/root/evil/-/pipelines/1").await;
    browser.until("document.querySelector('#pipeline .state.good')").await;
    let link = "document.querySelector('#pipeline li a[href*=\"/-/jobs/\"]').pathname";
    let job = browser.until(link).await.as_str().unwrap().to_owned();
    for path in [
        "/root/evil".to_owned(),
        "/root/evil/-/pipelines".to_owned(),
        "/root/evil/-/pipelines/1".to_owned(),
        "/root/evil/-/pipelines/1?graph=needs".to_owned(),
        job.clone(),
        format!("{job}/raw"),
        format!("{job}/artifacts/browse/out"),
        format!("{job}/artifacts/file/out/evil.html"),
        format!("{job}/artifacts/file/out/evil.svg"),
        format!("{job}/artifacts/file/out/%3Cimg%20src=x%20onerror=document.title=acted%3E.html"),
    ] {
        browser.go(&path).await;
        browser.until("document.readyState == 'complete'").await;
        let acted = "document.title == 'acted' || document.querySelector('main img, main script, main [onload], main [onerror]')";
        assert_eq!(browser.run(&format!("return Boolean({acted})")).await, false, "{path}");
        if path.contains("/file/") || path.ends_with("/raw") {
            assert_eq!(browser.run("return document.contentType").await, "text/plain", "{path}");
        }
        quiet(&mut browser, &path).await;
    }
    browser.go(&job).await;
    browser.picture("evil").await;
}
