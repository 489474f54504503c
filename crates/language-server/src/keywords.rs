//! The keywords by context, each with a sentence, and the words a keyword may have (`ci-yaml.md` §3 to §26). Pure tables, for
//! completion and hover; the compiler alone decides what is allowed.

/// A keyword and what it is for.
pub(crate) type Keyword = (&'static str, &'static str);

const TOP: &[Keyword] = &[
    ("default", "Keywords that every job takes over unless it has its own."),
    ("include", "Takes in other configuration files; this file's own keys lie above theirs."),
    (
        "stages",
        "The stages in order. Jobs of a stage run side by side; `.pre` is always first and `.post` last.",
    ),
    ("variables", "Variables for all jobs. A value may be `{value, description, options, expand}`."),
    ("workflow", "Whether a pipeline is made at all, its name, and when it is canceled."),
    ("image", "The image of jobs that have none. Better written in `default`."),
    ("services", "Services of jobs that have none. Better written in `default`."),
    ("before_script", "Commands before `script` in jobs that have none. Better written in `default`."),
    ("after_script", "Commands after `script` in jobs that have none. Better written in `default`."),
    ("cache", "The cache of jobs that have none. Better written in `default`."),
];

const JOB: &[Keyword] = &[
    ("script", "The commands, in one shell; the first that fails ends the job. A list, or one text."),
    ("before_script", "Commands in front of `script`, in the same shell."),
    (
        "after_script",
        "Commands after `script` in a shell of their own, whether it failed or not; they do not change the result.",
    ),
    (
        "stage",
        "The stage; `test` if not given. It starts when the stages before are done, unless there is `needs`.",
    ),
    (
        "extends",
        "One or more entries laid under this one: mappings are merged, anything else is replaced; the last base wins.",
    ),
    (
        "needs",
        "The jobs this one waits for, whatever their stage. `[]` starts at once. Their artifacts come along unless `artifacts: false`.",
    ),
    ("dependencies", "The jobs whose artifacts are downloaded; `[]` for none."),
    (
        "rules",
        "The first rule that matches decides whether and when the job is in the pipeline; without a match it is not.",
    ),
    ("only", "Older than `rules`: the refs, changes or variables for which the job is there."),
    ("except", "Older than `rules`: the refs, changes or variables for which the job is not there."),
    ("when", "`on_success`, `on_failure`, `always`, `manual` or `delayed` (with `start_in`)."),
    ("start_in", "How long a job with `when: delayed` waits, at most a week."),
    (
        "allow_failure",
        "A failure is only a warning; or only with certain `exit_codes`. A manual job is optional unless this is `false`.",
    ),
    ("variables", "Variables of this job, above those of the top level."),
    ("image", "The container image the job runs in."),
    ("services", "Containers beside the job, such as a database, reached by their names."),
    ("artifacts", "Files kept after the job and given to later jobs, and reports."),
    ("cache", "Files kept between runs of jobs, as far as a runner still has them. Up to four."),
    ("tags", "The runner must have all of these."),
    ("retry", "How often the job is tried again, at most twice, and after which failures."),
    ("timeout", "How long the job may run, e.g. `1h 30m`."),
    ("interruptible", "May be canceled when a newer pipeline of the same ref starts."),
    ("parallel", "So many copies of the job, or one for each combination of a `matrix`."),
    ("environment", "The environment the job deploys to, stops or looks at."),
    ("resource_group", "Jobs of one group never run at the same time."),
    ("coverage", "A regular expression that finds the coverage in the log, between slashes."),
    ("trigger", "Starts another pipeline: a child of this project, or one of another project."),
    ("release", "Makes a release when the job has passed."),
    ("pages", "Publishes `public/` as a site; also the name of the job that does it by tradition."),
    ("publish", "The directory that a pages job publishes."),
    ("inherit", "Which keywords of `default` and which top level variables the job takes over."),
    ("hooks", "Commands at certain moments: `pre_get_sources_script`."),
    ("id_tokens", "Tokens with which the job can prove what it is, each with an `aud`."),
    ("secrets", "Secrets fetched from elsewhere when the job runs."),
    ("identity", "Cloud identity of the job."),
    ("inputs", "Inputs a person can give when the job is started."),
    ("run", "Steps instead of `script`."),
    ("manual_confirmation", "The question asked before a manual job is started."),
    ("dast_configuration", "Profiles of a dynamic security scan."),
];

const RULE: &[Keyword] = &[
    ("if", "An expression over variables: `$A == \"x\" && $B =~ /re/`."),
    ("changes", "True if one of these paths changed; always true when nothing tells what changed."),
    ("exists", "True if a file of the repository matches one of these paths."),
    ("when", "What the matching rule makes of the job; `never` leaves it out."),
    ("start_in", "The delay that goes with `when: delayed`."),
    ("allow_failure", "Overrides the job's."),
    ("variables", "Laid over the job's variables when this rule matches."),
    ("needs", "Replaces the job's `needs` when this rule matches."),
    ("interruptible", "Overrides the job's."),
];

/// Contexts: `*` stands for any one key, the first pattern that fits counts.
const CONTEXTS: &[(&[&str], &[Keyword])] = &[
    (&[], TOP),
    (
        &["workflow"],
        &[
            ("rules", "The first rule that matches decides whether there is a pipeline."),
            ("name", "The name of the pipeline; variables are expanded."),
            ("auto_cancel", "When the pipeline, or a part of it, is canceled by itself."),
        ],
    ),
    (
        &["workflow", "auto_cancel"],
        &[
            (
                "on_new_commit",
                "What a newer commit of the ref does to this pipeline: `conservative`, `interruptible` or `none`.",
            ),
            (
                "on_job_failure",
                "`all` cancels the rest once a job that may not fail fails; `none` is the default.",
            ),
        ],
    ),
    (
        &["workflow", "rules"],
        &[
            ("if", "An expression over variables that are known before jobs are."),
            ("changes", "True if one of these paths changed."),
            ("exists", "True if a file of the repository matches one of these paths."),
            ("when", "`always` (the default) or `never`."),
            ("variables", "Laid over the top level variables when this rule matches."),
            ("auto_cancel", "Replaces `workflow:auto_cancel` when this rule matches."),
        ],
    ),
    (
        &["include"],
        &[
            ("local", "A file of this repository; wildcards are allowed."),
            ("project", "Another project of the server; with `file` and perhaps `ref`."),
            ("file", "One or more files of the `project`."),
            ("ref", "Branch, tag or commit of the `project`; its default branch if not given."),
            ("remote", "A file at an HTTP address."),
            ("integrity", "The checksum that the remote file must have: `sha256-…`."),
            ("cache", "How long a remote file may be kept."),
            ("template", "A template of the server."),
            ("component", "A component: `host/project/name@version`."),
            ("artifact", "A file out of the artifacts of a `job`, for child pipelines."),
            ("job", "The job that has the `artifact`."),
            ("inputs", "Values for the inputs that the file declares."),
            ("rules", "Includes the file only if a rule matches."),
        ],
    ),
    (
        &["include", "rules"],
        &[
            ("if", "An expression over variables that are known before files are included."),
            ("exists", "True if a file of the repository matches one of these paths."),
            ("changes", "True if one of these paths changed."),
            ("when", "`always` (the default) or `never`."),
        ],
    ),
    (
        &["spec"],
        &[
            ("inputs", "What the file can be given, by name."),
            ("include", "Files with further inputs."),
            ("component", "Facts of the component to be used in the file."),
            ("description", "What the file is for."),
        ],
    ),
    (
        &["spec", "inputs", "*"],
        &[
            ("type", "`string` (the default), `number`, `boolean` or `array`."),
            ("default", "The value when none is given; without it the input must be given."),
            ("options", "The values allowed."),
            ("regex", "What a text must match."),
            ("description", "What it is for."),
            ("rules", "Options and defaults that depend on other inputs."),
        ],
    ),
    (&["*", "rules"], RULE),
    (
        &["*", "rules", "changes"],
        &[
            ("paths", "The paths."),
            ("compare_to", "The ref to compare with, instead of the commit before the push."),
        ],
    ),
    (
        &["*", "rules", "exists"],
        &[
            ("paths", "The paths."),
            ("project", "Another project to look in."),
            ("ref", "The ref of that project."),
        ],
    ),
    (
        &["*", "needs"],
        &[
            ("job", "The needed job."),
            ("artifacts", "Whether its artifacts are downloaded; `true` if not given."),
            ("optional", "The job may be missing from the pipeline."),
            ("parallel", "Only certain instances, by a `matrix` like that of the needed job."),
            (
                "pipeline",
                "An upstream pipeline, by its id; in a job that mirrors another project, that project.",
            ),
            ("project", "Another project whose latest artifacts are taken."),
            ("ref", "The ref of that project."),
        ],
    ),
    (
        &["*", "artifacts"],
        &[
            ("paths", "Files and directories to keep, below the project's directory; `**` for any depth."),
            ("exclude", "Files not to keep; for a directory write `dir/**/*`."),
            ("untracked", "Also all files that git does not track."),
            ("reports", "Files a server understands: tests, coverage, variables for later jobs."),
            ("name", "The name of the archive."),
            ("when", "`on_success` (the default), `on_failure` or `always`."),
            ("expire_in", "How long they are kept, e.g. `1 week`, or `never`."),
            ("expose_as", "The name under which a merge request links to them."),
            ("public", "Whether anyone who sees the pipeline may download them."),
            ("access", "Who may download them: `all`, `developer`, `maintainer` or `none`."),
        ],
    ),
    (
        &["*", "artifacts", "reports"],
        &[
            ("junit", "Test results."),
            ("dotenv", "`NAME=value` lines that become variables of later jobs."),
            ("coverage_report", "Line coverage: `coverage_format` and `path`."),
            ("codequality", "Findings about the code's quality."),
            ("cyclonedx", "A bill of materials."),
            ("sast", "Findings of static security analysis."),
            ("secret_detection", "Secrets found in the code."),
            ("dependency_scanning", "Findings about dependencies."),
            ("container_scanning", "Findings about images."),
            ("dast", "Findings of dynamic security analysis."),
            ("terraform", "A plan."),
            ("metrics", "Numbers to compare."),
            ("accessibility", "Findings about accessibility."),
            ("annotations", "Links and notes shown with the job."),
        ],
    ),
    (
        &["*", "artifacts", "reports", "coverage_report"],
        &[("coverage_format", "`cobertura` or `jacoco`."), ("path", "The file.")],
    ),
    (
        &["*", "cache"],
        &[
            ("key", "Jobs with the same key share the cache; a text, or made from `files`."),
            ("paths", "Files and directories to keep."),
            ("policy", "`pull-push` (the default), `pull` or `push`."),
            ("when", "`on_success` (the default), `on_failure` or `always`."),
            ("untracked", "Also all files that git does not track."),
            ("fallback_keys", "Keys tried when there is nothing under `key`."),
            ("unprotect", "Protected and other refs share the cache."),
        ],
    ),
    (
        &["*", "cache", "key"],
        &[
            ("files", "The key is made from the content of one or two files."),
            ("files_commits", "The key is made from the last commits that touched one or two files."),
            ("prefix", "Goes in front of it."),
        ],
    ),
    (
        &["*", "image"],
        &[
            ("name", "The image."),
            ("entrypoint", "What is started instead of the image's entrypoint; `[\"\"]` for a shell."),
            ("pull_policy", "`always`, `if-not-present`, `never`, or a list to be tried."),
            ("docker", "Settings of the docker executor: `platform`, `user`."),
            ("kubernetes", "Settings of the kubernetes executor: `user`."),
        ],
    ),
    (
        &["*", "image", "docker"],
        &[
            ("platform", "The platform of the image, e.g. `linux/arm64`."),
            ("user", "The user the container runs as."),
        ],
    ),
    (
        &["*", "services"],
        &[
            ("name", "The image."),
            ("alias", "Names under which the job reaches it."),
            ("entrypoint", "What is started instead of the image's entrypoint."),
            ("command", "The arguments of the entrypoint."),
            ("variables", "Variables for this service only."),
            ("pull_policy", "`always`, `if-not-present`, `never`, or a list to be tried."),
            ("docker", "Settings of the docker executor: `platform`, `user`."),
            ("kubernetes", "Settings of the kubernetes executor: `user`."),
        ],
    ),
    (
        &["*", "environment"],
        &[
            ("name", "The environment; variables are expanded."),
            ("url", "Where it can be seen."),
            ("on_stop", "The job that stops it."),
            ("action", "`start` (the default), `prepare`, `stop`, `verify` or `access`."),
            ("auto_stop_in", "After how long it is stopped by itself."),
            ("deployment_tier", "`production`, `staging`, `testing`, `development` or `other`."),
            ("kubernetes", "The cluster's agent and dashboard."),
        ],
    ),
    (
        &["*", "retry"],
        &[
            ("max", "How many more attempts, 0 to 2."),
            ("when", "Failure reasons after which the job is tried again."),
            ("exit_codes", "Exit codes after which it is."),
        ],
    ),
    (&["*", "allow_failure"], &[("exit_codes", "Only failures with these exit codes are allowed.")]),
    (&["*", "parallel"], &[("matrix", "One job for each combination of values.")]),
    (&["*", "needs", "parallel"], &[("matrix", "The values of the instances needed.")]),
    (
        &["*", "inherit"],
        &[
            ("default", "`false`, or the keywords of `default` that are taken over."),
            ("variables", "`false`, or the top level variables that are taken over."),
        ],
    ),
    (&["*", "hooks"], &[("pre_get_sources_script", "Commands before the sources are fetched.")]),
    (
        &["*", "trigger"],
        &[
            ("include", "The configuration of a child pipeline."),
            ("project", "The project whose pipeline is started."),
            ("branch", "The branch of that project."),
            (
                "strategy",
                "`depend` or `mirror`: this job waits for the other pipeline and takes over its result.",
            ),
            ("forward", "Which variables go along."),
            ("inputs", "Values for the inputs of the other pipeline."),
        ],
    ),
    (
        &["*", "trigger", "forward"],
        &[
            ("yaml_variables", "Variables of this file go along; `true` if not given."),
            ("pipeline_variables", "Variables of the run go along; `false` if not given."),
        ],
    ),
    (
        &["*", "trigger", "include"],
        &[
            ("local", "A file of this repository."),
            ("artifact", "A file out of the artifacts of a `job`."),
            ("job", "The job that has the `artifact`."),
            ("project", "Another project of the server."),
            ("file", "A file of the `project`."),
            ("ref", "Branch, tag or commit of the `project`."),
            ("remote", "A file at an HTTP address."),
            ("template", "A template of the server."),
            ("component", "A component."),
            ("inputs", "Values for the inputs that the file declares."),
        ],
    ),
    (
        &["*", "release"],
        &[
            ("tag_name", "The tag of the release."),
            ("description", "Text, or a file that has it."),
            ("name", "Its title."),
            ("ref", "Where the tag is made if there is none."),
            ("tag_message", "The message of the tag."),
            ("milestones", "Milestones it belongs to."),
            ("released_at", "When, as a date."),
            ("assets", "Links."),
        ],
    ),
    (
        &["*", "only"],
        &[
            ("refs", "Branches, tags, patterns or kinds of pipelines."),
            ("variables", "Expressions."),
            ("changes", "Paths."),
            ("kubernetes", "`active`"),
        ],
    ),
    (
        &["*", "except"],
        &[
            ("refs", "Branches, tags, patterns or kinds of pipelines."),
            ("variables", "Expressions."),
            ("changes", "Paths."),
            ("kubernetes", "`active`"),
        ],
    ),
    (&["*", "id_tokens", "*"], &[("aud", "For whom the token is.")]),
    (&["variables", "*"], VARIABLE),
    (&["*", "variables", "*"], VARIABLE),
];

const VARIABLE: &[Keyword] = &[
    ("value", "The value."),
    ("expand", "`false`: the value stays as written."),
    ("description", "Asked for when a person starts a pipeline."),
    ("options", "The values to choose from."),
];

const INHERITED: [&str; 12] = [
    "before_script",
    "after_script",
    "hooks",
    "cache",
    "image",
    "services",
    "interruptible",
    "timeout",
    "retry",
    "tags",
    "artifacts",
    "id_tokens",
];

/// The keywords that can stand in a mapping at `path`.
pub(crate) fn keywords(path: &[String]) -> Vec<Keyword> {
    let Some(first) = path.first() else { return TOP.to_vec() };
    if first == "default" && path.len() == 1 {
        return JOB.iter().filter(|(name, _)| INHERITED.contains(name)).copied().collect();
    }
    // `image`, `cache` and `services` at the top level have the shape they have in a job.
    let mut long = path.to_vec();
    if matches!(first.as_str(), "image" | "cache" | "services") {
        long.insert(0, "*".to_owned());
    }
    let fits = |pattern: &[&str]| {
        pattern.len() == long.len()
            && pattern.iter().zip(&long).all(|(want, have)| *want == "*" || want == have)
    };
    if let Some((_, keywords)) = CONTEXTS.iter().find(|(pattern, _)| fits(pattern)) {
        return keywords.to_vec();
    }
    let setting = TOP.iter().any(|(name, _)| name == first) || first == "spec";
    if path.len() == 1 && !setting { JOB.to_vec() } else { Vec::new() }
}

/// What the last key of a path is for.
pub(crate) fn about(path: &[String]) -> Option<Keyword> {
    let (last, around) = path.split_last()?;
    keywords(around).into_iter().find(|(name, _)| name == last)
}

/// The words that the value of the last key can be.
pub(crate) fn words(path: &[String]) -> &'static [&'static str] {
    let Some((last, around)) = path.split_last() else { return &[] };
    let parent = around.last().map(String::as_str);
    let top = around.first().map(String::as_str);
    match (last.as_str(), parent, top) {
        ("when", Some("artifacts" | "cache"), _) => &["on_success", "on_failure", "always"],
        ("when", Some("rules"), Some("workflow" | "include")) => &["always", "never"],
        ("when", Some("rules"), _) => &["on_success", "on_failure", "always", "manual", "delayed", "never"],
        ("when", Some("retry"), _) => &[
            "always",
            "unknown_failure",
            "script_failure",
            "api_failure",
            "stuck_or_timeout_failure",
            "runner_system_failure",
            "runner_unsupported",
            "stale_schedule",
            "job_execution_timeout",
            "archived_failure",
            "unmet_prerequisites",
            "scheduler_failure",
            "data_integrity_failure",
        ],
        ("when", _, _) => &["on_success", "on_failure", "always", "manual", "delayed"],
        ("policy", Some("cache"), _) => &["pull-push", "pull", "push"],
        ("pull_policy", _, _) => &["always", "if-not-present", "never"],
        ("action", Some("environment"), _) => &["start", "prepare", "stop", "verify", "access"],
        ("deployment_tier", _, _) => &["production", "staging", "testing", "development", "other"],
        ("access", Some("artifacts"), _) => &["all", "developer", "maintainer", "none"],
        ("coverage_format", _, _) => &["cobertura", "jacoco"],
        ("on_new_commit", _, _) => &["conservative", "interruptible", "none"],
        ("on_job_failure", _, _) => &["none", "all"],
        ("strategy", Some("trigger"), _) => &["depend", "mirror"],
        ("type", _, Some("spec")) => &["string", "number", "boolean", "array"],
        (
            "interruptible" | "allow_failure" | "untracked" | "unprotect" | "optional" | "public" | "expand",
            _,
            _,
        )
        | ("artifacts", Some("needs"), _)
        | ("yaml_variables" | "pipeline_variables", _, _) => &["true", "false"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn contexts() {
        for (at, has, has_not) in [
            ("", "stages", "script"),
            ("job", "script", "stages"),
            ("default", "image", "script"),
            ("job/artifacts", "paths", "script"),
            ("default/cache", "policy", "script"),
            ("cache/key", "files", "paths"),
            ("workflow/rules", "auto_cancel", "needs"),
            ("job/rules", "needs", "auto_cancel"),
            ("include", "local", "script"),
            ("job/trigger/include", "artifact", "rules"),
            ("spec/inputs/x", "type", "script"),
        ] {
            let found = keywords(&path(at));
            assert!(found.iter().any(|(name, _)| *name == has), "{at}: {has}");
            assert!(!found.iter().any(|(name, _)| *name == has_not), "{at}: {has_not}");
        }
        assert!(keywords(&path("stages")).is_empty());
        assert!(about(&path("job/needs/optional")).is_some());
        assert_eq!(words(&path("job/when")).len(), 5);
    }

    /// What the compiler knows has a sentence here, and nothing else has.
    #[test]
    fn the_compilers_keywords_are_all_here() {
        for name in harrier_pipeline::JOB_KEYWORDS {
            assert!(JOB.iter().any(|(known, _)| *known == name), "{name} has no sentence");
        }
        for (name, about) in JOB {
            assert!(harrier_pipeline::JOB_KEYWORDS.contains(name) || *name == "trigger", "{name} is unknown");
            assert!(about.ends_with('.'), "{name}");
        }
    }
}
