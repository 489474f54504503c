//! The direction of dependencies, read from the manifests: down only, as the table in `ARCHITECTURE.md` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// Each crate and its layer. A new crate needs a line here and in `ARCHITECTURE.md`.
const LAYERS: &[(&str, Layer)] = &[
    ("harrier-base", Layer::Words),
    ("harrier-api", Layer::Words),
    ("harrier-yaml-events", Layer::Words),
    ("harrier-config", Layer::Logic),
    ("harrier-plan", Layer::Logic),
    ("harrier-logpipe", Layer::Logic),
    ("harrier-pipeline", Layer::Logic),
    ("harrier-pages", Layer::Logic),
    ("harrier-drawing", Layer::Logic),
    ("harrier-language-server", Layer::Logic),
    ("harrier-signature", Layer::Logic),
    ("harrier-process", Layer::Deeds),
    ("harrier-store", Layer::Deeds),
    ("harrier-client", Layer::Deeds),
    ("harrier-helper", Layer::Deeds),
    ("harrier-includes", Layer::Deeds),
    ("harrier-database", Layer::Deeds),
    ("harrier-engine", Layer::Jobs),
    ("harrier-shell", Layer::Executors),
    ("harrier-docker", Layer::Executors),
    ("harrier-runner", Layer::Hosts),
    ("harrier-local", Layer::Hosts),
    ("harrier-coordinator", Layer::Hosts),
    ("harrier", Layer::Rim),
    ("harrier-testkit", Layer::Dev),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Words,
    Logic,
    Deeds,
    Jobs,
    Executors,
    Hosts,
    Rim,
    Dev,
}

/// The few edges within one layer: secrets on the wire, a runner's settings in a plan, a pipeline to draw, artifacts over
/// HTTP, and the raw log that the supervisor writes.
const SIDEWAYS: &[(&str, &str)] = &[
    ("harrier-drawing", "harrier-pipeline"),
    ("harrier-language-server", "harrier-pipeline"),
    ("harrier-api", "harrier-base"),
    ("harrier-plan", "harrier-config"),
    ("harrier-pages", "harrier-pipeline"),
    ("harrier-helper", "harrier-client"),
    ("harrier-process", "harrier-store"),
];

/// What a pure crate may not depend on: each brings IO, a clock or tasks.
const DEEDS_OF_OTHERS: [&str; 8] =
    ["tokio", "tokio-util", "reqwest", "nix", "tempfile", "walkdir", "tracing", "tracing-subscriber"];

/// Hosts know no concrete executor: the rim puts them together.
const EXECUTORS: [&str; 2] = ["harrier-shell", "harrier-docker"];

struct Manifest {
    path: PathBuf,
    document: DocumentMut,
}

impl Manifest {
    fn read(path: PathBuf) -> Manifest {
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        let document = text.parse().unwrap_or_else(|error| panic!("{} is no TOML: {error}", path.display()));
        Manifest { path, document }
    }

    fn name(&self) -> &str {
        self.document["package"]["name"].as_str().expect("a package has a name")
    }

    /// Names of a dependency table, target-specific ones too.
    fn needs(&self, table: &str) -> Vec<String> {
        let names = |item: Option<&Item>| -> Vec<String> {
            let table = item.and_then(Item::as_table_like);
            table.map(|table| table.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
        };
        let mut found = names(self.document.get(table));
        if let Some(targets) = self.document.get("target").and_then(Item::as_table_like) {
            for (_, target) in targets.iter() {
                found.extend(names(target.get(table)));
            }
        }
        found
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifests() -> BTreeMap<String, Manifest> {
    let workspace = Manifest::read(root().join("Cargo.toml"));
    let members = workspace.document["workspace"]["members"].as_array().expect("a workspace has members");
    members
        .iter()
        .map(|member| {
            let member = member.as_str().expect("a member is a path");
            let manifest = Manifest::read(root().join(member).join("Cargo.toml"));
            (manifest.name().to_owned(), manifest)
        })
        .collect()
}

fn layer(name: &str) -> Layer {
    let found = LAYERS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("{name} has no layer; give it a line in LAYERS and in ARCHITECTURE.md")).1
}

#[test]
fn dependencies_point_down() {
    for (name, manifest) in manifests() {
        for need in manifest.needs("dependencies").iter().chain(&manifest.needs("build-dependencies")) {
            if !need.starts_with("harrier") {
                continue;
            }
            let sideways = SIDEWAYS.contains(&(name.as_str(), need.as_str()));
            assert!(
                layer(need) < layer(&name) || sideways,
                "{}: {name} ({:?}) depends on {need} ({:?}); dependencies point down",
                manifest.path.display(),
                layer(&name),
                layer(need)
            );
            let host = layer(&name) == Layer::Hosts;
            assert!(
                !(host && EXECUTORS.contains(&need.as_str())),
                "{}: a host knows no concrete executor",
                manifest.path.display()
            );
        }
    }
}

#[test]
fn pure_crates_stay_pure() {
    for (name, manifest) in manifests() {
        if layer(&name) > Layer::Logic {
            continue;
        }
        for need in manifest.needs("dependencies") {
            assert!(
                !DEEDS_OF_OTHERS.contains(&need.as_str()),
                "{}: a pure crate depends on {need}",
                manifest.path.display()
            );
        }
    }
}

#[test]
fn testkit_serves_tests_only_and_knows_nothing_of_the_product() {
    for (name, manifest) in manifests() {
        for table in ["dependencies", "build-dependencies"] {
            let needs = manifest.needs(table);
            assert!(
                !needs.iter().any(|need| need == "harrier-testkit"),
                "{}: testkit is a dev-dependency",
                manifest.path.display()
            );
            let product = needs.iter().find(|need| need.starts_with("harrier"));
            if name == "harrier-testkit" {
                assert_eq!(product, None, "testkit judges by the contract, not by the product's types");
            }
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for manifest in manifests().values() {
        let inherits = manifest.document["lints"]["workspace"].as_bool();
        assert_eq!(inherits, Some(true), "{}: [lints] workspace = true", manifest.path.display());
    }
}

#[test]
fn every_directory_of_a_crate_is_a_member() {
    let known: Vec<PathBuf> = manifests()
        .values()
        .map(|manifest| manifest.path.canonicalize().expect("the manifest was read"))
        .collect();
    for place in [root().join("crates"), root().join("crates/executors")] {
        for entry in std::fs::read_dir(&place).expect("a directory of the workspace").flatten() {
            let manifest = entry.path().join("Cargo.toml");
            if manifest.is_file() {
                let manifest = manifest.canonicalize().expect("it was just seen");
                assert!(known.contains(&manifest), "{} is no workspace member", manifest.display());
            }
        }
    }
}
