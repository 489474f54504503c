//! `harrier lsp` over real standard input and output.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
    /// Notifications that came while an answer was awaited.
    told: Vec<Value>,
}

impl Client {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_harrier"))
            .current_dir(dir)
            .args(["lsp", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("harrier starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut client = Self { child, input, output, next: 0, told: Vec::new() };
        let answer =
            client.ask("initialize", json!({"processId": null, "rootUri": null, "capabilities": {}}));
        assert_eq!(answer["result"]["capabilities"]["hoverProvider"], true);
        client.tell("initialized", json!({}));
        client
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("it reads");
        self.input.flush().expect("it reads");
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("a header") > 0, "the server has ended");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut bytes = vec![0; length];
        self.output.read_exact(&mut bytes).expect("a message");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let message = self.receive();
            if message["id"] == id {
                return message;
            }
            self.told.push(message);
        }
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// The next diagnostics of a file.
    fn diagnostics(&mut self, uri: &str) -> Vec<Value> {
        loop {
            let message = if self.told.is_empty() { self.receive() } else { self.told.remove(0) };
            if message["params"]["uri"] == uri {
                return message["params"]["diagnostics"].as_array().expect("a list").clone();
            }
        }
    }

    fn end(mut self) {
        assert_eq!(self.ask("shutdown", Value::Null)["result"], Value::Null);
        self.tell("exit", Value::Null);
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn an_editor_at_work() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().canonicalize().expect("a path");
    fs::create_dir_all(root.join("ci files")).expect("a directory");
    let file = root.join(".gitlab-ci.yml");
    fs::write(&file, "include: ci files/base.yml\njob: {extends: .base}\n").expect("a file");
    fs::write(root.join("ci files/base.yml"), ".base:\n  script: [a]\n").expect("a file");
    let out = Command::new("git").current_dir(&root).args(["init", "-q"]).output().expect("git runs");
    assert!(out.status.success());
    let uri = format!("file://{}", file.display());
    let base = format!("file://{}/ci%20files/base.yml", root.display());

    let mut client = Client::start(&root);
    let text = fs::read_to_string(&file).expect("a file");
    let document = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": text});
    client.tell("textDocument/didOpen", json!({ "textDocument": document }));
    assert_eq!(client.diagnostics(&uri), Vec::<Value>::new());

    // What is typed counts, not what is on the disk.
    let text = "include: ci files/base.yml\njob: {extends: .bas}\n";
    client.tell(
        "textDocument/didChange",
        json!({"textDocument": {"uri": uri, "version": 2}, "contentChanges": [{"text": text}]}),
    );
    let found = client.diagnostics(&uri);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0]["message"].as_str().is_some_and(|m| m.contains("did you mean `.base`?")), "{found:?}");
    assert_eq!(found[0]["range"]["start"], json!({"line": 1, "character": 15}));

    let here = json!({"textDocument": {"uri": uri}, "position": {"line": 1, "character": 17}});
    let answer = client.ask("textDocument/completion", here);
    let items = answer["result"]["items"].as_array().expect("a list").clone();
    assert!(items.iter().any(|item| item["label"] == ".base"), "{items:?}");
    let here = json!({"textDocument": {"uri": uri}, "position": {"line": 0, "character": 14}});
    let answer = client.ask("textDocument/definition", here.clone());
    assert_eq!(answer["result"][0]["uri"], base);
    let answer = client.ask("textDocument/hover", here);
    assert!(answer["result"]["contents"]["value"].as_str().is_some_and(|text| text.contains("include")));
    assert_eq!(client.ask("no/such/thing", json!({}))["error"]["code"], -32601);
    client.end();
}

#[test]
fn nonsense_and_silence_end_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (input, code) in [("hello\r\n\r\n", 2), ("", 1)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_harrier"))
            .current_dir(dir.path())
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("harrier starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "{input:?}");
    }
}
