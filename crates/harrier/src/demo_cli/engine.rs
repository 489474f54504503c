//! The engine and the private registry of the demo, through the `docker` command, as the how-to's reader would.

use super::stage::{DemoError, Stage, say};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How long a registry that was just started may take to listen.
const REGISTRY_STARTS: Duration = Duration::from_secs(60);
/// User and password of the registry, which is there for the length of the demo, on loopback, and holds one public image.
const LOGIN: (&str, &str) = ("harrier", "harrier");
/// The password as registries keep it (`htpasswd -nbB`).
const HTPASSWD: &str = "harrier:$2y$05$hh0tIGLPmYoH/Z/DaPrbU.AMeVyxQoNxd.dCFeO01PUgOUCk61/uC\n";

/// The bridge's own address, at which jobs in containers reach a server of this machine and nobody outside does, from
/// lines of its pool and its gateway. An engine that has just made its first bridge names no gateway; it has taken the
/// first address of the pool then.
fn bridge_address(pools: &str) -> Option<IpAddr> {
    pools.lines().find_map(|line| {
        let (pool, gateway) = line.split_once(' ')?;
        let first =
            || Some(Ipv4Addr::from_bits(pool.split_once('/')?.0.parse::<Ipv4Addr>().ok()?.to_bits() + 1));
        gateway.trim().parse().ok().or_else(first).map(IpAddr::V4)
    })
}

/// An engine that answers.
pub struct Engine {
    gateway: Option<IpAddr>,
    /// Where the user's Docker configuration is: the demo's commands have another home.
    config: Option<std::ffi::OsString>,
}

impl Engine {
    /// The engine the `docker` command reaches; `None`, and a sentence about it, where there is none.
    pub async fn find(stage: &Stage) -> Option<Self> {
        let config = std::env::var_os("DOCKER_CONFIG").or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(std::path::Path::new(&home).join(".docker").into_os_string())
        });
        let mut engine = Self { gateway: None, config };
        let asked = engine.ask(stage, &["version", "--format", "{{.Server.Version}}"]).await;
        let version = match asked {
            Ok(version) => version,
            Err(error) => {
                say(&format!(
                    "No Docker Engine answers, so the story is told in a shell of this machine. ({error})"
                ));
                return None;
            }
        };
        let pools = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}\n{{end}}";
        let pools = ["network", "inspect", "bridge", "--format", pools];
        engine.gateway = bridge_address(&engine.ask(stage, &pools).await.unwrap_or_default());
        let Some(address) = engine.gateway else {
            say("The Docker Engine has no default bridge, so the story is told in a shell of this machine.");
            return None;
        };
        say(&format!(
            "Docker Engine {} answers; its containers reach this machine at {address}.",
            version.trim()
        ));
        Some(engine)
    }

    /// Where containers find this machine.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    fn docker(&self, stage: &Stage, args: &[&str]) -> tokio::process::Command {
        let mut command = stage.command("docker");
        command.args(args);
        if let Some(config) = &self.config {
            command.env("DOCKER_CONFIG", config);
        }
        command
    }

    async fn ask(&self, stage: &Stage, args: &[&str]) -> Result<String, DemoError> {
        stage.quiet(&format!("docker {}", args.join(" ")), self.docker(stage, args)).await
    }

    async fn run(&self, stage: &Stage, args: &[&str]) -> Result<String, DemoError> {
        stage.show(&format!("docker {}", args.join(" ")), self.docker(stage, args)).await
    }

    /// Sees to it that the engine has an image.
    pub async fn provide(&self, stage: &Stage, image: &str) -> Result<(), DemoError> {
        if self.ask(stage, &["image", "inspect", "--format", "{{.Id}}", image]).await.is_err() {
            self.run(stage, &["pull", "--quiet", image]).await?;
        }
        Ok(())
    }

    /// The name of a container that a runner has left, if there is one. `owner`: how the runner's things are labelled.
    pub async fn left_by(&self, stage: &Stage, owner: &str) -> Result<Option<String>, DemoError> {
        let filter = format!("label=dev.harrier.owner={owner}");
        let names = self.ask(stage, &["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]).await?;
        Ok(names.lines().next().map(str::to_owned))
    }

    /// Shows all containers, as the how-to does.
    pub async fn show_containers(&self, stage: &Stage) -> Result<(), DemoError> {
        print!("{}", self.run(stage, &["ps", "-a"]).await?);
        Ok(())
    }
}

/// A registry in a container, which asks for a password.
pub struct Registry {
    container: String,
    address: String,
    image: Option<String>,
}

impl Registry {
    /// Starts it at a free port of loopback, which engines trust without TLS.
    pub async fn start(stage: &mut Stage, engine: &Engine, image: &str) -> Result<Self, DemoError> {
        let container = format!("harrier-demo-registry-{}", std::process::id());
        stage.at_the_end(&["docker", "rm", "--force", "--volumes", &container]);
        let create = [
            "create",
            "--name",
            &container,
            "--publish",
            "127.0.0.1::5000",
            "--env",
            "REGISTRY_AUTH=htpasswd",
            "--env",
            "REGISTRY_AUTH_HTPASSWD_REALM=demo",
            "--env",
            "REGISTRY_AUTH_HTPASSWD_PATH=/htpasswd",
            image,
        ];
        engine.run(stage, &create).await?;
        // By copy: the engine need not see this machine's files.
        let path = stage.home().join("htpasswd");
        std::fs::write(&path, HTPASSWD).map_err(|source| DemoError::Io { path: path.clone(), source })?;
        engine.run(stage, &["cp", "htpasswd", &format!("{container}:/htpasswd")]).await?;
        engine.run(stage, &["start", &container]).await?;
        let published = engine.ask(stage, &["port", &container, "5000/tcp"]).await?;
        let address = published.lines().next().unwrap_or_default().trim().to_owned();
        Ok(Self { container, address, image: None })
    }

    /// Pushes an image there, and makes the engine forget that name: a job has to pull it. Its name in the registry.
    pub async fn push(
        &mut self,
        stage: &mut Stage,
        engine: &Engine,
        image: &str,
    ) -> Result<String, DemoError> {
        let private = format!("{}/how-to/node", self.address);
        stage.at_the_end(&["docker", "rmi", &private]);
        let config = stage.home().join("login");
        let written = std::fs::create_dir(&config)
            .and_then(|()| std::fs::write(config.join("config.json"), self.login()));
        written.map_err(|source| DemoError::Io { path: config, source })?;
        engine.run(stage, &["tag", image, &private]).await?;
        let push = ["--config", "login", "push", "--quiet", &private];
        // The registry has just been started: it may need a moment.
        let begun = tokio::time::Instant::now();
        while let Err(error) = engine.run(stage, &push).await {
            if begun.elapsed() > REGISTRY_STARTS {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        engine.run(stage, &["rmi", &private]).await?;
        self.image = Some(private.clone());
        Ok(private)
    }

    /// The log-in, in the form of `DOCKER_AUTH_CONFIG` and of Docker's configuration.
    pub fn login(&self) -> String {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
        serde_json::json!({ "auths": { &self.address: { "auth": auth } } }).to_string()
    }

    /// Removes the container and the image that was pulled from it.
    pub async fn remove(self, stage: &mut Stage, engine: &Engine) -> Result<(), DemoError> {
        if let Some(image) = &self.image {
            engine.run(stage, &["rmi", image]).await?;
        }
        engine.run(stage, &["rm", "--force", "--volumes", &self.container]).await?;
        stage.undone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_has_an_address_before_the_engine_names_one() {
        let here = |pools: &str| bridge_address(pools).map(|address| address.to_string());
        assert_eq!(here("172.17.0.0/16 172.17.0.1\n").as_deref(), Some("172.17.0.1"));
        assert_eq!(here("172.17.0.0/16 <no value>\n").as_deref(), Some("172.17.0.1"));
        assert_eq!(here("10.9.0.0/24 \n").as_deref(), Some("10.9.0.1"));
        assert_eq!(here("fd00::/64 fd00::1\n10.9.0.0/24 10.9.0.7\n").as_deref(), Some("10.9.0.7"));
        assert_eq!(here(""), None);
    }
}
