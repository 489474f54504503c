//! Caches as data (`executors.md` §5, `runner-api.md` §11): keys, policies, formats.

use crate::flags::{Flag, Flags};
use crate::settings::Settings;
use crate::{ArchiveFormat, CacheOp, CompressionLevel, HeaderLine, Op};
use harrier_api::JobPayload;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The operations of the three cache stages; an empty list is a stage left out.
#[derive(Default)]
pub(crate) struct CacheOps {
    pub restore: Vec<Op>,
    pub save_on_success: Vec<Op>,
    pub save_on_failure: Vec<Op>,
}

/// Plans every cache of the payload. `expand` puts the job's variables into a text.
pub(crate) fn ops(
    payload: &JobPayload,
    flags: &Flags,
    settings: &Settings<'_>,
    expand: impl Fn(&str) -> String,
) -> CacheOps {
    let mut out = CacheOps::default();
    if payload.cache.is_empty() {
        return out;
    }
    let format = settings.text("CACHE_COMPRESSION_FORMAT").map_or(ArchiveFormat::Zip, |text| {
        match text.to_ascii_lowercase().as_str() {
            "tarzstd" => ArchiveFormat::Tarzstd,
            "zipzstd" => ArchiveFormat::Zipzstd,
            _ => ArchiveFormat::Zip,
        }
    });
    let level = compression_level(settings, "CACHE_COMPRESSION_LEVEL");
    let minutes = match settings.number("CACHE_REQUEST_TIMEOUT", 10) {
        0 => 10,
        minutes => minutes,
    };
    let hashed = flags.on(Flag::HashCacheKeys);

    for cache in &payload.cache {
        if cache.paths.is_empty() && !cache.untracked {
            continue;
        }
        let (restores, saves) = match expand(&cache.policy).as_str() {
            "" | "pull-push" => (true, true),
            "pull" => (true, false),
            "push" => (false, true),
            other => {
                let fault = Op::Fail(format!("unknown cache policy {other:?}: use pull-push, pull or push"));
                out.restore.push(fault.clone());
                out.save_on_success.push(fault.clone());
                out.save_on_failure.push(fault);
                continue;
            }
        };
        let (on_success, on_failure) = match expand(&cache.when).as_str() {
            "on_failure" => (false, true),
            "always" => (true, true),
            _ => (true, false),
        };

        let raw = match expand(&cache.key) {
            key if key.is_empty() => format!("{}/{}", payload.job_info.name, payload.git_info.git_ref),
            key => key,
        };
        let mut said = Vec::new();
        let Some(primary) = key(&raw, hashed, &mut said) else {
            said.push(Op::Say(HeaderLine::Warning(format!(
                "Skipping a cache: nothing is left of its key {raw:?} after cleaning"
            ))));
            push(&mut out, restores, saves && on_success, saves && on_failure, &said);
            continue;
        };
        let save = CacheOp {
            keys: vec![primary.clone()],
            human_key: if hashed { raw } else { primary },
            paths: cache.paths.clone(),
            untracked: cache.untracked,
            format,
            level,
            timeout: Duration::from_secs(u64::from(minutes) * 60),
            clean_failed_extract: flags.on(Flag::CleanUpFailedCacheExtract),
        };
        if saves && on_success {
            out.save_on_success.extend(said.iter().cloned());
            out.save_on_success.push(Op::SaveCache(save.clone()));
        }
        if saves && on_failure {
            out.save_on_failure.extend(said.iter().cloned());
            out.save_on_failure.push(Op::SaveCache(save.clone()));
        }
        if restores {
            let mut restore = save;
            for fallback in &cache.fallback_keys {
                add_key(&mut restore.keys, &expand(fallback), hashed, &mut said);
            }
            if let Some(fallback) = settings.text("CACHE_FALLBACK_KEY") {
                let trimmed = fallback.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
                if trimmed.ends_with("-protected") {
                    said.push(Op::Say(HeaderLine::Warning(format!(
                        "CACHE_FALLBACK_KEY {fallback:?} is not used: a key that ends in \"-protected\" is not allowed"
                    ))));
                } else {
                    add_key(&mut restore.keys, fallback, hashed, &mut said);
                }
            }
            out.restore.append(&mut said);
            out.restore.push(Op::RestoreCache(restore));
        }
    }
    out
}

fn push(out: &mut CacheOps, restore: bool, success: bool, failure: bool, ops: &[Op]) {
    for (wanted, list) in [
        (restore, &mut out.restore),
        (success, &mut out.save_on_success),
        (failure, &mut out.save_on_failure),
    ] {
        if wanted {
            list.extend(ops.iter().cloned());
        }
    }
}

fn add_key(keys: &mut Vec<String>, raw: &str, hashed: bool, said: &mut Vec<Op>) {
    if let Some(key) = key(raw, hashed, said)
        && !keys.contains(&key)
    {
        keys.push(key);
    }
}

/// The key that names the archive; `None` when nothing is left of it.
fn key(raw: &str, hashed: bool, said: &mut Vec<Op>) -> Option<String> {
    if raw.is_empty() {
        return None;
    }
    if hashed {
        return Some(hex(&Sha256::digest(raw.as_bytes())));
    }
    let clean = sanitize(raw);
    if clean.is_empty() {
        return None;
    }
    if clean != raw {
        said.push(Op::Say(HeaderLine::Warning(format!("cache key {raw:?} sanitized to {clean:?}"))));
    }
    Some(clean)
}

/// `runner-api.md` §11.1: one kind of slash, no way out of the cache directory, no white space at the end of segments
/// that end the key. Bytes that no file name can hold go as well.
fn sanitize(raw: &str) -> String {
    let mut text = raw.replace('\\', "/").replace('\0', "");
    for (code, plain) in [("%2f", "/"), ("%2F", "/"), ("%2e", "."), ("%2E", ".")] {
        text = text.replace(code, plain);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    while let Some(last) = parts.pop() {
        let trimmed = last.trim_end();
        // Trimming may leave what was dropped above.
        if !matches!(trimmed, "" | "." | "..") {
            parts.push(trimmed);
            break;
        }
    }
    parts.join("/")
}

/// `fastest` … `slowest` (`executors.md` §5.3).
pub(crate) fn compression_level(settings: &Settings<'_>, name: &str) -> CompressionLevel {
    settings.choice(
        name,
        "a compression level",
        &[
            ("fastest", CompressionLevel::Fastest),
            ("fast", CompressionLevel::Fast),
            ("default", CompressionLevel::Default),
            ("slow", CompressionLevel::Slow),
            ("slowest", CompressionLevel::Slowest),
        ],
        CompressionLevel::Default,
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runner_api_11_1_keys_are_cleaned() {
        for (raw, clean) in [
            ("deps", "deps"),
            ("a/b", "a/b"),
            ("a\\b", "a/b"),
            ("../../etc", "etc"),
            ("a/../../b", "b"),
            ("a%2Fb%2e%2E%2fc", "a/b../c"),
            ("%2e%2e/x", "x"),
            ("key  ", "key"),
            ("key/  ", "key"),
            ("a /b ", "a /b"),
            ("/", ""),
            ("..", ""),
            ("a/.. ", "a"),
            ("   ", ""),
            ("//a//b/", "a/b"),
        ] {
            assert_eq!(sanitize(raw), clean, "{raw:?}");
            assert_eq!(sanitize(&sanitize(raw)), clean, "{raw:?} twice");
        }
    }

    #[test]
    fn executors_5_1_hashed_key_is_sha256_of_the_raw_key() {
        let mut said = Vec::new();
        assert_eq!(
            key("abc", true, &mut said).as_deref(),
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert!(key("../abc", true, &mut said).is_some_and(|key| key.len() == 64));
        assert!(said.is_empty(), "a hashed key is not cleaned");
    }
}
