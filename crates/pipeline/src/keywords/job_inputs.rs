//! `inputs` of a job (`ci-yaml.md` §26): declared like those of a header, each with a default. What is put in their place,
//! `crate::job_inputs` says.

use crate::check::{Check, Path};
use crate::header;
use crate::inputs;
use crate::pipeline::JobInput;
use crate::yaml::NodeId;

/// Inputs of a job (§31).
const MAX_INPUTS: usize = 50;

/// Reads `inputs`.
pub(crate) fn job_inputs(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<JobInput>> {
    let tree = c.tree;
    let before = c.found.len();
    let entries = tree.map(node).unwrap_or_default();
    if entries.len() > MAX_INPUTS {
        c.config(path, node, format_args!("cannot define more than {MAX_INPUTS} inputs"));
        return None;
    }
    for entry in entries {
        let name = tree.show(entry.key);
        let path = path.then(&name);
        let keys = ["type", "default", "description", "options", "regex"];
        if tree.map(entry.value).is_some() && !c.known_keys(&path, entry.value, &keys) {
            continue;
        }
        if tree.get(entry.value, "default").is_none() {
            c.config(&path, entry.key, "missing required keys: default").suggestion =
                Some("an input of a job has a value that counts when nobody gives another".into());
        }
    }
    if c.found.len() > before {
        return None;
    }
    let specs = header::inputs(c, path, node);
    if c.found.len() > before {
        return None;
    }
    let values = match inputs::resolve(&specs, &[], None) {
        Ok(values) => values,
        Err(found) => {
            for diagnostic in found {
                c.fail(path, node, diagnostic.message).suggestion = diagnostic.suggestion;
            }
            return None;
        }
    };
    let out = specs.iter().map(|spec| {
        let declared = tree.get(node, &spec.name);
        let text = |key: &str| {
            let value = declared.and_then(|declared| tree.given(declared, key))?;
            tree.text(value).map(str::to_owned)
        };
        JobInput {
            name: spec.name.clone(),
            kind: spec.kind.word().to_owned(),
            default: values.get(&spec.name).cloned().unwrap_or_default(),
            description: text("description"),
            options: spec.options.clone().unwrap_or_default(),
            regex: text("regex"),
        }
    });
    Some(out.collect())
}
