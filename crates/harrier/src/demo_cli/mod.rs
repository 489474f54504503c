//! `harrier demo`: the how-to's story on this machine with real parts, each started as a user would start it, and all of it gone
//! at the end: a private registry with a password, a coordinator, a runner registered by its command line, a pushed project
//! whose two jobs run in containers. Without an engine it is told with the shell executor.
//!
//! Called by `main`. It touches nothing it has not made: one temporary directory, one registry container, the names of images
//! in that registry.

mod engine;
mod server;
mod stage;

use engine::{Engine, Registry};
use server::Server;
use stage::{DemoError, Stage, say, title};
use std::path::Path;
use std::process::ExitCode;

/// Tell the how-to's story with real parts: coordinator, private registry, runner, a pushed project; then clean up
///
/// With Docker the images come from where the engine has or finds them; without it, the story is told in a shell.
#[derive(clap::Args)]
pub struct DemoArgs {
    /// Image of the private registry
    #[arg(long, value_name = "IMAGE", env = "HARRIER_DEMO_REGISTRY_IMAGE", default_value = "registry:2")]
    registry_image: String,
    /// Image of the first job, with node and npm; it is pushed into the private registry
    #[arg(long, value_name = "IMAGE", env = "HARRIER_DEMO_NODE_IMAGE", default_value = "node:lts-alpine")]
    node_image: String,
    /// Image of the second job and of the engine beside it
    #[arg(long, value_name = "IMAGE", env = "HARRIER_DEMO_DIND_IMAGE", default_value = "docker:dind")]
    dind_image: String,
    /// Tell the story without containers
    #[arg(long)]
    shell: bool,
    /// Leave the coordinator up at the end, to look at its pages, until Ctrl-C
    #[arg(long)]
    stay: bool,
}

/// The project that is pushed: the files of `examples/node-app` and `examples/docker-build` with the how-to's pipeline.
const HOW_TO: &[(&str, &str)] = &[
    (".gitlab-ci.yml", include_str!("../../../../examples/how-to/.gitlab-ci.yml")),
    (".npmrc", include_str!("../../../../examples/node-app/.npmrc")),
    ("index.js", include_str!("../../../../examples/node-app/index.js")),
    ("package.json", include_str!("../../../../examples/node-app/package.json")),
    ("package-lock.json", include_str!("../../../../examples/node-app/package-lock.json")),
    ("lib/greeting/index.js", include_str!("../../../../examples/node-app/lib/greeting/index.js")),
    ("lib/greeting/package.json", include_str!("../../../../examples/node-app/lib/greeting/package.json")),
    ("lib/plural/index.js", include_str!("../../../../examples/node-app/lib/plural/index.js")),
    ("lib/plural/package.json", include_str!("../../../../examples/node-app/lib/plural/package.json")),
    ("test/announce.test.js", include_str!("../../../../examples/node-app/test/announce.test.js")),
    ("Dockerfile", include_str!("../../../../examples/docker-build/Dockerfile")),
    ("hello.sh", include_str!("../../../../examples/docker-build/hello.sh")),
];

/// The project of the story without an engine.
const BAKERY: &[(&str, &str)] = &[
    (".gitlab-ci.yml", include_str!("../../../../examples/bakery/.gitlab-ci.yml")),
    ("bake.sh", include_str!("../../../../examples/bakery/bake.sh")),
    ("recipes/salt.txt", include_str!("../../../../examples/bakery/recipes/salt.txt")),
];

/// Exit code 0: the story was told and every job ended as it should; 1: it did not, and the reason is on standard error;
/// 130: Ctrl-C.
pub fn main(args: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("harrier demo: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let mut stage = match Stage::new() {
            Ok(stage) => stage,
            Err(error) => return failed(&error),
        };
        let told = tokio::select! {
            told = tell(args, &mut stage) => told.map(|()| ExitCode::SUCCESS),
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
        };
        // Whatever happened, nothing stays.
        let cleared = stage.clear().await;
        match (told, cleared) {
            (Ok(code), Ok(())) => code,
            (Err(error), _) | (Ok(_), Err(error)) => failed(&error),
        }
    })
}

fn failed(error: &DemoError) -> ExitCode {
    eprintln!("harrier demo: {error}");
    ExitCode::FAILURE
}

async fn tell(args: &DemoArgs, stage: &mut Stage) -> Result<(), DemoError> {
    let engine = if args.shell { None } else { Engine::find(stage).await };
    match engine {
        Some(engine) => with_containers(args, stage, &engine).await,
        None => in_a_shell(args, stage).await,
    }
}

async fn with_containers(args: &DemoArgs, stage: &mut Stage, engine: &Engine) -> Result<(), DemoError> {
    title("A private registry with a password");
    let images = [&args.registry_image, &args.node_image, &args.dind_image];
    for image in images {
        engine.provide(stage, image).await?;
    }
    let mut registry = Registry::start(stage, engine, &args.registry_image).await?;
    let private = registry.push(stage, engine, &args.node_image).await?;

    title("A coordinator");
    let mut server = Server::start(stage, engine.gateway()).await?;

    title("A runner, registered by the how-to's command line");
    let token = server.registration_token(stage).await?;
    stage
        .runner(&[
            "--url",
            server.url(),
            "--registration-token",
            &token,
            "--executor",
            "docker",
            "--description",
            "docker-runner",
            "--docker-image",
            &args.dind_image,
            "--docker-privileged",
            "--docker-volumes",
            "/cache",
            "--docker-pull-policy",
            "if-not-present",
        ])
        .await?;

    title("A project is pushed, and its pipeline begins");
    server.make_project(stage, "how-to").await?;
    server.set_variable("NODE_IMAGE", &private).await?;
    server.set_variable("DIND_IMAGE", &args.dind_image).await?;
    let pipeline = server.push(stage, HOW_TO).await?;

    title("The first job: npm install in the private image");
    say("Nobody has told the runner the registry's password yet: the failure says what is missing.");
    let job = server.job(pipeline, "test").await?;
    server.follow(job, Some("failed")).await?;
    say("So the project gets a variable DOCKER_AUTH_CONFIG, and the job is run again.");
    server.set_variable("DOCKER_AUTH_CONFIG", &registry.login()).await?;
    let job = server.retry(job).await?;
    server.follow(job, Some("success")).await?;

    title("The second job: docker build, with an engine of its own beside it");
    let job = server.job(pipeline, "build").await?;
    server.follow(job, Some("success")).await?;
    server.pipeline_ended(pipeline).await?;
    stay(args, &server, pipeline).await;

    title("What is left: nothing");
    let owner = stage.owner()?;
    stage.end_runner(true).await?;
    registry.remove(stage, engine).await?;
    engine.show_containers(stage).await?;
    match engine.left_by(stage, &owner).await? {
        None => Ok(()),
        Some(name) => Err(DemoError::Left(name)),
    }
}

async fn in_a_shell(args: &DemoArgs, stage: &mut Stage) -> Result<(), DemoError> {
    title("A coordinator");
    let mut server = Server::start(stage, None).await?;

    title("A runner, registered by its command line");
    let token = server.registration_token(stage).await?;
    let flags = ["--url", server.url(), "--registration-token", &token, "--executor", "shell"];
    stage.runner(&flags).await?;

    title("A project is pushed, and its pipeline runs");
    server.make_project(stage, "bakery").await?;
    let pipeline = server.push(stage, BAKERY).await?;
    for (name, job) in server.jobs(pipeline).await? {
        title(&format!("The job {name}"));
        server.follow(job, None).await?;
    }
    server.pipeline_ended(pipeline).await?;
    stay(args, &server, pipeline).await;
    stage.end_runner(false).await
}

/// The address of the page, and time to look at it where that was asked for.
async fn stay(args: &DemoArgs, server: &Server, pipeline: i64) {
    title("The page");
    say(&format!("{}/root/{}/-/pipelines/{pipeline}", server.url(), server.project()));
    if !args.stay {
        say("(`harrier demo --stay` leaves it up.)");
        return;
    }
    say(&format!(
        "The password of root is `{}`. Ctrl-C ends the demo and clears everything away.",
        server.password()
    ));
    let _ = tokio::signal::ctrl_c().await;
}

/// Writes the files of a project.
fn write_project(folder: &Path, files: &[(&str, &str)]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text)?;
        if text.starts_with("#!") {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}
