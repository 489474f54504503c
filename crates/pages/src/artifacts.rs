//! The files of a job's archive. Names come from somebody's archive: they are shown and quoted, never trusted.

use crate::frame::{Page, address_part};
use crate::time::bytes;
use maud::html;

/// A file or a folder.
#[derive(Clone, Debug)]
pub struct ArtifactEntry {
    /// Its name in this folder.
    pub name: String,
    /// Bytes; `None`: a folder.
    pub size: Option<u64>,
}

/// A folder of an archive.
#[derive(Clone, Debug)]
pub struct ArtifactsPage {
    /// `group/name`.
    pub project: String,
    /// The job.
    pub job: i64,
    /// Its name.
    pub job_name: String,
    /// The folder, without a slash at its ends; empty: the top.
    pub folder: String,
    /// Folders first.
    pub entries: Vec<ArtifactEntry>,
}

/// One folder of the archive.
pub fn artifacts_page(page: &Page, folder: &ArtifactsPage) -> String {
    let t = page.t();
    let job = format!("/{}/-/jobs/{}", folder.project, folder.job);
    let here = if folder.folder.is_empty() { String::new() } else { format!("{}/", folder.folder) };
    let parent = folder.folder.rsplit_once('/').map_or("", |(parent, _)| parent);
    page.whole(t.artifacts, &html! {
        div.headline {
            h1 { (t.artifacts) }
            a.button.primary href=(format!("{job}/artifacts/download")) { (t.download) }
        }
        p.path { a href=(job) { (folder.job_name) " #" (folder.job) } " / " code { (folder.folder) } }
        div.scroll { table {
            thead { tr { th { (t.name) } th.number { (t.size) } } }
            tbody {
                @if !folder.folder.is_empty() { tr {
                    td { a href=(format!("{job}/artifacts/browse/{}", address_part(parent))) { "↑ " (t.parent_folder) } } td {}
                } }
                @for entry in &folder.entries {
                    @let path = address_part(&format!("{here}{}", entry.name));
                    tr { @match entry.size {
                        None => {
                            td { a.strong href=(format!("{job}/artifacts/browse/{path}")) { (entry.name) "/" } } td {}
                        }
                        Some(size) => {
                            td { a href=(format!("{job}/artifacts/file/{path}")) { (entry.name) } } td.number { (bytes(size)) }
                        }
                    } }
                }
            }
        } }
    })
}
