//! `get_sources` against real git (`executors.md` §4).

mod jobs;

use harrier_base::{Secret, Variable};
use harrier_plan::{Cleanup, GitStrategy, Op, ProjectCleanup, Script, ScriptItem, Sources, Submodules};
use jobs::{Job, commit, get, git, repository, sources};
use std::os::unix::fs::PermissionsExt;

fn script(text: &str) -> Script {
    Script {
        items: vec![ScriptItem { text: text.into(), section: None }],
        check_each: false,
        xtrace: false,
        announce: None,
    }
}

#[test]
fn a_new_work_tree_is_fetched_and_checked_out() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    let sources = Sources { depth: 2, ..sources(&source) };
    let sha = sources.sha.clone();
    let log = job.runs(vec![Op::Prepare, Op::Sources(Box::new(sources))]);
    let project = job.dirs.project.display();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("Running on ") && lines[0].ends_with("..."), "{log}");
    assert_eq!(
        lines[1..],
        [
            "\x1b[32;1mFetching changes with git depth set to 2...\x1b[0;m",
            &format!("Initialized empty Git repository in {project}/.git/"),
            "\x1b[32;1mCreated fresh repository.\x1b[0;m",
            &format!("\x1b[32;1mChecking out {} as detached HEAD (ref is main)...\x1b[0;m", &sha[..8]),
            "\x1b[32;1mSkipping Git submodules setup\x1b[0;m",
        ]
    );
    assert_eq!(job.read("file.txt"), "version 3\n");
    assert_eq!(
        git(&job.dirs.project, &["rev-parse", "HEAD", "refs/remotes/origin/main"]),
        format!("{sha}\n{sha}")
    );
    assert_eq!(git(&job.dirs.project, &["rev-list", "--count", "HEAD"]), "2");
    assert_eq!(git(&job.dirs.project, &["status", "--porcelain"]), "");
    assert_eq!(git(&job.dirs.project, &["fsck", "--full"]), "");
}

#[test]
fn the_repository_is_the_one_git_would_have_made() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    job.runs(get(sources(&source)));
    let by_hand = job.place.path().join("by-hand");
    let template = job.place.path().join("template");
    std::fs::create_dir_all(&template).expect("made");
    let external = job.dirs.tmp.join(".gitlab-runner.ext.conf");
    std::fs::write(
        template.join("config"),
        format!(
            "[init]\n\tdefaultBranch = none\n[fetch]\n\trecurseSubmodules = false\n[credential]\n\tinteractive = \
             never\n[gc]\n\tautoDetach = false\n[include]\n\tpath = {}\n",
            external.display()
        ),
    )
    .expect("written");
    git(
        job.place.path(),
        &["init", "-q", "--template", template.to_str().expect("UTF-8"), by_hand.to_str().expect("UTF-8")],
    );
    git(&by_hand, &["remote", "add", "origin", &format!("file://{}", source.display())]);
    let list = |dir: &std::path::Path| {
        let text = git(dir, &["config", "--local", "--no-includes", "--list"]);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(list(&job.dirs.project), list(&by_hand));
}

#[test]
fn an_old_work_tree_is_reused_and_cleaned() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    job.runs(get(sources(&source)));
    job.put("left/over.txt", "x");
    job.put("file.txt", "changed");
    git(&job.dirs.project, &["config", "user.name", "kept"]);
    for lock in ["index.lock", "HEAD.lock", "config.lock", "shallow.lock", "refs/heads/x.lock"] {
        job.put(&format!(".git/{lock}"), "");
    }
    commit(&source, "file.txt", "version 4\n");
    let log = job.runs(get(sources(&source)));
    assert!(log.contains("Reinitialized existing Git repository in"), "{log}");
    assert!(!log.contains("Created fresh repository"), "{log}");
    assert!(log.contains("Removing left/"), "{log}");
    assert_eq!(job.read("file.txt"), "version 4\n");
    assert!(!job.project("left").exists());
    assert_eq!(git(&job.dirs.project, &["config", "user.name"]), "kept");

    job.put("left.txt", "x");
    job.runs(get(Sources { clean_flags: None, ..sources(&source) }));
    assert!(job.project("left.txt").exists());
    job.runs(get(Sources { strategy: GitStrategy::Clone, ..sources(&source) }));
    assert!(!job.project("left.txt").exists());
    assert_eq!(
        git(&job.dirs.project, &["config", "--default", "", "user.name"]),
        "",
        "clone starts from nothing"
    );
}

#[test]
fn origin_and_include_follow_the_job() {
    let job = Job::new();
    let (old, new) = (repository(job.place.path(), "old"), repository(job.place.path(), "new"));
    commit(&new, "file.txt", "moved\n");
    job.runs(get(sources(&old)));
    git(&job.dirs.project, &["config", "user.name", "kept"]);
    git(&job.dirs.project, &["config", "--unset", "include.path"]);
    job.runs(get(sources(&new)));
    assert_eq!(job.read("file.txt"), "moved\n");
    assert_eq!(git(&job.dirs.project, &["remote", "get-url", "origin"]), format!("file://{}", new.display()));
    let included = git(&job.dirs.project, &["config", "--local", "--no-includes", "include.path"]);
    assert_eq!(included, job.dirs.tmp.join(".gitlab-runner.ext.conf").display().to_string());
    job.put(".git/config", "[broken");
    job.runs(get(sources(&new)));
    assert_eq!(job.read("file.txt"), "moved\n");
}

#[test]
fn depth_can_be_taken_back() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    job.runs(get(Sources { depth: 1, ..sources(&source) }));
    assert_eq!(git(&job.dirs.project, &["rev-list", "--count", "HEAD"]), "1");
    let log = job.runs(get(Sources { depth: 0, ..sources(&source) }));
    assert!(log.starts_with("\x1b[32;1mFetching changes...\x1b[0;m\n"), "{log}");
    assert_eq!(git(&job.dirs.project, &["rev-list", "--count", "HEAD"]), "3");
}

#[test]
fn credentials_are_in_the_external_file_alone() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    // The rule sends git from a URL that does not exist to one that does: proof that it is used.
    let plain = "https://gitlab.example.invalid/group/project.git";
    let sources = Sources {
        remote_url: plain.into(),
        rewrites: [(
            "https://gitlab.example.invalid/group/project.git".to_owned(),
            Secret::new(format!("file://{}", source.display())),
        )]
        .into(),
        extra_headers: vec!["X-Gitaly-Correlation-ID: abc123".into()],
        ..sources(&source)
    };
    let log = job.runs(get(sources));
    assert!(log.starts_with("\x1b[32;1mGitaly correlation ID: abc123\x1b[0;m\n"), "{log}");
    assert_eq!(job.read("file.txt"), "version 3\n");
    let external = job.dirs.tmp.join(".gitlab-runner.ext.conf");
    assert_eq!(std::fs::metadata(&external).expect("there").permissions().mode() & 0o777, 0o600);
    let config = job.read(".git/config");
    assert!(config.contains(plain) && !config.contains("source"), "{config}");
    let project = &job.dirs.project;
    assert_eq!(git(project, &["config", "http.extraHeader"]), "X-Gitaly-Correlation-ID: abc123");
    assert_eq!(git(project, &["config", "transfer.bundleURI"]), "true");
    git(project, &["ls-remote", "origin"]);
    job.runs(vec![Op::Cleanup(Cleanup {
        file_variables: vec![],
        project: ProjectCleanup::Keep,
        clean_git_config: false,
    })]);
    assert!(!external.exists() && !job.dirs.tmp.exists());
}

#[test]
fn the_credential_helper_reads_the_environment_of_any_git_in_the_job() {
    let mut job = Job::new();
    let home = job.place.path().join("home");
    std::fs::create_dir_all(&home).expect("made");
    std::fs::write(home.join(".gitconfig"), "[user]\n\tname = somebody\n").expect("written");
    job.variables = [
        Variable::internal("CI_JOB_TOKEN", "tok-1").masked(),
        Variable::public("HOME", home.to_string_lossy()),
        Variable::public("XDG_CONFIG_HOME", ""),
    ]
    .into_iter()
    .collect();
    let source = repository(job.place.path(), "source");
    let sources = Sources {
        strategy: GitStrategy::None,
        remote_url: "https://gitlab.example.invalid/group/project.git".into(),
        credential_helper: true,
        ..sources(&source)
    };
    job.runs(get(sources.clone()));
    job.runs(get(sources));
    let env = std::fs::read_to_string(job.dirs.env_file()).expect("written");
    let seed = job.dirs.tmp.join(".glr.gconf");
    assert_eq!(env, format!("GIT_CONFIG_GLOBAL={}\n", seed.display()));
    for file in [&seed, &job.dirs.tmp.join(".gitlab-runner.ext.conf")] {
        let text = std::fs::read_to_string(file).expect("written");
        assert!(!text.contains("tok-1"), "{text}");
    }
    let output = std::process::Command::new("bash")
        .arg("-c")
        .arg("git config user.name; printf 'protocol=https\\nhost=gitlab.example.invalid\\n\\n' | git credential fill")
        .current_dir(job.place.path())
        .env("CI_JOB_TOKEN", "tok-1")
        .env("GIT_CONFIG_GLOBAL", &seed)
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .expect("bash starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("somebody\n"), "{text}");
    assert!(text.contains("username=gitlab-ci-token\n") && text.contains("password=tok-1\n"), "{text}");
}

#[test]
fn none_and_empty_leave_git_alone() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    job.put("kept.txt", "x");
    let skipped =
        "\x1b[32;1mSkipping Git checkout\x1b[0;m\n\x1b[32;1mSkipping Git submodules setup\x1b[0;m\n";
    let with = |strategy| Sources { strategy, pre: vec![script("echo no")], ..sources(&source) };
    let log = job.runs(get(with(GitStrategy::None)));
    assert_eq!(log, format!("\x1b[32;1mSkipping Git repository setup\x1b[0;m\n{skipped}"));
    assert!(job.project("kept.txt").exists() && !job.project(".git").exists());
    let log = job.runs(get(with(GitStrategy::Empty)));
    assert!(log.ends_with(skipped), "{log}");
    assert!(!job.project("kept.txt").exists() && job.dirs.project.is_dir());
}

#[test]
fn hooks_run_around_git_with_the_jobs_environment() {
    let mut job = Job::new();
    job.variables.push(Variable { file: true, ..Variable::internal("SECRET_FILE", "content") });
    job.variables.push(Variable::public("WHO", "me"));
    let source = repository(job.place.path(), "source");
    let with = Sources {
        pre: vec![script("echo before $WHO $(cat $SECRET_FILE) $(pwd)")],
        post: vec![script("cat file.txt; pwd")],
        ..sources(&source)
    };
    let log = job.runs(vec![Op::Prepare, Op::Sources(Box::new(with))]);
    let builds = job.dirs.builds.display();
    assert!(log.contains(&format!("\nbefore me content {builds}\n")), "{log}");
    assert!(log.ends_with(&format!("version 3\n{}\n", job.dirs.project.display())), "{log}");
    let (code, _) = job.run(get(Sources { pre: vec![script("exit 42")], ..sources(&source) }));
    assert_eq!(code, 42);
}

#[test]
fn git_says_what_is_wrong_and_its_code_is_the_stages() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    let gone =
        Sources { refspecs: vec!["+refs/heads/gone:refs/remotes/origin/gone".into()], ..sources(&source) };
    let (code, log) = job.run(get(gone));
    assert_eq!(code, 128, "{log}");
    assert!(log.contains("couldn't find remote ref refs/heads/gone"), "{log}");
    let (code, log) = job.run(get(Sources { sha: "--upload-pack=x".into(), ..sources(&source) }));
    assert_eq!(code, 1);
    assert!(log.contains("not a commit id"), "{log}");
}

#[test]
fn a_broken_repository_never_lets_git_look_above() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    // The builds directory lies in somebody's repository.
    git(job.place.path(), &["init", "-q", "-b", "outer"]);
    std::fs::write(job.place.path().join("precious.txt"), "x").expect("written");
    job.put(".git/HEAD", "nonsense");
    job.put("file.txt", "x");
    job.runs(vec![Op::ClearWorktree]);
    assert!(job.place.path().join("precious.txt").exists());
    assert!(!job.project("file.txt").exists());
    job.runs(get(sources(&source)));
    job.runs(vec![Op::ClearWorktree]);
    assert!(!job.project("file.txt").exists() && job.project(".git").exists());
    assert!(job.place.path().join("precious.txt").exists());
}

#[test]
fn sha256_repositories_work_and_replace_old_ones() {
    let job = Job::new();
    let old = repository(job.place.path(), "old");
    job.runs(get(sources(&old)));
    let new = job.place.path().join("new");
    std::fs::create_dir_all(&new).expect("made");
    git(&new, &["init", "-q", "-b", "main", "--object-format=sha256"]);
    commit(&new, "file.txt", "long\n");
    job.runs(get(Sources { object_format: "sha256".into(), ..sources(&new) }));
    assert_eq!(job.read("file.txt"), "long\n");
    assert_eq!(git(&job.dirs.project, &["rev-parse", "HEAD"]).len(), 64);
}

#[test]
fn objects_of_a_repository_on_this_machine_are_borrowed() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    let tip = commit(&source, "file.txt", "loose\n");
    let log = job.runs(get(sources(&source)));
    assert!(log.contains("Created fresh repository"), "{log}");
    let project = &job.dirs.project;
    assert_eq!(job.read("file.txt"), "loose\n");
    assert!(job.read(".git/objects/info/alternates").contains("source/.git/objects"));
    assert_eq!(git(project, &["rev-parse", "refs/remotes/origin/main", "HEAD"]), format!("{tip}\n{tip}"));
    assert_eq!(git(project, &["describe", "--tags"]), format!("v1-3-g{}", &tip[..7]));
    assert_eq!(git(project, &["fsck"]), "");
    assert_eq!(git(project, &["status", "--porcelain"]), "");
    // Another source in its place: the old one's objects may be gone.
    std::fs::remove_dir_all(&source).expect("removed");
    let next = repository(job.place.path(), "next");
    commit(&next, "other.txt", "next\n");
    job.put("left.txt", "x");
    job.runs(get(sources(&next)));
    assert_eq!(job.read("other.txt"), "next\n");
    assert!(!job.project("left.txt").exists());
    assert_eq!(git(project, &["status", "--porcelain"]), "");
}

#[test]
fn submodules_come_along_and_are_repaired() {
    let job = Job::new();
    let inner = repository(job.place.path(), "inner");
    let middle = repository(job.place.path(), "middle");
    git(&middle, &["submodule", "add", "-q", inner.to_str().expect("UTF-8"), "deep"]);
    git(&middle, &["commit", "-q", "-m", "deep"]);
    let source = repository(job.place.path(), "source");
    git(&source, &["submodule", "add", "-q", middle.to_str().expect("UTF-8"), "sub"]);
    git(&source, &["commit", "-q", "-m", "sub"]);
    let with = |recursive| Sources {
        submodules: Some(Submodules { recursive, depth: 0, update_flags: vec![], paths: vec![] }),
        ..sources(&source)
    };
    let log = job.runs(get(with(false)));
    assert!(log.contains("Updating/initializing submodules..."), "{log}");
    assert_eq!(job.read("sub/file.txt"), "version 3\n");
    assert!(!job.project("sub/deep/file.txt").exists());
    job.put("sub/left.txt", "x");
    job.put("sub/file.txt", "changed");
    job.put(".git/modules/sub/index.lock", "");
    let log = job.runs(get(with(true)));
    assert!(log.contains("Updating/initializing submodules recursively..."), "{log}");
    assert_eq!(job.read("sub/file.txt"), "version 3\n");
    assert_eq!(job.read("sub/deep/file.txt"), "version 3\n");
    assert!(!job.project("sub/left.txt").exists());
    for config in [".git/modules/sub/config", ".git/modules/sub/modules/deep/config"] {
        assert!(job.read(config).contains(".gitlab-runner.ext.conf"), "{config}");
    }
    job.runs(vec![Op::Cleanup(Cleanup {
        file_variables: vec![],
        project: ProjectCleanup::Reset { clean_flags: vec!["-ffdx".into()], submodules: true },
        clean_git_config: false,
    })]);
    let only = Sources {
        submodules: Some(Submodules {
            recursive: false,
            depth: 1,
            update_flags: vec!["--jobs".into(), "2".into()],
            paths: vec!["nothing".into()],
        }),
        strategy: GitStrategy::Clone,
        ..sources(&source)
    };
    let (code, log) = job.run(get(only));
    assert_eq!(code, 1, "{log}");
    assert!(
        log.contains("Updating submodules failed. Retrying...") || log.contains("did not match"),
        "{log}"
    );
}

#[test]
fn cleanup_removes_what_the_job_made() {
    let mut job = Job::new();
    job.variables.push(Variable { file: true, ..Variable::internal("F", "content") });
    let source = repository(job.place.path(), "source");
    job.runs(vec![Op::Prepare, Op::Sources(Box::new(sources(&source)))]);
    let file = job.dirs.tmp.join("F");
    assert_eq!(std::fs::read_to_string(&file).expect("written"), "content");
    let cleanup = |project| {
        vec![Op::Cleanup(Cleanup {
            file_variables: vec!["F".into(), "../../escape".into()],
            project,
            clean_git_config: true,
        })]
    };
    job.put("left.txt", "x");
    job.put("file.txt", "changed");
    std::fs::write(job.place.path().join("builds/escape"), "x").expect("written");
    job.runs(cleanup(ProjectCleanup::Reset { clean_flags: vec!["-ffdx".into()], submodules: false }));
    assert!(!file.exists() && !job.dirs.tmp.exists());
    assert!(job.place.path().join("builds/escape").exists());
    assert!(!job.project("left.txt").exists() && !job.project(".git/config").exists());
    assert_eq!(job.read("file.txt"), "version 3\n");
    job.runs(get(sources(&source)));
    job.runs(cleanup(ProjectCleanup::Delete));
    assert!(!job.dirs.project.exists());
}

/// What a hostile job leaves in its project (`$1` is a place outside, `$1/ran` tells that something of it was carried out),
/// and the next job has its sources nevertheless.
#[test]
fn nothing_that_a_job_leaves_harms_the_next_one() {
    const HOOK: &str = "#!/bin/sh\necho ran >> '%s/ran'\n";
    let mut harmed = Vec::new();
    for poison in [
        "cd ..; rm -rf project; ln -s \"$1\" project",
        "cd ..; rm -rf project; echo text > project",
        "cd ../..; mv group away; ln -s \"$1\" group",
        "cd ..; rm -rf project.tmp; ln -s \"$1\" project.tmp",
        "rm -rf .git; ln -s \"$1\" .git",
        "cp -a .git \"$1/evil\"; rm -rf .git; echo \"gitdir: $1/evil\" > .git",
        "rm .git/config; mkfifo .git/config",
        "rm .git/HEAD; mkfifo .git/HEAD",
        "rm .git/config; ln -s \"$1/keep\" .git/config",
        "rm .git/index; mkfifo .git/index",
        "rm -f .git/packed-refs; mkfifo .git/packed-refs",
        "mkfifo .git/shallow.lock .git/index.lock .git/HEAD.lock",
        "echo garbage > .git/index; echo garbage > .git/HEAD",
        "echo garbage > .git/index",
        "echo garbage > .git/HEAD",
        "rm -rf .git/objects; mkdir .git/objects",
        "rm -rf .git/refs",
        "mkdir -p .git/objects/info; echo \"$1/nowhere\" > .git/objects/info/alternates",
        "rm file.txt; ln -s \"$1/keep\" file.txt",
        "rm file.txt; mkdir -p file.txt/a/b; ln -s / file.txt/root",
        "mkdir -p .git/hooks; for name in post-checkout pre-checkout post-index-change reference-transaction post-merge; do printf \"$2\" \"$1\" > .git/hooks/$name; chmod 755 .git/hooks/$name; done",
        "mkdir h; printf \"$2\" \"$1\" > h/post-checkout; chmod 755 h/post-checkout; git config core.hooksPath \"$PWD/h\"",
        "printf \"$2\" \"$1\" > .git/evil; chmod 755 .git/evil; git config core.fsmonitor \"$PWD/.git/evil\"; git config core.sshCommand \"$PWD/.git/evil\"; git config credential.helper \"$PWD/.git/evil\"",
        "printf \"$2\" \"$1\" > .git/evil; chmod 755 .git/evil; git config filter.evil.smudge \"$PWD/.git/evil\"; mkdir -p .git/info; echo '* filter=evil' > .git/info/attributes; echo more >> file.txt",
        "git config core.worktree \"$1\"",
        "git config include.path \"$1/keep\"; git config url.\"file://$1/\".insteadOf file:///",
        "git config core.repositoryFormatVersion 1; git config extensions.objectFormat sha256",
        "git config core.bare true; git config core.sparseCheckout true",
    ] {
        let job = Job::new();
        let source = repository(job.place.path(), "source");
        let wanted = || {
            vec![Op::Prepare, Op::Sources(Box::new(Sources { clean_git_config: true, ..sources(&source) }))]
        };
        job.runs(wanted());
        let outside = job.place.path().join("outside");
        std::fs::create_dir(&outside).expect("made");
        std::fs::write(outside.join("keep"), "kept\n").expect("written");
        let hostile = std::process::Command::new("sh")
            .args(["-ec", poison, "poison"])
            .arg(&outside)
            .arg(HOOK)
            .current_dir(&job.dirs.project)
            .status()
            .expect("a shell");
        assert!(hostile.success(), "{poison}");
        // What waits for ever would otherwise only be seen as a test that never ends.
        let (tx, rx) = std::sync::mpsc::channel();
        let (code, log) = std::thread::scope(|scope| {
            scope.spawn(|| tx.send(job.run(wanted())));
            rx.recv_timeout(std::time::Duration::from_secs(120)).unwrap_or_else(|_| {
                eprintln!("{poison}: the next job hangs");
                std::process::exit(1)
            })
        });
        let ran = outside.join("ran").exists();
        let names: Vec<_> =
            std::fs::read_dir(&outside).expect("listed").flatten().map(|e| e.file_name()).collect();
        let clean = names.iter().all(|name| name == "keep" || name == "evil")
            && std::fs::read_to_string(outside.join("keep")).is_ok_and(|text| text == "kept\n");
        let file = job.project("file.txt");
        let right =
            std::fs::read_to_string(&file).is_ok_and(|text| text == "version 3\n") && !file.is_symlink();
        if code != 0
            || ran
            || !clean
            || !right
            || !git(&job.dirs.project, &["status", "--porcelain"]).is_empty()
        {
            harmed.push(format!("{poison}: code {code}, ran {ran}, outside {names:?}, right {right}\n{log}"));
        }
    }
    assert!(harmed.is_empty(), "{}", harmed.join("\n"));
}
