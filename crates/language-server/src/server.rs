//! The conversation with the editor: requests in, answers and diagnostics out. Called by the host, one message at a time.

use crate::complete::{Names, proposals};
use crate::cursor::{Cursor, cursor};
use crate::keywords::about;
use crate::text::{chars_before, lines, utf16_before};
use crate::uri;
use harrier_pipeline::{Compiled, Diagnostic, Filtered, Origin, Place, Severity, Way};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A compiled configuration and where its files are.
pub struct Analysis {
    /// What the compiler made of it.
    pub compiled: Compiled,
    /// Directory in which local includes begin.
    pub root: PathBuf,
    /// Paths of the files it was made from, by their names in messages; files from elsewhere have none.
    pub files: HashMap<String, PathBuf>,
}

/// What the server needs of the world.
pub trait World {
    /// Compiles the configuration of the repository around `near`, or `root_file` of it as a configuration of its own. `unsaved` has
    /// texts in place of files, by their whole paths. The error is for a person.
    fn compile(
        &mut self,
        near: &Path,
        root_file: Option<&Path>,
        unsaved: &HashMap<PathBuf, String>,
    ) -> Result<Analysis, String>;

    /// Files from elsewhere are to be fetched again.
    fn refresh(&mut self);

    /// The files that an `include` could name, from the root.
    fn includable(&mut self, root: &Path) -> Vec<String>;
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begin,
    Running,
    ShutDown,
}

/// The language server. It holds the texts that are open in the editor.
pub struct Server {
    phase: Phase,
    open: HashMap<PathBuf, String>,
    /// How the editor calls each open file.
    names: HashMap<PathBuf, String>,
    /// Files whose diagnostics are out of date.
    stale: BTreeSet<PathBuf>,
    analyses: HashMap<PathBuf, Rc<Analysis>>,
    /// The last one whose files could all be read, for questions about a text that is being typed.
    whole: HashMap<PathBuf, Rc<Analysis>>,
    /// Files with diagnostics in the editor, by the open file they belong to.
    published: HashMap<PathBuf, BTreeSet<PathBuf>>,
    exit: Option<u8>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            phase: Phase::Begin,
            open: HashMap::new(),
            names: HashMap::new(),
            stale: BTreeSet::new(),
            analyses: HashMap::new(),
            whole: HashMap::new(),
            published: HashMap::new(),
            exit: None,
        }
    }
}

const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_REQUEST: i32 = -32600;
const INVALID_PARAMS: i32 = -32602;
const NOT_INITIALIZED: i32 = -32002;
/// For a request that could not be answered because of a fault of the server.
const INTERNAL_ERROR: i32 = -32603;

/// The answer that something went wrong.
fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

impl Server {
    /// Nothing is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// The exit code, once the editor has asked for the end.
    pub fn exit(&self) -> Option<u8> {
        self.exit
    }

    /// The answer to a request in which the server itself failed; `None` if the message wants no answer.
    pub fn apology(message: &Value) -> Option<Value> {
        let id = message.get("id").filter(|_| message.get("method").is_some())?;
        Some(failure(id, INTERNAL_ERROR, "this request failed inside of the language server"))
    }

    /// Takes one message; gives what is to be sent.
    pub fn receive(&mut self, message: &Value, world: &mut dyn World) -> Vec<Value> {
        let Some(method) = message.get("method").and_then(Value::as_str) else {
            // An answer to us, or nothing that can be understood.
            let known = message.get("result").is_some() || message.get("error").is_some();
            return if known {
                Vec::new()
            } else {
                vec![failure(&Value::Null, INVALID_REQUEST, "no request")]
            };
        };
        let params = message.get("params").unwrap_or(&Value::Null);
        match message.get("id") {
            Some(id) => vec![match self.request(method, params, world) {
                Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
                Err((code, text)) => failure(id, code, &text),
            }],
            None => {
                // Who saves wants to know how things are now.
                if method == "textDocument/didSave" {
                    world.refresh();
                }
                self.notification(method, params);
                Vec::new()
            }
        }
    }

    /// Compiles what has changed; gives the diagnostics to be sent.
    pub fn settle(&mut self, world: &mut dyn World) -> Vec<Value> {
        let stale: Vec<PathBuf> = std::mem::take(&mut self.stale).into_iter().collect();
        let mut out = Vec::new();
        for path in stale {
            if self.open.contains_key(&path) {
                let analysis = self.compile(&path, world);
                self.publish(&path, analysis, &mut out);
            } else {
                self.forget(&path, &mut out);
            }
        }
        out
    }

    fn notification(&mut self, method: &str, params: &Value) {
        let document = &params["textDocument"];
        let path = document["uri"].as_str().and_then(uri::path);
        match (method, path) {
            ("exit", _) => self.exit = Some(if self.phase == Phase::ShutDown { 0 } else { 1 }),
            ("textDocument/didOpen", Some(path)) => {
                if let (Some(text), Some(name)) = (document["text"].as_str(), document["uri"].as_str()) {
                    self.names.insert(path.clone(), name.to_owned());
                    self.open.insert(path, text.to_owned());
                    self.all_stale();
                }
            }
            ("textDocument/didChange", Some(path)) => {
                let changes = params["contentChanges"].as_array().map(Vec::as_slice).unwrap_or_default();
                if let Some(text) = self.open.get_mut(&path) {
                    for change in changes {
                        apply(text, change);
                    }
                    self.all_stale();
                }
            }
            ("textDocument/didClose", Some(path)) => {
                self.open.remove(&path);
                self.stale.insert(path);
                self.all_stale();
            }
            ("textDocument/didSave" | "workspace/didChangeWatchedFiles", _) => self.all_stale(),
            _ => {}
        }
    }

    /// Any file may include any other.
    fn all_stale(&mut self) {
        self.analyses.clear();
        self.stale.extend(self.open.keys().cloned());
    }

    fn request(
        &mut self,
        method: &str,
        params: &Value,
        world: &mut dyn World,
    ) -> Result<Value, (i32, String)> {
        match (self.phase, method) {
            (Phase::Begin, "initialize") => {
                self.phase = Phase::Running;
                return Ok(capabilities());
            }
            (Phase::Begin, _) => return Err((NOT_INITIALIZED, "`initialize` comes first".into())),
            (Phase::ShutDown, _) => return Err((INVALID_REQUEST, "the server is shutting down".into())),
            (Phase::Running, "shutdown") => {
                self.phase = Phase::ShutDown;
                return Ok(Value::Null);
            }
            (Phase::Running, _) => {}
        }
        if !matches!(
            method,
            "textDocument/hover"
                | "textDocument/definition"
                | "textDocument/completion"
                | "textDocument/documentSymbol"
        ) {
            return Err((METHOD_NOT_FOUND, format!("{method} is not known here")));
        }
        let path = params["textDocument"]["uri"].as_str().and_then(uri::path);
        let path = path.filter(|path| self.open.contains_key(path));
        let path = path.ok_or((INVALID_PARAMS, "that document is not open".to_owned()))?;
        let Some(text) = self.open.get(&path).cloned() else { return Ok(Value::Null) };
        if method == "textDocument/documentSymbol" {
            return Ok(symbols(&text));
        }
        let lines = lines(&text);
        let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let line = number(&params["position"]["line"]);
        let column = chars_before(
            lines.get(line).copied().unwrap_or_default(),
            number(&params["position"]["character"]),
        );
        let cursor = cursor(&lines, line, column);
        let analysis = self.analysis(&path, world);
        let about_files = cursor.path.iter().any(|key| key == "include");
        let includable = match &analysis {
            Some(analysis) if about_files => world.includable(&analysis.root),
            Some(_) | None => Vec::new(),
        };
        let here = Here { server: self, lines: &lines, line, column, cursor, analysis, includable };
        Ok(match method {
            "textDocument/hover" => here.hover(),
            "textDocument/definition" => here.definition(),
            _ => here.completion(),
        })
    }

    /// The analysis that can answer questions about an open file: the one of its text, or, while that is no whole
    /// configuration, the last that was.
    fn analysis(&mut self, path: &Path, world: &mut dyn World) -> Option<Rc<Analysis>> {
        let now = match self.analyses.get(path) {
            Some(known) => Some(Rc::clone(known)),
            None => self.compile(path, world).ok(),
        };
        match now {
            Some(now) if now.compiled.written.is_whole() => Some(now),
            now => self.whole.get(path).cloned().or(now),
        }
    }

    fn compile(&mut self, path: &Path, world: &mut dyn World) -> Result<Rc<Analysis>, String> {
        if let Some(known) = self.analyses.get(path) {
            return Ok(Rc::clone(known));
        }
        let near = path.parent().unwrap_or(path);
        let around = world.compile(near, None, &self.open);
        let has = |analysis: &Analysis| analysis.files.values().any(|file| file == path);
        let analysis = match around {
            Ok(analysis) if has(&analysis) => analysis,
            // A file that the repository's configuration does not know stands for itself.
            _ => world.compile(near, Some(path), &self.open)?,
        };
        let analysis = Rc::new(analysis);
        if analysis.compiled.written.is_whole() {
            self.whole.insert(path.to_owned(), Rc::clone(&analysis));
        }
        self.analyses.insert(path.to_owned(), Rc::clone(&analysis));
        Ok(analysis)
    }

    fn publish(&mut self, owner: &Path, analysis: Result<Rc<Analysis>, String>, out: &mut Vec<Value>) {
        let mut by_file: BTreeMap<PathBuf, Vec<Value>> = BTreeMap::new();
        by_file.insert(owner.to_owned(), Vec::new());
        match &analysis {
            Ok(analysis) => {
                for diagnostic in &analysis.compiled.diagnostics {
                    let file = diagnostic.place.and_then(|place| self.path_of(analysis, place));
                    let (file, value) = self.diagnostic(owner, analysis, diagnostic, file);
                    by_file.entry(file).or_default().push(value);
                }
            }
            Err(why) => {
                let value =
                    json!({"range": range_of_nothing(), "severity": 1, "source": "harrier", "message": why});
                by_file.entry(owner.to_owned()).or_default().push(value);
            }
        }
        let now: BTreeSet<PathBuf> = by_file.keys().cloned().collect();
        let before = self.published.insert(owner.to_owned(), now.clone()).unwrap_or_default();
        for gone in before.difference(&now) {
            out.push(self.publication(gone, &[]));
        }
        for (file, diagnostics) in &by_file {
            out.push(self.publication(file, diagnostics));
        }
    }

    fn forget(&mut self, owner: &Path, out: &mut Vec<Value>) {
        self.analyses.remove(owner);
        self.whole.remove(owner);
        for file in self.published.remove(owner).unwrap_or_default() {
            out.push(self.publication(&file, &[]));
        }
        self.names.remove(owner);
    }

    fn publication(&self, file: &Path, diagnostics: &[Value]) -> Value {
        json!({"jsonrpc": "2.0", "method": "textDocument/publishDiagnostics",
            "params": {"uri": self.uri(file), "diagnostics": diagnostics}})
    }

    /// The URI of a file, as the editor wrote it if it is open.
    fn uri(&self, file: &Path) -> String {
        self.names.get(file).cloned().unwrap_or_else(|| uri::of(file))
    }

    fn path_of(&self, analysis: &Analysis, place: Place) -> Option<PathBuf> {
        analysis.files.get(analysis.compiled.sources.name(place.file)).cloned()
    }

    fn diagnostic(
        &self,
        owner: &Path,
        analysis: &Analysis,
        diagnostic: &Diagnostic,
        file: Option<PathBuf>,
    ) -> (PathBuf, Value) {
        let mut message = diagnostic.message.clone();
        if let Some(help) = &diagnostic.suggestion {
            let _ = write!(message, "\n{help}");
        }
        let sources = &analysis.compiled.sources;
        // A file that the editor cannot open: shown where the first file on the way to it can be.
        let (file, place) = match (file, diagnostic.place) {
            (Some(file), place) => (file, place),
            (None, place) => {
                if let Some(place) = place {
                    let _ = write!(message, "\n({}:{})", sources.name(place.file), place.line);
                }
                let way = diagnostic.notes.iter().filter_map(|note| note.place);
                let found =
                    way.filter_map(|place| Some((self.path_of(analysis, place)?, Some(place)))).next();
                found.unwrap_or((owner.to_owned(), None))
            }
        };
        let related: Vec<Value> = diagnostic
            .notes
            .iter()
            .filter_map(|note| {
                Some(json!({"location": self.location(analysis, note.place?)?, "message": note.text}))
            })
            .collect();
        let severity = match diagnostic.severity {
            Severity::Error => 1,
            Severity::Warning => 2,
        };
        let range = place.map_or_else(range_of_nothing, |place| range(analysis, place));
        let value = json!({"range": range, "severity": severity, "source": "harrier", "message": message,
            "relatedInformation": related});
        (file, value)
    }

    fn location(&self, analysis: &Analysis, place: Place) -> Option<Value> {
        let file = self.path_of(analysis, place)?;
        Some(json!({"uri": self.uri(&file), "range": range(analysis, place)}))
    }
}

/// One change of a document: the whole text, or a range of it.
fn apply(text: &mut String, change: &Value) {
    let Some(new) = change["text"].as_str() else { return };
    let (Some(start), Some(end)) =
        (offset(text, &change["range"]["start"]), offset(text, &change["range"]["end"]))
    else {
        new.clone_into(text);
        return;
    };
    text.replace_range(start.min(end)..end.max(start), new);
}

/// The byte of a position; `None` if it is none.
fn offset(text: &str, position: &Value) -> Option<usize> {
    let line = usize::try_from(position["line"].as_u64()?).ok()?;
    let utf16 = usize::try_from(position["character"].as_u64()?).ok()?;
    let mut at = 0;
    for _ in 0..line {
        match text[at..].find('\n') {
            Some(end) => at += end + 1,
            None => return Some(text.len()),
        }
    }
    let line = text[at..].split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    let chars = chars_before(line, utf16);
    Some(at + line.chars().take(chars).map(char::len_utf8).sum::<usize>())
}

fn capabilities() -> Value {
    json!({
        "capabilities": {
            "positionEncoding": "utf-16",
            "textDocumentSync": {"openClose": true, "change": 2, "save": {"includeText": false}},
            "hoverProvider": true,
            "definitionProvider": true,
            "documentSymbolProvider": true,
            "completionProvider": {"triggerCharacters": [" ", "[", ",", "/", "."]},
        },
        "serverInfo": {"name": "harrier", "version": env!("CARGO_PKG_VERSION")},
    })
}

fn range_of_nothing() -> Value {
    json!({"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}})
}

fn range(analysis: &Analysis, place: Place) -> Value {
    let sources = &analysis.compiled.sources;
    let position = |line: u32, column: u32| {
        let text = sources.line(place.file, line).unwrap_or_default();
        let chars = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
        json!({"line": line.saturating_sub(1), "character": utf16_before(text, chars)})
    };
    json!({"start": position(place.line, place.column), "end": position(place.end_line, place.end_column)})
}

/// The top level keys of a text, by indentation.
fn top_level(text: &str) -> Vec<(String, usize, usize)> {
    let lines = lines(text);
    let mut found: Vec<(String, usize, usize)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.trim().is_empty() || line.starts_with([' ', '\t', '#', '-']) {
            continue;
        }
        let here = cursor(&[line], 0, 0);
        if here.spot == crate::cursor::Spot::Key && line.contains(':') && !here.word.is_empty() {
            found.push((here.word, at, at));
        }
    }
    let ends: Vec<usize> =
        found.iter().skip(1).map(|(_, line, _)| line - 1).chain([lines.len() - 1]).collect();
    for ((_, _, end), last) in found.iter_mut().zip(ends) {
        *end = last;
    }
    found
}

fn symbols(text: &str) -> Value {
    let lines = lines(text);
    top_level(text)
        .into_iter()
        .map(|(name, first, last)| {
            let length = |line: usize| lines.get(line).map_or(0, |text| utf16_before(text, usize::MAX));
            // 12: a function, 14: a constant.
            let kind = if crate::keywords::about(std::slice::from_ref(&name)).is_some() { 14 } else { 12 };
            json!({
                "name": name,
                "kind": kind,
                "range": {"start": {"line": first, "character": 0}, "end": {"line": last, "character": length(last)}},
                "selectionRange": {"start": {"line": first, "character": 0}, "end": {"line": first, "character": length(first)}},
            })
        })
        .collect()
}

/// A question about a place in an open file.
struct Here<'s> {
    server: &'s Server,
    lines: &'s [&'s str],
    line: usize,
    column: usize,
    cursor: Cursor,
    analysis: Option<Rc<Analysis>>,
    includable: Vec<String>,
}

impl Here<'_> {
    fn own_range(&self) -> Value {
        let text = self.lines.get(self.line).copied().unwrap_or_default();
        let position = |chars: usize| json!({"line": self.line, "character": utf16_before(text, chars)});
        json!({"start": position(self.cursor.start), "end": position(self.cursor.end)})
    }

    /// Whether the word names a job.
    fn names_job(&self) -> bool {
        let path: Vec<&str> = self.cursor.path.iter().map(String::as_str).collect();
        matches!(
            path.as_slice(),
            [_, "extends" | "needs" | "dependencies"]
                | [_, "needs", "job"]
                | [_, "rules", "needs"]
                | [_, "rules", "needs", "job"]
                | [_, "environment", "on_stop"]
                | [_, "trigger", "include", "job"]
        ) && self.cursor.spot != crate::cursor::Spot::Key
    }

    fn completion(&self) -> Value {
        let text = self.lines.join("\n");
        let mut names = Names { jobs: Vec::new(), stages: Vec::new(), files: Vec::new() };
        let mut put = |name: String, setting: bool| {
            if !setting && !names.jobs.contains(&name) {
                names.jobs.push(name);
            }
        };
        for (name, _, _) in top_level(&text) {
            let setting = about(std::slice::from_ref(&name)).is_some();
            put(name, setting);
        }
        if let Some(analysis) = &self.analysis {
            for entry in analysis.compiled.written.top_level() {
                put(entry.name, entry.setting);
            }
            names.stages = analysis.compiled.written.stages().into_iter().map(|(name, _)| name).collect();
            names.files.clone_from(&self.includable);
        }
        for stage in [".pre", ".post"] {
            if !names.stages.iter().any(|known| known == stage) {
                names.stages.push(stage.to_owned());
            }
        }
        let written = self.analysis.as_ref().map(|analysis| &analysis.compiled.written);
        let range = self.own_range();
        let items: Vec<Value> = proposals(&self.cursor, &names, written)
            .into_iter()
            .map(|proposal| {
                // A key that has its colon keeps it.
                let has_colon = self.lines.get(self.line).is_some_and(|line| {
                    line.chars().skip(self.cursor.end).collect::<String>().trim_start().starts_with(':')
                });
                let text = if has_colon { proposal.text.trim_end_matches(": ") } else { &proposal.text };
                json!({"label": proposal.label, "kind": proposal.kind, "documentation": proposal.about,
                    "filterText": proposal.label, "textEdit": {"range": range, "newText": text}})
            })
            .collect();
        json!({"isIncomplete": false, "items": items})
    }

    fn definition(&self) -> Value {
        let Some(analysis) = &self.analysis else { return Value::Null };
        let written = &analysis.compiled.written;
        let job = |name: &str| -> Vec<Value> {
            let all = written.top_level().into_iter().filter(|entry| entry.name == name);
            all.filter_map(|entry| self.server.location(analysis, entry.place)).collect()
        };
        if let Some(found) = self.anchor() {
            return found;
        }
        let found = if let Some((elements, at)) = &self.cursor.reference {
            let path: Vec<&str> = elements.iter().take(at + 1).map(String::as_str).collect();
            match written.origin(&path).and_then(|origin| origin.place) {
                Some(place) => self.server.location(analysis, place).into_iter().collect(),
                None => path.first().map(|name| job(name)).unwrap_or_default(),
            }
        } else if self.names_job() {
            let base = self.cursor.word.split(": [").next().unwrap_or_default();
            let found = job(&self.cursor.word);
            if found.is_empty() { job(base) } else { found }
        } else {
            let path: Vec<&str> = self.cursor.path.iter().map(String::as_str).collect();
            match path.as_slice() {
                [_, "stage"] => {
                    let stages = written.stages().into_iter().filter(|(name, _)| *name == self.cursor.word);
                    stages.filter_map(|(_, place)| self.server.location(analysis, place?)).collect()
                }
                ["include"]
                | ["include", "local"]
                | [_, "trigger", "include"]
                | [_, "trigger", "include", "local"] => self.file(analysis),
                _ => Vec::new(),
            }
        };
        if found.is_empty() { Value::Null } else { Value::Array(found) }
    }

    /// The file that the word names.
    fn file(&self, analysis: &Analysis) -> Vec<Value> {
        let name = self.cursor.word.trim_start_matches('/').trim_start_matches("./");
        let known = analysis.files.get(name).cloned();
        let there = || self.includable.iter().any(|file| file == name).then(|| analysis.root.join(name));
        let path = known.or_else(there);
        path.map(|path| json!({"uri": self.server.uri(&path), "range": range_of_nothing()}))
            .into_iter()
            .collect()
    }

    /// Where the anchor of the alias under the cursor is; anchors do not leave their file.
    fn anchor(&self) -> Option<Value> {
        let line: Vec<char> = self.lines.get(self.line)?.chars().collect();
        let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
        let mut start = self.column.min(line.len());
        while start > 0 && part(line[start - 1]) {
            start -= 1;
        }
        let star = if line.get(start) == Some(&'*') { start } else { start.checked_sub(1)? };
        if line.get(star) != Some(&'*') || star.checked_sub(1).is_some_and(|i| !" [{,".contains(line[i])) {
            return None;
        }
        let name: String = line[star + 1..].iter().take_while(|c| part(**c)).collect();
        let wanted = format!("&{name}");
        let (row, at) = self.lines[..=self.line].iter().enumerate().rev().find_map(|(row, text)| {
            let at = text.match_indices(&wanted).find(|(at, _)| {
                !text[at + wanted.len()..].starts_with(part)
                    && (*at == 0 || text[..*at].ends_with([' ', '[', '{', ',']))
            });
            Some((row, at?.0))
        })?;
        let text = self.lines[row];
        let begin = utf16_before(text, text[..at].chars().count());
        let path =
            self.server.open.iter().find(|(_, text)| lines(text) == self.lines).map(|(path, _)| path)?;
        Some(json!([{"uri": self.server.uri(path), "range": {
            "start": {"line": row, "character": begin},
            "end": {"line": row, "character": begin + wanted.encode_utf16().count()},
        }}]))
    }

    fn hover(&self) -> Value {
        let mut text = String::new();
        let analysis = self.analysis.as_ref();
        let names_job = self.names_job() && !self.cursor.word.is_empty();
        if let Some((elements, at)) = &self.cursor.reference {
            let path: Vec<&str> = elements.iter().take(at + 1).map(String::as_str).collect();
            if let Some((analysis, origin)) =
                analysis.and_then(|a| Some((a, a.compiled.written.origin(&path)?)))
            {
                let _ = writeln!(text, "`{}`", path.join("` → `"));
                self.tell_origin(&mut text, analysis, &origin);
            }
        } else if names_job {
            if let Some(analysis) = analysis {
                self.tell_job(&mut text, analysis, &self.cursor.word);
            }
        } else {
            let mut path = self.cursor.path.clone();
            if self.cursor.spot == crate::cursor::Spot::Key && !self.cursor.word.is_empty() {
                path.push(self.cursor.word.clone());
            }
            let keyword = about(&path);
            if let Some((name, about)) = keyword {
                let _ = writeln!(text, "**{name}**: {about}");
            } else if let ([job], Some(analysis)) = (path.as_slice(), analysis) {
                self.tell_job(&mut text, analysis, job);
            }
            // Below a list there is no single value in force.
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Some(analysis) = analysis.filter(|_| keys.len() > 1) {
                let exact = analysis.compiled.written.origin(&keys);
                let origin = exact.or_else(|| analysis.compiled.written.origin(&keys[..2]));
                if let Some(origin) = origin {
                    self.tell_origin(&mut text, analysis, &origin);
                }
            }
        }
        if text.trim().is_empty() {
            return Value::Null;
        }
        json!({"contents": {"kind": "markdown", "value": text}, "range": self.own_range()})
    }

    /// The value in force and where it comes from.
    fn tell_origin(&self, text: &mut String, analysis: &Analysis, origin: &Origin) {
        const LINES: usize = 12;
        let mut value: Vec<&str> = origin.value.lines().take(LINES + 1).collect();
        if value.len() > LINES {
            value.truncate(LINES);
            value.push("…");
        }
        // A fence longer than any in the value.
        let _ = writeln!(text, "\n`````yaml\n{}\n`````", value.join("\n").replace("`````", "` ` ` ` `"));
        let sources = &analysis.compiled.sources;
        let at = |place: Place| format!("{}:{}", sources.name(place.file), place.line);
        if let Some(place) = origin.place {
            let _ = write!(text, "\nfrom {}", at(place));
        }
        for way in &origin.ways {
            let of =
                |from: &Option<String>| from.as_ref().map(|from| format!(" of `{from}`")).unwrap_or_default();
            let _ = match way {
                Way::Extends { base, place } => write!(text, ", by `extends: {base}` ({})", at(*place)),
                Way::MergeKey { from } => write!(text, ", by a merge key with an anchor{}", of(from)),
                Way::Alias { from } => write!(text, ", by an alias of an anchor{}", of(from)),
                Way::Reference { path, place, .. } => {
                    write!(text, ", by `!reference [{}]` ({})", path.join(", "), at(*place))
                }
                Way::Default => write!(text, ", by `default`"),
                Way::TopLevel => write!(text, ", a keyword of the top level"),
                Way::BuiltIn => write!(text, "the language's default"),
            };
        }
        let from =
            origin.place.map(|place| analysis.compiled.written.included_from(place.file)).unwrap_or_default();
        for place in from {
            let _ = write!(text, ", included at {}", at(place));
        }
        text.push('\n');
    }

    fn tell_job(&self, text: &mut String, analysis: &Analysis, name: &str) {
        let compiled = &analysis.compiled;
        let sources = &compiled.sources;
        let at = |place: Place| format!("{}:{}", sources.name(place.file), place.line);
        let places: Vec<String> =
            compiled.written.top_level().iter().filter(|e| e.name == name).map(|e| at(e.place)).collect();
        let of = |job: &harrier_pipeline::Job| {
            job.name == name || job.instance.as_ref().is_some_and(|instance| instance.base == name)
        };
        let jobs = compiled.pipeline.as_ref().map(|p| p.jobs.as_slice()).unwrap_or_default();
        if places.is_empty() && !jobs.iter().any(of) {
            return;
        }
        let _ = writeln!(text, "**{}** {}", name.replace('*', "\\*"), places.join(", "));
        for job in jobs.iter().filter(|job| of(job)).take(10) {
            let rule = job.rule.as_ref().map(|rule| format!(", rule {} ({})", rule.number, rule.text));
            let _ = writeln!(
                text,
                "- `{}`: stage {}, {}{}",
                job.name,
                job.stage,
                job.when.word(),
                rule.unwrap_or_default()
            );
        }
        let left = match (&compiled.pipeline, &compiled.filtered) {
            (Some(pipeline), _) => pipeline.left_out.as_slice(),
            (None, Some(Filtered::Rules { left_out })) => left_out.as_slice(),
            (None, Some(Filtered::Workflow { .. }) | None) => &[],
        };
        for job in left.iter().filter(|job| job.name == name) {
            let _ = writeln!(text, "- not in this pipeline: {}", job.reason);
        }
        if let Some(extends) = compiled.written.origin(&[name, "extends"]) {
            let _ = writeln!(
                text,
                "\n`````yaml\nextends:\n{}\n`````",
                extends.value.trim_end().replace("`````", "")
            );
        }
    }
}
