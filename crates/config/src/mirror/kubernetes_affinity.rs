//! `[runners.kubernetes.affinity]` (`runner-config.md` §6.3.3).

use crate::table::table;
use std::collections::BTreeMap;

table! {
/// `[runners.kubernetes.affinity]`.
Affinity {
    node_affinity: Option<NodeAffinity>, "node_affinity", Omit, "", "", "Which nodes";
    pod_affinity: Option<PodAffinity>, "pod_affinity", Omit, "", "", "Near which pods";
    pod_anti_affinity: Option<PodAffinity>, "pod_anti_affinity", Omit, "", "", "Away from which pods";
}
}

table! {
/// `node_affinity`.
NodeAffinity {
    required: Option<NodeSelector>, "required_during_scheduling_ignored_during_execution", Omit, "", "", "Must hold";
    preferred: Vec<PreferredTerm>, "preferred_during_scheduling_ignored_during_execution", Omit, "", "", "Should hold";
}
}

table! {
/// Terms of which one must hold.
NodeSelector {
    node_selector_terms: Vec<NodeTerm>, "node_selector_terms", Omit, "", "", "The terms";
}
}

table! {
/// A term with its weight.
PreferredTerm {
    weight: Option<i64>, "weight", Always, "", "", "1 to 100";
    preference: Option<NodeTerm>, "preference", Omit, "", "", "The term";
}
}

table! {
/// Requirements that must all hold.
NodeTerm {
    match_expressions: Vec<Requirement>, "match_expressions", Omit, "", "", "By label";
    match_fields: Vec<Requirement>, "match_fields", Omit, "", "", "By field";
}
}

table! {
/// One requirement.
Requirement {
    key: Option<String>, "key", Omit, "", "", "Label or field";
    operator: Option<String>, "operator", Omit, "", "", "In, NotIn, Exists, DoesNotExist, Gt, Lt";
    values: Vec<String>, "values", Omit, "", "", "Values";
}
}

table! {
/// `pod_affinity` and `pod_anti_affinity`.
PodAffinity {
    required: Vec<PodTerm>, "required_during_scheduling_ignored_during_execution", Omit, "", "", "Must hold";
    preferred: Vec<WeightedPodTerm>, "preferred_during_scheduling_ignored_during_execution", Omit, "", "", "Should hold";
}
}

table! {
/// A pod term with its weight.
WeightedPodTerm {
    weight: Option<i64>, "weight", Always, "", "", "1 to 100";
    pod_affinity_term: Option<PodTerm>, "pod_affinity_term", Omit, "", "", "The term";
}
}

table! {
/// A pod term.
PodTerm {
    label_selector: Option<LabelSelector>, "label_selector", Omit, "", "", "Which pods";
    namespaces: Vec<String>, "namespaces", Omit, "", "", "In which namespaces";
    topology_key: Option<String>, "topology_key", Omit, "", "", "What near means";
    namespace_selector: Option<LabelSelector>, "namespace_selector", Omit, "", "", "In namespaces with which labels";
    match_label_keys: Vec<String>, "match_label_keys", Omit, "", "", "Labels that must agree";
    mismatch_label_keys: Vec<String>, "mismatch_label_keys", Omit, "", "", "Labels that must differ";
}
}

table! {
/// Labels to match.
LabelSelector {
    match_labels: BTreeMap<String, String>, "match_labels", Omit, "", "", "Exact labels";
    match_expressions: Vec<Requirement>, "match_expressions", Omit, "", "", "Requirements";
}
}
