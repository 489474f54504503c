//! Every feature flag of `executors.md` §8 in one table, and how its value is found: `config.toml` wins over a job
//! variable, a job variable over the default. Used by planning alone; nothing after it reads a flag.

use harrier_base::{Variable, Variables};
use harrier_config::Verdict;
use std::collections::BTreeMap;

macro_rules! flags {
    ($($variant:ident $name:literal $default:literal $(, $kind:ident)? => $meaning:ident $text:literal;)*) => {
        /// One feature flag.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Flag { $($variant),* }

        /// Name, default, and whether only `config.toml` may set it.
        const TABLE: &[(Flag, &str, bool, bool)] =
            &[$((Flag::$variant, $name, $default, flags!(@config_only $($kind)?))),*];

        /// What becomes of each flag, in the order of the table.
        const MEANINGS: &[(Meaning, &str)] = &[$((Meaning::$meaning, $text)),*];
    };
    (@config_only config_only) => { true };
    (@config_only) => { false };
}

flags! {
    NetworkPerBuild "FF_NETWORK_PER_BUILD" false => Read "unset, jobs with services have a network of their own; off puts them on the default bridge";
    UseLegacyKubernetesExecutionStrategy "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY" false => Elsewhere "of the kubernetes executor";
    UseDirectDownload "FF_USE_DIRECT_DOWNLOAD" true => Read "";
    UseFastzip "FF_USE_FASTZIP" true => Ignored "archives are written in one way, which is fast";
    DisableUmaskForDockerExecutor "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR" false => Read "";
    EnableBashExitCodeCheck "FF_ENABLE_BASH_EXIT_CODE_CHECK" false => Read "";
    UseWindowsLegacyProcessStrategy "FF_USE_WINDOWS_LEGACY_PROCESS_STRATEGY" false => Elsewhere "of Windows";
    UseLegacyBashEval "FF_USE_LEGACY_BASH_EVAL" false => Ignored "there is one way to start a script";
    UsePowershellPathResolver "FF_USE_POWERSHELL_PATH_RESOLVER" false => Elsewhere "of PowerShell";
    UseDynamicTraceForceSendInterval "FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL" false => Ignored "a log is sent as the server asks for it";
    ScriptSections "FF_SCRIPT_SECTIONS" false => Read "";
    EnableJobCleanup "FF_ENABLE_JOB_CLEANUP" false => Read "";
    KubernetesHonorEntrypoint "FF_KUBERNETES_HONOR_ENTRYPOINT" false => Elsewhere "of the kubernetes executor";
    PosixlyCorrectEscapes "FF_POSIXLY_CORRECT_ESCAPES" false => Ignored "scripts are quoted in one way that every shell reads alike";
    ResolveFullTlsChain "FF_RESOLVE_FULL_TLS_CHAIN" false, config_only => Ignored "CI_SERVER_TLS_CA_FILE holds the CA file of the configuration only";
    DisablePowershellStdin "FF_DISABLE_POWERSHELL_STDIN" false => Elsewhere "of PowerShell";
    UsePodActiveDeadlineSeconds "FF_USE_POD_ACTIVE_DEADLINE_SECONDS" true => Elsewhere "of the kubernetes executor";
    UseAdvancedPodSpecConfiguration "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION" false => Elsewhere "of the kubernetes executor";
    SecretResolvingFailsIfMissing "FF_SECRET_RESOLVING_FAILS_IF_MISSING" true => Ignored "secrets of Vault and its kin are not resolved; a warning in the log says so";
    PrintPodEvents "FF_PRINT_POD_EVENTS" false => Elsewhere "of the kubernetes executor";
    UseGitBundleUris "FF_USE_GIT_BUNDLE_URIS" true => Read "";
    UseGitNativeClone "FF_USE_GIT_NATIVE_CLONE" false => Read "";
    UseDumbInitWithKubernetesExecutor "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR" false => Elsewhere "of the kubernetes executor";
    UseInitWithDockerExecutor "FF_USE_INIT_WITH_DOCKER_EXECUTOR" false => Read "";
    LogImagesConfiguredForJob "FF_LOG_IMAGES_CONFIGURED_FOR_JOB" false => Ignored "the job log names the images";
    UseDockerAutoscalerDialStdio "FF_USE_DOCKER_AUTOSCALER_DIAL_STDIO" true => Elsewhere "of autoscaling executors";
    CleanUpFailedCacheExtract "FF_CLEAN_UP_FAILED_CACHE_EXTRACT" false => Read "only after a failed extraction, not after a miss";
    UseWindowsJobObject "FF_USE_WINDOWS_JOB_OBJECT" false => Elsewhere "of Windows";
    Timestamps "FF_TIMESTAMPS" true => Read "";
    DisableAutomaticTokenRotation "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION" false => Read "";
    UseLegacyGcsCacheAdapter "FF_USE_LEGACY_GCS_CACHE_ADAPTER" false => Elsewhere "of remote caches";
    DisableUmaskForKubernetesExecutor "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR" false => Elsewhere "of the kubernetes executor";
    UseLegacyS3CacheAdapter "FF_USE_LEGACY_S3_CACHE_ADAPTER" false => Elsewhere "of remote caches";
    GitUrlsWithoutTokens "FF_GIT_URLS_WITHOUT_TOKENS" false => Read "";
    WaitForPodToBeReachable "FF_WAIT_FOR_POD_TO_BE_REACHABLE" false => Elsewhere "of the kubernetes executor";
    MaskAllDefaultTokens "FF_MASK_ALL_DEFAULT_TOKENS" true => Read "";
    ExportHighCardinalityMetrics "FF_EXPORT_HIGH_CARDINALITY_METRICS" false => Read "";
    UseFleetingAcquireHeartbeats "FF_USE_FLEETING_ACQUIRE_HEARTBEATS" false => Elsewhere "of autoscaling executors";
    UseExponentialBackoffStageRetry "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY" true => Read "";
    UseAdaptiveRequestConcurrency "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY" true => Read "";
    UseGitalyCorrelationId "FF_USE_GITALY_CORRELATION_ID" true => Read "";
    UseGitProactiveAuth "FF_USE_GIT_PROACTIVE_AUTH" false => Read "";
    HashCacheKeys "FF_HASH_CACHE_KEYS" false => Read "caches of the other scheme are not looked for";
    EnableJobInputsInterpolation "FF_ENABLE_JOB_INPUTS_INTERPOLATION" true => Read "";
    UseJobRouter "FF_USE_JOB_ROUTER" false => Ignored "there is no client of the Job Router";
    ScriptToStepMigration "FF_SCRIPT_TO_STEP_MIGRATION" false => Ignored "there is no step runner";
    UseParallelCacheTransfer "FF_USE_PARALLEL_CACHE_TRANSFER" false => Elsewhere "of remote caches";
    UseParallelArtifactTransfer "FF_USE_PARALLEL_ARTIFACT_TRANSFER" false => Ignored "an artifact is fetched over one connection";
    Concrete "FF_CONCRETE" false => Ignored "there is no step runner";
    SuspendableEnvironments "FF_SUSPENDABLE_ENVIRONMENTS" false => Ignored "there is nothing to suspend";
    UseNativeContainerStop "FF_USE_NATIVE_CONTAINER_STOP" false => Read "";
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It is read, and does what it does in GitLab Runner.
    Read,
    /// It is of something that the executors of this build have nothing to do with.
    Elsewhere,
    /// Nothing comes of it.
    Ignored,
}

/// A feature flag, for people.
#[derive(Clone, Copy, Debug)]
pub struct FeatureFlag {
    /// `FF_…`.
    pub name: &'static str,
    /// The value that holds when nobody has set it.
    pub default: bool,
    /// Whether a job's variable of that name counts for nothing.
    pub config_only: bool,
    /// What becomes of another value than the default.
    pub verdict: Verdict,
    /// Why; may be empty.
    pub text: &'static str,
}

/// Every flag, in the order of the table.
pub fn feature_flags() -> impl Iterator<Item = FeatureFlag> {
    TABLE.iter().zip(MEANINGS).map(|(&(_, name, default, config_only), &(meaning, text))| FeatureFlag {
        name,
        default,
        config_only,
        verdict: match meaning {
            Meaning::Read if text.is_empty() => Verdict::Works,
            Meaning::Read => Verdict::Differs,
            Meaning::Elsewhere => Verdict::Works,
            Meaning::Ignored => Verdict::NoEffect,
        },
        text,
    })
}

/// What becomes of a flag with this value; `None`: there is no such flag.
pub fn flag_meaning(name: &str, value: bool) -> Option<(Verdict, String)> {
    let flag = feature_flags().find(|flag| flag.name == name)?;
    let verdict = if flag.verdict == Verdict::NoEffect && value == flag.default {
        Verdict::Works
    } else {
        flag.verdict
    };
    Some((verdict, flag.text.to_owned()))
}

/// Every flag with the value that holds for one job and whether somebody has set it, in the order of the table.
pub(crate) struct Flags(Vec<(bool, bool)>);

impl Flags {
    /// Finds the values. `warnings` gains a line for each job variable that is not a boolean.
    pub fn resolve(config: &BTreeMap<String, bool>, job: &Variables, warnings: &mut Vec<String>) -> Self {
        Self(
            TABLE
                .iter()
                .map(|&(_, name, default, config_only)| {
                    if let Some(&set) = config.get(name) {
                        return (set, true);
                    }
                    let given = if config_only { None } else { job.value(name) };
                    match given {
                        None | Some("") => (default, false),
                        Some(text) => match parse_bool(text) {
                            Some(value) => (value, true),
                            None => {
                                warnings.push(format!(
                                    "{name}: expected a boolean, got {text:?}, using the default value {default}"
                                ));
                                (default, false)
                            }
                        },
                    }
                })
                .collect(),
        )
    }

    /// Whether `flag` is on.
    pub fn on(&self, flag: Flag) -> bool {
        // The table holds every variant in the order of declaration: the macro makes both from one list.
        self.0[flag as usize].0
    }

    /// The value that somebody has set; `None`: the default holds.
    pub fn given(&self, flag: Flag) -> Option<bool> {
        let (value, given) = self.0[flag as usize];
        given.then_some(value)
    }

    /// The flags as variables (`executors.md` §2.1, item 1).
    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        TABLE.iter().zip(&self.0).map(|((_, name, ..), (on, _))| Variable::public(*name, on.to_string()))
    }

    /// The header line, when a flag differs from its default (`runner-api.md` §15.6).
    pub fn header_line(&self) -> Option<String> {
        let changed: Vec<String> = TABLE
            .iter()
            .zip(&self.0)
            .filter(|((_, _, default, _), (on, _))| default != on)
            .map(|((_, name, ..), (on, _))| format!("{name}:{on}"))
            .collect();
        (!changed.is_empty()).then(|| format!("  feature flags: {}", changed.join(", ")))
    }
}

/// Whether `name` is a flag: job variables of such a name are replaced by the resolved value.
pub(crate) fn is_flag(name: &str) -> bool {
    name.starts_with("FF_") && TABLE.iter().any(|(_, known, ..)| *known == name)
}

/// What Go's `strconv.ParseBool` takes.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_8_config_beats_job_variable_beats_default() {
        let off = Some(false);
        let on = Some(true);
        for (config, job, want, warned) in [
            (None, None, true, false),
            (None, Some("false"), false, false),
            (None, Some("0"), false, false),
            (None, Some(""), true, false),
            (None, Some("nope"), true, true),
            (off, Some("true"), false, false),
            (on, Some("false"), true, false),
            (off, Some("nope"), false, false),
        ] {
            let config: BTreeMap<String, bool> =
                config.map(|value| ("FF_TIMESTAMPS".to_owned(), value)).into_iter().collect();
            let job: Variables = job.map(|v| Variable::public("FF_TIMESTAMPS", v)).into_iter().collect();
            let mut warnings = Vec::new();
            let flags = Flags::resolve(&config, &job, &mut warnings);
            assert_eq!(flags.on(Flag::Timestamps), want);
            assert_eq!(flags.given(Flag::NetworkPerBuild), None);
            assert_eq!(!warnings.is_empty(), warned);
        }
    }

    #[test]
    fn executors_8_table_is_whole_and_in_order() {
        assert_eq!(TABLE.len(), 51);
        for (at, (flag, name, ..)) in TABLE.iter().enumerate() {
            assert_eq!(*flag as usize, at, "{name}");
            assert!(is_flag(name));
        }
        let on: Vec<&str> = TABLE.iter().filter(|(_, _, default, _)| *default).map(|(_, n, ..)| *n).collect();
        assert_eq!(
            on,
            [
                "FF_USE_DIRECT_DOWNLOAD",
                "FF_USE_FASTZIP",
                "FF_USE_POD_ACTIVE_DEADLINE_SECONDS",
                "FF_SECRET_RESOLVING_FAILS_IF_MISSING",
                "FF_USE_GIT_BUNDLE_URIS",
                "FF_USE_DOCKER_AUTOSCALER_DIAL_STDIO",
                "FF_TIMESTAMPS",
                "FF_MASK_ALL_DEFAULT_TOKENS",
                "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY",
                "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY",
                "FF_USE_GITALY_CORRELATION_ID",
                "FF_ENABLE_JOB_INPUTS_INTERPOLATION",
            ]
        );
        assert!(!is_flag("FF_OF_MY_OWN"));
    }

    /// What the list says about a flag is what the sources do with it.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the sources are what is tested")]
    fn a_flag_is_read_somewhere_if_and_only_if_the_list_says_so() {
        let sources = [
            concat!(env!("CARGO_MANIFEST_DIR"), "/src"),
            concat!(env!("CARGO_MANIFEST_DIR"), "/../runner/src"),
        ];
        let mut text = String::new();
        for dir in sources {
            for entry in std::fs::read_dir(dir).expect("the sources are there") {
                let path = entry.expect("the directory can be read").path();
                if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("flags.rs") {
                    text += &std::fs::read_to_string(path).expect("a source can be read");
                }
            }
        }
        for ((flag, name, ..), (meaning, _)) in TABLE.iter().zip(MEANINGS) {
            let is_read = text.contains(&format!("Flag::{flag:?}")) || text.contains(&format!("\"{name}\""));
            assert_eq!(is_read, *meaning == Meaning::Read, "{name}");
        }
    }

    #[test]
    fn a_flag_without_effect_matters_only_with_another_value_than_its_default() {
        assert_eq!(flag_meaning("FF_USE_FASTZIP", true).map(|it| it.0), Some(Verdict::Works));
        assert_eq!(flag_meaning("FF_USE_FASTZIP", false).map(|it| it.0), Some(Verdict::NoEffect));
        assert_eq!(flag_meaning("FF_TIMESTAMPS", false), Some((Verdict::Works, String::new())));
        assert_eq!(flag_meaning("FF_OF_MY_OWN", true), None);
    }

    #[test]
    fn executors_8_full_tls_chain_only_from_config() {
        let job: Variables = [Variable::public("FF_RESOLVE_FULL_TLS_CHAIN", "true")].into_iter().collect();
        let flags = Flags::resolve(&BTreeMap::new(), &job, &mut Vec::new());
        assert!(!flags.on(Flag::ResolveFullTlsChain));
    }

    #[test]
    fn runner_api_15_6_header_line_only_when_a_flag_differs() {
        let none = Flags::resolve(&BTreeMap::new(), &Variables::new(), &mut Vec::new());
        assert_eq!(none.header_line(), None);
        let job = [Variable::public("FF_SCRIPT_SECTIONS", "1"), Variable::public("FF_TIMESTAMPS", "false")]
            .into_iter()
            .collect();
        let some = Flags::resolve(&BTreeMap::new(), &job, &mut Vec::new());
        assert_eq!(
            some.header_line().as_deref(),
            Some("  feature flags: FF_SCRIPT_SECTIONS:true, FF_TIMESTAMPS:false")
        );
    }
}
