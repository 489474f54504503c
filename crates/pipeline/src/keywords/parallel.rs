//! `parallel`: a number or a matrix (`ci-yaml.md` §17), and the names and values of the instances.

use crate::check::{Check, Path};
use crate::yaml::{NodeId, Value};

/// Instances of one job.
pub(crate) const MAX_INSTANCES: usize = 200;

/// `parallel` as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parallel {
    /// So many times the same.
    Count(usize),
    /// Every combination of each entry.
    Matrix(Matrix),
}

/// Entries of keys, each with its values.
pub(crate) type Matrix = Vec<Vec<(String, Vec<String>)>>;

/// Reads `parallel` of a job.
pub(crate) fn parallel(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Parallel> {
    match c.tree.value(node) {
        Value::Int(count) if (1..=200).contains(count) => usize::try_from(*count).ok().map(Parallel::Count),
        Value::Int(count) if *count < 1 => {
            c.config(path, node, "must be greater than or equal to 1");
            None
        }
        Value::Int(_) => {
            c.config(path, node, "must be less than or equal to 200");
            None
        }
        Value::Map(_) => Some(Parallel::Matrix(only_matrix(c, path, node)?)),
        _ => {
            c.fail(path, node, "should be an integer or a hash");
            None
        }
    }
}

/// `{matrix: […]}` and nothing else; also the selector of `needs:parallel`.
pub(crate) fn only_matrix(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Matrix> {
    if !c.mapping(path, node, &["matrix"]) {
        return None;
    }
    let Some(list) = c.tree.given(node, "matrix") else {
        c.config(path, node, "missing required keys: matrix");
        return None;
    };
    matrix(c, &path.then("matrix"), list)
}

fn matrix(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Matrix> {
    let tree = c.tree;
    let Some(items) = tree.seq(node).filter(|items| items.iter().all(|item| tree.map(*item).is_some()))
    else {
        c.config(path, node, "should be an array of hashes");
        return None;
    };
    let mut matrix = Matrix::with_capacity(items.len());
    let mut total = 0usize;
    for item in items {
        let entries = tree.map(*item).unwrap_or_default();
        let path = path.then("variables");
        if entries.is_empty() {
            c.config(&path, *item, "requires at least 1 items");
            return None;
        }
        let mut keys = Vec::with_capacity(entries.len());
        let mut product = 1usize;
        for entry in entries {
            let (Some(key), Some(values)) = (name(c, entry.key), values(c, entry.value)) else {
                let complaint = "should be a hash of key value pairs, value can be an array";
                c.config(&path, entry.value, complaint).suggestion =
                    Some("values are texts or whole numbers; put anything else in quotes".into());
                return None;
            };
            product = product.saturating_mul(values.len());
            keys.push((key, values));
        }
        total = total.saturating_add(product);
        matrix.push(keys);
    }
    if total > MAX_INSTANCES {
        c.config(path, node, format_args!("generates too many jobs (maximum is {MAX_INSTANCES})"))
            .suggestion = Some(format!("it comes to {total} combinations"));
        return None;
    }
    Some(matrix)
}

fn name(c: &Check<'_>, key: NodeId) -> Option<String> {
    matches!(c.tree.value(key), Value::Text(_) | Value::Int(_)).then(|| c.tree.show(key))
}

fn values(c: &Check<'_>, node: NodeId) -> Option<Vec<String>> {
    let tree = c.tree;
    let one = |id: NodeId| matches!(tree.value(id), Value::Text(_) | Value::Int(_)).then(|| tree.show(id));
    match tree.seq(node) {
        Some(items) => items.iter().map(|item| one(*item)).collect(),
        None => one(node).map(|value| vec![value]),
    }
}

/// Every combination: entries in order, the first key of an entry varying slowest.
pub(crate) fn combinations(matrix: &Matrix) -> Vec<Vec<(String, String)>> {
    let mut out = Vec::new();
    for entry in matrix {
        let mut rows: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for (key, values) in entry {
            let longer = rows.iter().flat_map(|row| {
                values.iter().map(move |value| {
                    let mut row = row.clone();
                    row.push((key.clone(), value.clone()));
                    row
                })
            });
            rows = longer.take(MAX_INSTANCES + 1).collect();
        }
        out.extend(rows);
    }
    out
}

/// `name: [v1, v2]`
pub(crate) fn matrix_name(base: &str, row: &[(String, String)]) -> String {
    let values: Vec<&str> = row.iter().map(|(_, value)| value.as_str()).collect();
    format!("{base}: [{}]", values.join(", "))
}

/// The name without counters and bracket lists at its end (§3.2, `CI_JOB_GROUP_NAME`).
pub(crate) fn group_name(name: &str) -> &str {
    let mut name = name.trim_end();
    loop {
        let shorter = without_counter(name).or_else(|| without_list(name));
        match shorter {
            Some(shorter) if !shorter.is_empty() => name = shorter,
            _ => return name,
        }
    }
}

/// Without ` 1/3`, ` 1:3`, ` 1 3` at the end.
fn without_counter(name: &str) -> Option<&str> {
    let digits = |text: &str| text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let second = digits(name);
    if second == 0 {
        return None;
    }
    let rest = &name[..name.len() - second];
    let joined = rest.trim_end_matches(['/', ':', '\\', ' ']);
    if joined.len() == rest.len() {
        return None;
    }
    let first = digits(joined);
    if first == 0 {
        return None;
    }
    let head = &joined[..joined.len() - first];
    let trimmed = head.trim_end_matches([' ', ':']);
    (trimmed.len() < head.len()).then_some(trimmed)
}

/// Without `: [a, b]` at the end.
fn without_list(name: &str) -> Option<&str> {
    let open = name.strip_suffix(']')?.rfind('[')?;
    let head = name[..open].trim_end_matches([' ', ':']);
    (head.len() < open).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.iter().map(|v| v.to_string()).collect())).collect()
    }

    /// §A.3
    #[test]
    fn matrix_names_in_order() {
        let matrix = vec![row(&[("P", &["a", "b"]), ("Q", &["1", "2"])]), row(&[("P", &["c"])])];
        let names: Vec<String> = combinations(&matrix).iter().map(|row| matrix_name("t", row)).collect();
        assert_eq!(names, ["t: [a, 1]", "t: [a, 2]", "t: [b, 1]", "t: [b, 2]", "t: [c]"]);
        assert!(combinations(&vec![row(&[("P", &[])])]).is_empty());
    }

    #[test]
    fn group_names() {
        for (name, group) in [
            ("rspec 1/3", "rspec"),
            ("rspec 1:3", "rspec"),
            ("rspec", "rspec"),
            ("test: [a, b]", "test"),
            ("test: [a, b] 2/3", "test"),
            ("build 2", "build 2"),
            ("v1", "v1"),
            ("1/3", "1/3"),
        ] {
            assert_eq!(group_name(name), group, "{name}");
        }
    }
}
