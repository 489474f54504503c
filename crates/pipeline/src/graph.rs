//! From the jobs of the file to instances and their needs: `parallel` written out, names of needs and dependencies
//! found, and the checks that look at several jobs (`ci-yaml.md` §2 passes 7 and 8, §16.2, §17).

use crate::check::nearest;
use crate::diagnostic::{Diagnostic, Place};
use crate::keywords::job::JobSpec;
use crate::keywords::needs::NeedSpec;
use crate::keywords::parallel::{Matrix, Parallel, combinations, matrix_name};
use std::collections::HashMap;

/// Jobs of one pipeline; far beyond any honest configuration.
const MAX_JOBS: usize = 100_000;
/// Needs of one job (§31).
const MAX_NEEDS: usize = 50;

/// One job to be, before rules.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Index of its [`JobSpec`].
    pub spec: usize,
    pub name: String,
    /// `CI_NODE_INDEX` and total, for parallel jobs.
    pub node: Option<(usize, usize)>,
    pub row: Vec<(String, String)>,
}

/// A need with its name written out.
#[derive(Clone, Debug)]
pub(crate) struct NeedName {
    pub name: String,
    pub artifacts: bool,
    pub optional: bool,
    pub place: Place,
}

/// All instances, and who is who.
pub(crate) struct Graph<'s> {
    pub specs: &'s [JobSpec],
    pub instances: Vec<Instance>,
    /// Instances by full name.
    pub by_name: HashMap<String, usize>,
    /// Instances of each spec, by the name in the file.
    bases: HashMap<&'s str, Vec<usize>>,
}

impl<'s> Graph<'s> {
    /// Writes out `parallel`.
    pub fn new(specs: &'s [JobSpec], found: &mut Vec<Diagnostic>) -> Self {
        let mut graph = Self {
            specs,
            instances: Vec::with_capacity(specs.len()),
            by_name: HashMap::with_capacity(specs.len()),
            bases: HashMap::with_capacity(specs.len()),
        };
        for (at, spec) in specs.iter().enumerate() {
            let rows: Vec<(String, Vec<(String, String)>)> = match &spec.parallel {
                None => vec![(spec.name.clone(), Vec::new())],
                Some(Parallel::Count(count)) => {
                    (1..=*count).map(|n| (format!("{} {n}/{count}", spec.name), Vec::new())).collect()
                }
                Some(Parallel::Matrix(matrix)) => {
                    combinations(matrix).into_iter().map(|row| (matrix_name(&spec.name, &row), row)).collect()
                }
            };
            let total = rows.len();
            let mut own = Vec::with_capacity(total);
            for (index, (name, row)) in rows.into_iter().enumerate() {
                let node = spec.parallel.is_some().then_some((index + 1, total));
                let instance = Instance { spec: at, name: name.clone(), node, row };
                // A name that exists already is overwritten in its place.
                match graph.by_name.get(&name) {
                    Some(taken) => {
                        graph.instances[*taken] = instance;
                        own.push(*taken);
                    }
                    None => {
                        own.push(graph.instances.len());
                        graph.by_name.insert(name, graph.instances.len());
                        graph.instances.push(instance);
                    }
                }
            }
            own.dedup();
            graph.bases.insert(&spec.name, own);
            if graph.instances.len() > MAX_JOBS {
                found.push(
                    Diagnostic::error(format!("The pipeline has too many jobs (maximum is {MAX_JOBS})"))
                        .at(spec.place)
                        .job(spec.name.clone()),
                );
                break;
            }
        }
        graph
    }

    /// The names that a list of needs means for one instance. Errors are `(place, text)`.
    pub fn need_names(
        &self,
        needs: &[NeedSpec],
        instance: &Instance,
    ) -> Result<Vec<NeedName>, (Place, String)> {
        let mut out = Vec::with_capacity(needs.len());
        for need in needs {
            let one = |name: String| NeedName {
                name,
                artifacts: need.artifacts,
                optional: need.optional,
                place: need.place,
            };
            let fill = |text: &str| fill_matrix(text, &instance.row).map_err(|unknown| (need.place, unknown));
            let base = fill(&need.name)?;
            match &need.selector {
                Some(selector) => {
                    let mut filled = Matrix::with_capacity(selector.len());
                    for entry in selector {
                        let mut keys = Vec::with_capacity(entry.len());
                        for (key, values) in entry {
                            let values = values.iter().map(|value| fill(value)).collect::<Result<_, _>>()?;
                            keys.push((key.clone(), values));
                        }
                        filled.push(keys);
                    }
                    out.extend(combinations(&filled).iter().map(|row| one(matrix_name(&base, row))));
                }
                None => match self.parallel_instances(&base) {
                    Some(instances) => {
                        out.extend(instances.iter().map(|at| one(self.instances[*at].name.clone())));
                    }
                    None => out.push(one(base)),
                },
            }
        }
        Ok(out)
    }

    /// The instances of a parallel job's base name.
    fn parallel_instances(&self, base: &str) -> Option<&[usize]> {
        let own = self.bases.get(base)?;
        match own.as_slice() {
            [only] if self.instances[*only].name == base => None,
            own => Some(own),
        }
    }

    /// The names that a list of dependencies means.
    pub fn dependency_names(&self, dependencies: &[(String, Place)]) -> Vec<(String, Place)> {
        let mut out = Vec::with_capacity(dependencies.len());
        for (name, place) in dependencies {
            match self.parallel_instances(name) {
                Some(own) => out.extend(own.iter().map(|at| (self.instances[*at].name.clone(), *place))),
                None => out.push((name.clone(), *place)),
            }
        }
        out
    }

    fn suggestion(&self, name: &str) -> String {
        let names = self.by_name.keys().map(String::as_str).chain(self.bases.keys().copied());
        match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a job of this pipeline".to_owned(),
        }
    }

    /// The checks of pass 8. Every job is looked at; GitLab stops at the first error.
    pub fn check(&self, stages: &[String], found: &mut Vec<Diagnostic>) {
        let index: HashMap<&str, usize> = stages.iter().enumerate().map(|(at, s)| (s.as_str(), at)).collect();
        let mut needs_of: Vec<Vec<usize>> = Vec::with_capacity(self.instances.len());
        // What was said of one instance is not said again of the next.
        let mut said: HashMap<(usize, String), ()> = HashMap::new();
        for instance in &self.instances {
            let spec = &self.specs[instance.spec];
            let mut list = Vec::new();
            let mut errors = Vec::new();
            self.check_one(instance, spec, stages, &index, &mut list, &mut errors);
            needs_of.push(list);
            for error in errors {
                let key = (instance.spec, error.message.replace(&instance.name, &spec.name));
                if said.insert(key, ()).is_none() {
                    found.push(error);
                }
            }
        }
        if found.is_empty()
            && let Some(cycle) = cycle(&needs_of)
        {
            let first = &self.instances[cycle[0]];
            let names: Vec<&str> =
                cycle.iter().chain([&cycle[0]]).map(|at| self.instances[*at].name.as_str()).collect();
            let text = if cycle.len() == 1 {
                format!("The pipeline has circular dependencies: self-dependency: {}", first.name)
            } else {
                format!("The pipeline has circular dependencies: {}", names.join(" → "))
            };
            let spec = &self.specs[first.spec];
            let place = spec.places.iter().find(|(key, _)| key == "needs").map_or(spec.place, |(_, p)| *p);
            found.push(
                Diagnostic::error(text)
                    .at(place)
                    .job(first.name.clone())
                    .keyword("needs")
                    .suggest("take one of these needs out"),
            );
        }
    }

    fn check_one(
        &self,
        instance: &Instance,
        spec: &JobSpec,
        stages: &[String],
        index: &HashMap<&str, usize>,
        needs_of: &mut Vec<usize>,
        errors: &mut Vec<Diagnostic>,
    ) {
        let name = &instance.name;
        let mut complain = |place: Place, keyword: &str, text: String, help: Option<String>| {
            let mut diagnostic = Diagnostic::error(text).at(place).job(name.clone()).keyword(keyword);
            diagnostic.suggestion = help;
            errors.push(diagnostic);
        };
        let Some(stage) = index.get(spec.stage.as_str()).copied() else {
            let text = format!(
                "{name} job: chosen stage {} does not exist; available stages are {}",
                spec.stage,
                stages.join(", ")
            );
            let help = match nearest(&spec.stage, stages.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add `{}` to `stages`", spec.stage),
            };
            complain(spec.stage_place, "stage", text, Some(help));
            return;
        };
        let stage_of = |at: usize| index.get(self.specs[self.instances[at].spec].stage.as_str()).copied();
        let dependencies = spec.dependencies.as_ref().map(|list| self.dependency_names(list));
        if let Some(crate::pipeline::Bridge::Child { artifacts, .. }) = &spec.bridge {
            let place = spec.places.iter().find(|(key, _)| key == "trigger").map_or(spec.place, |(_, p)| *p);
            for (job, _) in artifacts.iter().filter(|(job, _)| !job.contains('$')) {
                let text = match self.by_name.get(job).or_else(|| self.bases.get(job.as_str())?.first()) {
                    None => format!("{name} job: undefined need: {job}"),
                    Some(at) if stage_of(*at).is_some_and(|other| other > stage) => {
                        format!("{name} job: need {job} is not defined in current or prior stages")
                    }
                    Some(_) => continue,
                };
                complain(place, "trigger:include", text, Some(self.suggestion(job)));
            }
        }
        for (dependency, place) in dependencies.iter().flatten() {
            match self.by_name.get(dependency) {
                None => complain(
                    *place,
                    "dependencies",
                    format!("{name} job: undefined dependency: {dependency}"),
                    Some(self.suggestion(dependency)),
                ),
                Some(at) if stage_of(*at).is_some_and(|other| other > stage) => complain(
                    *place,
                    "dependencies",
                    format!("{name} job: dependency {dependency} is not defined in current or prior stages"),
                    Some(format!("artifacts only come from stages up to `{}`", spec.stage)),
                ),
                Some(_) => {}
            }
        }
        let lists = spec.needs.iter().map(|list| (list, true)).chain(
            spec.rules
                .iter()
                .flat_map(|rules| rules.iter())
                .filter_map(|rule| Some((rule.needs.as_ref()?, false))),
        );
        for (list, of_job) in lists {
            let names = match self.need_names(list, instance) {
                Ok(names) => names,
                Err((place, unknown)) => {
                    let text = format!("{name} job: '{unknown}' does not exist in matrix configuration");
                    complain(place, "needs", text, None);
                    continue;
                }
            };
            let mut seen: HashMap<&str, ()> = HashMap::with_capacity(names.len());
            for need in &names {
                if need.name.chars().count() > 255 {
                    complain(need.place, "needs", format!("{name} job: need name is too long"), None);
                    continue;
                }
                if seen.insert(&need.name, ()).is_some() {
                    complain(
                        need.place,
                        "needs",
                        format!("{name} has the following needs duplicated: {}.", need.name),
                        Some("name each job once".into()),
                    );
                    continue;
                }
                match self.by_name.get(&need.name) {
                    None if need.optional => {}
                    None => complain(
                        need.place,
                        "needs",
                        format!("{name} job: undefined need: {}", need.name),
                        Some(self.suggestion(&need.name)),
                    ),
                    Some(at) if stage_of(*at).is_some_and(|other| other > stage) => complain(
                        need.place,
                        "needs",
                        format!("{name} job: need {} is not defined in current or prior stages", need.name),
                        Some(format!(
                            "`{}` runs in a later stage than `{}`; move one of the jobs",
                            need.name, spec.stage
                        )),
                    ),
                    Some(at) if of_job => needs_of.push(*at),
                    Some(_) => {}
                }
            }
            if of_job {
                for (dependency, place) in dependencies.iter().flatten() {
                    if self.by_name.contains_key(dependency)
                        && !names.iter().any(|need| need.name == *dependency)
                    {
                        complain(
                            *place,
                            "dependencies",
                            format!("{name} job: dependency {dependency} should be part of needs"),
                            Some(format!("add `{dependency}` to `needs`")),
                        );
                    }
                }
                if names.len() > MAX_NEEDS {
                    complain(
                        spec.place,
                        "needs",
                        format!(
                            "{name}: one job can only need {MAX_NEEDS} others, but you have listed {}",
                            names.len()
                        ),
                        None,
                    );
                }
            }
        }
        if let Some(environment) = &spec.environment
            && let Some(on_stop) = &environment.on_stop
        {
            let place =
                spec.places.iter().find(|(key, _)| key == "environment").map_or(spec.place, |(_, p)| *p);
            let text = match self.by_name.get(on_stop).map(|at| &self.specs[self.instances[*at].spec]) {
                None => Some(format!("{name} job: on_stop job {on_stop} is not defined")),
                Some(stop) => match &stop.environment {
                    None => {
                        Some(format!("{name} job: on_stop job {on_stop} does not have environment defined"))
                    }
                    Some(other) if other.name != environment.name => {
                        Some(format!("{name} job: on_stop job {on_stop} have different environment name"))
                    }
                    Some(other) if other.action != crate::EnvironmentAction::Stop => {
                        Some(format!("{name} job: on_stop job {on_stop} needs to have action stop defined"))
                    }
                    Some(_) => None,
                },
            };
            if let Some(text) = text {
                complain(place, "environment:on_stop", text, None);
            }
        }
    }
}

/// `$[[ matrix.NAME ]]` replaced by the instance's value; the error is an unknown name.
fn fill_matrix(text: &str, row: &[(String, String)]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("$[[") {
        let Some(close) = rest[open..].find("]]") else { break };
        let body = rest[open + 3..open + close].trim();
        match body.strip_prefix("matrix.") {
            Some(key) => {
                let value = row.iter().find(|(name, _)| name == key).ok_or_else(|| key.to_owned())?;
                out.push_str(&rest[..open]);
                out.push_str(&value.1);
            }
            None => out.push_str(&rest[..open + close + 2]),
        }
        rest = &rest[open + close + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// A cycle in a graph, without recursion.
pub(crate) fn cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    for start in 0..edges.len() {
        if marks[start] != Mark::New {
            continue;
        }
        let mut path = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((at, next)) = path.last_mut() {
            let Some(to) = edges[*at].get(*next).copied() else {
                marks[*at] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[to] {
                Mark::New => {
                    marks[to] = Mark::Open;
                    path.push((to, 0));
                }
                Mark::Open => {
                    let from = path.iter().position(|(node, _)| *node == to).unwrap_or(0);
                    return Some(path[from..].iter().map(|(node, _)| *node).collect());
                }
                Mark::Done => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles() {
        assert_eq!(cycle(&[vec![1], vec![2], vec![]]), None);
        assert_eq!(cycle(&[vec![0]]), Some(vec![0]));
        assert_eq!(cycle(&[vec![1], vec![2], vec![1]]), Some(vec![1, 2]));
        let long: Vec<Vec<usize>> = (0..100_000).map(|n| if n == 0 { vec![] } else { vec![n - 1] }).collect();
        assert_eq!(cycle(&long), None);
    }

    #[test]
    fn matrix_expressions() {
        let row = [("A".to_owned(), "x".to_owned())];
        assert_eq!(fill_matrix("a $[[ matrix.A ]]-$[[matrix.A]]", &row), Ok("a x-x".into()));
        assert_eq!(fill_matrix("$[[ matrix.B ]]", &row), Err("B".into()));
        assert_eq!(fill_matrix("$[[ inputs.A ]] $[[", &row), Ok("$[[ inputs.A ]] $[[".into()));
    }
}
