//! An executor without processes: what a job's script does is told by its variable `ACT`. It keeps what it did
//! outside of every runner's life, as real processes do.

use async_trait::async_trait;
use harrier_api::Features;
use harrier_base::{Clock, SystemClock};
use harrier_engine::*;
use harrier_logpipe::FrameKind;
use harrier_plan::{JobPlan, Shell, StageName};
use harrier_store::RawLog;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Outlives the runners of a test.
pub struct World {
    /// Starts of `step_script` by job.
    pub ran: Mutex<BTreeMap<i64, u32>>,
    /// Most scripts at a time.
    pub at_once: Mutex<(u32, u32)>,
    /// Sessions closed by job.
    pub closed: Mutex<Vec<i64>>,
    /// Jobs with `ACT=wait` end when this is true.
    release: watch::Sender<bool>,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            ran: Mutex::default(),
            at_once: Mutex::default(),
            closed: Mutex::default(),
            release: watch::Sender::new(false),
        })
    }

    pub fn release(&self) {
        self.release.send_replace(true);
    }

    pub fn ran(&self, job: i64) -> u32 {
        self.ran.lock().expect("lock").get(&job).copied().unwrap_or(0)
    }
}

pub struct Fake {
    world: Arc<World>,
    abilities: Abilities,
}

impl Fake {
    pub fn executor(world: &Arc<World>) -> Arc<dyn Executor> {
        let features = Features {
            variables: true,
            artifacts: true,
            cache: true,
            fallback_cache_keys: true,
            shared: true,
            upload_multiple_artifacts: true,
            upload_raw_artifacts: true,
            refspecs: true,
            masking: true,
            raw_variables: true,
            artifacts_exclude: true,
            multi_build_steps: true,
            return_exit_code: true,
            ..Features::default()
        };
        let abilities = Abilities {
            name: "shell",
            shell: Shell::Bash,
            features,
            shared: true,
            own_dirs: None,
            isolated: false,
        };
        Arc::new(Self { world: Arc::clone(world), abilities })
    }

    fn session(&self, job: &JobPlan, cx: &OpenCx<'_>) -> Box<dyn Session> {
        Box::new(FakeSession {
            world: Arc::clone(&self.world),
            job: job.job.id,
            act: job.variables.value("ACT").unwrap_or("ok").to_owned(),
            raw_log: cx.raw_log.to_owned(),
        })
    }
}

#[async_trait]
impl Executor for Fake {
    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    async fn open(&self, job: &JobPlan, cx: &OpenCx<'_>) -> Result<Box<dyn Session>, OpenError> {
        Ok(self.session(job, cx))
    }

    async fn reopen(
        &self,
        job: &JobPlan,
        ticket: &SessionTicket,
        cx: &OpenCx<'_>,
    ) -> Result<Box<dyn Session>, OpenError> {
        assert_eq!(ticket.0, serde_json::json!({ "job": job.job.id }));
        Ok(self.session(job, cx))
    }
}

struct FakeSession {
    world: Arc<World>,
    job: i64,
    act: String,
    raw_log: PathBuf,
}

#[async_trait]
impl Session for FakeSession {
    fn notes(&self) -> Vec<String> {
        vec!["Using a fake...".into()]
    }

    fn ticket(&self) -> SessionTicket {
        SessionTicket(serde_json::json!({ "job": self.job }))
    }

    async fn start(&mut self, start: StageStart<'_>) -> Result<Box<dyn Running>, StartError> {
        if start.stage.name != StageName::Step("script".into()) {
            return Ok(Box::new(FakeRunning {
                act: "ok".into(),
                raw_log: self.raw_log.clone(),
                world: None,
                release: self.world.release.subscribe(),
            }));
        }
        *self.world.ran.lock().expect("lock").entry(self.job).or_default() += 1;
        assert!(self.act != "panic", "this is the panic the test wants");
        let lines = if self.act == "big" { 40_000 } else { 3 };
        let text: String =
            (0..lines).map(|n| format!("line {n} of job {} and more of it\n", self.job)).collect();
        write(&self.raw_log, text.as_bytes());
        let mut now = self.world.at_once.lock().expect("lock");
        now.0 += 1;
        now.1 = now.1.max(now.0);
        drop(now);
        Ok(self.running())
    }

    async fn resume(&mut self, start: StageStart<'_>) -> Result<Resumed, StartError> {
        if start.stage.name != StageName::Step("script".into()) {
            return Ok(Resumed::NeverStarted);
        }
        Ok(if self.world.ran(self.job) == 0 {
            Resumed::NeverStarted
        } else {
            Resumed::Running(self.running())
        })
    }

    async fn keep(self: Box<Self>, _time: Duration, grace: Duration) -> Result<(), CloseError> {
        self.close(grace).await
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), CloseError> {
        self.world.closed.lock().expect("lock").push(self.job);
        Ok(())
    }
}

impl FakeSession {
    fn running(&self) -> Box<dyn Running> {
        let world = Some(Arc::clone(&self.world));
        Box::new(FakeRunning {
            act: self.act.clone(),
            raw_log: self.raw_log.clone(),
            world,
            release: self.world.release.subscribe(),
        })
    }
}

struct FakeRunning {
    act: String,
    raw_log: PathBuf,
    world: Option<Arc<World>>,
    release: watch::Receiver<bool>,
}

#[async_trait]
impl Running for FakeRunning {
    async fn wait(&mut self, stop: &Stop, _: Ladder) -> Result<Exit, WaitError> {
        let exit = |code: i32, text: &str| Exit { code, text: text.into() };
        let ended = match self.act.as_str() {
            "fail" => exit(7, "exit status 7"),
            "wait" => tokio::select! {
                biased;
                _ = self.release.wait_for(|go| *go) => exit(0, "exit status 0"),
                _ = stop.pulled() => exit(-1, "signal: terminated"),
            },
            "talk" => loop {
                tokio::select! {
                    biased;
                    _ = stop.pulled() => break exit(-1, "signal: terminated"),
                    () = tokio::time::sleep(Duration::from_millis(100)) => write(&self.raw_log, b"more\n"),
                }
            },
            _ => exit(0, "exit status 0"),
        };
        if let Some(world) = self.world.take() {
            world.at_once.lock().expect("lock").0 -= 1;
        }
        Ok(ended)
    }
}

fn write(raw: &Path, bytes: &[u8]) {
    let mut log = RawLog::open(raw).expect("the raw log");
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if bytes.len() < 100_000 {
            log.append(FrameKind::Stdout, 1, SystemClock.now(), line).expect("appended");
        }
    }
    if bytes.len() >= 100_000 {
        log.append(FrameKind::Stdout, 1, SystemClock.now(), bytes).expect("appended");
    }
}
