//! Files made to explode end in a clear error. How long each takes is printed by `examples/compile_speed.rs`; here it
//! is enough that they end.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;
#[path = "support/hostile.rs"]
mod texts;

use support::{Repository, compiled_with, context, errors};

#[test]
fn every_explosion_is_contained() {
    for file in texts::hostile() {
        let files: Vec<(&str, &str)> =
            file.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut cx = context(&[]);
        cx.changes = Some(file.changes.clone());
        let begun = std::time::Instant::now();
        let compiled = compiled_with(&file.files[".gitlab-ci.yml"], &Repository::new(&files), &cx);
        println!("{:>8.1?}  {}", begun.elapsed(), file.name);
        let errors = errors(&compiled);
        match file.says {
            Some(says) => assert!(
                errors.first().is_some_and(|error| error.starts_with(says)),
                "{}: {:?}",
                file.name,
                errors.first().map(|e| e.chars().take(200).collect::<String>())
            ),
            None => assert!(errors.is_empty(), "{}: {:?}", file.name, errors.first()),
        }
    }
}
