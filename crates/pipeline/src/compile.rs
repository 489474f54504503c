//! The passes of `ci-yaml.md` §2 in order, from the root text to a pipeline. The entry point of the language.

use crate::check::{Check, Path};
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Place};
use crate::expand::{cycle, expand_existing};
use crate::graph::{Graph, Instance, NeedName};
use crate::include::Includer;
use crate::keywords::defaults::{Inherited, defaults};
use crate::keywords::job::{JobReader, JobSpec, Kind, kind};
use crate::keywords::parallel::group_name;
use crate::keywords::refs::Refs;
use crate::keywords::{variables, workflow};
use crate::loader::{Parsed, Unusable, load_file, whole};
use crate::origins::{Origins, Written};
use crate::pipeline::{
    AllowFailure, Compiled, Filtered, Job, JobId, LeftOut, MatchedRule, Need, Pipeline, When, YamlVariable,
};
use crate::predefined::slug;
use crate::rules::{Rule, RuleWhen, Verdict, evaluate};
use crate::scope::Ranks;
use crate::source::{FileId, Home, IncludeSource, SourceFile};
use crate::yaml::{NodeId, Tree, Value};
use crate::{extends, reference};
use harrier_base::Variable;
use std::collections::{HashMap, HashSet};

/// Compiles a configuration. Every finding is a diagnostic; the pipeline is there unless one of them is an error or
/// the rules leave nothing to run ([`Compiled::filtered`]).
pub fn compile(root: SourceFile, includes: &dyn IncludeSource, cx: &Context) -> Compiled {
    let mut compiler = Compiler {
        tree: Tree::default(),
        source: includes,
        cx,
        found: Vec::new(),
        warnings: Vec::new(),
        from: HashMap::new(),
        contents: Vec::new(),
        merged: None,
        resolved: None,
    };
    let (pipeline, filtered) = match compiler.run(root) {
        Some(Made::Pipeline(pipeline)) if compiler.found.is_empty() => (Some(*pipeline), None),
        Some(Made::Filtered(filtered)) if compiler.found.is_empty() => (None, Some(filtered)),
        _ => (None, None),
    };
    let mut diagnostics = compiler.found;
    diagnostics.append(&mut compiler.warnings);
    let sources = std::mem::take(&mut compiler.tree.sources);
    let written = Written {
        tree: compiler.tree,
        files: compiler.contents,
        from: compiler.from,
        merged: compiler.merged,
        resolved: compiler.resolved,
    };
    add_chains(&mut diagnostics, &written);
    Compiled { pipeline, diagnostics, sources, filtered, written }
}

/// Includes shown below a diagnostic.
const MAX_CHAIN: usize = 8;

struct Compiler<'a> {
    tree: Tree,
    source: &'a dyn IncludeSource,
    cx: &'a Context,
    found: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// Where each included file is included.
    from: HashMap<FileId, Place>,
    /// The content of each file, the root first.
    contents: Vec<NodeId>,
    /// After `include`.
    merged: Option<NodeId>,
    /// After `extends` and `!reference`.
    resolved: Option<NodeId>,
}

enum Made {
    Pipeline(Box<Pipeline>),
    Filtered(Filtered),
}

/// Everything the structural pass reads.
struct Parts {
    stages: Vec<String>,
    variables: Vec<YamlVariable>,
    /// Where the top level `variables` is written.
    variables_place: Option<Place>,
    workflow: workflow::Workflow,
    specs: Vec<JobSpec>,
    /// Size of what every job takes over: defaults and top level variables.
    shared: u64,
}

/// Size of all jobs with everything written out, in the loader's estimate of bytes.
const MAX_WEIGHT: u64 = 256 << 20;

/// Different patterns of `rules:changes` times changed files, of all jobs.
const MAX_COMPARISONS: usize = 20_000_000;

fn too_big(place: Place) -> Diagnostic {
    Diagnostic::error("The configuration is too big when everything that jobs share is written out")
        .at(place)
        .suggest("put long scripts into files of the repository")
}

impl Compiler<'_> {
    fn run(&mut self, root: SourceFile) -> Option<Made> {
        let parsed = self.parsed(root)?;
        let ranks = Ranks::new(self.cx);
        let merged = {
            let scope = ranks.with(&[], &[]);
            let mut includer = Includer::new(&mut self.tree, self.source, self.cx, &scope);
            let merged = includer.root(parsed);
            let mut said = includer.said();
            self.found.append(&mut said.found);
            self.warnings.append(&mut said.warnings);
            (self.from, self.contents) = (said.from, said.contents);
            merged
        };
        self.merged = merged;
        // What is missing now would only make more noise later.
        if !self.found.is_empty() {
            return None;
        }
        let extended = extends::resolve(&mut self.tree, merged?, &mut self.found);
        if self.found.len() >= extends::MAX_FOUND {
            return None;
        }
        let resolved = reference::resolve(&mut self.tree, extended, &mut self.found);
        self.resolved = Some(resolved);
        if self.tree.node(resolved).weight > MAX_WEIGHT {
            self.found.push(too_big(self.tree.place(resolved)));
            return None;
        }
        let (parts, mut found) = self.parts(resolved);
        if !self.found.is_empty() {
            // What is wrong with the other jobs belongs into the same answer.
            let incomplete: HashSet<String> = self.found.iter().filter_map(|d| d.job.clone()).collect();
            let places: HashSet<Place> = self.found.iter().filter_map(|d| d.place).collect();
            found.retain(|d| {
                d.job.as_ref().is_none_or(|job| !incomplete.contains(job))
                    && d.place.is_none_or(|place| !places.contains(&place))
            });
        }
        self.found.append(&mut found);
        if !self.found.is_empty() {
            return None;
        }
        self.warn(&parts);
        self.warn_of_idle_keywords(&parts);
        let mut found = Vec::new();
        let graph = Graph::new(&parts.specs, &mut found);
        let total = graph.instances.iter().fold(0u64, |sum, instance| {
            sum.saturating_add(parts.specs[instance.spec].weight).saturating_add(parts.shared)
        });
        if total > MAX_WEIGHT {
            found.push(too_big(self.tree.place(resolved)));
        }
        if found.is_empty() {
            graph.check(&parts.stages, &mut found);
        }
        self.found = found;
        if !self.found.is_empty() {
            return None;
        }
        Creation { cx: self.cx, source: self.source, tree: &self.tree, ranks, parts: &parts, graph }
            .run(&mut self.found)
    }

    /// The root file's documents.
    fn parsed(&mut self, root: SourceFile) -> Option<Parsed> {
        let name = root.name.clone();
        let diagnostic = match load_file(&mut self.tree, root, &mut self.warnings) {
            Ok(parsed) => return Some(parsed),
            Err(Unusable::Empty(file)) => Diagnostic::error(format!("Please provide content of {name}"))
                .at(whole(file))
                .suggest("a job is a name with a `script:` below it"),
            Err(Unusable::NotMapping(node)) => Diagnostic::error("Invalid configuration format")
                .at(self.tree.place(node))
                .suggest("the file must be a mapping of jobs and keywords (`name: …`)"),
            Err(Unusable::Broken(diagnostic)) => *diagnostic,
        };
        self.found.push(diagnostic);
        None
    }

    /// Pass 6: every keyword is read and checked.
    fn parts(&self, root: NodeId) -> (Parts, Vec<Diagnostic>) {
        let tree = &self.tree;
        let mut c = Check::new(tree);
        let entries = tree.map(root).unwrap_or_default();
        let mut jobs = Vec::new();
        let (mut default, mut workflow_node) = (None, None);
        for entry in entries {
            let name = match tree.value(entry.key) {
                Value::Text(text) => text.to_string(),
                _ => {
                    let shown = tree.show(entry.key);
                    let jobs = Path::root("jobs");
                    c.fail(&jobs.then(&shown), entry.key, "job name should be a symbol").suggestion =
                        Some(format!("put the name in quotes: \"{shown}\":"));
                    continue;
                }
            };
            match kind(&c, &name, entry.value) {
                Kind::Setting if name == "default" => {
                    default = Some(entry.value).filter(|n| !tree.is_null(*n))
                }
                Kind::Setting if name == "workflow" => {
                    workflow_node = Some(entry.value).filter(|n| !tree.is_null(*n));
                }
                Kind::Setting => {}
                Kind::Hidden if tree.is_null(entry.value) => {
                    let jobs = Path::root("jobs");
                    c.config(&jobs.then(&name), entry.key, "can't be blank").suggestion =
                        Some("give the hidden job a value, or take it out".into());
                }
                Kind::Hidden => {}
                Kind::Job => {
                    jobs.push((name, *entry));
                }
            }
        }
        let default = defaults(&mut c, root, default);
        let variables = match tree.given(root, "variables") {
            Some(node) => variables::global(&mut c, &Path::root("variables"), node).unwrap_or_default(),
            None => Vec::new(),
        };
        let variables_place = tree.entry(root, "variables").map(|entry| tree.place(entry.key));
        let stages = workflow::stages(&mut c, tree.given(root, "stages"));
        let workflow = match workflow_node {
            Some(node) => workflow::workflow(&mut c, node),
            None => workflow::Workflow::default(),
        };
        if jobs.is_empty() {
            c.config(&Path::root("jobs"), root, "should contain at least one visible job").suggestion =
                Some("jobs whose name begins with a dot are hidden".into());
        }
        let names = ["default", "variables"].into_iter().chain(crate::keywords::defaults::AT_ROOT);
        let shared: u64 =
            names.filter_map(|name| tree.given(root, name)).map(|node| tree.node(node).weight).sum();
        let specs = if shared.saturating_mul(jobs.len() as u64) > MAX_WEIGHT {
            c.found.push(too_big(tree.place(root)));
            Vec::new()
        } else {
            read_jobs(&mut c, &jobs, &default)
        };
        (Parts { stages, variables, variables_place, workflow, specs, shared }, c.found)
    }

    /// §3.3: the one warning of the reference.
    fn warn(&mut self, parts: &Parts) {
        if parts.workflow.rules.is_some() {
            return;
        }
        for spec in &parts.specs {
            let Some(last) = spec.rules.as_ref().and_then(|rules| rules.last()) else { continue };
            let only_when = last.condition.is_none()
                && last.changes.is_none()
                && last.exists.is_none()
                && last.start_in.is_none()
                && last.allow_failure.is_none()
                && last.interruptible.is_none()
                && last.variables.is_empty()
                && last.needs.is_none();
            if only_when && matches!(last.when, Some(RuleWhen::Runs(_))) {
                self.warnings.push(
                    Diagnostic::warning(format!(
                        "jobs:{} may allow multiple pipelines to run for a single action due to `rules:when` clause \
                         with no `workflow:rules`",
                        spec.name
                    ))
                    .at(last.place)
                    .job(spec.name.clone())
                    .keyword("rules"),
                );
            }
        }
    }

    /// Keywords that are read and checked, and that neither this program nor its runner acts on.
    fn warn_of_idle_keywords(&mut self, parts: &Parts) {
        for spec in &parts.specs {
            let idle = [
                ("identity", spec.inherited.identity.is_some()),
                ("dast_configuration", spec.dast_configuration.is_some()),
            ];
            for (keyword, given) in idle {
                if given {
                    let place = spec.places.iter().find(|(key, _)| key == keyword).map(|(_, place)| *place);
                    self.warnings.push(
                        Diagnostic::warning(format!(
                            "jobs:{}:{keyword} is checked and has no effect",
                            spec.name
                        ))
                        .at(place.unwrap_or(spec.place))
                        .job(spec.name.clone())
                        .keyword(keyword),
                    );
                }
            }
        }
    }
}

/// Every diagnostic gets the chain that led to its place: bases of `extends`, then includes.
fn add_chains(diagnostics: &mut [Diagnostic], written: &Written) {
    let origins = diagnostics.iter().any(|d| d.job.is_some()).then(|| Origins::new(written)).flatten();
    for diagnostic in diagnostics {
        let Some(place) = diagnostic.place else { continue };
        if let (Some(job), Some(origins)) = (&diagnostic.job, &origins) {
            let steps = origins.chain(job, diagnostic.keyword.as_deref(), place);
            diagnostic.notes.splice(0..0, steps);
        }
        let from = written.included_from(place.file);
        let shown = from.iter().take(MAX_CHAIN);
        diagnostic
            .notes
            .extend(shown.map(|from| crate::Note { text: "included here".into(), place: Some(*from) }));
        if from.len() > MAX_CHAIN {
            diagnostic.notes.push(crate::Note { text: "and so on, up to the root file".into(), place: None });
        }
    }
}

fn read_jobs(c: &mut Check<'_>, jobs: &[(String, crate::yaml::Entry)], default: &Inherited) -> Vec<JobSpec> {
    let tree = c.tree;
    let mut reader = JobReader { default, rules: HashMap::new() };
    let mut specs = Vec::with_capacity(jobs.len());
    for (name, entry) in jobs {
        let root = Path::root("jobs");
        let path = root.then(name);
        let before = c.found.len();
        if tree.is_null(entry.value) {
            c.config(&path, entry.key, "can't be blank");
        } else if tree.map(entry.value).is_none() {
            let help = "a job is a mapping with `script:`; is this a misspelt keyword?";
            c.config(&path, entry.key, "should implement the script:, run:, or trigger: keyword")
                .suggestion = Some(known_setting(name).unwrap_or_else(|| help.to_owned()));
        } else if ["script", "run", "trigger", "needs"]
            .iter()
            .all(|key| tree.given(entry.value, key).is_none())
        {
            let misspelt = tree.map(entry.value).unwrap_or_default().iter().find_map(|entry| {
                let key = tree.text(entry.key)?;
                (crate::check::nearest(key, ["script"]).is_some()).then(|| (entry.key, key.to_owned()))
            });
            let complaint = "should implement the script:, run:, or trigger: keyword";
            match misspelt {
                Some((at, key)) => {
                    c.config(&path, at, complaint).suggestion =
                        Some(format!("did you mean `script` instead of `{key}`?"));
                }
                None => {
                    c.config(&path, entry.key, complaint).suggestion = known_setting(name).or_else(|| {
                        Some("add `script:`, or begin the name with a dot to hide the job".into())
                    });
                }
            }
        } else if let Some(spec) = reader.job(c, name, *entry) {
            specs.push(spec);
        }
        // What came by `extends` is written elsewhere; say which job brings it here.
        let own = tree.place(entry.value);
        for diagnostic in &mut c.found[before..] {
            let inside = diagnostic.place.is_some_and(|place| {
                place.file == own.file
                    && place.line >= tree.place(entry.key).line
                    && place.line <= own.end_line
            });
            if !inside {
                let place = Some(tree.place(entry.key));
                diagnostic.notes.push(crate::Note { text: format!("job `{name}` takes it over"), place });
            }
        }
    }
    specs
}

/// A job's name that looks like a keyword of the top level.
fn known_setting(name: &str) -> Option<String> {
    let known = [
        "default",
        "include",
        "variables",
        "stages",
        "workflow",
        "image",
        "services",
        "cache",
        "before_script",
    ];
    crate::check::nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

/// Pass 9: rules decide, seeds become jobs.
struct Creation<'a> {
    cx: &'a Context,
    source: &'a dyn IncludeSource,
    tree: &'a Tree,
    ranks: Ranks<'a>,
    parts: &'a Parts,
    graph: Graph<'a>,
}

/// A job that is in, with what its rule said.
struct Seed<'a> {
    instance: usize,
    rule: Option<(usize, &'a Rule)>,
    variables: Vec<YamlVariable>,
    own: Vec<(&'static str, String)>,
    /// The project's variables, if those of its environment are others.
    project: Option<HashMap<String, Variable>>,
}

impl<'a> Creation<'a> {
    fn run(&self, found: &mut Vec<Diagnostic>) -> Option<Made> {
        let mut top = self.parts.variables.clone();
        let mut auto_cancel = self.parts.workflow.auto_cancel;
        if let Some(rules) = &self.parts.workflow.rules {
            let scope = self.ranks.with(&top, &[]);
            match evaluate(rules, &scope, self.cx, self.source, &Home::Own) {
                Verdict::Matched(_, rule) if rule.when == Some(RuleWhen::Never) => {
                    return Some(Made::Filtered(Filtered::Workflow { place: Some(rule.place) }));
                }
                Verdict::Matched(_, rule) => {
                    if let Some(node) = rule.auto_cancel {
                        let mut c = Check::new(self.tree);
                        auto_cancel = workflow::auto_cancel(&mut c, &Path::root("auto_cancel"), node);
                    }
                    overlay(&mut top, &rule.variables);
                }
                Verdict::NoMatch => {
                    let place = self.parts.workflow.rules_place;
                    return Some(Made::Filtered(Filtered::Workflow { place }));
                }
                Verdict::Unknown(place, why) => {
                    let text = format!("Failed to parse rule for workflow: {why}");
                    found.push(Diagnostic::error(text).at(place).keyword("workflow:rules"));
                    return None;
                }
            }
        }
        let name = self.parts.workflow.name.as_ref().and_then(|name| {
            let name = expand_existing(&self.ranks.with(&top, &[]), name);
            let name: String = name.trim().chars().take(255).collect();
            (!name.is_empty()).then_some(name)
        });
        if let Some(place) = self.endless_comparisons() {
            found.push(
                Diagnostic::error("The rules have too many patterns to compare with the files that changed")
                    .at(place)
                    .keyword("rules")
                    .suggest(
                        "let jobs share their `changes` by `!reference`, or use fewer and wider patterns",
                    ),
            );
            return None;
        }
        let mut seeds = Vec::with_capacity(self.graph.instances.len());
        let mut left_out = Vec::new();
        for at in 0..self.graph.instances.len() {
            match self.seed(at, &top, found) {
                Some(Ok(seed)) => seeds.push(seed),
                Some(Err(out)) => left_out.push(out),
                None => {}
            }
        }
        if !found.is_empty() {
            return None;
        }
        let ids: HashMap<&str, JobId> = seeds
            .iter()
            .enumerate()
            .map(|(at, seed)| (self.graph.instances[seed.instance].name.as_str(), JobId(at)))
            .collect();
        let stages: HashMap<&str, usize> =
            self.parts.stages.iter().enumerate().map(|(at, stage)| (stage.as_str(), at)).collect();
        let jobs: Vec<Job> =
            seeds.iter().filter_map(|seed| self.job(seed, &ids, &stages, &left_out, found)).collect();

        if !found.is_empty() {
            return None;
        }
        let edges: Vec<Vec<usize>> = jobs
            .iter()
            .map(|job| job.needs.iter().flatten().filter_map(|need| need.job.map(|id| id.0)).collect())
            .collect();
        if let Some(cycle) = crate::graph::cycle(&edges) {
            let names: Vec<&str> = cycle.iter().map(|at| jobs[*at].name.as_str()).collect();
            let text = format!("The pipeline has circular dependencies: {}", names.join(" → "));
            found.push(Diagnostic::error(text).at(jobs[cycle[0]].place).keyword("needs"));
            return None;
        }
        if jobs.iter().all(|job| job.stage == ".pre" || job.stage == ".post") {
            return Some(Made::Filtered(Filtered::Rules { left_out }));
        }
        let stages = self.parts.stages.clone();
        Some(Made::Pipeline(Box::new(Pipeline { name, stages, jobs, left_out, variables: top, auto_cancel })))
    }

    /// The place of the first rule with which comparing every pattern with every changed file would take seconds.
    fn endless_comparisons(&self) -> Option<Place> {
        let files = self.cx.changes.as_ref().map_or(0, Vec::len);
        let mut patterns = HashSet::new();
        let rules = self.parts.specs.iter().filter_map(|spec| spec.rules.as_deref()).flatten();
        for rule in rules.filter(|rule| rule.changes.is_some()) {
            patterns.extend(rule.changes.iter().flat_map(|changes| &changes.paths));
            if patterns.len().saturating_mul(files) > MAX_COMPARISONS {
                return Some(rule.place);
            }
        }
        None
    }

    /// Whether one instance is in: `Err` says why not, `None` means an error was recorded.
    fn seed(
        &self,
        at: usize,
        top: &[YamlVariable],
        found: &mut Vec<Diagnostic>,
    ) -> Option<Result<Seed<'a>, LeftOut>> {
        let (parts, graph) = (self.parts, &self.graph);
        let instance = &graph.instances[at];
        let spec = &parts.specs[instance.spec];
        let mut variables: Vec<YamlVariable> =
            top.iter().filter(|v| spec.inherit.variables.holds(&v.key)).cloned().collect();
        overlay(&mut variables, &spec.variables);
        let row: Vec<YamlVariable> = instance
            .row
            .iter()
            .map(|(key, value)| YamlVariable { key: key.clone(), value: value.clone(), raw: false })
            .collect();
        overlay(&mut variables, &row);
        let mut own = own_variables(instance, spec);
        let mut project = None;
        if let Some(environment) = &spec.environment {
            let name = expand_existing(&self.ranks.with(&variables, &own), &environment.name);
            project = Ranks::of_environment(self.cx, &name);
            own.push(("CI_ENVIRONMENT_NAME", name));
        }
        let scope = self.ranks.with(&variables, &own).in_environment(project.as_ref());
        let out = |reason: String, place: Place| {
            Some(Err(LeftOut { name: instance.name.clone(), reason, place: Some(place) }))
        };
        let mut matched = None;
        if let Some(rules) = &spec.rules {
            match evaluate(rules, &scope, self.cx, self.source, &Home::Own) {
                Verdict::Matched(number, rule) if rule.when == Some(RuleWhen::Never) => {
                    return out(format!("rule {number} says never ({})", rule.text), rule.place);
                }
                Verdict::Matched(number, rule) => matched = Some((number, rule)),
                Verdict::NoMatch => {
                    let place =
                        spec.places.iter().find(|(key, _)| key == "rules").map_or(spec.place, |(_, p)| *p);
                    let count = rules.len();
                    let which = if count == 1 {
                        "its only rule does not".to_owned()
                    } else {
                        format!("none of its {count} rules does")
                    };
                    return out(format!("{which} match"), place);
                }
                Verdict::Unknown(place, why) => {
                    let text = format!("Failed to parse rule for {}: {why}", instance.name);
                    found.push(Diagnostic::error(text).at(place).job(instance.name.clone()).keyword("rules"));
                    return None;
                }
            }
        } else {
            let default_refs = self.parts.workflow.rules.is_none();
            let only = match &spec.only {
                Some(only) if only.refs.is_none() && default_refs => {
                    Some(Refs { refs: Some(Refs::default_refs()), ..only.clone() })
                }
                Some(only) => Some(only.clone()),
                None if default_refs => Some(Refs {
                    place: spec.place,
                    refs: Some(Refs::default_refs()),
                    variables: None,
                    changes: None,
                    kubernetes: false,
                }),
                None => None,
            };
            if let Some(only) = only
                && !only.all_hold(&scope, self.cx)
            {
                let reason = if spec.only.is_some() {
                    "`only` does not let it in".to_owned()
                } else {
                    format!(
                        "without `rules`, a job runs for branches and tags, not for {}",
                        self.cx.run.source
                    )
                };
                return out(reason, only.place);
            }
            if let Some(except) = &spec.except
                && except.any_holds(&scope, self.cx)
            {
                return out("`except` keeps it out".to_owned(), except.place);
            }
        }
        if let Some((_, rule)) = matched {
            overlay(&mut variables, &rule.variables);
        }
        if variables.iter().any(|v| !v.raw && v.value.contains(['$', '%'])) {
            let scope = self.ranks.with(&variables, &own).in_environment(project.as_ref());
            let mut done = HashSet::new();
            let circle = variables.iter().find_map(|v| cycle(&scope, &v.key, &mut done));
            if let Some(names) = circle {
                let text = format!("{}: circular variable reference detected: {names:?}", instance.name);
                let place = spec.places.iter().find(|(key, _)| key == "variables").map(|(_, place)| *place);
                let place = place.or(parts.variables_place).unwrap_or(spec.place);
                found.push(
                    Diagnostic::error(text)
                        .at(place)
                        .job(instance.name.clone())
                        .keyword("variables")
                        .suggest("one of these variables must not refer to the others"),
                );
                return None;
            }
        }
        Some(Ok(Seed { instance: at, rule: matched, variables, own, project }))
    }

    fn job(
        &self,
        seed: &Seed<'_>,
        ids: &HashMap<&str, JobId>,
        stages: &HashMap<&str, usize>,
        left_out: &[LeftOut],
        found: &mut Vec<Diagnostic>,
    ) -> Option<Job> {
        let instance = &self.graph.instances[seed.instance];
        let spec = &self.parts.specs[instance.spec];
        let rule = seed.rule.map(|(_, rule)| rule);
        let scope = self.ranks.with(&seed.variables, &seed.own).in_environment(seed.project.as_ref());
        let (when, start_in) = match rule.and_then(|rule| rule.when) {
            Some(RuleWhen::Runs(when)) => (when, rule.and_then(|rule| rule.start_in)),
            _ => (spec.when.unwrap_or_default(), spec.start_in),
        };
        let allow_failure = match (rule.and_then(|rule| rule.allow_failure), &spec.allow_failure) {
            (Some(true), _) => AllowFailure::Yes,
            (Some(false), _) => AllowFailure::No,
            (None, Some(given)) => given.clone(),
            // What the job level `manual` implies is settled before the rules (§A.6).
            (None, None) if spec.when == Some(When::Manual) => AllowFailure::Yes,
            (None, None) => AllowFailure::No,
        };
        let rule_needs = rule.and_then(|rule| rule.needs.as_ref());
        let needs = match rule_needs.or(spec.needs.as_ref()) {
            None => None,
            Some(list) => Some(self.needs(list, instance, ids, left_out, found)?),
        };
        if let (Some(_), Some(list)) = (rule_needs, &spec.needs) {
            // §12.5: the job's own list has to be there as well.
            self.needs(list, instance, ids, left_out, found)?;
        }
        let inherited = &spec.inherited;
        let environment = spec.environment.as_ref().map(|environment| {
            let mut environment = environment.clone();
            environment.name = expand_existing(&scope, &environment.name);
            for text in [&mut environment.deployment_tier, &mut environment.auto_stop_in] {
                *text = text.take().map(|text| expand_existing(&scope, &text));
            }
            environment
        });
        Some(Job {
            name: instance.name.clone(),
            group: group_name(&instance.name).to_owned(),
            stage: spec.stage.clone(),
            stage_index: stages.get(spec.stage.as_str()).copied().unwrap_or_default(),
            when,
            start_in,
            allow_failure,
            needs,
            dependencies: spec
                .dependencies
                .as_ref()
                .map(|list| self.graph.dependency_names(list).into_iter().map(|(name, _)| name).collect()),
            before_script: inherited.before_script.clone().unwrap_or_default(),
            script: spec.script.clone(),
            after_script: inherited.after_script.clone().unwrap_or_default(),
            pre_get_sources: inherited.hooks.clone().unwrap_or_default(),
            variables: seed.variables.clone(),
            image: inherited.image.clone(),
            services: inherited.services.clone().unwrap_or_default(),
            artifacts: inherited.artifacts.clone(),
            cache: inherited.cache.clone().unwrap_or_default(),
            retry: inherited.retry.clone().unwrap_or_default(),
            timeout: inherited.timeout,
            tags: inherited.tags.iter().flatten().map(|tag| expand_existing(&scope, tag)).collect(),
            interruptible: rule
                .and_then(|rule| rule.interruptible)
                .or(inherited.interruptible)
                .unwrap_or(false),
            environment,
            resource_group: spec.resource_group.as_ref().map(|group| expand_existing(&scope, group)),
            coverage: spec.coverage.clone(),
            release: spec.release.clone(),
            manual_confirmation: spec.manual_confirmation.clone(),
            bridge: spec.bridge.clone(),
            elsewhere: spec.elsewhere.clone(),
            run: spec.run.clone(),
            inputs: spec.inputs.clone(),
            id_tokens: inherited.id_tokens.clone().unwrap_or_default(),
            secrets: spec.secrets.clone(),
            identity: inherited.identity.clone(),
            dast_configuration: spec.dast_configuration.clone(),
            pages: spec.pages.clone(),
            instance: instance.node.map(|(index, total)| crate::pipeline::Instance {
                base: spec.name.clone(),
                index,
                total,
                matrix: instance.row.clone(),
            }),
            rule: seed.rule.map(|(number, rule)| -> MatchedRule { rule.matched(number) }),
            place: spec.place,
            places: spec.places.clone(),
        })
    }

    fn needs(
        &self,
        list: &[crate::keywords::needs::NeedSpec],
        instance: &Instance,
        ids: &HashMap<&str, JobId>,
        left_out: &[LeftOut],
        found: &mut Vec<Diagnostic>,
    ) -> Option<Vec<Need>> {
        let names: Vec<NeedName> = self.graph.need_names(list, instance).ok()?;
        let mut needs = Vec::with_capacity(names.len());
        for need in names {
            let job = ids.get(need.name.as_str()).copied();
            if job.is_none() && !need.optional {
                let (job, name) = (&instance.name, &need.name);
                let mut diagnostic = Diagnostic::error(format!(
                    "'{job}' job needs '{name}' job, but '{name}' does not exist in the pipeline. This might be because \
                     of the only, except, or rules keywords. To need a job that sometimes does not exist in the pipeline, \
                     use needs:optional."
                ))
                .at(need.place)
                .job(job.clone())
                .keyword("needs")
                .suggest(format!("write it as `{{job: {name}, optional: true}}`"));
                if let Some(out) = left_out.iter().find(|out| out.name == *name) {
                    diagnostic = diagnostic.note(format!("`{name}` is left out: {}", out.reason), out.place);
                }
                found.push(diagnostic);
                return None;
            }
            needs.push(Need {
                name: need.name,
                job,
                artifacts: need.artifacts,
                optional: need.optional,
                place: need.place,
            });
        }
        Some(needs)
    }
}

/// `over` on `variables`: a name keeps its position, the value is replaced.
fn overlay(variables: &mut Vec<YamlVariable>, over: &[YamlVariable]) {
    for variable in over {
        match variables.iter_mut().find(|v| v.key == variable.key) {
            Some(known) => known.clone_from(variable),
            None => variables.push(variable.clone()),
        }
    }
}

/// The predefined variables of a job that its rules can see (§30.3).
fn own_variables(instance: &Instance, spec: &JobSpec) -> Vec<(&'static str, String)> {
    let mut own = vec![
        ("CI_JOB_NAME", instance.name.clone()),
        ("CI_JOB_NAME_SLUG", slug(&instance.name)),
        ("CI_JOB_GROUP_NAME", group_name(&instance.name).to_owned()),
        ("CI_JOB_STAGE", spec.stage.clone()),
        ("CI_NODE_TOTAL", instance.node.map_or(1, |(_, total)| total).to_string()),
    ];
    if let Some((index, _)) = instance.node {
        own.push(("CI_NODE_INDEX", index.to_string()));
    }
    own
}
