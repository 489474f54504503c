//! Artifacts as data (`executors.md` §6, `runner-api.md` §9).

use crate::caches::compression_level;
use crate::flags::{Flag, Flags};
use crate::git_url::GitUrl;
use crate::settings::Settings;
use crate::{ArchiveFormat, ArtifactDownload, ArtifactUpload, Facts, Op};
use harrier_api::JobPayload;
use harrier_base::Variables;
use harrier_config::RunnerSpec;
use serde_json::{Map, Value, json};

/// One download for each dependency with a file; each with the entry's own token (`runner-api.md` §4.11).
pub(crate) fn downloads(payload: &JobPayload, flags: &Flags) -> Vec<Op> {
    payload
        .dependencies
        .iter()
        .filter_map(|dependency| {
            let file = dependency.artifacts_file.as_ref().filter(|file| !file.filename.is_empty())?;
            Some(Op::DownloadArtifacts(ArtifactDownload {
                job_id: dependency.id,
                job_name: dependency.name.clone(),
                token: dependency.token.clone(),
                filename: file.filename.clone(),
                direct_download: flags.on(Flag::UseDirectDownload),
            }))
        })
        .collect()
}

/// Uploads after success and after failure.
pub(crate) fn uploads(
    payload: &JobPayload,
    spec: &RunnerSpec,
    facts: &Facts,
    settings: &Settings<'_>,
    variables: &Variables,
) -> (Vec<Op>, Vec<Op>) {
    let (mut success, mut failure) = (Vec::new(), Vec::new());
    if payload.artifacts.is_empty() {
        return (success, failure);
    }
    let level = compression_level(settings, "ARTIFACT_COMPRESSION_LEVEL");
    let with_provenance = settings.boolean("RUNNER_GENERATE_ARTIFACTS_METADATA", false);
    for artifact in &payload.artifacts {
        if artifact.paths.is_empty() && !artifact.untracked {
            continue;
        }
        let format = match artifact.artifact_format.as_str() {
            "" | "zip" => Some(ArchiveFormat::Zip),
            "gzip" => Some(ArchiveFormat::Gzip),
            "raw" => Some(ArchiveFormat::Raw),
            "zipzstd" => Some(ArchiveFormat::Zipzstd),
            "tarzstd" => Some(ArchiveFormat::Tarzstd),
            _ => None,
        };
        let op = match format {
            Some(artifact_format) => Op::UploadArtifacts(ArtifactUpload {
                name: artifact.name.clone(),
                paths: artifact.paths.clone(),
                exclude: artifact.exclude.clone(),
                untracked: artifact.untracked,
                expire_in: artifact.expire_in.clone(),
                artifact_type: artifact.artifact_type.clone(),
                artifact_format,
                level,
                upload_timeout: spec.artifact_upload_timeout,
                response_header_timeout: spec.artifact_response_header_timeout,
                provenance: (with_provenance && artifact_format == ArchiveFormat::Zip)
                    .then(|| provenance(payload, spec, facts, variables)),
            }),
            None => Op::Fail(format!(
                "unknown artifact format {:?}: this runner makes zip, gzip, raw, zipzstd and tarzstd",
                artifact.artifact_format
            )),
        };
        let (on_success, on_failure) = match artifact.when.as_str() {
            "on_failure" => (false, true),
            "always" => (true, true),
            _ => (true, false),
        };
        if on_success {
            success.push(op.clone());
        }
        if on_failure {
            failure.push(op);
        }
    }
    (success, failure)
}

/// The fixed part of the in-toto statement (`executors.md` §6.1). Names of variables, never their values. The helper
/// adds `subject` and the times under `predicate.runDetails.metadata`.
fn provenance(payload: &JobPayload, spec: &RunnerSpec, facts: &Facts, variables: &Variables) -> Value {
    let source = GitUrl::parse(payload.git_info.repo_url.expose())
        .map_or_else(|| payload.job_info.project_full_path.clone(), |url| url.plain());
    let source = source.strip_suffix(".git").unwrap_or(&source).to_owned();
    let mut external: Map<String, Value> =
        variables.winners().into_iter().map(|v| (v.key.clone(), Value::from(""))).collect();
    external.insert("entryPoint".into(), payload.job_info.name.clone().into());
    external.insert("source".into(), source.clone().into());
    let architecture = facts.os_arch.split('/').nth(1).unwrap_or(&facts.os_arch);
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [],
        "predicate": {
            "buildDefinition": {
                "buildType":
                    format!("https://gitlab.com/gitlab-org/gitlab-runner/-/blob/v{}/PROVENANCE.md", facts.version),
                "externalParameters": external,
                "internalParameters": {
                    "architecture": architecture,
                    "executor": facts.abilities.name,
                    "job": payload.id.to_string(),
                    "name": spec.name,
                },
                "resolvedDependencies": [{ "uri": source, "digest": { "sha256": payload.git_info.sha } }],
            },
            "runDetails": {
                "builder": {
                    "id": format!("{}/-/runners/{}", spec.url, spec.id.unwrap_or_default()),
                    "version": { facts.program.clone(): facts.revision },
                },
                "metadata": { "invocationID": payload.id.to_string() },
            },
        },
    })
}
