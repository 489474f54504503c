//! A job as written, all keywords checked (`ci-yaml.md` §3.2, §18). Rules and `parallel` are applied in `compile`.

use super::defaults::{Inherit, Inherited, inherit};
use super::needs::{NeedSpec, NeedsOf, dependencies, needs};
use super::parallel::{Parallel, parallel};
use super::refs::{Refs, refs};
use super::{credentials, environment, job_inputs, release, running, steps, trigger, variables};
use crate::check::{Check, Path};
use crate::diagnostic::Place;
use crate::pipeline::{
    AllowFailure, Bridge, DastConfiguration, Environment, JobInput, NeedElsewhere, Pages, Release,
    SecretSource, When, YamlVariable,
};
use crate::rules::{Rule, RulesOf, rules, when_word};
use crate::yaml::{Entry, NodeId, Value};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The keywords of a job that runs something.
pub const KEYS: [&str; 38] = [
    "tags",
    "script",
    "image",
    "services",
    "start_in",
    "artifacts",
    "cache",
    "dependencies",
    "before_script",
    "after_script",
    "hooks",
    "coverage",
    "retry",
    "parallel",
    "timeout",
    "inputs",
    "release",
    "id_tokens",
    "publish",
    "pages",
    "manual_confirmation",
    "run",
    "extends",
    "stage",
    "only",
    "except",
    "rules",
    "variables",
    "inherit",
    "allow_failure",
    "when",
    "needs",
    "resource_group",
    "environment",
    "interruptible",
    "secrets",
    "identity",
    "dast_configuration",
];

/// Keywords of a job that triggers or mirrors a pipeline.
const BRIDGE_KEYS: [&str; 15] = [
    "trigger",
    "parallel",
    "extends",
    "stage",
    "only",
    "except",
    "rules",
    "variables",
    "inherit",
    "allow_failure",
    "when",
    "needs",
    "resource_group",
    "environment",
    "interruptible",
];

/// A visible job of the file.
#[derive(Debug)]
pub(crate) struct JobSpec {
    pub name: String,
    pub place: Place,
    /// Size with everything written out.
    pub weight: u64,
    pub stage: String,
    pub stage_place: Place,
    pub inherited: Inherited,
    pub script: Vec<String>,
    pub when: Option<When>,
    pub start_in: Option<Duration>,
    pub allow_failure: Option<AllowFailure>,
    pub needs: Option<Vec<NeedSpec>>,
    pub dependencies: Option<Vec<(String, Place)>>,
    pub rules: Option<Rc<Vec<Rule>>>,
    pub only: Option<Refs>,
    pub except: Option<Refs>,
    pub variables: Vec<YamlVariable>,
    pub inherit: Inherit,
    pub parallel: Option<Parallel>,
    pub coverage: Option<String>,
    pub resource_group: Option<String>,
    pub environment: Option<Environment>,
    pub release: Option<Release>,
    pub manual_confirmation: Option<String>,
    pub bridge: Option<Bridge>,
    pub elsewhere: Vec<NeedElsewhere>,
    pub run: Option<serde_json::Value>,
    pub inputs: Vec<JobInput>,
    pub secrets: Vec<SecretSource>,
    pub dast_configuration: Option<DastConfiguration>,
    pub pages: Option<Pages>,
    pub places: Vec<(String, Place)>,
}

/// What the jobs of one file have in common.
pub(crate) struct JobReader<'d> {
    pub default: &'d Inherited,
    /// Rules by the node of their list; many jobs share one through `extends` or an anchor.
    pub rules: HashMap<NodeId, Option<Rc<Vec<Rule>>>>,
}

impl JobReader<'_> {
    /// Reads one job; `None` if something was wrong with it.
    pub fn job(&mut self, c: &mut Check<'_>, name: &str, entry: Entry) -> Option<JobSpec> {
        let tree = c.tree;
        let node = entry.value;
        let jobs = Path::root("jobs");
        let path = &jobs.then(name);
        let before = c.found.len();
        if name.trim().is_empty() {
            c.fail(path, entry.key, "job name can't be blank");
        }
        if name.chars().count() > 255 {
            c.fail(path, entry.key, "job name is too long (maximum is 255 characters)");
        }
        let given = |key: &str| tree.given(node, key);
        let has_work = given("script").is_some() || given("run").is_some();
        if let Some(trigger) = given("trigger")
            && let Some(other) = ["script", "run"].into_iter().find(|key| given(key).is_some())
        {
            c.config(path, trigger, format_args!("these keys cannot be used together: {other}, trigger"))
                .suggestion = Some("a job either runs a script or triggers a pipeline".into());
            return None;
        }
        let is_bridge = !has_work && (given("trigger").is_some() || given("needs").is_some());
        if is_bridge && given("trigger").is_none() && !mentions_pipeline(c, node) {
            c.config(path, entry.key, "should implement the script:, run:, or trigger: keyword").suggestion =
                Some(
                    "add `script:`; only a need of another project's pipeline makes a job without one".into(),
                );
            return None;
        }
        c.known_keys(path, node, if is_bridge { &BRIDGE_KEYS } else { &KEYS });
        if let Some(run) = given("run") {
            let with: Vec<&str> = ["script", "before_script", "after_script"]
                .into_iter()
                .filter(|key| tree.get(node, key).is_some_and(|value| !tree.is_null(value)))
                .collect();
            if !with.is_empty() {
                let text = format!("these keys cannot be used together: run, {}", with.join(", "));
                c.config(path, run, text).suggestion = Some("a job has either steps or scripts".into());
                return None;
            }
        }
        let mut spec = JobSpec {
            name: name.to_owned(),
            place: tree.place(entry.key),
            weight: tree.node(node).weight,
            stage: "test".into(),
            stage_place: tree.place(entry.key),
            inherited: Inherited::of(c, path, node),
            script: Vec::new(),
            when: None,
            start_in: None,
            allow_failure: None,
            needs: None,
            dependencies: None,
            rules: None,
            only: None,
            except: None,
            variables: Vec::new(),
            inherit: Inherit::default(),
            parallel: None,
            coverage: None,
            resource_group: None,
            environment: None,
            release: None,
            manual_confirmation: None,
            bridge: None,
            elsewhere: Vec::new(),
            run: None,
            inputs: Vec::new(),
            secrets: Vec::new(),
            dast_configuration: None,
            pages: None,
            places: Vec::new(),
        };
        self.keywords(c, path, node, &mut spec, is_bridge);
        if is_bridge {
            spec.inherited.fill_bridge(self.default, &spec.inherit);
        } else {
            spec.inherited.fill(self.default, &spec.inherit);
            spec.pages = release::pages(c, path, name, node, &mut spec.inherited.artifacts);
        }
        if spec.run.is_some() {
            // What `default` has of scripts is for jobs with scripts.
            spec.inherited.before_script = None;
            spec.inherited.after_script = None;
        }
        let own = tree.map(node).unwrap_or_default().iter();
        spec.places =
            own.filter_map(|entry| Some((tree.text(entry.key)?.to_owned(), tree.place(entry.key)))).collect();
        for (key, place) in &spec.inherited.places {
            if !spec.places.iter().any(|(known, _)| known == key) {
                spec.places.push(((*key).to_owned(), *place));
            }
        }
        (c.found.len() == before).then_some(spec)
    }

    fn keywords(
        &mut self,
        c: &mut Check<'_>,
        path: &Path<'_>,
        node: NodeId,
        spec: &mut JobSpec,
        is_bridge: bool,
    ) {
        let tree = c.tree;
        let given = |key: &str| tree.given(node, key);
        if let Some(given) = given("trigger") {
            spec.bridge = trigger::trigger(c, &path.then("trigger"), given);
        }
        if let Some(given) = given("run") {
            spec.run = steps::run(c, &path.then("run"), given);
        }
        match given("script") {
            Some(script) => {
                spec.script = running::script(c, &path.then("script"), script).unwrap_or_default()
            }
            None if is_bridge || given("run").is_some() => {}
            None => {
                c.fail(&path.then("script"), node, "config can't be blank");
            }
        }
        if let Some(stage) = given("stage") {
            spec.stage_place = tree.place(stage);
            if let Some(text) = c.text(&path.then("stage"), stage) {
                spec.stage = text;
            }
        }
        if let Some(given) = given("inherit") {
            spec.inherit = inherit(c, &path.then("inherit"), given);
        }
        if let Some(when) = given("when") {
            let words = ["on_success", "on_failure", "always", "manual", "delayed"];
            let words = if is_bridge { &words[..4] } else { &words };
            spec.when = c.word(path, when, "when", words).and_then(when_word);
        }
        let has_rules = given("rules").is_some();
        match given("start_in") {
            Some(start_in) if has_rules => {
                c.config(path, start_in, "key may not be used with `rules`: start_in").suggestion =
                    Some("write `start_in` into the rule that says `when: delayed`".into());
            }
            Some(start_in) if spec.when == Some(When::Delayed) => {
                spec.start_in = running::start_in(c, path, start_in);
            }
            Some(start_in) => {
                c.fail(path, start_in, "start in must be blank").suggestion =
                    Some("`start_in` goes with `when: delayed`".into());
            }
            None if spec.when == Some(When::Delayed) && !has_rules => {
                c.fail(path, node, "start in should be a duration").suggestion =
                    Some("`when: delayed` needs `start_in`, for example `start_in: 5 minutes`".into());
            }
            None => {}
        }
        if let Some(given) = given("allow_failure")
            && is_bridge
        {
            let flag = c.boolean(&path.then("allow_failure"), given);
            spec.allow_failure = flag.map(|yes| if yes { AllowFailure::Yes } else { AllowFailure::No });
        } else if let Some(given) = given("allow_failure") {
            spec.allow_failure = running::allow_failure(c, &path.then("allow_failure"), given);
        }
        if let Some(given) = given("needs") {
            let of = if is_bridge { NeedsOf::Bridge } else { NeedsOf::Job };
            if let Some(read) = needs(c, &path.then("needs"), given, of) {
                if let Some((project, _)) = read.mirrors {
                    if spec.bridge.is_some() {
                        let text = "should contain either a trigger or a needs:pipeline";
                        c.config(path, given, text).suggestion =
                            Some("a job triggers a pipeline or mirrors one, not both".into());
                    }
                    spec.bridge = Some(Bridge::Mirror { project });
                    // It waits for the earlier stages, unless it needs jobs as well.
                    spec.needs = (!read.jobs.is_empty()).then_some(read.jobs);
                } else {
                    if read.jobs.is_empty()
                        && !read.elsewhere.is_empty()
                        && tree.given(node, "dependencies").is_some()
                    {
                        let text = "needs should hold the jobs of this pipeline that `dependencies` names";
                        c.fail(path, given, text).suggestion =
                            Some("take `dependencies` out, or need those jobs too".into());
                    }
                    spec.needs = Some(read.jobs);
                    spec.elsewhere = read.elsewhere;
                }
            }
        }
        if let Some(given) = given("dependencies") {
            spec.dependencies = dependencies(c, path, given);
        }
        if let Some(given) = given("rules") {
            for key in ["only", "except"] {
                if let Some(node) = tree.given(node, key) {
                    c.config(path, node, format_args!("key may not be used with `rules`: {key}"));
                }
            }
            spec.rules = match self.rules.get(&given) {
                Some(known) => known.clone(),
                None => {
                    let read = rules(c, &path.then("rules"), given, RulesOf::Job).map(Rc::new);
                    self.rules.insert(given, read.clone());
                    read
                }
            };
        } else {
            if let Some(given) = given("only") {
                spec.only = refs(c, &path.then("only"), given);
            }
            if let Some(given) = given("except") {
                spec.except = refs(c, &path.then("except"), given);
            }
        }
        if let Some(given) = given("variables") {
            spec.variables = variables::job(c, &path.then("variables"), given).unwrap_or_default();
        }
        if let Some(given) = given("parallel") {
            if is_bridge && tree.map(given).is_none() {
                c.config(
                    &path.then("parallel"),
                    given,
                    "should be a hash: a trigger job has `parallel:matrix` only",
                );
            } else {
                spec.parallel = parallel(c, &path.then("parallel"), given);
            }
        }
        if let Some(given) = given("coverage") {
            spec.coverage = running::coverage(c, &path.then("coverage"), given);
        }
        if let Some(given) = given("resource_group") {
            spec.resource_group = c.text(&path.then("resource_group"), given);
        }
        if let Some(given) = given("environment") {
            spec.environment = environment::environment(c, &path.then("environment"), given);
        }
        if let Some(given) = given("release") {
            spec.release = release::release(c, &path.then("release"), given);
        }
        if let Some(given) = given("manual_confirmation") {
            spec.manual_confirmation = c.text(&path.then("manual_confirmation"), given);
        }
        if let Some(given) = given("inputs") {
            spec.inputs = job_inputs::job_inputs(c, &path.then("inputs"), given).unwrap_or_default();
        }
        if let Some(given) = given("secrets") {
            spec.secrets = credentials::secrets(c, &path.then("secrets"), given).unwrap_or_default();
        }
        if let Some(given) = given("dast_configuration") {
            spec.dast_configuration = running::dast_configuration(c, &path.then("dast_configuration"), given);
        }
    }
}

/// Whether the needs of a job without a script name a pipeline.
fn mentions_pipeline(c: &Check<'_>, node: NodeId) -> bool {
    let Some(needs) = c.tree.given(node, "needs") else { return false };
    let items = match c.tree.value(needs) {
        Value::Seq(_) => c.flatten(needs, usize::MAX).unwrap_or_default(),
        _ => vec![needs],
    };
    items.iter().any(|item| c.tree.given(*item, "pipeline").is_some())
}

/// What a top level entry is (§3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Settings of the whole file.
    Setting,
    /// Not run, only a base for others.
    Hidden,
    /// A job, or a bridge.
    Job,
}

/// Keys of the top level that are never jobs.
pub(crate) const SETTINGS: [&str; 9] = [
    "default",
    "include",
    "before_script",
    "image",
    "services",
    "after_script",
    "variables",
    "stages",
    "cache",
];

/// Sorts a top level entry.
pub(crate) fn kind(c: &Check<'_>, name: &str, value: NodeId) -> Kind {
    let looks_like_job = || {
        matches!(c.tree.value(value), Value::Map(_))
            && ["script", "run", "trigger"].iter().any(|key| c.tree.given(value, key).is_some())
    };
    match name {
        "default" | "workflow" => {
            if looks_like_job() {
                Kind::Job
            } else {
                Kind::Setting
            }
        }
        _ if SETTINGS.contains(&name) => Kind::Setting,
        _ if name.starts_with('.') => Kind::Hidden,
        _ => Kind::Job,
    }
}
