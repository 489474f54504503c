//! `harrier run` with the real binary in real repositories.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A throw-away repository with one commit.
struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new(configuration: &str) -> Self {
        let tree = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        tree.git(&["init", "-q", "-b", "main"]);
        tree.write(".gitlab-ci.yml", configuration);
        tree.git(&["add", "-A"]);
        tree.git(&["commit", "-q", "-m", "first"]);
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn git(&self, args: &[&str]) {
        let out = Command::new("git")
            .current_dir(self.dir.path())
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(args)
            .output()
            .expect("git runs");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn harrier(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harrier"));
        command.current_dir(self.dir.path()).arg("run").args(args);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.harrier(args).output().expect("harrier runs")
    }

    fn json(&self, args: &[&str]) -> Run {
        let mut all = vec!["--json"];
        all.extend_from_slice(args);
        let out = self.run(&all);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let events: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
        Run { code: out.status.code(), events, errors: String::from_utf8_lossy(&out.stderr).into_owned() }
    }

    /// Starts a run, gives it once a line of a log or a notice contains `text`.
    fn start(&self, args: &[&str], text: &str) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut child =
            self.harrier(&["--json"]).args(args).stdout(Stdio::piped()).spawn().expect("harrier runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        wait_for(&mut out, text);
        (child, out)
    }
}

fn wait_for(out: &mut impl BufRead, text: &str) {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).expect("readable") > 0, "{text:?} never came: {seen}");
        let event: Value = serde_json::from_str(&line).expect("a JSON line");
        if event["text"].as_str().is_some_and(|t| t.contains(text) && !t.starts_with('$')) {
            return;
        }
        seen.push_str(&line);
    }
}

struct Run {
    code: Option<i32>,
    events: Vec<Value>,
    errors: String,
}

impl Run {
    fn ended(&self) -> &Value {
        self.events.last().filter(|e| e["event"] == "ended").unwrap_or_else(|| {
            panic!("no end, exit code {:?}: {}\n{:?}", self.code, self.errors, self.events)
        })
    }

    /// `name=status` of each job at the end.
    fn jobs(&self) -> Vec<String> {
        let jobs = self.ended()["jobs"].as_array().expect("a list");
        jobs.iter().map(|j| format!("{}={}", text(&j["name"]), text(&j["status"]))).collect()
    }

    fn job(&self, name: &str) -> &Value {
        let jobs = self.ended()["jobs"].as_array().expect("a list");
        jobs.iter().find(|j| j["name"] == name).expect("a job of that name")
    }

    /// The lines of a job's log.
    fn log(&self, name: &str) -> Vec<&str> {
        let lines = self.events.iter().filter(|e| e["event"] == "log" && e["job"] == name);
        lines.map(|e| text(&e["text"])).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, signal).expect("it runs");
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

const FULL: &str = r#"
stages: [build, test, deploy]
variables: {GREETING: hello}
build:
  stage: build
  cache: {key: words, paths: [cached/]}
  script:
    - if [ -f cached/words ]; then echo "cache hit"; else echo "cache miss"; mkdir -p cached; echo w > cached/words; fi
    - mkdir out; echo "$GREETING from $CI_COMMIT_BRANCH" > out/built
    - echo "VERSION=1.2.3" > build.env
  after_script:
    - echo "status $CI_JOB_STATUS"
  artifacts:
    paths: [out/]
    reports: {dotenv: build.env}
quick:
  stage: test
  needs: []
  script: [test ! -e out, echo quick]
test:
  stage: test
  needs: [build]
  script: [cat out/built, 'echo "version $VERSION"']
flaky:
  stage: test
  script: [exit 7]
  allow_failure: true
ship:
  stage: deploy
  script: [cat out/built, cat mark.txt]
  when: manual
  allow_failure: true
publish:
  stage: deploy
  script: [cat out/built]
on-tags:
  stage: deploy
  script: [exit 1]
  rules:
    - if: $CI_COMMIT_TAG
rescue:
  stage: deploy
  script: [echo rescued]
  when: on_failure
"#;

#[test]
fn a_whole_pipeline_does_what_gitlab_would() {
    let tree = Tree::new(FULL);
    let run = tree.json(&[]);
    assert_eq!(run.code, Some(0), "{}", run.errors);
    assert_eq!(
        run.jobs(),
        [
            "build=success",
            "quick=success",
            "test=success",
            "flaky=failed",
            "ship=manual",
            "publish=success",
            "rescue=skipped"
        ]
    );
    assert_eq!(run.ended()["status"], "success_with_warnings");
    assert_eq!((&run.job("flaky")["allowed"], &run.job("flaky")["exit_code"]), (&true.into(), &7.into()));
    assert!(run.log("build").contains(&"cache miss"), "{:?}", run.log("build"));
    assert!(run.log("build").contains(&"status success"));
    assert!(run.log("test").contains(&"hello from main"), "{:?}", run.log("test"));
    assert!(run.log("test").contains(&"version 1.2.3"));
    assert!(run.log("publish").contains(&"hello from main"));
    let started = &run.events[0];
    assert_eq!(
        (&started["event"], &started["ref"], &started["dirty"]),
        (&"started".into(), &"main".into(), &false.into())
    );
    let kept = fs::read_to_string(run.job("flaky")["log"].as_str().expect("a path")).expect("a log");
    assert!(kept.contains("exit status 7"), "{kept}");

    // The second run finds the cache; the manual job runs when named, on the dirty tree, with the artifacts of before.
    tree.write("mark.txt", "dirty\n");
    let second = tree.json(&["build", "--variable", "GREETING=good day"]);
    assert_eq!(second.jobs(), ["build=success"]);
    assert!(second.log("build").contains(&"cache hit"), "{:?}", second.log("build"));
    let ship = tree.json(&["ship"]);
    assert_eq!(ship.jobs(), ["ship=success"], "{:?}", ship.log("ship"));
    assert!(ship.log("ship").contains(&"good day from main"), "{:?}", ship.log("ship"));
    assert!(ship.log("ship").contains(&"dirty"));
    assert_eq!(ship.events[0]["dirty"], true);
    assert!(!tree.path("out").exists(), "the user's tree was used");
    assert!(is_empty(&tree.path(".harrier/state/jobs")));
}

#[test]
fn selections() {
    let tree = Tree::new(FULL);
    for (args, jobs) in [
        (&["test", "--needs"][..], &["build=success", "test=success"][..]),
        (&["--stage", "test", "-j", "1"], &["quick=success", "test=failed", "flaky=failed"]),
        (&["rescue"], &["rescue=success"]),
        (&["--stage", "deploy", "--needs", "--variable", "CI_COMMIT_TAG=v1"], &[]),
    ] {
        // `test` alone has no artifacts the first time; with them it passes.
        tree.run(&["--clean"]);
        let run = tree.json(args);
        if jobs.is_empty() {
            assert!(run.jobs().iter().any(|j| j.starts_with("on-tags=")), "{:?}", run.jobs());
        } else {
            assert_eq!(run.jobs(), jobs, "{args:?}");
        }
    }
    for (args, message) in [
        (&["tset"][..], "there is no job \"tset\", did you mean \"test\"?"),
        (&["on-tags"], "job \"on-tags\" is not part of this pipeline"),
        (&["--stage", "tests"], "there is no stage \"tests\"; the stages are"),
        (&["--needs"], "--needs is for selected jobs"),
        (&["--variable", "novalue"], "KEY=VALUE"),
        (&["--secret", "HARRIER_NO_SUCH_VARIABLE"], "export it first"),
        (&["--concurrency", "0"], "0"),
    ] {
        let out = tree.run(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
        assert!(stderr(&out).contains(message), "{args:?}: {}", stderr(&out));
    }
    let left_out = stderr(&tree.run(&["on-tags"]));
    assert!(left_out.contains(".gitlab-ci.yml:"), "the rule's place: {left_out}");
}

#[test]
fn list_and_dry_run_say_what_would_happen() {
    let tree = Tree::new(
        "stages: [build, test]\nbuild: {stage: build, script: [a]}\n\
         unit: {stage: test, needs: [build], script: [a], allow_failure: true}\n\
         late: {stage: test, script: [a], when: delayed, start_in: 5 minutes}\n\
         tags:\n  stage: test\n  script: [a]\n  rules:\n    - if: $CI_COMMIT_TAG\n",
    );
    let out = tree.run(&["--list"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert_eq!(
        String::from_utf8_lossy(&out.stdout),
        "job    stage  when                   allow failure  needs\n\
         build  build  on_success\n\
         unit   test   on_success             yes            build\n\
         late   test   delayed by 5 min 00 s\n"
    );
    let out = tree.run(&["--dry-run", "unit"]);
    let said = String::from_utf8_lossy(&out.stdout);
    for part in ["stage test\n  unit ", "may fail (yes)", "left out\n", "build  it is not selected"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    let line = said.lines().find(|l| l.contains("tags")).expect("the job that is left out");
    assert!(line.contains(".gitlab-ci.yml:"), "{line}");
    assert!(!tree.path(".harrier").exists(), "nothing is written");

    let out = tree.run(&["--dry-run", "--json"]);
    let lines: Vec<Value> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let runs: Vec<_> = lines.iter().map(|l| (text(&l["name"]), l["runs"] == true)).collect();
    assert_eq!(runs, [("build", true), ("unit", true), ("late", true), ("tags", false)]);
}

#[test]
fn bad_configurations_are_shown_with_place_and_exit_code_3() {
    let tree = Tree::new("");
    let job = "job: {script: [a]}\n";
    for (configuration, parts) in [
        ("job:\n  script: [a\n", &[".gitlab-ci.yml:"][..]),
        ("a: {script: [x], needs: [b]}\nb: {script: [x], needs: [a]}\n", &["circular", ".gitlab-ci.yml:"]),
        ("a: {script: [x], stage: nowhere}\n", &["nowhere", ".gitlab-ci.yml:1"]),
        ("a:\n  stage: test\n", &["script", ".gitlab-ci.yml:1"]),
        (&format!("include: missing.yml\n{job}"), &["missing.yml", ".gitlab-ci.yml:1"]),
        ("", &[".gitlab-ci.yml"]),
        ("a:\n  script: [x]\n  rules: [{if: $CI_COMMIT_TAG}]\n", &["no job", "a: ", ".gitlab-ci.yml:3"]),
        ("workflow: {rules: [{when: never}]}\na: {script: [x]}\n", &["workflow", ".gitlab-ci.yml:1"]),
    ] {
        tree.write(".gitlab-ci.yml", configuration);
        for args in [&[][..], &["--list"], &["--dry-run"]] {
            let out = tree.run(args);
            assert_eq!(out.status.code(), Some(3), "{configuration:?} {args:?}: {}", stderr(&out));
            for part in parts {
                assert!(stderr(&out).contains(part), "{part:?} of {configuration:?}: {}", stderr(&out));
            }
        }
    }
    fs::remove_file(tree.path(".gitlab-ci.yml")).expect("it is there");
    let out = tree.run(&[]);
    assert_eq!(out.status.code(), Some(3));
    assert!(stderr(&out).contains("--file"), "{}", stderr(&out));
    tree.write("other.yml", "job: {script: [exit 0]}\n");
    assert_eq!(tree.json(&["--file", "other.yml"]).jobs(), ["job=success"]);
}

#[test]
fn failures_end_with_1_and_what_is_for_failures_runs() {
    let tree = Tree::new(
        "stages: [a, b]\nbad: {stage: a, script: ['echo oh no', exit 4]}\nnext: {stage: b, script: [x]}\n\
         rescue: {stage: b, script: ['echo rescued'], when: on_failure}\n",
    );
    let out = tree.run(&[]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for part in [
        "[bad]    oh no\n",
        "[rescue] rescued\n",
        "✗ bad     a      failed (exit code 4)",
        "» next    b      skipped",
        "Pipeline failed in",
    ] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    assert!(!said.contains('\x1b'), "escape sequences in a pipe: {said}");
}

#[test]
fn retries_delays_and_secrets() {
    let tree = Tree::new(
        "again:\n  retry: 1\n  script:\n    - test -e $FLAG || { touch $FLAG; exit 9; }\n    - echo \"token $TOKEN\"\n\
         late: {script: [echo late], when: delayed, start_in: 1 hour}\n",
    );
    let flag = format!("FLAG={}", tree.path("flag").display());
    let out = tree
        .harrier(&["--json", "--no-delay", "--secret", "TOKEN", "--variable", &flag])
        .env("TOKEN", "s3cret-value")
        .output()
        .expect("harrier runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(
        said.contains(r#""status":"retrying","failure_reason":"script_failure","exit_code":9"#),
        "{said}"
    );
    assert!(said.contains(r#""attempt":2"#), "{said}");
    assert!(said.contains("token [MASKED]") && !said.contains("s3cret-value"), "{said}");
    assert!(said.contains(r#""status":"scheduled""#), "{said}");
}

#[test]
fn a_variables_file_and_a_repository_without_commits() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let tree = Tree { dir };
    tree.git(&["init", "-q", "-b", "trunk"]);
    tree.write(
        ".gitlab-ci.yml",
        "job: {script: ['echo \"$A $B on $CI_COMMIT_BRANCH $CI_PROJECT_PATH\"', cat new.txt]}\n",
    );
    tree.write("new.txt", "untracked\n");
    tree.write("v.env", "A=one\n# note\n");
    tree.write("v.yml", "B: {value: two-is-secret, masked: true}\n");
    let run = tree.json(&["--variables-file", "v.env", "--variables-file", "v.yml"]);
    assert_eq!(run.jobs(), ["job=success"], "{:?}", run.log("job"));
    let line = run.log("job").into_iter().find(|l| l.starts_with("one ")).expect("the line").to_owned();
    assert!(line.starts_with("one [MASKED] on trunk local/"), "{line}");
    assert!(run.log("job").contains(&"untracked"));
}

#[test]
fn ctrl_c_once_cancels_and_after_script_still_runs() {
    let tree = Tree::new(
        "stages: [a, b]\njob:\n  stage: a\n  script: [echo ready, sleep 1000]\n  after_script: ['echo \"after $CI_JOB_STATUS\"']\n\
         next: {stage: b, script: [x]}\n",
    );
    let (mut child, mut out) = tree.start(&[], "ready");
    let second = tree.run(&[]);
    assert_eq!(second.status.code(), Some(2), "{}", stderr(&second));
    assert!(stderr(&second).contains("is at work in this repository"), "{}", stderr(&second));
    signal(&child, nix::sys::signal::Signal::SIGINT);
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("readable");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{rest}");
    assert!(rest.contains("after canceled"), "{rest}");
    let ended: Value = serde_json::from_str(rest.lines().last().expect("a line")).expect("a JSON line");
    assert_eq!(ended["status"], "canceled");
    let statuses: Vec<_> =
        ended["jobs"].as_array().expect("a list").iter().map(|j| text(&j["status"])).collect();
    assert_eq!(statuses, ["canceled", "canceled"]);
    assert!(is_empty(&tree.path(".harrier/state/jobs")));
}

/// A job that holds the writing end of a FIFO and does not mind being asked to end: the reader sees the end of the file when
/// every process of the job is gone.
fn stubborn() -> (Tree, PathBuf) {
    let tree = Tree::new(
        "job:\n  script:\n    - trap '' TERM INT\n    - exec 9> \"$FIFO\"\n    - echo held >&9\n    - setsid sleep 1000 &\n    \
         - echo ready\n    - sleep 1000\n  after_script: [sleep 1000]\n",
    );
    let fifo = tree.path(".git/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    (tree, fifo)
}

#[test]
fn ctrl_c_twice_kills_everything() {
    let (tree, fifo) = stubborn();
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo)
    });
    let (mut child, mut out) = tree.start(&["--variable", &format!("FIFO={}", fifo.display())], "ready");
    signal(&child, nix::sys::signal::Signal::SIGINT);
    wait_for(&mut out, "Canceling");
    signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(reader.join().expect("no panic").expect("readable"), "held\n", "all holders are gone");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("readable");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{rest}");
}

#[test]
fn nothing_of_a_job_outlives_a_killed_run() {
    let (tree, fifo) = stubborn();
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo)
    });
    let (mut child, _out) = tree.start(&["--variable", &format!("FIFO={}", fifo.display())], "ready");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(reader.join().expect("no panic").expect("readable"), "held\n", "all holders are gone");
    assert!(!is_empty(&tree.path(".harrier/state/jobs")), "the killed run left its job");
    tree.write(".gitlab-ci.yml", "job: {script: [exit 0]}\n");
    assert_eq!(tree.json(&[]).jobs(), ["job=success"]);
    assert!(is_empty(&tree.path(".harrier/state/jobs")), "the next run clears it away");
}

#[test]
fn called_from_a_git_hook_jobs_stay_in_their_own_repository() {
    let tree = Tree::new("job: {script: [git rev-parse --show-toplevel]}\n");
    let git = tree.path(".git");
    let out = tree
        .harrier(&[])
        .env("GIT_DIR", &git)
        .env("GIT_WORK_TREE", tree.dir.path())
        .env("GIT_INDEX_FILE", git.join("index"))
        .output()
        .expect("harrier runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.lines().any(|l| l.starts_with("[job] /") && l.contains("/.harrier/builds/")), "{said}");
}

#[test]
fn outside_of_a_repository_it_is_bad_usage() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = Tree { dir }.run(&[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("git init"), "{}", stderr(&out));
}

/// Jobs with the bridges above them: `a › b=success`.
fn with_parents(run: &Run) -> Vec<String> {
    let jobs = run.ended()["jobs"].as_array().expect("a list");
    jobs.iter()
        .map(|j| {
            let parents = j["parents"].as_array().into_iter().flatten().map(text);
            let name: Vec<&str> = parents.chain([text(&j["name"])]).collect();
            format!("{}={}", name.join(" › "), text(&j["status"]))
        })
        .collect()
}

/// `ci-yaml.md` §23: variables, artifacts and dotenv variables go down, the status comes up.
#[test]
fn a_child_pipeline_runs_below_its_bridge() {
    let tree = Tree::new(
        "stages: [build, child, after]\n\
         variables: {TOP: top}\n\
         make:\n  stage: build\n  script: [echo made > made.txt, echo MADE=yes > e.env]\n  \
         artifacts: {paths: [made.txt], reports: {dotenv: e.env}}\n\
         down:\n  stage: child\n  variables: {PARENT: $CI_PIPELINE_ID, BOTH: \"$TOP-$MADE\", RAW: {value: $TOP, expand: \
         false}}\n  trigger: {include: ci/child.yml, strategy: depend}\n\
         late:\n  stage: after\n  script: echo late\n",
    );
    fs::create_dir(tree.path("ci")).expect("a directory");
    tree.write(
        "ci/child.yml",
        "get:\n  script: ['cat made.txt', 'echo \"$CI_PIPELINE_SOURCE $BOTH $RAW $MADE $TOP\"', 'test $CI_UPSTREAM_PIPELINE_ID = \
         $PARENT', 'test $CI_PIPELINE_ID != $PARENT']\n  needs: [{pipeline: $PARENT, job: make}]\n\
         out:\n  script: echo no\n  rules: [{if: $CI_PIPELINE_SOURCE == \"push\"}]\n\
         next:\n  stage: deploy\n  script: echo next\n  rules: [{if: $BOTH == \"top-yes\"}]\n",
    );
    tree.git(&["add", "-A"]);
    let run = tree.json(&[]);
    assert_eq!(
        with_parents(&run),
        ["make=success", "down=success", "late=success", "down › get=success", "down › next=success"],
        "{:?}",
        run.events
    );
    assert_eq!(run.code, Some(0));
    let log = run.log("get");
    assert!(log.contains(&"made"), "{log:?}");
    assert!(log.contains(&"parent_pipeline top-yes $TOP yes top"), "{log:?}");
    let child = run.events.iter().find(|e| e["event"] == "child").expect("told");
    assert_eq!((text(&child["job"]), child["jobs"].as_array().map(Vec::len)), ("down", Some(2)));
    let log = run.ended()["jobs"][3]["log"].as_str().expect("a log").to_owned();
    assert!(Path::new(&log).file_name().is_some_and(|n| n.to_string_lossy().starts_with("down ")), "{log}");
    let said = tree.run(&["--plain"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let table: Vec<&str> = said.lines().skip_while(|l| !l.trim_start().starts_with("job ")).collect();
    let names: Vec<&str> = table.iter().map(|l| l.split("  test").next().unwrap_or(l).trim_end()).collect();
    assert!(names.iter().any(|l| l.starts_with("✓   get")), "{table:?}");
}

/// §23.2: what can go wrong with a bridge, and what follows.
#[test]
fn bridges_that_come_to_nothing() {
    let tree = Tree::new(
        "stages: [one, two]\n\
         fails: {stage: one, trigger: {include: fail.yml, strategy: depend}, allow_failure: true}\n\
         alone: {stage: one, trigger: {include: fail.yml}}\n\
         faulty: {stage: one, trigger: {include: faulty.yml}, allow_failure: true}\n\
         nothing: {stage: one, trigger: {include: nothing.yml}, allow_failure: true}\n\
         other: {stage: one, trigger: group/app}\n\
         held: {stage: one, trigger: {include: manual.yml, strategy: mirror}, allow_failure: true}\n\
         deep: {stage: one, trigger: {include: deep.yml, strategy: depend}, allow_failure: true}\n\
         after: {stage: two, script: echo after}\n",
    );
    tree.write("fail.yml", "bad: {script: exit 4}\n");
    tree.write("faulty.yml", "bad: {scirpt: exit 4}\n");
    tree.write("nothing.yml", "bad: {script: x, rules: [{if: $NO}]}\n");
    tree.write("manual.yml", "m: {script: x, rules: [{when: manual}]}\n");
    tree.write("deep.yml", "deeper: {trigger: {include: deep.yml, strategy: depend}}\n");
    tree.git(&["add", "-A"]);
    let run = tree.json(&[]);
    let mut jobs = with_parents(&run);
    jobs.sort_unstable();
    let mut want = [
        "after=success",
        "alone=success",
        "alone › bad=failed",
        "deep=failed",
        "deep › deeper=failed",
        "deep › deeper › deeper=failed",
        "fails=failed",
        "fails › bad=failed",
        "faulty=failed",
        "held=manual",
        "held › m=manual",
        "nothing=failed",
        "other=skipped",
    ];
    want.sort_unstable();
    assert_eq!(jobs, want);
    let reason = |name: &str| text(&run.job(name)["failure_reason"]).to_owned();
    assert_eq!(reason("fails"), "downstream_pipeline_failed");
    assert_eq!(reason("faulty"), "downstream_pipeline_creation_failed");
    let deepest = run.ended()["jobs"].as_array().expect("a list").iter().rfind(|j| j["name"] == "deeper");
    assert_eq!(deepest.map(|j| text(&j["failure_reason"])), Some("reached_max_descendant_pipelines_depth"));
    let notices: Vec<&str> =
        run.events.iter().filter(|e| e["event"] == "notice").map(|e| text(&e["text"])).collect();
    for part in [
        "other: a pipeline of group/app is not triggered",
        "faulty: its child pipeline has a faulty",
        "did you mean `script`",
    ] {
        assert!(notices.iter().any(|n| n.contains(part)), "{part}: {notices:?}");
    }
    assert_eq!((run.code, text(&run.ended()["status"])), (Some(0), "success_with_warnings"));
}

/// §23.2: a configuration that a job has made.
#[test]
fn a_child_pipeline_out_of_an_artifact() {
    let tree = Tree::new(
        "stages: [one, two]\n\
         gen: {stage: one, script: ['mkdir g', 'echo \"made: {script: echo from the artifact}\" > g/c.yml'], artifacts: \
         {paths: [g]}}\n\
         run: {stage: two, trigger: {include: [{artifact: g/c.yml, job: gen}], strategy: depend}}\n\
         none: {stage: two, trigger: {include: [{artifact: g/x.yml, job: gen}]}, allow_failure: true}\n",
    );
    let run = tree.json(&[]);
    assert_eq!(
        with_parents(&run),
        ["gen=success", "run=success", "none=failed", "run › made=success"],
        "{:?}",
        run.events
    );
    assert!(run.log("made").contains(&"from the artifact"));
}

/// §24.1, §25: what nobody has in a local run is said; what the user gives is used.
#[test]
fn what_a_local_run_has_not() {
    let tree = Tree::new(
        "a:\n  id_tokens: {T: {aud: x}}\n  secrets: {S: {vault: a/b@c, token: $T}, P: {vault: a/p@c, file: false}}\n  \
         script: ['echo \"T is ${T:-not there}\"', 'cat \"$S\"', 'echo \"P is ${P:-not there}\"']\n  \
         release: {tag_name: v$MAJOR, description: first}\n  variables: {MAJOR: '1'}\n\
         b: {run: [{name: s, script: echo}]}\n\
         c: {script: x, needs: [{pipeline: 77, job: x}]}\n",
    );
    let out = tree
        .harrier(&["--json", "--secret", "S"])
        .env("S", "top-secret-value")
        .output()
        .expect("harrier runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let events: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let run = Run { code: out.status.code(), events, errors: String::new() };
    assert_eq!(run.jobs(), ["a=success", "b=failed", "c=failed"], "{said}");
    let log = run.log("a");
    assert!(log.contains(&"T is not there") && log.contains(&"P is not there"), "{log:?}");
    assert!(
        log.iter().any(|line| line.starts_with("[MASKED]")) && !said.contains("top-secret-value"),
        "{log:?}"
    );
    for part in [
        "a: nobody issues the id token T",
        "a: the secret P is not fetched",
        "a: the release v1 is not made",
        "b: jobs with `run` (steps)",
        "c: it needs artifacts of `x` of pipeline \\\"77\\\"",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("the secret S is not"));
    let release = fs::read_to_string(tree.path(".harrier/releases/a.json")).expect("kept");
    assert!(release.contains("\"tag_name\": \"v1\"") && release.contains("\"name\": \"v1\""), "{release}");
    assert_eq!(text(&run.job("c")["failure_reason"]), "missing_dependency_failure");
}

/// Ctrl-C ends the jobs of child pipelines as well.
#[test]
fn a_canceled_run_cancels_its_child_pipelines() {
    let tree = Tree::new("down: {trigger: {include: c.yml, strategy: depend}}\n");
    tree.write(
        "c.yml",
        "sleeps: {script: [echo is running, sleep 100]}\nlater: {stage: deploy, script: x}\n",
    );
    tree.git(&["add", "-A"]);
    let (mut child, mut out) = tree.start(&[], "is running");
    signal(&child, nix::sys::signal::Signal::SIGINT);
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("readable");
    let events = rest.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let run = Run { code: child.wait().expect("ends").code(), events, errors: String::new() };
    assert_eq!(with_parents(&run), ["down=canceled", "down › sleeps=canceled", "down › later=canceled"]);
    assert_eq!(run.code, Some(1));
}
