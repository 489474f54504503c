//! The pages of the book: all in the table of contents, no dead link, every quoted message one that is printed, and the same
//! pages in `harrier help`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pages() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("docs")).expect("docs/ is there");
    let names =
        entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    names.sort();
    names
}

/// `[label](target)` outside of code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let mut rest = outside.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            links.push((number + 1, target.to_owned()));
            rest = after;
        }
    }
    links
}

#[test]
fn the_table_of_contents_lists_every_page_once() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let listed: Vec<String> = links(&summary).into_iter().map(|(_, target)| target).collect();
    let mut sorted = listed.clone();
    sorted.sort();
    let pages: Vec<String> = pages().into_iter().filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(sorted, pages, "docs/SUMMARY.md (left) and the pages of docs/ (right)");
    let help = help(&[]);
    let said = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, topics) = said.split_once("Topics of").expect("a list of topics");
    let topics: Vec<&str> =
        topics.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let stems: Vec<&str> = listed.iter().filter_map(|page| page.strip_suffix(".md")).collect();
    assert_eq!(topics, stems, "the topics of `harrier help` and docs/SUMMARY.md");
}

#[test]
fn no_link_is_dead() {
    let top = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "ARCHITECTURE.md"].map(str::to_owned);
    let mut dead = Vec::new();
    for page in pages().into_iter().map(|name| format!("docs/{name}")).chain(top) {
        let path = root().join(&page);
        for (line, target) in links(&read(&path)) {
            if target.starts_with("http") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let aimed =
                if file.is_empty() { path.clone() } else { path.parent().expect("a directory").join(file) };
            let is_there = aimed.exists() && (anchor.is_empty() || anchors(&read(&aimed)).contains(anchor));
            if !is_there {
                dead.push(format!("{page}:{line}: {target}"));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
}

/// As mdBook and code hosts make them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings
        .map(|heading| {
            let kept = heading.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The texts of all sources, with the line breaks of long strings taken out.
fn sources() -> String {
    let mut out = String::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a directory") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let mut rest = read(&path);
                while let Some(at) = rest.find("\\\n") {
                    out.push_str(&rest[..at]);
                    rest = rest[at + 2..].trim_start().to_owned();
                }
                out.push_str(&rest);
            }
        }
    }
    out.replace("\\\"", "\"")
}

/// Messages of other programs that a page quotes within ours.
const OF_OTHERS: &[&str] = &["no basic auth credentials"];

#[test]
fn a_message_that_is_explained_is_one_that_is_printed() {
    let page = read(&root().join("docs/troubleshooting.md"));
    let sources = sources();
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    let nearby = page.lines().filter_map(|line| line.strip_prefix("- `"));
    let mut quoted: Vec<String> = headings
        .map(|heading| {
            let inner = heading.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
            inner.unwrap_or_else(|| panic!("{heading}: put the message between backticks")).to_owned()
        })
        .collect();
    quoted.extend(nearby.filter_map(|line| line.split('`').next()).map(str::to_owned));
    assert!(quoted.len() > 30, "{quoted:?}");
    for message in quoted {
        let parts =
            message.split('…').map(|part| part.trim_matches([' ', ':'])).filter(|part| part.len() > 2);
        let mut long = 0;
        for part in parts {
            assert!(
                sources.contains(part) || OF_OTHERS.contains(&part),
                "{part:?} of {message:?} is nowhere in the sources"
            );
            long = long.max(part.len());
        }
        assert!(long > 8, "{message:?} says too little to be found");
    }
}

/// What a page names as held by a test is there.
#[test]
fn tests_that_are_named_are_there() {
    let page = read(&root().join("docs/faults.md"));
    let mut found = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in last.split('`').skip(1).step_by(2) {
            let path = if name.contains("crates/") {
                root().join(name)
            } else {
                root().join("crates/harrier/tests").join(name)
            };
            assert!(path.exists(), "{name}");
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}

fn help(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harrier")).arg("help").args(words).output().expect("it runs")
}

#[test]
fn help_shows_commands_as_before_and_topics() {
    let said = |words: &[&str]| {
        let output = help(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(said(&[]).contains("Usage: harrier <COMMAND>"));
    assert!(said(&["run"]).contains("Usage: harrier run [OPTIONS] [JOB]..."));
    assert!(
        said(&["admin", "user", "add"]).contains("Usage: harrier admin user add"),
        "{}",
        said(&["admin", "user", "add"])
    );
    assert!(said(&["runner", "register"]).contains("--non-interactive"));
    let topic = said(&["troubleshooting"]);
    assert!(topic.starts_with("Troubleshooting by message\n"), "{topic}");
    assert!(!topic.contains("<!--") && !topic.contains("```") && !topic.contains('\x1b'), "{topic}");
    assert!(topic.lines().all(|line| line.chars().count() <= 100 || line.starts_with("    ")), "{topic}");
    for (words, says) in
        [(&["nothing"][..], "no command and no topic `nothing`"), (&["run", "x"], "has no command `x`")]
    {
        let output = help(words);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(says));
    }
}
