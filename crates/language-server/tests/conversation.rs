//! What an editor asks and what it gets, with files in memory.

#![allow(clippy::unwrap_used)]

use harrier_language_server::{Analysis, Server, World};
use harrier_pipeline::{Context, FetchError, IncludeSource, RunKind, SourceFile, compile};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A repository at `/r`.
struct Memory {
    files: HashMap<String, String>,
    names: Vec<String>,
}

impl Memory {
    fn new(files: &[(&str, &str)]) -> Self {
        let files: HashMap<String, String> =
            files.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let mut names: Vec<String> = files.keys().cloned().collect();
        names.sort();
        Self { files, names }
    }
}

struct Files<'m> {
    memory: &'m Memory,
    unsaved: &'m HashMap<PathBuf, String>,
}

impl IncludeSource for Files<'_> {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        let open = self.unsaved.get(&Path::new("/r").join(path));
        open.or_else(|| self.memory.files.get(path)).cloned().ok_or(FetchError::NotFound)
    }

    fn files(&self) -> &[String] {
        &self.memory.names
    }

    fn changed_since(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

impl World for Memory {
    fn compile(
        &mut self,
        _: &Path,
        root_file: Option<&Path>,
        unsaved: &HashMap<PathBuf, String>,
    ) -> Result<Analysis, String> {
        let name = match root_file {
            None => ".gitlab-ci.yml".to_owned(),
            Some(path) => path.strip_prefix("/r").unwrap().display().to_string(),
        };
        let files = Files { memory: self, unsaved };
        let text = files.local(&name).map_err(|error| error.to_string())?;
        let cx = Context { run: RunKind::default(), ..Context::default() };
        let compiled = compile(SourceFile { name, text }, &files, &cx);
        let root = PathBuf::from("/r");
        let files = compiled.sources.names().map(|name| (name.to_owned(), root.join(name))).collect();
        Ok(Analysis { compiled, root, files })
    }

    fn refresh(&mut self) {}

    fn includable(&mut self, _: &Path) -> Vec<String> {
        self.names.clone()
    }
}

struct Talk {
    server: Server,
    world: Memory,
}

impl Talk {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut talk = Self { server: Server::new(), world: Memory::new(files) };
        talk.ask("initialize", json!({}));
        talk
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut answers = self.server.receive(&message, &mut self.world);
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    fn tell(&mut self, method: &str, params: Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        assert!(self.server.receive(&message, &mut self.world).is_empty());
    }

    fn open(&mut self, name: &str, text: &str) {
        let uri = format!("file:///r/{name}");
        let document = json!({"uri": uri, "text": text, "version": 1, "languageId": "yaml"});
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    fn change(&mut self, changes: Value) {
        let document = json!({"uri": "file:///r/.gitlab-ci.yml"});
        self.tell("textDocument/didChange", json!({"textDocument": document, "contentChanges": changes}));
    }

    /// Diagnostics by file.
    fn settle(&mut self) -> HashMap<String, Vec<Value>> {
        let sent = self.server.settle(&mut self.world);
        sent.iter()
            .map(|message| {
                assert_eq!(message["method"], "textDocument/publishDiagnostics");
                let params = &message["params"];
                let name = params["uri"].as_str().unwrap().strip_prefix("file:///r/").unwrap().to_owned();
                (name, params["diagnostics"].as_array().unwrap().clone())
            })
            .collect()
    }

    /// A question where `|` is in the text.
    fn at(&mut self, method: &str, name: &str, marked: &str) -> Value {
        let before = &marked[..marked.find('|').unwrap()];
        let line = before.matches('\n').count();
        let character = before.rsplit('\n').next().unwrap().encode_utf16().count();
        self.open(name, &marked.replacen('|', "", 1));
        let position = json!({"line": line, "character": character});
        let uri = format!("file:///r/{name}");
        let params = json!({"textDocument": {"uri": uri}, "position": position});
        self.ask(&format!("textDocument/{method}"), params)["result"].clone()
    }

    fn labels(&mut self, marked: &str) -> Vec<String> {
        let found = self.at("completion", ".gitlab-ci.yml", marked);
        let items = found["items"].as_array().unwrap();
        items.iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }

    /// `file:line:character` of each place.
    fn places(&mut self, marked: &str) -> Vec<String> {
        let found = self.at("definition", ".gitlab-ci.yml", marked);
        let places = found.as_array().cloned().unwrap_or_default();
        let shown = places.iter().map(|place| {
            let start = &place["range"]["start"];
            let file = place["uri"].as_str().unwrap().strip_prefix("file:///r/").unwrap().to_owned();
            format!("{file}:{}:{}", start["line"], start["character"])
        });
        shown.collect()
    }

    fn hover(&mut self, marked: &str) -> String {
        let found = self.at("hover", ".gitlab-ci.yml", marked);
        found["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }
}

const BASE: &str = ".base:\n  retry: 1\n  script: [a]\n";

#[test]
fn diagnostics_follow_the_text_and_its_includes() {
    let mut talk = Talk::new(&[("ci/base.yml", BASE)]);
    talk.open(".gitlab-ci.yml", "include: ci/base.yml\n\"😀\": {extends: .base}\n");
    assert_eq!(talk.settle(), HashMap::from([(".gitlab-ci.yml".to_owned(), Vec::new())]));
    // A fault of an included file is shown there, unsaved as it is.
    talk.open("ci/base.yml", ".base:\n  retry: 9\n  script: [a]\n");
    let found = talk.settle();
    let fault = &found["ci/base.yml"][0];
    let range = json!({"start": {"line": 1, "character": 9}, "end": {"line": 1, "character": 10}});
    assert_eq!(fault["range"], range);
    assert_eq!(fault["severity"], 1);
    let related = fault["relatedInformation"].as_array().unwrap();
    let related: Vec<&str> = related.iter().map(|r| r["message"].as_str().unwrap()).collect();
    assert!(
        related.contains(&"`.base` is extended here") && related.contains(&"included here"),
        "{related:?}"
    );
    // Positions count UTF-16 units.
    talk.change(json!([{"text": "\"😀\": {script: a, tagz: b}\n"}]));
    let found = talk.settle();
    assert_eq!(found[".gitlab-ci.yml"][0]["range"]["start"], json!({"line": 0, "character": 18}));
    // No longer included, the other file stands for itself.
    assert!(found["ci/base.yml"][0]["message"].as_str().unwrap().contains("visible job"), "{found:?}");
    talk.tell("textDocument/didClose", json!({"textDocument": {"uri": "file:///r/ci/base.yml"}}));
    assert_eq!(talk.settle()["ci/base.yml"], Vec::<Value>::new());
}

#[test]
fn changes_of_a_range() {
    let mut talk = Talk::new(&[]);
    talk.open(".gitlab-ci.yml", "j:\n  script: \"😀\"\n  tagz: []\n");
    let position = |line: u32, character: u32| json!({"line": line, "character": character});
    talk.change(json!([
        {"range": {"start": position(2, 5), "end": position(2, 6)}, "text": "s"},
        {"range": {"start": position(1, 13), "end": position(1, 13)}, "text": "x"},
    ]));
    assert_eq!(talk.settle()[".gitlab-ci.yml"], Vec::<Value>::new());
}

#[test]
fn completion() {
    let mut talk = Talk::new(&[("ci/base.yml", BASE), ("README.md", "")]);
    let has = |labels: &[String], wanted: &[&str], unwanted: &[&str]| {
        for name in wanted {
            assert!(labels.iter().any(|label| label == name), "{name} in {labels:?}");
        }
        for name in unwanted {
            assert!(!labels.iter().any(|label| label == name), "{name} not in {labels:?}");
        }
    };
    let head = "include: ci/base.yml\nstages: [one, two]\na:\n  stage: one\n  script: x\n";
    for (rest, wanted, unwanted) in [
        ("|", &["default", "workflow"][..], &["script", "stages"][..]),
        ("b:\n  script: x\n  |", &["stage", "needs"], &["script", "stages"]),
        ("b:\n  stage: |", &["one", "two", ".post"], &["a"]),
        ("b:\n  needs: [|", &["a"], &["b", ".base"]),
        ("b:\n  needs:\n    - |", &["a", "job", "optional"], &["b"]),
        ("b:\n  extends: |", &["a", ".base"], &[]),
        ("b:\n  script: !reference [.base, |]", &["retry", "script"], &["a"]),
        ("b:\n  script: !reference [|", &[".base", "a"], &[]),
        ("b:\n  when: |", &["manual", "delayed"], &["never"]),
        ("b:\n  rules:\n    - if: $A\n      when: |", &["never"], &[]),
        ("b:\n  artifacts:\n    |", &["paths", "reports"], &["script"]),
    ] {
        has(&talk.labels(&format!("{head}{rest}")), wanted, unwanted);
    }
    has(&talk.labels("include:\n  - local: |"), &["ci/base.yml"], &[]);
    has(&talk.labels("include: |"), &["ci/base.yml"], &[]);
}

#[test]
fn definitions() {
    let mut talk = Talk::new(&[("ci/base.yml", BASE)]);
    let head = "include: ci/base.yml\nstages: [one, two]\na: &x\n  stage: one\n  script: x\n";
    for (rest, want) in [
        ("b:\n  extends: .ba|se", "ci/base.yml:0:0"),
        ("b: {script: x, needs: [a|]}", ".gitlab-ci.yml:2:0"),
        ("b:\n  script: x\n  needs:\n    - job: a|", ".gitlab-ci.yml:2:0"),
        ("b: {script: x, dependencies: [|a]}", ".gitlab-ci.yml:2:0"),
        ("b: {script: x, stage: t|wo}", ".gitlab-ci.yml:1:14"),
        ("b:\n  script:\n    - !reference [.base, scr|ipt]", "ci/base.yml:2:2"),
        ("b:\n  script:\n    - !reference [.ba|se, script]", "ci/base.yml:0:0"),
        ("b:\n  <<: *|x", ".gitlab-ci.yml:2:3"),
    ] {
        assert_eq!(talk.places(&format!("{head}{rest}")), [want], "{rest}");
    }
    for text in [
        "include: ci/ba|se.yml\na: {extends: .base}\n",
        "include:\n  - local: /ci/ba|se.yml\na: {extends: .base}\n",
        // While the text is broken, the last whole one answers.
        "include: ci/base.yml\na: {extends: .ba|se}\nb: [\n",
    ] {
        assert_eq!(talk.places(text), ["ci/base.yml:0:0"], "{text}");
    }
    assert_eq!(talk.places("b: {scri|pt: x}"), Vec::<String>::new());
}

#[test]
fn hover() {
    let mut talk = Talk::new(&[("ci/base.yml", BASE)]);
    for (marked, wanted) in [
        (
            "include: ci/base.yml\na:\n  extends: .base\n  ret|ry: 2\n",
            &["**retry**: How often", "\n2\n", "from .gitlab-ci.yml:4"][..],
        ),
        ("include: ci/base.yml\nb:\n  extends: .b|ase\n", &["**.base** ci/base.yml:1"]),
        ("include: ci/base.yml\nb|b:\n  extends: .base\n", &["`bb`: stage test, on_success"]),
        (
            "include: ci/base.yml\nb:\n  script: !reference [.base, scr|ipt]\n",
            &["- a", "from ci/base.yml:3, included at .gitlab-ci.yml:1"],
        ),
        ("sta|ges: [a]\n", &["**stages**"]),
    ] {
        let text = talk.hover(marked);
        for part in wanted {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn symbols_and_manners() {
    let mut talk = Talk::new(&[]);
    talk.open(".gitlab-ci.yml", "stages: [a]\n# x\n\"b c\":\n  stage: a\n  script: x\n\nd:\n  script: y\n");
    let params = json!({"textDocument": {"uri": "file:///r/.gitlab-ci.yml"}});
    let found = talk.ask("textDocument/documentSymbol", params)["result"].clone();
    let shown: Vec<String> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|s| format!("{} {}-{}", s["name"], s["range"]["start"]["line"], s["range"]["end"]["line"]))
        .collect();
    assert_eq!(shown, ["\"stages\" 0-1", "\"b c\" 2-5", "\"d\" 6-8"]);
    assert_eq!(talk.ask("textDocument/unknown", json!({}))["error"]["code"], -32601);
    let closed = json!({"textDocument": {"uri": "file:///r/x"}});
    assert_eq!(talk.ask("textDocument/hover", closed)["error"]["code"], -32602);
    talk.tell("$/whatever", json!({}));
    assert_eq!(talk.ask("shutdown", Value::Null)["result"], Value::Null);
    assert_eq!(talk.ask("textDocument/hover", json!({}))["error"]["code"], -32600);
    talk.tell("exit", Value::Null);
    assert_eq!(talk.server.exit(), Some(0));
    let mut fresh = Server::new();
    let mut world = Memory::new(&[]);
    let early = fresh.receive(&json!({"id": 1, "method": "textDocument/hover"}), &mut world);
    assert_eq!(early[0]["error"]["code"], -32002);
    assert_eq!(fresh.receive(&Value::Null, &mut world)[0]["error"]["code"], -32600);
    fresh.receive(&json!({"method": "exit"}), &mut world);
    assert_eq!(fresh.exit(), Some(1));
}

const SEED: &str = "include: [ci/base.yml, {local: 'x.yml'}]\nstages: [one, two]\nvariables:\n  \"ä😀\": $X\n.b: &b\n  script:\n  - \
                    !reference [.base, script]\n  - |\n    a: b\n      c\n\"j: 😀\":\n  <<: *b\n  extends: [.b, .base]\n  needs: [{job: k, \
                    optional: true}, 'l m']\n  rules:\n    - if: $A # x\n      when: manual\n  image: {name: a, entrypoint: ['']}\nk: {stage: \
                    one, script: [a, [b]], environment: {on_stop: l}}\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    /// No text, at no place of the cursor, makes any request panic.
    #[test]
    fn nothing_panics(
        edits in prop::collection::vec((0..700usize, 0..4usize, 0..9usize, "[\\PC\n\t]{1,3}"), 0..5),
        places in prop::collection::vec((0..30u32, 0..60u32), 8),
    ) {
        const SPLICES: [&str; 9] = ["&a ", "*a", "<<: ", "!reference [", "[", "{", ": ", "\n  - ", "\r\n"];
        let mut text: Vec<char> = SEED.chars().collect();
        for (at, kind, splice, random) in edits {
            let at = at % (text.len() + 1);
            match kind {
                0 => text.truncate(at),
                1 => { text.splice(at..(at + splice).min(text.len()), []); }
                2 => { text.splice(at..at, random.chars()); }
                _ => { text.splice(at..at, SPLICES[splice].chars()); }
            }
        }
        let text: String = text.into_iter().collect();
        let mut talk = Talk::new(&[("ci/base.yml", BASE)]);
        talk.open(".gitlab-ci.yml", &text);
        talk.settle();
        let document = json!({"uri": "file:///r/.gitlab-ci.yml"});
        for (line, character) in places {
            for method in ["hover", "definition", "completion", "documentSymbol"] {
                let position = json!({"line": line, "character": character});
                let params = json!({"textDocument": document, "position": position});
                talk.ask(&format!("textDocument/{method}"), params);
            }
            let start = json!({"line": line, "character": character});
            let end = json!({"line": character, "character": line});
            talk.change(json!([{"range": {"start": start, "end": end}, "text": "x"}]));
        }
        talk.settle();
    }
}
