//! The repository's facts and the snapshot of its work tree, on real repositories.

use harrier_local::{Head, Repository, RepositoryError, Snapshot, stage};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        tree.git(&["init", "-q", "-b", "main"]);
        tree
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, args: &[&str]) -> String {
        let out = Command::new("git")
            .current_dir(self.root())
            .args([
                "-c",
                "user.name=Ann Example",
                "-c",
                "user.email=ann@example.com",
                "-c",
                "core.quotePath=false",
            ])
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git runs");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    fn snapshot(&self) -> Snapshot {
        let repo = Repository::discover(self.root()).expect("a repository");
        let at = self.root().join(".harrier/snapshot.git");
        fs::create_dir_all(self.root().join(".harrier")).expect("a directory");
        fs::write(self.root().join(".harrier/.gitignore"), "*\n").expect("a file");
        let staged = stage(&repo, &at).expect("staged");
        staged.commit(&repo, &repo.facts().expect("facts")).expect("a snapshot")
    }

    /// Files of the snapshot with their content.
    fn files(&self, snapshot: &Snapshot) -> BTreeMap<String, String> {
        let git_dir = format!("--git-dir={}", snapshot.repository.display());
        let names = self.git(&[&git_dir, "ls-tree", "-r", "--name-only", &snapshot.sha]);
        let show = |name: &str| self.git(&[&git_dir, "show", &format!("{}:{name}", snapshot.sha)]);
        names.lines().map(|name| (name.to_owned(), show(name))).collect()
    }
}

/// All that a user would call their repository: index, refs, objects, files.
fn fingerprint(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("readable").flatten() {
            let path = entry.path();
            if entry.file_name() == ".harrier" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.display().to_string(), fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

#[test]
fn a_clean_tree_is_its_own_snapshot() {
    let tree = Tree::new();
    tree.write("a.txt", "one");
    tree.commit("first");
    let snapshot = tree.snapshot();
    assert!(!snapshot.dirty);
    assert_eq!(snapshot.sha, tree.git(&["rev-parse", "HEAD"]));
    assert_eq!(tree.files(&snapshot), BTreeMap::from([("a.txt".into(), "one".into())]));
}

#[test]
fn the_commit_of_a_clean_tree_lies_in_the_snapshot_repository() {
    for packed in [false, true] {
        let tree = Tree::new();
        tree.write("a.txt", "one");
        tree.commit("first");
        if packed {
            tree.git(&["gc", "-q"]);
        }
        let snapshot = tree.snapshot();
        let own = snapshot.repository.join("objects").join(&snapshot.sha[..2]).join(&snapshot.sha[2..]);
        assert!(own.is_file(), "packed: {packed}");
        let git_dir = format!("--git-dir={}", snapshot.repository.display());
        tree.git(&[&git_dir, "fsck", "--full"]);
    }
}

#[test]
fn a_dirty_tree_is_taken_as_it_is_and_nothing_of_the_users_changes() {
    let tree = Tree::new();
    for name in ["kept", "changed", "deleted", "staged", "dir/moved"] {
        tree.write(name, "old");
    }
    tree.write(".gitignore", "ignored\n");
    tree.commit("first");
    tree.write("changed", "new");
    fs::remove_file(tree.root().join("deleted")).expect("it is there");
    tree.write("staged", "half");
    tree.git(&["add", "staged"]);
    tree.write("staged", "whole");
    tree.write("fresh/née.txt", "hello");
    tree.write("ignored", "secret");
    fs::rename(tree.root().join("dir/moved"), tree.root().join("dir/there")).expect("it is there");

    let before = fingerprint(tree.root());
    let snapshot = tree.snapshot();
    assert_eq!(fingerprint(tree.root()), before, "the user's repository was touched");

    assert!(snapshot.dirty);
    let files = tree.files(&snapshot);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, [".gitignore", "changed", "dir/there", "fresh/née.txt", "kept", "staged"]);
    assert_eq!(files["changed"], "new");
    assert_eq!(files["staged"], "whole");

    let git_dir = format!("--git-dir={}", snapshot.repository.display());
    let log = tree.git(&[&git_dir, "log", "--format=%an %s", "main"]);
    assert_eq!(log, "Ann Example first\nAnn Example first", "it bears HEAD's words and follows it");
    assert_eq!(tree.snapshot().sha, snapshot.sha, "equal trees give equal commits");
}

#[test]
fn a_change_of_equal_size_right_after_a_commit_is_seen() {
    let tree = Tree::new();
    tree.write("a", "one");
    tree.commit("first");
    for text in ["two", "six", "ten", "old"] {
        tree.write("a", text);
        assert_eq!(tree.files(&tree.snapshot())["a"], text);
    }
}

#[test]
fn a_repository_without_commits_or_remote_works() {
    let tree = Tree::new();
    tree.write("a", "one");
    let repo = Repository::discover(tree.root()).expect("a repository");
    let facts = repo.facts().expect("facts");
    assert_eq!(facts.commit, None);
    assert_eq!(facts.head, Head::Branch("main".into()));
    assert_eq!(facts.default_branch, "main");
    assert_eq!(facts.remote_url, None);
    assert_eq!(repo.change_base(&facts).expect("no fault"), None);
    let snapshot = tree.snapshot();
    assert!(snapshot.dirty);
    assert_eq!(tree.files(&snapshot), BTreeMap::from([("a".into(), "one".into())]));
}

#[test]
fn facts_come_from_the_commit_and_the_configuration() {
    let tree = Tree::new();
    tree.write("a", "one");
    tree.commit("title\n\nbody\nof two lines");
    tree.git(&["remote", "add", "backup", "https://example.org/x.git"]);
    tree.git(&["remote", "add", "origin", "git@git.example.com:group/sub/project.git"]);
    tree.git(&["checkout", "-q", "-b", "feature/x"]);
    let below = tree.root().join("deep/er");
    fs::create_dir_all(&below).expect("a directory");
    let repo = Repository::discover(&below).expect("a repository");
    assert_eq!(repo.root, tree.root());
    let facts = repo.facts().expect("facts");
    let commit = facts.commit.as_ref().expect("a commit");
    assert_eq!(commit.message.trim_end(), "title\n\nbody\nof two lines");
    assert_eq!(commit.author.name, "Ann Example");
    assert_eq!(commit.author.email, "ann@example.com");
    assert!(commit.timestamp.contains('T'), "{}", commit.timestamp);
    assert_eq!(facts.head, Head::Branch("feature/x".into()));
    assert_eq!(facts.default_branch, "main");
    assert_eq!(facts.remote_url.as_deref(), Some("git@git.example.com:group/sub/project.git"));

    tree.git(&["checkout", "-q", "--detach"]);
    assert_eq!(repo.facts().expect("facts").head, Head::Detached);
    tree.git(&["tag", "v1.0"]);
    assert_eq!(repo.facts().expect("facts").head, Head::Tag("v1.0".into()));
}

#[test]
fn a_linked_work_tree_works() {
    let tree = Tree::new();
    tree.write("a", "one");
    tree.commit("first");
    let other = tempfile::tempdir().expect("a temporary directory");
    let linked = other.path().join("linked");
    tree.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().expect("UTF-8")]);
    fs::write(linked.join("b"), "two").expect("a file");
    let repo = Repository::discover(&linked).expect("a repository");
    let facts = repo.facts().expect("facts");
    assert_eq!(facts.head, Head::Branch("side".into()));
    let snapshot = stage(&repo, &other.path().join("snapshot.git"))
        .expect("staged")
        .commit(&repo, &facts)
        .expect("a snapshot");
    assert_eq!(tree.files(&snapshot).len(), 2);
}

#[test]
fn changes_are_what_the_next_push_brings() {
    let tree = Tree::new();
    tree.write("a", "one");
    tree.commit("first");
    let repo = Repository::discover(tree.root()).expect("a repository");
    let changed = |with: Option<&str>| {
        let facts = repo.facts().expect("facts");
        let base = match with {
            Some(name) => repo.merge_base_with(name, &facts).expect("no fault"),
            None => repo.change_base(&facts).expect("no fault"),
        };
        base.map(|base| repo.changed_files(&base).expect("no fault"))
    };
    assert_eq!(changed(None), None, "the first commit has nothing before it");
    tree.write("b", "one");
    tree.commit("second");
    assert_eq!(changed(None), Some(vec!["b".into()]));
    tree.git(&["checkout", "-q", "-b", "side"]);
    tree.write("c", "one");
    tree.commit("third");
    tree.write("d", "one");
    tree.commit("fourth");
    tree.write("new", "untracked");
    fs::remove_file(tree.root().join("a")).expect("it is there");
    let want: Vec<String> = ["a", "c", "d", "new"].map(String::from).to_vec();
    assert_eq!(changed(None).as_ref(), Some(&want));
    assert_eq!(changed(Some("main")).as_ref(), Some(&want));
    assert_eq!(changed(Some("nowhere")), None);
    assert_eq!(repo.files().expect("no fault"), ["b", "c", "d", "new"]);
}

#[test]
fn outside_of_a_repository_the_message_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let error = Repository::discover(dir.path()).expect_err("there is none");
    assert!(matches!(error, RepositoryError::None { .. }));
    assert!(error.to_string().contains("git init"), "{error}");
    fs::create_dir(dir.path().join("objects")).expect("a directory");
    fs::create_dir(dir.path().join("refs")).expect("a directory");
    fs::write(dir.path().join("HEAD"), "ref: refs/heads/main\n").expect("a file");
    assert!(matches!(Repository::discover(dir.path()), Err(RepositoryError::Bare { .. })));
}
