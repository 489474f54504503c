//! Files made to explode, each with the beginning of what must be said about it. For `tests/hostile.rs`, and for
//! `examples/compile_speed.rs`, which prints how long each takes.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

pub struct Hostile {
    pub name: &'static str,
    /// The root first.
    pub files: BTreeMap<String, String>,
    /// Beginning of the first error; `None`: it is harmless, and only has to end.
    pub says: Option<&'static str>,
    /// Paths that changed.
    pub changes: Vec<String>,
}

fn one(name: &'static str, text: String, says: Option<&'static str>) -> Hostile {
    let files = BTreeMap::from([(".gitlab-ci.yml".to_owned(), text)]);
    Hostile { name, files, says, changes: Vec::new() }
}

fn times(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

fn list(count: usize, item: &str) -> String {
    vec![item; count].join(", ")
}

pub fn hostile() -> Vec<Hostile> {
    const TOO_BIG: Option<&str> = Some("The parsed YAML is too big");
    const MERGED: Option<&str> = Some("The configuration is too big");
    let mut all = Vec::new();
    let mut put = |name, text: String, says| all.push(one(name, text, says));

    let mut text = format!("a0: &a0 [{}]\n", list(10, "x"));
    for level in 1..9 {
        let _ = writeln!(text, "a{level}: &a{level} [{}]", list(10, &format!("*a{}", level - 1)));
    }
    put("aliases of aliases, 10^9 texts", text, TOO_BIG);
    let keys = times(2000, |n| format!("k{n}: 1, "));
    put("2000 merges of 2000 keys", format!("a: &a {{{keys}}}\nb:\n{}", "  <<: *a\n".repeat(2000)), TOO_BIG);
    put("lists 100,000 deep", format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000)), TOO_BIG);
    put("mappings 100,000 deep", format!("a: {}\n", "{a: ".repeat(100_000)), TOO_BIG);
    put("blocks 1,900 deep", times(1900, |n| format!("{}a:\n", " ".repeat(n))), TOO_BIG);
    put("a text of 3 MiB", format!("a: {{script: {}}}\n", "x".repeat(3 << 20)), TOO_BIG);
    put(
        "references of references, 10^9 commands",
        {
            let mut text = format!(".r0: {{s: [{}]}}\n", list(10, "x"));
            for level in 1..9 {
                let items = list(10, &format!("!reference [.r{}, s]", level - 1));
                let _ = writeln!(text, ".r{level}: {{s: [{items}]}}");
            }
            text + "j: {script: !reference [.r8, s]}\n"
        },
        MERGED,
    );
    put(
        "extends 5,000 deep",
        times(5000, |n| format!(".l{}: {{extends: .l{n}}}\n", n + 1)) + ".l0: {script: x}\n",
        Some(".l11: nesting too deep in `extends`"),
    );
    put(
        "extends of 50 bases of 50 bases, nine deep",
        {
            let mut text =
                format!(".l0: {{script: x, variables: {{{}}}}}\n", times(1000, |n| format!("V{n}: 1, ")));
            for level in 1..10 {
                let bases = list(50, &format!(".l{}", level - 1));
                let _ = writeln!(text, ".l{level}: {{extends: [{bases}]}}");
            }
            text + "j: {extends: .l9}\n"
        },
        None,
    );
    let long = "x".repeat(400_000);
    put(
        "a script of 400 kB in 1,000 jobs",
        format!(".b: {{script: [{long}]}}\n") + &times(1000, |n| format!("j{n}: {{extends: .b}}\n")),
        MERGED,
    );
    let values = |count: usize| times(count, |n| format!("{n}, "));
    put(
        "a matrix of 10^6 jobs",
        format!("a: {{script: x, parallel: {{matrix: [{{A: [{0}], B: [{0}], C: [{0}]}}]}}}}\n", values(100)),
        Some("jobs:a:parallel:matrix config generates too many jobs"),
    );
    put(
        "a matrix of 10^60 jobs",
        format!(
            "a: {{script: x, parallel: {{matrix: [{{{}}}]}}}}\n",
            times(30, |n| format!("K{n}: [{}], ", values(100)))
        ),
        Some("jobs:a:parallel:matrix config generates too many jobs"),
    );
    put(
        "60,000 jobs that need one that needs all",
        times(60_000, |n| format!("j{n}: {{script: x, needs: [k]}}\n"))
            + &format!("k: {{script: x, needs: [{}]}}\n", times(60_000, |n| format!("j{n}, "))),
        TOO_BIG,
    );
    put(
        "20,000 jobs and one that needs all",
        times(20_000, |n| format!("j{n}: {{script: x, stage: build}}\n"))
            + &format!("k: {{script: x, needs: [{}]}}\n", times(20_000, |n| format!("j{n}, "))),
        Some("k: one job can only need 50 others"),
    );
    put(
        "10,000 jobs, each needs the fifty before",
        times(10_000, |n| {
            let needs: String = (n.saturating_sub(50)..n).map(|m| format!("j{m},")).collect();
            format!("j{n}: {{script: x, needs: [{needs}]}}\n")
        }),
        TOO_BIG,
    );
    put(
        "3,000 jobs in a circle of needs",
        times(3000, |n| format!("j{n}: {{script: x, needs: [j{}]}}\n", (n + 1) % 3000)),
        Some("The pipeline has circular dependencies"),
    );
    put(
        "a regular expression that repeats 10^9 times",
        "a: {script: x, rules: [{if: '$X =~ /((a{1000}){1000}){1000}/'}]}\n".into(),
        Some("jobs:a:rules:rule if invalid expression syntax"),
    );
    put(
        "a regular expression 100,000 brackets deep",
        format!(
            "a: {{script: x, rules: [{{if: '$X =~ /{}a{}/'}}]}}\n",
            "(".repeat(100_000),
            ")".repeat(100_000)
        ),
        Some("jobs:a:rules:rule if invalid expression syntax"),
    );
    put(
        "backtracking on a value of 100 kB",
        format!(
            "variables: {{X: {}}}\na: {{script: x, rules: [{{if: '$X =~ /^(a+)+$/ || $X =~ /(a|aa)+b/ || $X =~ /(a*)*b/'}}]}}\n",
            "a".repeat(100_000)
        ),
        None,
    );
    put(
        "an expression of 300,000 brackets",
        format!("a: {{script: x, rules: [{{if: '{}'}}]}}\n", "(".repeat(300_000)),
        Some("jobs:a:rules:rule if invalid expression syntax"),
    );
    put(
        "variables that double forty times",
        "variables:\n  V0: xxxxxxxxxxxxxxxx\n".to_owned()
            + &times(40, |n| format!("  V{}: $V{n}$V{n}\n", n + 1))
            + "a: {script: x, tags: [$V40], rules: [{if: '$V40 == \"x\"'}, {when: always}]}\n",
        None,
    );
    put(
        "1,000 variables in a chain, in 100 jobs",
        "variables:\n  V0: x\n".to_owned()
            + &times(1000, |n| format!("  V{}: $V{n}\n", n + 1))
            + &times(100, |n| format!("j{n}: {{script: x, tags: [$V1000]}}\n")),
        None,
    );
    put(
        "an input spliced 10^5 times",
        format!("spec:\n  inputs: {{l: {{type: array, default: [{}]}}}}\n---\n", list(2000, "x"))
            + &format!("j: {{script: [{}]}}\n", list(2000, "'$[[ inputs.l ]]'")),
        Some(""),
    );
    put(
        "20,000 different blocks",
        "spec:\n  inputs: {a: {default: x}}\n---\nj:\n  script:\n".to_owned()
            + &times(20_000, |n| format!("    - $[[ inputs.a | truncate(0,{n}) ]]\n")),
        Some(""),
    );
    let braces = "{a,b}".repeat(40);
    let mut globs = one(
        "globs of 2^40 alternatives and of many stars",
        format!(
            "a: {{script: x, rules: [{{changes: ['{braces}', '{}b', '{}x']}}]}}\nb: {{script: x}}\n",
            "*a".repeat(2000),
            "**/a*/".repeat(500)
        ),
        None,
    );
    globs.changes = (0..300).map(|n| format!("{}{n}", "aaaaaaaa/".repeat(100))).collect();
    let mut compared = one(
        "1,000 jobs with 50 patterns each, 1,000 changed files",
        times(1000, |n| {
            let patterns = times(50, |m| format!("'**/d{n}/**/*{m}x',"));
            format!("j{n}: {{script: x, rules: [{{changes: [{patterns}]}}]}}\n")
        }) + "k: {script: x}\n",
        Some("The rules have too many patterns"),
    );
    compared.changes = (0..1000).map(|n| format!("a/b{n}/c/d/e/f{n}.rs")).collect();
    let mut chain: BTreeMap<String, String> =
        (0..1000).map(|n| (format!("c{n}.yml"), format!("include: c{}.yml\n", n + 1))).collect();
    chain.insert(".gitlab-ci.yml".into(), "include: c0.yml\nj: {script: x}\n".into());
    let mut doubled: BTreeMap<String, String> = (0..100)
        .map(|n| (format!("c{n}.yml"), format!("include: [c{0}.yml, c{0}.yml]\n", (n + 1) % 100)))
        .collect();
    doubled.insert(".gitlab-ci.yml".into(), "include: c0.yml\nj: {script: x}\n".into());
    let mut fat = BTreeMap::from([("f.yml".to_owned(), format!(".h: {{a: {}}}\n", "x".repeat(200_000)))]);
    fat.insert(".gitlab-ci.yml".into(), format!("include: [{}]\nj: {{script: x}}\n", list(150, "f.yml")));
    const LIMIT: Option<&str> = Some("Maximum of 150 nested includes are allowed!");
    all.push(globs);
    all.push(compared);
    for (name, files, says) in [
        ("includes 1,000 deep", chain, LIMIT),
        ("includes that double 100 times", doubled, LIMIT),
        ("150 includes of 200 kB", fat, None),
    ] {
        all.push(Hostile { name, files, says, changes: Vec::new() });
    }
    all
}
