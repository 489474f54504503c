//! Every command that the documents show is run as it stands there, or is on the list of those that cannot be.

mod page;
mod running_text;
mod world;

use page::{Block, Treatment, blocks, pages};
use std::collections::BTreeMap;
use world::World;

/// Why a block is not run here, and what runs it instead.
const NOT_RUN: &[(&str, &str)] = &[
    ("README.md", "takes minutes; CI runs both"),
    ("docs/faults.md", "rounds of faults take minutes"),
    ("docs/getting-started.md", "builds a release"),
    ("docs/installing.md", "builds a release"),
    ("docs/installing.md", "changes the machine"),
    ("docs/installing.md", "the test of the image does this"),
    ("docs/how-to.md", "the test of the image does this"),
    ("docs/migrating.md", "stops a service of the machine"),
    ("docs/coordinator.md", "needs a server of ssh"),
];

/// The blocks of a page by their worlds; the files are of all of them.
fn run(page: &str) {
    let blocks = blocks(page);
    let files: Vec<&Block> =
        blocks.iter().filter(|block| matches!(block.treatment, Treatment::File { .. })).collect();
    let mut worlds: BTreeMap<&str, Vec<&Block>> = BTreeMap::new();
    for block in &blocks {
        if let Treatment::Run { world, .. } = &block.treatment {
            worlds.entry(world).or_default().push(block);
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    for (name, blocks) in worlds {
        World::new(name, &runtime).run(&runtime, &files, &blocks);
    }
}

/// Pages that say the same in Chinese have the same blocks, so one of the two is run.
fn is_translation(page: &str) -> bool {
    page.ends_with(".zh-CN.md")
}

macro_rules! pages_run {
    ($($name:ident: $page:literal;)*) => {
        const RUN: &[&str] = &[$($page),*];
        $(#[test]
        fn $name() {
            run($page);
        })*
    };
}

pages_run! {
    readme: "README.md";
    as_a_runner: "docs/as-a-runner.md";
    coordinator: "docs/coordinator.md";
    getting_started: "docs/getting-started.md";
    how_to: "docs/how-to.md";
    migrating: "docs/migrating.md";
    troubleshooting: "docs/troubleshooting.md";
}

#[test]
fn every_page_with_commands_has_its_test() {
    for page in pages().iter().filter(|page| !is_translation(page)) {
        let has_commands = blocks(page).iter().any(|block| matches!(block.treatment, Treatment::Run { .. }));
        assert_eq!(
            has_commands,
            RUN.contains(&page.as_str()),
            "{page}: put it into `pages_run`, or take it out"
        );
    }
}

#[test]
fn what_is_not_run_is_known() {
    let mut found = Vec::new();
    for page in pages().iter().filter(|page| !is_translation(page)) {
        for block in blocks(page) {
            if let Treatment::NotRun { reason } = block.treatment {
                let known = (page.as_str(), reason.as_str());
                assert!(NOT_RUN.contains(&known), "{page}:{}: {known:?} is not in NOT_RUN", block.line);
                found.push((page.clone(), reason));
            }
        }
    }
    for (page, reason) in NOT_RUN {
        assert!(found.iter().any(|(p, r)| p == page && r == reason), "{page} has no block with {reason:?}");
    }
}

#[test]
fn a_translation_has_the_commands_of_its_original() {
    for page in pages().iter().filter(|page| is_translation(page)) {
        let original = page.replace(".zh-CN.md", ".md");
        let of = |page: &str| -> Vec<(Treatment, String)> {
            blocks(page).into_iter().map(|block| (block.treatment, block.text)).collect()
        };
        assert_eq!(of(page), of(&original), "{page} and {original}");
    }
}
