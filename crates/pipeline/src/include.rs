//! `include` of every kind and the inputs of each file: fetched, loaded, filled in and merged below the file that names
//! them (`ci-yaml.md` §7, §8). Called by the compiler for the root file. It fetches through [`IncludeSource`] only.

mod entry;

use crate::check::{Check, Path, nearest};
use crate::component::{self, Address};
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Place};
use crate::expand::{Definition, Scope, expand_existing};
use crate::glob::wildcard_matches;
use crate::header::{self, InputSpec};
use crate::inputs::{self, Given};
use crate::interpolation::{Access, Budget, Known, interpolate};
use crate::loader::{Parsed, Unusable, load_file, whole};
use crate::rules::{self, RuleWhen, RulesOf, Verdict};
use crate::source::{FetchError, FileId, Home, IncludeSource, ProjectAt, SourceFile, is_project};
use crate::yaml::{Entry, NodeId, Tree, Value, deep_merge};
use entry::{Kind, Of, RemoteOf};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Files of one configuration (§31).
const MAX_FILES: usize = 150;
/// All included text (§31).
const MAX_BYTES: usize = 314_572_800;
/// Inputs given to a pipeline (§31).
const MAX_GIVEN: usize = 20;
/// Files compared with wildcards, in one configuration. A look at the ends of a path counts a sixteenth.
const MAX_COMPARISONS: usize = 500_000;
/// A file out of artifacts (§7.1).
const MAX_ARTIFACT: usize = 5 << 20;
/// Complaints about includes; the rest would be more of the same.
const MAX_ERRORS: usize = 20;

/// Fetches, fills in and merges.
pub(crate) struct Includer<'a> {
    tree: &'a mut Tree,
    source: &'a dyn IncludeSource,
    cx: &'a Context,
    scope: &'a dyn Scope,
    said: Said,
    /// Files so far, repeats counted.
    files: usize,
    bytes: usize,
    comparisons: usize,
    budget: Budget,
    /// Paths included so far, each with its home.
    seen: HashSet<(Option<Rc<ProjectAt>>, String)>,
    /// Files loaded so far, by their keys.
    loaded: HashMap<String, Parsed>,
    trees: HashMap<Rc<ProjectAt>, Rc<Vec<String>>>,
}

/// What there is to tell.
#[derive(Default)]
pub(crate) struct Said {
    pub found: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
    /// Where each file was included.
    pub from: HashMap<FileId, Place>,
    /// The content of each file, the root first.
    pub contents: Vec<NodeId>,
}

/// One file to include.
struct Wanted {
    what: What,
    at: NodeId,
    inputs: Option<NodeId>,
}

/// One file.
enum What {
    Local(String),
    Project { project: String, git_ref: Option<String>, file: String },
    Remote(RemoteOf),
    Template(String),
    Component(String),
    Artifact { job: String, path: String },
}

/// A file's text.
struct Fetched {
    /// As shown to people.
    name: String,
    /// The same key is the same text.
    key: String,
    text: String,
    home: Home,
    /// Fields for `$[[ component.… ]]`, of components only.
    component: Option<HashMap<String, Json>>,
}

/// No more files are taken.
struct Stop;

/// No variable is known.
struct Nothing;

impl Scope for Nothing {
    fn look_up(&self, _: &str) -> Option<Definition<'_>> {
        None
    }
}

impl<'a> Includer<'a> {
    pub fn new(
        tree: &'a mut Tree,
        source: &'a dyn IncludeSource,
        cx: &'a Context,
        scope: &'a dyn Scope,
    ) -> Self {
        Self {
            tree,
            source,
            cx,
            scope,
            said: Said::default(),
            files: 0,
            bytes: 0,
            comparisons: 0,
            budget: Budget::new(),
            seen: HashSet::new(),
            loaded: HashMap::new(),
            trees: HashMap::new(),
        }
    }

    /// What was found on the way.
    pub fn said(self) -> Said {
        self.said
    }

    /// The content of the root file with its inputs filled in, its includes below it and without the `include` key.
    pub fn root(&mut self, parsed: Parsed) -> Option<NodeId> {
        let place = self.tree.place(parsed.header.unwrap_or(parsed.content));
        let given = &self.cx.inputs;
        if given.len() > MAX_GIVEN {
            let text = format!("There are too many inputs: {} given, at most {MAX_GIVEN}", given.len());
            self.said.found.push(Diagnostic::error(text).keyword("inputs"));
            return None;
        }
        let given = given
            .iter()
            .map(|given| Given { name: given.name.clone(), value: given.value.clone(), place: None })
            .collect();
        let content =
            self.filled(parsed, given, None, None, &Home::Own, &Home::Own, whole(place.file)).ok()??;
        self.below(content, &Home::Own).ok()
    }

    /// A file with its includes below it.
    fn below(&mut self, root: NodeId, home: &Home) -> Result<NodeId, Stop> {
        if !self.said.contents.contains(&root) {
            self.said.contents.push(root);
        }
        let Some(include) = self.tree.get(root, "include") else { return Ok(root) };
        let mut below: Option<NodeId> = None;
        for wanted in self.wanted(include, home)? {
            let Some((content, its_home)) = self.file(&wanted, home)? else { continue };
            let content = self.below(content, &its_home)?;
            below = Some(match below {
                None => content,
                Some(same) if same == content => content,
                Some(below) => deep_merge(self.tree, below, content),
            });
        }
        let own: Vec<Entry> = self.tree.map(root).unwrap_or_default().to_vec();
        let own = own.into_iter().filter(|entry| self.tree.text(entry.key) != Some("include")).collect();
        let place = self.tree.place(root);
        let own = self.tree.add(Value::Map(own), place);
        Ok(match below {
            None => own,
            Some(below) => deep_merge(self.tree, below, own),
        })
    }

    fn complain(&mut self, at: NodeId, text: impl AsRef<str>, help: Option<String>) {
        let mut diagnostic = Diagnostic::error(self.hidden(text.as_ref())).at(self.tree.place(at));
        diagnostic.suggestion = help.map(|help| self.hidden(&help));
        self.said.found.push(diagnostic.keyword("include"));
    }

    fn enough(&self) -> Result<(), Stop> {
        if self.said.found.len() < MAX_ERRORS { Ok(()) } else { Err(Stop) }
    }

    /// A text for people, without the values of masked variables: an address may hold a token.
    fn hidden(&self, text: &str) -> String {
        let cx = self.cx;
        let project = cx.project.iter().map(|of_project| &of_project.variable);
        let masked = cx.predefined.iter().chain(project).chain(&cx.pipeline);
        let mut text = text.to_owned();
        for variable in masked.filter(|variable| variable.masked && !variable.value.trim().is_empty()) {
            if text.contains(&variable.value) {
                text = text.replace(&variable.value, "[MASKED]");
            }
        }
        text
    }

    /// Variables as the includes of a file see them (§7.3).
    fn scope(&self, home: &Home) -> &'a dyn Scope {
        match home {
            Home::Own | Home::Project(..) => self.scope,
            Home::Nowhere => &Nothing,
        }
    }

    /// A path with its variables; unknown names become empty, nothing else is known that early.
    fn expanded(&self, text: &str, home: &Home) -> String {
        struct Empty;
        impl Scope for Empty {
            fn look_up(&self, _: &str) -> Option<Definition<'_>> {
                Some(Definition { value: "", raw: true, file: false })
            }
        }
        if !text.contains(['$', '%']) {
            return text.to_owned();
        }
        expand_existing(&Empty, &expand_existing(self.scope(home), text))
    }

    /// The files that an `include` names, in order.
    fn wanted(&mut self, include: NodeId, home: &Home) -> Result<Vec<Wanted>, Stop> {
        let items = match self.tree.value(include) {
            Value::Null => return Ok(Vec::new()),
            Value::Seq(items) => items.to_vec(),
            _ => vec![include],
        };
        let mut wanted = Vec::new();
        for item in items {
            self.enough()?;
            if self.tree.is_null(item) {
                continue;
            }
            let mut check = Check::new(self.tree);
            let entry = entry::entry(&mut check, &Path::root("include"), item, Of::Configuration);
            let mut found = std::mem::take(&mut check.found);
            self.said.found.append(&mut found);
            let Some(entry) = entry else { continue };
            if let Some(node) = entry.rules
                && !self.rules_allow(node, home)
            {
                continue;
            }
            self.expand_entry(item, entry, home, &mut wanted)?;
            if wanted.len() > MAX_FILES {
                // The limit is told when the first file too many is fetched.
                break;
            }
        }
        Ok(wanted)
    }

    fn rules_allow(&mut self, node: NodeId, home: &Home) -> bool {
        let mut check = Check::new(self.tree);
        let root = Path::root("include");
        let rules = rules::rules(&mut check, &root.then("rules"), node, RulesOf::Include);
        let mut found = std::mem::take(&mut check.found);
        self.said.found.append(&mut found);
        let Some(rules) = rules else { return false };
        match rules::evaluate(&rules, self.scope(home), self.cx, self.source, home) {
            Verdict::Matched(_, rule) => rule.when != Some(RuleWhen::Never),
            Verdict::NoMatch => false,
            Verdict::Unknown(place, why) => {
                let text = self.hidden(&format!("Failed to parse rule for include: {why}"));
                self.said.found.push(Diagnostic::error(text).at(place).keyword("include:rules"));
                false
            }
        }
    }

    /// An entry with variables and wildcards written out, one file each.
    fn expand_entry(
        &mut self,
        at: NodeId,
        entry: entry::EntryOf,
        home: &Home,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), Stop> {
        let inputs = entry.inputs;
        let what = match entry.kind {
            Kind::Short(text) => {
                let text = self.expanded(&text, home);
                if is_address(&text) {
                    What::Remote(RemoteOf { url: text, integrity: None, keep: None })
                } else {
                    return self.local(at, inputs, &text, home, wanted);
                }
            }
            Kind::Local(text) => {
                let text = self.expanded(&text, home);
                return self.local(at, inputs, &text, home, wanted);
            }
            Kind::Project { project, git_ref, files } => {
                let project = self.expanded(&project, home).trim_matches('/').to_owned();
                let git_ref = git_ref.map(|name| self.expanded(&name, home));
                for file in files.into_iter().take(MAX_FILES + 1) {
                    let file = self.expanded(&file, home).trim_start_matches('/').to_owned();
                    if self.yaml_extension(at, &file) {
                        let what = What::Project { project: project.clone(), git_ref: git_ref.clone(), file };
                        wanted.push(Wanted { what, at, inputs });
                    }
                    self.enough()?;
                }
                return Ok(());
            }
            Kind::Remote(remote) => {
                let url = self.expanded(&remote.url, home);
                if !is_address(&url) {
                    let help = Some("an address begins with https:// or http://".to_owned());
                    self.complain(at, format!("Remote file `{url}` does not have a valid address!"), help);
                    return Ok(());
                }
                What::Remote(RemoteOf { url, ..remote })
            }
            Kind::Template(name) => {
                let name = self.expanded(&name, home);
                let safe = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
                if !name.ends_with(".gitlab-ci.yml") || !safe {
                    let help = Some("a template's name ends in .gitlab-ci.yml".to_owned());
                    self.complain(at, format!("Template file `{name}` is not a valid location!"), help);
                    return Ok(());
                }
                What::Template(name)
            }
            Kind::Component(address) => What::Component(self.expanded(&address, home)),
            Kind::Artifact { job, path } => {
                let path = self.expanded(&path, home);
                if !self.yaml_extension(at, &path) {
                    return Ok(());
                }
                What::Artifact { job: self.expanded(&job, home), path }
            }
        };
        if let What::Remote(remote) = &what
            && !self.yaml_extension(at, &remote.url)
        {
            return Ok(());
        }
        wanted.push(Wanted { what, at, inputs });
        Ok(())
    }

    fn yaml_extension(&mut self, at: NodeId, path: &str) -> bool {
        let lower = path.to_lowercase();
        let yaml = lower.ends_with(".yml") || lower.ends_with(".yaml");
        if !yaml {
            let text = format!("Included file `{path}` does not have YAML extension!");
            self.complain(at, text, Some("an included file must end in .yml or .yaml".into()));
        }
        yaml
    }

    fn local(
        &mut self,
        at: NodeId,
        inputs: Option<NodeId>,
        path: &str,
        home: &Home,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), Stop> {
        let path = path.trim_start_matches('/');
        if *home == Home::Nowhere {
            let help =
                "a file from an address or a template belongs to no project; name the file's `project`";
            self.complain(at, format!("Local file `{path}` does not have project!"), Some(help.into()));
            return Ok(());
        }
        if !self.yaml_extension(at, path) {
            return Ok(());
        }
        if !path.contains('*') {
            wanted.push(Wanted { what: What::Local(path.to_owned()), at, inputs });
            return Ok(());
        }
        let files = match self.files_of(home) {
            Ok(files) => files,
            Err(why) => {
                self.complain(at, format!("the files that match `{path}` cannot be listed: {why}"), None);
                return Ok(());
            }
        };
        let files: &[String] = files.as_deref().map_or(self.source.files(), Vec::as_slice);
        let before = path.split('*').next().unwrap_or_default();
        let behind = path.rsplit('*').next().unwrap_or_default();
        let candidates: Vec<&String> =
            files.iter().filter(|file| file.starts_with(before) && file.ends_with(behind)).collect();
        self.comparisons += files.len() / 16 + candidates.len();
        if self.comparisons > MAX_COMPARISONS {
            let help = Some("name the files, or use fewer wildcards".to_owned());
            self.complain(at, "The wildcards of all includes match against too many files", help);
            return Err(Stop);
        }
        let named: HashSet<&str> = wanted
            .iter()
            .filter_map(|wanted| match &wanted.what {
                What::Local(path) => Some(path.as_str()),
                _ => None,
            })
            .collect();
        let home = project_of(home);
        let matching: Vec<String> = candidates
            .into_iter()
            .filter(|file| wildcard_matches(path, file, false))
            .filter(|file| !named.contains(file.as_str()))
            .filter(|file| !self.seen.contains(&(home.clone(), file.to_string())))
            .take(MAX_FILES + 1)
            .cloned()
            .collect();
        wanted.extend(matching.into_iter().map(|path| Wanted { what: What::Local(path), at, inputs }));
        Ok(())
    }

    /// The files of another project's tree; `None` for the own one.
    fn files_of(&mut self, home: &Home) -> Result<Option<Rc<Vec<String>>>, FetchError> {
        let Home::Project(at, _) = home else { return Ok(None) };
        if let Some(files) = self.trees.get(at) {
            return Ok(Some(Rc::clone(files)));
        }
        let files = Rc::new(self.source.files_at(at)?);
        self.trees.insert(Rc::clone(at), Rc::clone(&files));
        Ok(Some(files))
    }

    /// One more file counts.
    fn count(&mut self, at: NodeId) -> Result<(), Stop> {
        self.enough()?;
        if self.files >= MAX_FILES {
            self.complain(
                at,
                format!("Maximum of {MAX_FILES} nested includes are allowed!"),
                Some("does a file include itself?".into()),
            );
            return Err(Stop);
        }
        self.files += 1;
        Ok(())
    }

    /// The content of a file, its inputs filled in, and where its own local includes are.
    fn file(&mut self, wanted: &Wanted, home: &Home) -> Result<Option<(NodeId, Home)>, Stop> {
        self.count(wanted.at)?;
        let fetched = match self.fetch(&wanted.what, home) {
            Ok(fetched) => fetched,
            Err((text, help)) => {
                self.complain(wanted.at, text, help);
                return Ok(None);
            }
        };
        let Fetched { name, key, text, home: its_home, component } = fetched;
        let Some(parsed) = self.load(name, key, text, wanted.at)? else { return Ok(None) };
        let given = wanted.inputs.and_then(|inputs| self.tree.map(inputs)).unwrap_or_default();
        let given = given
            .iter()
            .map(|entry| Given {
                name: self.tree.show(entry.key),
                value: self.tree.json(entry.value),
                place: Some(self.tree.place(entry.value)),
            })
            .collect();
        let asked = self.tree.place(wanted.at);
        let content = self.filled(parsed, given, wanted.inputs, component, home, &its_home, asked)?;
        Ok(content.map(|content| (content, its_home)))
    }

    fn load(&mut self, name: String, key: String, text: String, at: NodeId) -> Result<Option<Parsed>, Stop> {
        self.bytes += text.len();
        if self.bytes > MAX_BYTES {
            self.complain(at, "The included files are too big: at most 314572800 bytes together", None);
            return Err(Stop);
        }
        let place = self.tree.place(at);
        let name = self.hidden(&name);
        if let Some(parsed) = self.loaded.get(&key).copied() {
            return Ok(Some(parsed));
        }
        let file = SourceFile { name: name.clone(), text };
        let file = match load_file(self.tree, file, &mut self.said.warnings) {
            Ok(parsed) => {
                self.said.from.insert(self.tree.place(parsed.content).file, place);
                if self.tree.map(parsed.content).is_some_and(<[_]>::is_empty) {
                    self.complain(at, format!("Included file `{name}` is empty!"), None);
                    return Ok(None);
                }
                self.loaded.insert(key, parsed);
                return Ok(Some(parsed));
            }
            Err(Unusable::Empty(file)) => {
                let text = format!("Included file `{name}` is empty!");
                self.said.found.push(Diagnostic::error(text).at(whole(file)).keyword("include"));
                Some(file)
            }
            Err(Unusable::NotMapping(node)) => {
                self.complain(node, format!("`{name}`: Invalid configuration format"), None);
                Some(self.tree.place(node).file)
            }
            Err(Unusable::Broken(diagnostic)) => {
                let mut diagnostic = *diagnostic;
                diagnostic.message = format!("`{name}`: {}", diagnostic.message);
                let file = diagnostic.place.map(|place| place.file);
                self.said.found.push(diagnostic);
                file
            }
        };
        if let Some(file) = file {
            self.said.from.insert(file, place);
        }
        Ok(None)
    }

    /// A file's content with its inputs filled in. `asker` is the home of the file that includes it, `asked` where
    /// it does; `inputs` the mapping that was given.
    #[expect(clippy::too_many_arguments, reason = "one call for the root and one for included files")]
    fn filled(
        &mut self,
        parsed: Parsed,
        given: Vec<Given>,
        inputs: Option<NodeId>,
        component: Option<HashMap<String, Json>>,
        asker: &Home,
        home: &Home,
        asked: Place,
    ) -> Result<Option<NodeId>, Stop> {
        let Some(document) = parsed.header else {
            if given.is_empty() {
                return Ok(Some(parsed.content));
            }
            let place = inputs.map_or(asked, |inputs| self.tree.place(inputs));
            let text = "Given inputs not defined in the `spec` section of the included configuration file";
            let name = self.tree.sources.name(self.tree.place(parsed.content).file).to_owned();
            self.said.found.push(
                Diagnostic::error(format!("`{name}`: {text}"))
                    .at(place)
                    .keyword("inputs")
                    .suggest(format!("declare them in {name}: `spec: {{inputs: …}}`, then a line `---`")),
            );
            return Ok(None);
        };
        let name = self.tree.sources.name(self.tree.place(parsed.content).file).to_owned();
        let mut check = Check::new(self.tree);
        let header = header::header(&mut check, document);
        let found = std::mem::take(&mut check.found);
        self.tell(&name, found);
        let Some(header) = header else { return Ok(None) };
        let before = self.said.found.len();
        let specs = self.specs(header.include, header.inputs, component.is_some(), home)?;
        if self.said.found.len() > before {
            return Ok(None);
        }
        let values = match inputs::resolve(&specs, &given, Some(asked)) {
            Ok(values) => values,
            Err(found) => {
                self.tell(&name, found);
                return Ok(None);
            }
        };
        let mut fields = component.unwrap_or_default();
        fields.retain(|field, _| header.component.contains(field));
        let (cx, asker) = (self.cx, asker.clone());
        let project = crate::project_variables::select(&cx.project, None, cx.protected_ref);
        let variable = move |name: &str| {
            let lists = [&cx.pipeline, &project, &cx.predefined];
            let find = |list: &'_ Vec<harrier_base::Variable>| {
                list.iter().rev().find(|v| v.key == name).map(|v| (v.value.clone(), v.masked))
            };
            let found = lists.into_iter().find_map(find).filter(|_| asker != Home::Nowhere)?;
            Some(Known { value: found.0, masked: found.1 })
        };
        let access = Access { inputs: &values, component: &fields, variable: &variable };
        match interpolate(self.tree, parsed.content, &access, &mut self.budget) {
            Ok(content) => Ok(Some(content)),
            Err(found) => {
                self.tell(&name, found);
                Ok(None)
            }
        }
    }

    /// Records what is wrong with a file's header, inputs or blocks.
    fn tell(&mut self, name: &str, found: Vec<Diagnostic>) {
        for mut diagnostic in found {
            diagnostic.message = format!("`{name}`: {}", diagnostic.message);
            self.said.found.push(diagnostic);
        }
    }

    /// The inputs of a header, those of `spec:include` first (§8.1).
    fn specs(
        &mut self,
        include: Option<NodeId>,
        own: Vec<InputSpec>,
        component: bool,
        home: &Home,
    ) -> Result<Vec<InputSpec>, Stop> {
        let Some(include) = include else { return Ok(own) };
        if component {
            let help = "write the inputs of a component into its own header";
            self.complain(include, "`spec:include` is not permitted in a component", Some(help.into()));
            return Ok(own);
        }
        let items = self.tree.seq(include).map_or_else(|| vec![include], <[NodeId]>::to_vec);
        let mut all: Vec<InputSpec> = Vec::new();
        for item in items {
            let path = Path::root("header");
            let path = path.then("spec");
            let path = path.then("include");
            let mut check = Check::new(self.tree);
            let entry = entry::entry(&mut check, &path, item, Of::Header);
            let mut found = std::mem::take(&mut check.found);
            self.said.found.append(&mut found);
            let Some(entry) = entry else { continue };
            let mut wanted = Vec::new();
            self.expand_entry(item, entry, home, &mut wanted)?;
            for wanted in wanted {
                self.count(item)?;
                let fetched = match self.fetch(&wanted.what, home) {
                    Ok(fetched) => fetched,
                    Err((text, help)) => {
                        self.complain(item, text, help);
                        continue;
                    }
                };
                let Some(parsed) = self.load(fetched.name, fetched.key, fetched.text, item)? else {
                    continue;
                };
                let mut check = Check::new(self.tree);
                let path = Path::root("include");
                let mut more = Vec::new();
                if check.known_keys(&path, parsed.content, &["inputs"])
                    && let Some(list) = check.tree.given(parsed.content, "inputs")
                {
                    more = header::inputs(&mut check, &path.then("inputs"), list);
                }
                let mut found = std::mem::take(&mut check.found);
                self.said.found.append(&mut found);
                all.append(&mut more);
            }
        }
        all.extend(own);
        let mut first: HashMap<&str, Place> = HashMap::new();
        for spec in &all {
            if let Some(place) = first.insert(&spec.name, spec.place) {
                let text = format!("duplicate input: `{}` is declared twice", spec.name);
                self.said.found.push(
                    Diagnostic::error(text)
                        .at(spec.place)
                        .keyword("spec:inputs")
                        .note("first declared here", Some(place))
                        .suggest("keep one of the two"),
                );
                break;
            }
        }
        Ok(all)
    }

    /// Gets one file. The error is a message with its remedy.
    fn fetch(&mut self, what: &What, home: &Home) -> Result<Fetched, Refusal> {
        let plain = |name: String, text: String, home: Home| Fetched {
            key: if home == Home::Own { name.clone() } else { format!("elsewhere {name}") },
            name,
            text,
            home,
            component: None,
        };
        match what {
            What::Local(path) => {
                self.seen.insert((project_of(home), path.clone()));
                let (text, name) = match home {
                    Home::Project(at, shown) => (self.source.file_at(at, path), format!("{shown}:{path}")),
                    Home::Own | Home::Nowhere => (self.source.local(path), path.clone()),
                };
                match text {
                    Ok(text) => Ok(plain(name, text, home.clone())),
                    Err(FetchError::NotFound) => {
                        Err((format!("Local file `{path}` does not exist!"), Some(self.near(path, home))))
                    }
                    Err(FetchError::Unsupported(why) | FetchError::Failed(why)) => {
                        Err((format!("Local file `{path}` could not be read: {why}"), None))
                    }
                }
            }
            What::Project { project, git_ref, file } => {
                let home = self.project(project, git_ref.as_deref())?;
                let Home::Project(at, shown) = &home else { return Err(no_project(project)) };
                self.seen.insert((Some(Rc::clone(at)), file.clone()));
                match self.source.file_at(at, file) {
                    Ok(text) => Ok(plain(format!("{shown}:{file}"), text, home)),
                    Err(FetchError::NotFound) => {
                        let text = format!("Project `{project}` file `{file}` does not exist!");
                        Err((text, Some(self.near(file, &home))))
                    }
                    Err(FetchError::Unsupported(why) | FetchError::Failed(why)) => {
                        Err((format!("Project `{project}` file `{file}` could not be read: {why}"), None))
                    }
                }
            }
            What::Remote(remote) => self.remote(remote),
            What::Template(name) => match self.source.template(name) {
                Ok(text) => Ok(plain(format!("template {name}"), text, Home::Nowhere)),
                Err(FetchError::NotFound) => {
                    let help = "is it spelt as in GitLab's list of templates, with its directory?";
                    Err((format!("Template file `{name}` does not exist!"), Some(help.into())))
                }
                Err(FetchError::Unsupported(why) | FetchError::Failed(why)) => {
                    Err((format!("Template file `{name}` could not be fetched: {why}"), None))
                }
            },
            What::Component(address) => self.component(address),
            What::Artifact { job, path } => match self.source.artifact(job, path) {
                Ok(text) if text.len() > MAX_ARTIFACT => {
                    Err((format!("File `{path}` of job `{job}` is bigger than 5 MB"), None))
                }
                Ok(text) => Ok(plain(format!("artifacts of {job}:{path}"), text, Home::Own)),
                Err(FetchError::NotFound) => {
                    let help = "the job must have ended, and keep the file with `artifacts: paths`";
                    Err((
                        format!("File `{path}` is missing in the artifacts of job `{job}`"),
                        Some(help.into()),
                    ))
                }
                Err(FetchError::Unsupported(why)) => Err((why, None)),
                Err(FetchError::Failed(why)) => {
                    Err((format!("File `{path}` of job `{job}` could not be read: {why}"), None))
                }
            },
        }
    }

    /// A project at the commit that a name stands for.
    fn project(&self, project: &str, git_ref: Option<&str>) -> Result<Home, Refusal> {
        if !is_project(project) {
            let text = format!("Project `{project}` is not the path of a project");
            return Err((text, Some("it is written `group/name`".into())));
        }
        match self.source.commit(project, git_ref) {
            Ok(Some(sha)) => {
                let shown = format!("{project}@{}", git_ref.unwrap_or("HEAD"));
                let at = ProjectAt { project: project.to_owned(), sha };
                Ok(Home::Project(Rc::new(at), shown.into()))
            }
            Ok(None) => {
                let text =
                    format!("Project `{project}` reference `{}` does not exist!", git_ref.unwrap_or("HEAD"));
                Err((text, Some("a branch, a tag or a whole commit id of that project".into())))
            }
            Err(FetchError::NotFound) => Err(no_project(project)),
            Err(FetchError::Unsupported(why) | FetchError::Failed(why)) => {
                Err((format!("Project `{project}` could not be fetched: {why}"), None))
            }
        }
    }

    fn remote(&self, remote: &RemoteOf) -> Result<Fetched, Refusal> {
        let key = format!("remote {}", remote.url);
        let url = without_login(&remote.url);
        let bytes = match self.source.remote(&remote.url, remote.keep) {
            Ok(bytes) => bytes,
            Err(FetchError::NotFound) => {
                let text =
                    format!("Remote file `{url}` could not be fetched because of HTTP code `404` error!");
                return Err((text, None));
            }
            Err(FetchError::Unsupported(why) | FetchError::Failed(why)) => {
                return Err((format!("Remote file `{url}` could not be fetched: {why}"), None));
            }
        };
        if let Some(want) = remote.integrity {
            use base64::Engine as _;
            let got = Sha256::digest(&bytes);
            if got.as_slice() != want {
                let got = base64::engine::general_purpose::STANDARD.encode(got);
                return Err((
                    format!("Content of remote file `{url}` does not match its `integrity`"),
                    Some(format!("what came has `sha256-{got}`; look at it before you write that down")),
                ));
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Fetched { name: url, key, text, home: Home::Nowhere, component: None }),
            Err(_) => Err((format!("Remote file `{url}` is not UTF-8 text"), None)),
        }
    }

    fn component(&mut self, text: &str) -> Result<Fetched, Refusal> {
        let refused = |why: &str, help: Option<String>| (format!("Component `{text}`: {why}"), help);
        let address =
            Address::parse(text).map_err(|why| refused("the address is not complete", Some(why)))?;
        let predefined = |name: &str| {
            let found = self.cx.predefined.iter().rev().find(|variable| variable.key == name);
            found.map(|variable| variable.value.as_str()).filter(|value| !value.is_empty())
        };
        let hosts = [predefined("CI_SERVER_FQDN"), predefined("CI_SERVER_HOST")];
        if !hosts.contains(&Some(address.host.as_str())) {
            let own = hosts.into_iter().flatten().next().unwrap_or("this server");
            let help = format!("components come from {own}, write `$CI_SERVER_FQDN/…`; copy it there first");
            return Err(refused("it is on another server", Some(help)));
        }
        let own_project = predefined("CI_PROJECT_PATH").unwrap_or(&self.cx.run.project_path);
        let own = address.project.eq_ignore_ascii_case(own_project)
            && predefined("CI_COMMIT_SHA") == Some(address.version.as_str());
        let missing = |file: FetchError| match file {
            FetchError::NotFound => None,
            FetchError::Unsupported(why) | FetchError::Failed(why) => Some(why),
        };
        let (home, sha, version) = if own {
            (Home::Own, address.version.clone(), None)
        } else {
            let (sha, version) = self
                .version(&address)
                .map_err(|why| match why {
                    FetchError::NotFound => {
                        let (text, help) = no_project(&address.project);
                        refused(&text, help)
                    }
                    FetchError::Unsupported(why) | FetchError::Failed(why) => refused(&why, None),
                })?
                .ok_or_else(|| {
                    let help =
                        "a commit id, a tag, a branch, `~latest`, or a partial version with a released tag";
                    refused(&format!("there is no version `{}`", address.version), Some(help.into()))
                })?;
            let at = ProjectAt { project: address.project.clone(), sha: sha.clone() };
            let shown = format!("{}@{}", address.project, address.version);
            (Home::Project(Rc::new(at), shown.into()), sha, version)
        };
        let mut found = None;
        for file in address.files() {
            let text = match &home {
                Home::Project(at, _) => self.source.file_at(at, &file),
                Home::Own | Home::Nowhere => self.source.local(&file),
            };
            match text {
                Ok(text) => {
                    found = Some((file, text));
                    break;
                }
                Err(why) => match missing(why) {
                    None => {}
                    Some(why) => return Err(refused(&why, None)),
                },
            }
        }
        let Some((file, text)) = found else {
            let [one, other] = address.files();
            return Err(refused(
                "content not found",
                Some(format!("{} has neither {one} nor {other} there", address.project)),
            ));
        };
        let fields = [
            ("name", address.name.clone().into()),
            ("sha", sha.into()),
            ("version", version.map_or(Json::Null, Json::from)),
            ("reference", address.version.clone().into()),
        ];
        let name = match &home {
            Home::Project(_, shown) => format!("{shown}:{file}"),
            Home::Own | Home::Nowhere => file,
        };
        let component = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Ok(Fetched { key: format!("component {name}"), name, text, home, component: Some(component) })
    }

    /// The commit of a component and its version, if it is one (§7.4).
    fn version(&self, address: &Address) -> Result<Option<(String, Option<String>)>, FetchError> {
        let wanted = address.version.as_str();
        if wanted != "~latest"
            && let Some(sha) = self.source.commit(&address.project, Some(wanted))?
        {
            return Ok(Some((sha, component::is_version(wanted).then(|| wanted.to_owned()))));
        }
        let tags = self.source.tags(&address.project)?;
        let Some(tag) = component::pick(wanted, &tags) else { return Ok(None) };
        let sha = self.source.commit(&address.project, Some(tag))?;
        Ok(sha.map(|sha| (sha, Some(tag.to_owned()))))
    }

    /// What to do about a path that is not there.
    fn near(&mut self, path: &str, home: &Home) -> String {
        const MOST: usize = 2000;
        let files = self.files_of(home).ok().flatten();
        let files: &[String] = files.as_deref().map_or(self.source.files(), Vec::as_slice);
        let yaml = files.iter().map(String::as_str).filter(|file| file.ends_with("ml")).take(MOST);
        match nearest(path, yaml) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the path is relative to the root of the repository".to_owned(),
        }
    }
}

/// A message with its remedy.
type Refusal = (String, Option<String>);

fn no_project(project: &str) -> Refusal {
    (
        format!(
            "Project `{project}` not found or access denied! Make sure any includes in the pipeline configuration \
             are correctly defined."
        ),
        Some("check the path, and that you may read the project".into()),
    )
}

/// An address for people: whoever shares a message must not share a log-in written into the address.
fn without_login(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('@'))) {
        Some((scheme, Some((login, rest)))) if !login.contains('/') => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
}

fn project_of(home: &Home) -> Option<Rc<ProjectAt>> {
    match home {
        Home::Project(at, _) => Some(Rc::clone(at)),
        Home::Own | Home::Nowhere => None,
    }
}
