//! `harrier doctor image NAME`: which credentials a job's image would be pulled with, where they come from, and what the
//! registry says to them, without a job.
//!
//! Called by `main`. It prints users' names, never a password or a token.

use harrier_base::Secret;
use harrier_config::{ExecutorSpec, HostSpec, file};
use harrier_docker::{Answer, AuthError, ImageCheck, ImageName, RegistrySettings, check_image};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// The command and its subjects.
#[derive(clap::Args)]
pub struct Doctor {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// Show which credentials a job would pull an image with, and try them at its registry
    ///
    /// Looks where a job looks: the variable DOCKER_AUTH_CONFIG (give this command the value of the CI/CD variable in its
    /// environment), then the `environment` of the runners of --config, then Docker's configuration of the user who runs
    /// this. Run it as the runner's user.
    Image {
        /// The image, as in .gitlab-ci.yml with all variables replaced
        name: String,
        /// config.toml of the runner; each entry with the docker executor is tried
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// What stops the command itself.
#[derive(Debug, thiserror::Error)]
enum DoctorError {
    #[error("{0:?} is not the name of an image; e.g. registry.example.com/group/image:tag")]
    NotAnImage(String),
    #[error(transparent)]
    Config(#[from] harrier_config::ConfigError),
    #[error("{0} has no entry with the docker executor, so it pulls no images")]
    NoDockerRunner(PathBuf),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("cannot start: {0}")]
    Start(std::io::Error),
}

/// Exit code 0: the image can be pulled; 1: it cannot, or that could not be found out.
pub fn main(doctor: Doctor) -> ExitCode {
    let Subject::Image { name, config } = doctor.subject;
    match image(&name, config.as_deref()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("harrier doctor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all runners can pull it.
fn image(name: &str, config: Option<&Path>) -> Result<bool, DoctorError> {
    let image = ImageName::parse(name).ok_or_else(|| DoctorError::NotAnImage(name.to_owned()))?;
    let job = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty()).map(Secret::new);
    let cases = match config {
        Some(path) => cases(&file::load(path)?, path, job)?,
        None => vec![Case { runners: Vec::new(), docker_auth_config: job }],
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let settings = RegistrySettings::of_this_machine();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DoctorError::Start)?;
    let mut all = true;
    for case in &cases {
        let auth = case.docker_auth_config.clone();
        let check = runtime.block_on(check_image(&image, auth, home.as_deref(), &settings))?;
        all &= check.fix.is_none();
        print!("{}", report(&image, case, &check));
    }
    Ok(all)
}

/// Runners for which the decision is the same one.
struct Case {
    runners: Vec<String>,
    docker_auth_config: Option<Secret>,
}

/// A job's variable comes before the runner's.
fn cases(host: &HostSpec, path: &Path, job: Option<Secret>) -> Result<Vec<Case>, DoctorError> {
    let mut cases: Vec<Case> = Vec::new();
    for runner in &host.runners {
        match runner.executor {
            ExecutorSpec::Docker(_) => {}
            ExecutorSpec::Shell | ExecutorSpec::Unsupported(_) => continue,
        }
        let own = runner.environment.iter().rev().find(|(name, _)| name == VARIABLE);
        let value = job.clone().or_else(|| own.map(|(_, value)| Secret::new(value.clone())));
        let known = |case: &&mut Case| match (&case.docker_auth_config, &value) {
            (Some(a), Some(b)) => a.expose() == b.expose(),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        match cases.iter_mut().find(known) {
            Some(case) => case.runners.push(runner.name.clone()),
            None => cases.push(Case { runners: vec![runner.name.clone()], docker_auth_config: value }),
        }
    }
    if cases.is_empty() { Err(DoctorError::NoDockerRunner(path.to_owned())) } else { Ok(cases) }
}

fn report(image: &ImageName, case: &Case, check: &ImageCheck) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let wanted = match (&image.digest, &image.tag) {
        (Some(digest), _) => digest.clone(),
        (None, Some(tag)) => format!("tag {tag}"),
        (None, None) => "tag latest, as none is given".to_owned(),
    };
    lines.push(("image", format!("{} in the registry {}, {wanted}", image.path, image.registry)));
    if !case.runners.is_empty() {
        lines.push(("runners", case.runners.join(", ")));
    }
    let missing = |what: &str, why: &str| ("looked at", format!("{what}: {why}"));
    if case.docker_auth_config.is_none() {
        lines.push(missing(&format!("the variable {VARIABLE}"), "not set"));
    }
    for (origin, registries) in &check.choice.looked_at {
        let registries =
            if registries.is_empty() { "no credentials in it".to_owned() } else { registries.join(", ") };
        lines.push(("looked at", format!("{origin}: {registries}")));
    }
    if check.choice.looked_at.len() == usize::from(case.docker_auth_config.is_some()) {
        lines.push(missing("~/.docker/config.json and ~/.dockercfg of this user", "not there"));
    }
    lines.push(missing("the credentials that the server sends with a job", "only a job has them"));
    for problem in &check.choice.problems {
        lines.push(("problem", problem.clone()));
    }
    lines.push((
        "used",
        match &check.choice.login {
            Some((login, origin)) if login.identity_token.is_some() => {
                format!("an identity token from {origin}")
            }
            Some((login, origin)) => format!("the user {:?} with a password from {origin}", login.username),
            None => "no credentials: none of these knows this registry".to_owned(),
        },
    ));
    lines.push(("asked", check.asked.url.clone()));
    lines.push((
        "answer",
        match &check.asked.answer {
            Answer::Found { digest, asked_for_login } => {
                let digest = digest.as_deref().unwrap_or("without a digest");
                let public = if *asked_for_login { "" } else { "; the registry asked for no log-in" };
                format!("it can be pulled: {digest}{public}")
            }
            Answer::Refused(said) | Answer::NotFound(said) | Answer::Unexpected(said) => said.to_string(),
            Answer::Unreachable { at, why, .. } => format!("none from {at}: {why}"),
        },
    ));
    if let Some(fix) = &check.fix {
        lines.push(("what to do", fix.clone()));
    }
    lines.iter().fold(String::new(), |mut text, (label, line)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<11} {line}");
        text
    })
}
