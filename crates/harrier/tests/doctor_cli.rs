//! `harrier doctor image` against a private registry, as a person sees it.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

struct Registry {
    state: tempfile::TempDir,
    port: u16,
}

impl Registry {
    fn script(&self, script: &str, verb: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(script);
        let output = Command::new(script)
            .arg(verb)
            .env("HARRIER_TEST_STATE", self.state.path())
            .env("HARRIER_REGISTRY_PORT", self.port.to_string())
            .env("HARRIER_REGISTRY_PASSWORD", "open-sesame")
            .output()
            .expect("the script runs");
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.script("registry.sh", "wipe");
    }
}

fn doctor(home: &Path, environment: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harrier"));
    command.args(["doctor", "image"]).args(args).env_clear().env("HOME", home);
    command.envs(environment.iter().copied()).output().expect("it runs")
}

#[test]
fn the_decision_and_the_answer() {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    assert!(is_root, "a private registry is installed and started as root; run this test as root");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let registry = Registry { state: tempfile::tempdir().expect("a folder"), port };
    registry.script("registry.sh", "start");
    let image = format!("127.0.0.1:{port}/group/app");
    let environment = registry.script("registry.sh", "env");
    let values: HashMap<&str, &str> = environment.lines().filter_map(|line| line.split_once('=')).collect();
    let right = values["DOCKER_AUTH_CONFIG"].replace('\\', "");
    let wrong = format!(r#"{{"auths":{{"127.0.0.1:{port}":{{"auth":"aGFycmllcjpodW50ZXIy"}}}}}}"#);
    let home = tempfile::tempdir().expect("a folder");
    let say = |output: &Output| {
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
        assert!(!text.contains("open-sesame") && !text.contains("hunter2"), "{text}");
        text
    };

    let nothing = doctor(home.path(), &[], &[&image]);
    let text = say(&nothing);
    assert_eq!(nothing.status.code(), Some(1));
    for part in [
        &format!("image       group/app in the registry 127.0.0.1:{port}, tag latest"),
        "looked at   the variable DOCKER_AUTH_CONFIG: not set",
        "looked at   ~/.docker/config.json and ~/.dockercfg of this user: not there",
        "used        no credentials",
        &format!("answer      127.0.0.1:{port} answered 401: UNAUTHORIZED: authentication required"),
        &format!(
            "what to do  no credentials were used; log in as the runner's user (docker login 127.0.0.1:{port})"
        ),
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }

    // A job's variable comes first, the user's file after it.
    std::fs::create_dir(home.path().join(".docker")).expect("created");
    std::fs::write(home.path().join(".docker/config.json"), &right).expect("written");
    let refused = doctor(home.path(), &[("DOCKER_AUTH_CONFIG", &wrong)], &[&image]);
    let text = say(&refused);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.contains("\"harrier\" from the variable DOCKER_AUTH_CONFIG were refused"), "{text}");

    let missing = doctor(home.path(), &[], &[&image]);
    let text = say(&missing);
    assert_eq!(missing.status.code(), Some(1));
    let file = home.path().join(".docker/config.json");
    assert!(
        text.contains(&format!("used        the user \"harrier\" with a password from {}", file.display())),
        "{text}"
    );
    assert!(text.contains("answered 404"), "{text}");
    std::fs::remove_file(file).expect("removed");

    put_image(&image, &registry);
    let config = home.path().join("config.toml");
    std::fs::write(&config, config_toml(&right, &wrong)).expect("written");
    let both = doctor(home.path(), &[], &[&image, "--config", &config.display().to_string()]);
    let text = say(&both);
    assert_eq!(both.status.code(), Some(1), "one of them cannot");
    let (right_one, wrong_one) = text.split_once("runners     wrong").expect("two reports");
    assert!(right_one.contains("runners     right, as right"), "{text}");
    assert!(right_one.contains("answer      it can be pulled: sha256:"), "{text}");
    assert!(wrong_one.contains("were refused"), "{text}");
    let found = doctor(
        home.path(),
        &[("DOCKER_AUTH_CONFIG", &right)],
        &[&image, "-c", &config.display().to_string()],
    );
    let text = say(&found);
    assert_eq!(found.status.code(), Some(0), "{text}");
    assert!(text.contains("runners     right, as right, wrong"), "{text}");
}

fn config_toml(right: &str, wrong: &str) -> String {
    let entry = |name: &str, executor: &str, auth: &str| {
        format!(
            "[[runners]]\nname = \"{name}\"\nurl = \"https://gitlab.example.com\"\ntoken = \"t\"\nexecutor = \"{executor}\"\n\
             environment = ['DOCKER_AUTH_CONFIG={auth}']\n{}",
            if executor == "docker" { "[runners.docker]\nimage = \"debian\"\n" } else { "" }
        )
    };
    entry("right", "docker", right)
        + &entry("as right", "docker", right)
        + &entry("no containers", "shell", wrong)
        + &entry("wrong", "docker", wrong)
}

/// The smallest thing that is an image.
fn put_image(image: &str, registry: &Registry) {
    let folder = registry.state.path();
    let (address, path) = image.split_once('/').expect("a registry and a path");
    let base = format!("http://{address}/v2/{path}");
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-fsS", "-u", "harrier:open-sesame", "-H", "Expect:"]).args(args).current_dir(folder);
        let output = command.output().expect("curl runs");
        assert!(output.status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    std::fs::write(folder.join("config"), "{}").expect("written");
    // Of `{}`.
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let headers = curl(&["-X", "POST", "-D", "-", "-o", "answer", &format!("{base}/blobs/uploads/")]);
    let location =
        headers.lines().find_map(|line| line.strip_prefix("Location: ")).expect("an address").trim();
    curl(&["-T", "config", &format!("{location}&digest={digest}")]);
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","layers":[],"config":{{"mediaType":
        "application/vnd.docker.container.image.v1+json","size":2,"digest":"{digest}"}}}}"#
    );
    std::fs::write(folder.join("manifest"), manifest).expect("written");
    curl(&["-T", "manifest", "-H", &format!("Content-Type: {kind}"), &format!("{base}/manifests/latest")]);
}
