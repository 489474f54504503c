//! Keeps caches and helper images below a number of bytes: what was used longest ago goes first, what is in use never.
//!
//! Called by `harrier runner gc`, and by hosts now and then. The choice is pure.

use crate::connection::{Engine, words};
use crate::error::DockerError;
use crate::settings::{JOB_LABEL, OWNER_LABEL};
use crate::uses::Uses;
use bollard::models::Volume;
use bollard::query_parameters::{
    ListImagesOptions, ListVolumesOptions, RemoveImageOptions, RemoveVolumeOptions,
};
use harrier_plan::LABEL_PREFIX;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The last API in which the engine's own account of disk usage has the form that all engines since 20.10 know.
const LAST_PLAIN_USAGE: (usize, usize) = (1, 51);
/// What an engine before 23.0 answers while somebody else asks for its account.
const ALREADY_ASKED: &str = "a disk usage operation is already running";
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How long the accounts of others may take.
const OTHERS_ASK: Duration = Duration::from_secs(60);

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// A cache volume or the volume of a build directory.
    Volume,
    /// A helper image that Harrier has made.
    HelperImage,
}

/// A thing that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Which kind.
    pub kind: CacheKind,
    /// Name of the volume, id of the image.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The last use known.
    pub used: SystemTime,
    /// A container or a job at work has it.
    pub busy: bool,
}

/// What making room comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// All that was there, in bytes.
    pub before: u64,
    /// What went, or would go.
    pub removed: Vec<Cache>,
    /// What could not be removed, and why.
    pub failed: Vec<String>,
}

impl Room {
    /// What is left, in bytes.
    pub fn after(&self) -> u64 {
        self.before.saturating_sub(self.removed.iter().map(|cache| cache.size).sum())
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct MakeRoom {
    /// Bytes that may stay.
    pub budget: u64,
    /// Only tell.
    pub dry_run: bool,
    /// Also helper images that this state directory has never used: another runner's, or those of a time before.
    pub others_images: bool,
}

/// `20g`, `512m`, plain bytes; `off` is no limit.
pub fn parse_budget(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim().to_ascii_lowercase();
    if text == "off" {
        return Ok(None);
    }
    let bare = text.strip_suffix("ib").or_else(|| text.strip_suffix('b')).unwrap_or(&text);
    let (digits, unit) = match bare.strip_suffix(['k', 'm', 'g', 't']) {
        Some(digits) => (digits, &bare[digits.len()..]),
        None => (bare, ""),
    };
    let shift = match unit {
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => 0,
    };
    let number = digits.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    number.map(Some).ok_or_else(|| format!("{text:?} is no size; write it as 20g, 512m, or off for no limit"))
}

/// What must go so that the rest is within the budget: longest unused first, the busy never.
fn choose(mut caches: Vec<Cache>, budget: u64) -> Vec<Cache> {
    let mut total: u64 = caches.iter().map(|cache| cache.size).sum();
    caches.sort_by_key(|cache| cache.used);
    let mut going = Vec::new();
    for cache in caches.into_iter().filter(|cache| !cache.busy) {
        if total <= budget {
            break;
        }
        total -= cache.size;
        going.push(cache);
    }
    going
}

/// Makes room for the jobs of the state directory at `state`, whose name in labels is `owner`.
pub(crate) async fn make_room(
    engine: &Engine,
    state: &Path,
    owner: &str,
    wanted: MakeRoom,
) -> Result<Room, DockerError> {
    let uses = Uses::of(state);
    let mut caches = volumes(engine, state, owner, &uses).await?;
    caches.extend(images(engine, &uses, wanted.others_images).await?);
    let mut room = Room { before: caches.iter().map(|cache| cache.size).sum(), ..Room::default() };
    for cache in choose(caches, wanted.budget) {
        if wanted.dry_run {
            room.removed.push(cache);
            continue;
        }
        let removal = async {
            let failed = DockerError::engine(&engine.address, format!("remove {}", cache.name));
            match cache.kind {
                CacheKind::Volume => {
                    let options = RemoveVolumeOptions { force: false };
                    engine.docker.remove_volume(&cache.name, Some(options)).await.map_err(failed)
                }
                CacheKind::HelperImage => {
                    let options = RemoveImageOptions::default();
                    engine
                        .docker
                        .remove_image(&cache.name, Some(options), None)
                        .await
                        .map(drop)
                        .map_err(failed)
                }
            }
        };
        let still = |uses: &Uses| !uses.last(&cache.name).is_some_and(|(_, job)| is_alive(state, &job));
        match uses.alone(still, removal).await? {
            // A job has come for it meanwhile.
            None => {}
            Some(Ok(())) => {
                uses.forget(&cache.name);
                room.removed.push(cache);
            }
            Some(Err(DockerError::Engine { status: Some(404), .. })) => uses.forget(&cache.name),
            // A container has it.
            Some(Err(DockerError::Engine { status: Some(409), .. })) => {}
            Some(Err(error)) => room.failed.push(error.to_string()),
        }
    }
    Ok(room)
}

fn is_alive(state: &Path, job: &str) -> bool {
    !job.is_empty() && state.join("jobs").join(job).is_dir()
}

async fn volumes(engine: &Engine, state: &Path, owner: &str, uses: &Uses) -> Result<Vec<Cache>, DockerError> {
    let all = usage(engine).await?;
    let ours = all.into_iter().filter(|volume| {
        volume.labels.get(OWNER_LABEL).is_some_and(|of| of == owner)
            && volume.labels.get(&format!("{LABEL_PREFIX}reusable")).is_some_and(|is| is == "true")
            && !volume.labels.contains_key(JOB_LABEL)
    });
    Ok(ours
        .map(|volume| {
            let usage = volume.usage_data.unwrap_or_default();
            let last = uses.last(&volume.name);
            Cache {
                kind: CacheKind::Volume,
                size: u64::try_from(usage.size).unwrap_or(0),
                busy: usage.ref_count > 0 || last.as_ref().is_some_and(|(_, job)| is_alive(state, job)),
                used: last.map_or(SystemTime::UNIX_EPOCH, |(at, _)| at),
                name: volume.name,
            }
        })
        .collect())
}

/// The engine's account of its volumes, with sizes. The client knows only the newest form of that answer; the older one has
/// the volumes where a plain list has them. An engine that makes one account at a time is asked again.
async fn usage(engine: &Engine) -> Result<Vec<Volume>, DockerError> {
    let (major, minor) = engine.api.min(LAST_PLAIN_USAGE);
    let path = format!("/v{major}.{minor}/system/df?type=volume");
    let docker = engine.docker.clone().with_request_modifier(move |mut request| {
        let mut parts = request.uri().clone().into_parts();
        if let Ok(path) = path.parse() {
            parts.path_and_query = Some(path);
        }
        if let Ok(uri) = parts.try_into() {
            *request.uri_mut() = uri;
        }
        request
    });
    let deadline = Instant::now() + OTHERS_ASK;
    loop {
        match docker.list_volumes(None::<ListVolumesOptions>).await {
            Ok(list) => return Ok(list.volumes.unwrap_or_default()),
            Err(error) if words(&error).contains(ALREADY_ASKED) && Instant::now() < deadline => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Err(error) => {
                return Err(DockerError::engine(&engine.address, "tell how large its volumes are")(error));
            }
        }
    }
}

async fn images(engine: &Engine, uses: &Uses, others: bool) -> Result<Vec<Cache>, DockerError> {
    let options = ListImagesOptions {
        filters: Some([("label".to_owned(), vec![format!("{LABEL_PREFIX}managed=true")])].into()),
        ..ListImagesOptions::default()
    };
    let found = engine
        .docker
        .list_images(Some(options))
        .await
        .map_err(DockerError::engine(&engine.address, "list images"))?;
    Ok(found
        .into_iter()
        .filter_map(|image| {
            let last = uses.last(&image.id);
            if last.is_none() && !others {
                return None;
            }
            let created = Duration::from_secs(u64::try_from(image.created).unwrap_or(0));
            Some(Cache {
                kind: CacheKind::HelperImage,
                size: u64::try_from(image.size).unwrap_or(0),
                // The engine keeps what a container is made of.
                busy: false,
                used: last.map_or(SystemTime::UNIX_EPOCH + created, |(at, _)| at),
                name: image.id,
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(name: &str, size: u64, used: u64, busy: bool) -> Cache {
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
        Cache { kind: CacheKind::Volume, name: name.to_owned(), size, used, busy }
    }

    #[test]
    fn the_longest_unused_go_first_and_the_busy_never() {
        let all = || vec![cache("new", 10, 3, false), cache("old", 10, 1, false), cache("busy", 10, 0, true)];
        for (budget, want) in [
            (30, vec![]),
            (29, vec!["old"]),
            (20, vec!["old"]),
            (19, vec!["old", "new"]),
            (0, vec!["old", "new"]),
        ] {
            let going: Vec<String> = choose(all(), budget).into_iter().map(|cache| cache.name).collect();
            assert_eq!(going, want, "{budget}");
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in [
            ("off", Some(None)),
            ("0", Some(Some(0))),
            ("512", Some(Some(512))),
            ("2k", Some(Some(2048))),
            ("20G", Some(Some(20 << 30))),
            ("20GB", Some(Some(20 << 30))),
            ("1GiB", Some(Some(1 << 30))),
            ("", None),
            ("g", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("99999999999t", None),
        ] {
            assert_eq!(parse_budget(text).ok(), want, "{text}");
        }
    }

    #[tokio::test]
    async fn uses_are_noted_and_the_lock_is_let_go() {
        let dir = tempfile::tempdir().expect("temp dir");
        let uses = Uses::of(dir.path());
        assert_eq!(uses.last("sha256:aa"), None);
        uses.note("sha256:aa", "7-x", async {}).await.expect("noted");
        assert_eq!(uses.last("sha256:aa").map(|(_, job)| job), Some("7-x".to_owned()));
        std::fs::create_dir_all(dir.path().join("jobs/7-x")).expect("made");
        assert!(is_alive(dir.path(), "7-x") && !is_alive(dir.path(), "") && !is_alive(dir.path(), "8-x"));
        assert_eq!(uses.alone(|_| false, async { 1 }).await.expect("locked"), None);
        assert_eq!(uses.alone(|_| true, async { 1 }).await.expect("locked"), Some(1));
        uses.forget("sha256:aa");
        assert_eq!(uses.last("sha256:aa"), None);
        assert!(uses.collected("unix:///x").is_none());
        uses.note_collected("unix:///x");
        assert!(uses.collected("unix:///x").is_some() && uses.collected("unix:///y").is_none());
    }
}
