//! Bad files of every category of error: each is refused, at the right place. The first line of each file says where and
//! with which words: `# LINE:COLUMN MESSAGE`; `# ?` is filled in by `UPDATE=1 cargo test -p harrier-pipeline --test bad`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use harrier_pipeline::{SourceFile, compile, render};
use std::path::PathBuf;
use support::{Repository, context};

#[test]
fn refused_at_the_right_place() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut wrong = String::new();
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let repository = Repository::new(&[(&name, &text)]);
        let compiled = compile(SourceFile { name, text: text.clone() }, &repository, &context(&[]));
        assert!(compiled.pipeline.is_none() && compiled.has_errors(), "{path:?} is fine");
        let first = &compiled.diagnostics[0];
        let place = first.place.unwrap();
        let got = format!("# {}:{} {}", place.line, place.column, first.message);
        let want = text.lines().next().unwrap();
        if want == "# ?" && std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, text.replacen("# ?", &got, 1)).unwrap();
        } else if want != got {
            let said = render(first, &compiled.sources);
            wrong.push_str(&format!("{path:?}\nwant {want}\n got {got}\n{said}\n"));
        }
    }
    assert!(files.len() > 50 && wrong.is_empty(), "{wrong}");
}
