//! Mappings laid over each other: Psych's merge keys and GitLab's deep merge (`ci-yaml.md` §1.3, §5, §7.3). The keys
//! of one mapping always differ from each other; the loader sees to that.

use super::node::{Entry, Key, NodeId, Tree, Value};
use std::collections::HashMap;

/// Fewer comparisons than this are made one by one, without a hash table.
const FEW: usize = 256;

/// Where each key of `over` stands in `base`.
fn positions(tree: &Tree, base: &[Entry], over: &[Entry]) -> Vec<Option<usize>> {
    if base.len() * over.len() <= FEW {
        let find = |key: Key<'_>| base.iter().position(|entry| tree.key(entry.key) == key);
        return over.iter().map(|entry| find(tree.key(entry.key))).collect();
    }
    let index: HashMap<Key<'_>, usize> =
        base.iter().enumerate().map(|(at, entry)| (tree.key(entry.key), at)).collect();
    over.iter().map(|entry| index.get(&tree.key(entry.key)).copied()).collect()
}

/// Lays `over` on `base`, one level deep: a key of `over` replaces the value and keeps the position of the first.
pub(crate) fn merge_into(tree: &Tree, base: &mut Vec<Entry>, over: &[Entry]) {
    for (entry, at) in over.iter().zip(positions(tree, base, over)) {
        match at {
            Some(at) => base[at] = *entry,
            None => base.push(*entry),
        }
    }
}

/// `over` on `base`: mappings are merged recursively, anything else is replaced. The result is a new node where
/// something changed, at the place of `over`.
pub(crate) fn deep_merge(tree: &mut Tree, base: NodeId, over: NodeId) -> NodeId {
    let (Some(below), Some(above)) = (tree.map(base), tree.map(over)) else { return over };
    if above.is_empty() {
        return base;
    }
    let (mut merged, above) = (below.to_vec(), above.to_vec());
    for (entry, at) in above.iter().zip(positions(tree, &merged, &above)) {
        match at {
            Some(at) => {
                let value = deep_merge(tree, merged[at].value, entry.value);
                merged[at] = Entry { key: entry.key, value };
            }
            None => merged.push(*entry),
        }
    }
    let place = tree.place(over);
    tree.add(Value::Map(merged.into()), place)
}
