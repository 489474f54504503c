//! The scripts of [`JobPlan::shell_text`] run by real shells: bash, and dash where it is installed.

use crate::*;
use crate::{plan_job, samples};
use harrier_api::{JobPayload, JobVariable, Step};
use proptest::prelude::*;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn variable(key: &str, value: &str) -> JobVariable {
    JobVariable { key: key.into(), value: value.into(), raw: true, ..JobVariable::default() }
}

/// A job whose directories lie in `root`.
struct Job {
    root: tempfile::TempDir,
    payload: JobPayload,
    shell: Shell,
}

impl Job {
    fn new(shell: Shell, script: &[&str]) -> Self {
        let mut payload = samples::payload();
        payload.variables.clear();
        payload.steps = vec![Step {
            name: "script".into(),
            script: script.iter().map(|s| (*s).into()).collect(),
            ..Step::default()
        }];
        Self { root: tempfile::tempdir().expect("a directory"), payload, shell }
    }

    fn plan(&self) -> JobPlan {
        let mut spec = samples::spec();
        spec.builds_dir = Some(self.root.path().join("it's a build"));
        spec.shell = Some(self.shell.program().into());
        let plan = plan_job(&self.payload, &spec, &samples::facts()).expect("a plan");
        std::fs::create_dir_all(&plan.dirs.project).expect("the project directory");
        plan
    }

    fn run(&self) -> Output {
        let plan = self.plan();
        run(&plan, &plan.steps[0], "running")
    }

    fn stdout(&self) -> String {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// As an executor does it: the script is a file on standard input.
fn run(plan: &JobPlan, stage: &StagePlan, status: &str) -> Output {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(plan.shell_text(stage, status).as_bytes()).expect("written");
    file.rewind().expect("rewound");
    Command::new(plan.shell.program())
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::from(file))
        .output()
        .expect("the shell starts")
}

fn shells() -> Vec<Shell> {
    // `sh` is dash on Debian.
    vec![Shell::Bash, Shell::Sh]
}

#[test]
fn executors_3_1_echo_forms() {
    for shell in shells() {
        let job =
            Job::new(shell, &["echo one", "  ", "echo 'two'\necho three", r"printf '%s\n' 'a\nb' # \t"]);
        assert_eq!(
            job.stdout(),
            "\x1b[32;1m$ echo one\x1b[0;m\none\n\n\x1b[32;1m$ echo 'two' # collapsed multi-line command\x1b[0;m\n\
             two\nthree\n\x1b[32;1m$ printf '%s\\n' 'a\\nb' # \\t\x1b[0;m\na\\nb\n"
        );
    }
}

#[test]
fn executors_19_3_exit_code_passes_through() {
    for shell in shells() {
        for (script, code) in
            [("exit 7", 7), ("false", 1), ("(exit 42)", 42), ("true", 0), ("exit 0", 0), ("exit 255", 255)]
        {
            assert_eq!(Job::new(shell, &[script]).run().status.code(), Some(code), "{script}");
        }
    }
}

#[test]
fn executors_19_7_errexit_pipefail_and_empty_stdin() {
    for shell in shells() {
        let output = Job::new(shell, &["false", "echo not reached"]).run();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("\nnot reached"));
        assert_eq!(Job::new(shell, &["cat", "echo end"]).stdout().matches("end").count(), 2);
    }
    assert_eq!(Job::new(Shell::Bash, &["false | true"]).run().status.code(), Some(1));
}

#[test]
fn executors_19_8_a_script_reads_nothing_of_its_own_text() {
    for shell in shells() {
        let job = Job::new(shell, &["read -r line || echo nothing", "echo after"]);
        assert!(job.stdout().contains("\nnothing\n"));
    }
}

#[test]
fn executors_3_2_check_each_item() {
    let mut job = Job::new(Shell::Bash, &["set +e", "(exit 9)", "echo not reached"]);
    job.payload.variables.push(variable("FF_ENABLE_BASH_EXIT_CODE_CHECK", "true"));
    let output = job.run();
    assert_eq!(output.status.code(), Some(9));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("\nnot reached"));
}

#[test]
fn executors_19_5_file_variables() {
    for shell in shells() {
        let mut job = Job::new(
            shell,
            &["cat \"$KUBE_CFG\"; echo '|'", "stat -c %a \"$KUBE_CFG\"", "umask", "echo \"$KUBE_CFG\""],
        );
        job.payload.variables = samples::payload().variables;
        let plan = job.plan();
        let out = job.stdout();
        assert!(out.contains("apiVersion: v1\n|"), "{out}");
        assert!(out.contains("\n600\n"), "{out}");
        assert!(out.contains("\n0022\n") || out.contains("\n022\n"), "the user's umask stays: {out}");
        assert!(out.contains(&plan.dirs.tmp.join("KUBE_CFG").display().to_string()));
        let content = std::fs::read_to_string(plan.dirs.file_variable("KUBE_CFG")).expect("the file");
        assert_eq!(content, "apiVersion: v1\n");
    }
}

#[test]
fn executors_19_6_env_file_lines_are_seen_by_later_stages() {
    for shell in shells() {
        let mut job = Job::new(
            shell,
            &["echo 'FROM_FILE=a b $HOME `x` \"q\"' >>\"$GITLAB_ENV\"; echo 'not a line' >>\"$GITLAB_ENV\"
               echo '2=x' >>\"$GITLAB_ENV\"; echo 'a b=c' >>\"$GITLAB_ENV\"; printf 'LAST=no newline' >>\"$GITLAB_ENV\""],
        );
        job.payload.steps.push(Step {
            name: "after_script".into(),
            script: vec!["env | grep -E '^(FROM_FILE|LAST|CI_JOB_STATUS|_harrier)'".into()],
            ..Step::default()
        });
        let plan = job.plan();
        assert!(run(&plan, &plan.steps[0], "running").status.success());
        let output = run(&plan, plan.after_script.as_ref().expect("after_script"), "failed");
        let text = String::from_utf8(output.stdout).expect("text");
        let mut lines: Vec<&str> = text.lines().skip(2).collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["CI_JOB_STATUS=failed", "FROM_FILE=a b $HOME `x` \"q\"", "LAST=no newline"],
            "{text}"
        );
        assert!(text.starts_with("\x1b[32;1mRunning after script...\x1b[0;m\n"));
    }
}

#[test]
fn executors_3_2_the_script_starts_in_the_project_directory() {
    for shell in shells() {
        let job = Job::new(shell, &["pwd"]);
        let plan = job.plan();
        assert!(job.stdout().ends_with(&format!("{}\n", plan.dirs.project.display())));
    }
}

#[test]
fn executors_3_2_xtrace_only_with_ci_debug_trace() {
    let mut job = Job::new(Shell::Bash, &["echo traced"]);
    assert!(job.run().stderr.is_empty());
    job.payload.variables.push(variable("CI_DEBUG_TRACE", "true"));
    assert!(String::from_utf8_lossy(&job.run().stderr).contains("+ echo traced"));
}

#[test]
fn runner_api_15_4_script_sections() {
    for shell in shells() {
        let mut job = Job::new(shell, &["echo one", "echo two\necho three"]);
        job.payload.variables.push(variable("FF_SCRIPT_SECTIONS", "true"));
        let out = job.stdout();
        let stamp = |text: &str| {
            let mut out = String::new();
            let mut rest = text;
            while let Some(at) = rest.find("section_").and_then(|at| rest[at..].find(':').map(|c| at + c)) {
                out.push_str(&rest[..=at]);
                rest = rest[at + 1..].trim_start_matches(|c: char| c.is_ascii_digit());
                out.push('T');
                // Step over the name, which holds "section_" too.
                let name = rest.find('\r').unwrap_or(rest.len());
                out.push_str(&rest[..name]);
                rest = &rest[name..];
            }
            out + rest
        };
        assert_eq!(
            stamp(&out),
            "\x1b[32;1m$ echo one\x1b[0;m\none\n\
             section_start:T:section_script_step_1[hide_duration=true,collapsed=true]\r\x1b[0K\
             \x1b[32;1m$ echo two\necho three\x1b[0;m\ntwo\nthree\n\
             section_end:T:section_script_step_1\r\x1b[0K"
        );
    }
}

#[test]
fn executors_3_2_term_ends_the_script_with_1() {
    let job = Job::new(Shell::Bash, &["kill -TERM $BASHPID", "echo not reached"]);
    let output = job.run();
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("\nnot reached"));
}

#[test]
fn executors_3_1_build_scripts_around_the_steps() {
    let job = Job::new(Shell::Bash, &["echo $X"]);
    let mut spec = samples::spec();
    spec.builds_dir = Some(job.root.path().to_owned());
    spec.pre_build_script = Some("X=shared\necho pre".into());
    spec.post_build_script = Some("echo post".into());
    let plan = plan_job(&job.payload, &spec, &samples::facts()).expect("a plan");
    std::fs::create_dir_all(&plan.dirs.project).expect("the project directory");
    let out = String::from_utf8(run(&plan, &plan.steps[0], "running").stdout).expect("text");
    let plain: Vec<&str> = out.lines().filter(|line| !line.starts_with('\x1b')).collect();
    assert_eq!(plain, ["pre", "shared", "post"]);
}

#[test]
fn every_byte_class_survives_quoting() {
    let all: String = (1u32..0x180).filter_map(char::from_u32).chain("€😀'\"'\\'\n\n ".chars()).collect();
    for shell in shells() {
        let mut job = Job::new(shell, &["printf '%s' \"$ALL\" >out", "printf '%s|' \"$EMPTY\" \"$QUOTES\""]);
        job.payload.variables = vec![variable("ALL", &all), variable("EMPTY", ""), variable("QUOTES", "'''")];
        let plan = job.plan();
        assert!(job.stdout().ends_with("|'''|"));
        let got = std::fs::read_to_string(Path::new(&plan.dirs.project).join("out")).expect("the file");
        assert_eq!(got, all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn any_value_arrives_as_it_is(value in "[\\PC\n\t'\"$`\\\\!*~#&|;<>(){}\\[\\]^ ]{0,40}") {
        let mut job = Job::new(Shell::Bash, &["printf '%s' \"$VALUE\" >out"]);
        job.payload.variables = vec![variable("VALUE", &value)];
        let plan = job.plan();
        prop_assert!(job.run().status.success());
        let got = std::fs::read_to_string(plan.dirs.project.join("out")).expect("the file");
        prop_assert_eq!(got, value);
    }
}
