//! A server that speaks S3 and checks signatures, and a wire to it that can be cut, held and made to answer with errors.
//!
//! Called by tests of the coordinator's storage. The server is moto in the environment that `scripts/s3.sh` makes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The server; it ends with this.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
    /// `http://127.0.0.1:…`
    pub url: String,
    /// Access key.
    pub key: String,
    /// Secret key.
    pub secret: String,
}

impl S3Server {
    /// The bucket that is there.
    pub const BUCKET: &str = "harrier-files";
    /// Its region.
    pub const REGION: &str = "eu-central-1";

    /// `checked`: it looks at the signature of every request; addresses with a signature inside then do not work with it.
    ///
    /// # Panics
    /// When moto is not there, or does not start.
    #[track_caller]
    pub fn start(checked: bool) -> Self {
        let python = std::env::var_os("HARRIER_TEST_MOTO")
            .map_or_else(|| "/var/lib/harrier-test/moto/bin/python".into(), PathBuf::from);
        assert!(python.is_file(), "no moto at {}; run scripts/s3.sh", python.display());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/s3_server.py");
        let mut command = Command::new(python);
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command.arg("-B").arg(script).arg(if checked { "checked" } else { "open" }).arg(Self::BUCKET);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
                panic!("{} cannot be started: {error}", command.get_program().display())
            });
        let (Some(asks), Some(says)) = (child.stdin.take(), child.stdout.take()) else {
            panic!("it has pipes")
        };
        let mut says = BufReader::new(says);
        let mut line = String::new();
        says.read_line(&mut line).expect("the S3 server can be heard");
        let words: Vec<&str> = line.split_whitespace().collect();
        let [url, key, secret] = words[..] else { panic!("the S3 server said {line:?}") };
        let (url, key, secret) = (url.to_owned(), key.to_owned(), secret.to_owned());
        Self { child, asks, says, url, key, secret }
    }

    fn ask(&mut self, line: &str) -> Vec<String> {
        writeln!(self.asks, "{line}").expect("the S3 server listens");
        let mut answer = String::new();
        self.says.read_line(&mut answer).expect("the S3 server can be heard");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("the S3 server said {answer:?}: {error}"))
    }

    /// The keys of files of jobs, without the ends that come once.
    pub fn files(&mut self) -> Vec<String> {
        let all = self.ask("list").into_iter().filter(|key| !key.contains("harrier-owner"));
        all.map(|key| key.rsplit_once('/').map_or(key.as_str(), |(place, _)| place).to_owned()).collect()
    }

    /// Removes all files of jobs, as somebody else could.
    pub fn drop_files(&mut self) {
        for key in self.ask("list") {
            if !key.contains("harrier-owner") {
                self.ask(&format!("drop {key}"));
            }
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the wire does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFault {
    /// Nothing.
    None,
    /// Nobody takes them.
    Closed,
    /// The server has trouble.
    Answer503,
    /// Cut after so many bytes to the server.
    CutRequest(usize),
    /// Cut after so many bytes from the server.
    CutAnswer(usize),
    /// The request arrives, its answer never does.
    Hold,
}

/// A wire to the server.
#[derive(Debug)]
pub struct S3Wire {
    /// Its end on this side: `http://127.0.0.1:…`
    pub url: String,
    fault: watch::Sender<WireFault>,
    fired: Arc<AtomicUsize>,
    last: Mutex<usize>,
}

impl S3Wire {
    /// Laid to a server.
    ///
    /// # Panics
    /// When this machine has no port.
    pub async fn start(s3: &S3Server) -> Self {
        let to = s3.url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let (fault, seen) = watch::channel(WireFault::None);
        let fired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fired);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(carry(socket, to.clone(), seen.clone(), Arc::clone(&count)));
            }
        });
        Self { url, fault, fired, last: Mutex::new(0) }
    }

    /// From now on; connections that are there are cut.
    pub fn set(&self, fault: WireFault) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = self.fired.load(Ordering::SeqCst);
        self.fault.send_replace(fault);
    }

    /// How often the fault has happened since it was set.
    pub fn fired(&self) -> usize {
        self.fired.load(Ordering::SeqCst) - *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn carry(
    mut socket: TcpStream,
    to: String,
    mut seen: watch::Receiver<WireFault>,
    fired: Arc<AtomicUsize>,
) {
    let fault = *seen.borrow_and_update();
    let fire = || {
        fired.fetch_add(1, Ordering::SeqCst);
    };
    match fault {
        WireFault::Closed => return fire(),
        WireFault::Answer503 => {
            swallow(&mut socket).await;
            fire();
            let body =
                "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            let head = "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n";
            let _ = socket
                .write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await;
            return;
        }
        WireFault::None | WireFault::CutRequest(_) | WireFault::CutAnswer(_) | WireFault::Hold => {}
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (mut from_client, mut to_client) = socket.split();
    let (mut from_server, mut to_server) = server.into_split();
    let (up, down) = match fault {
        WireFault::CutRequest(up) => (up, usize::MAX),
        WireFault::CutAnswer(down) => (usize::MAX, down),
        WireFault::Hold => (usize::MAX, 0),
        _ => (usize::MAX, usize::MAX),
    };
    let upwards = async {
        let cut = copy(&mut from_client, &mut to_server, up, false).await;
        if cut {
            fire();
        }
    };
    let downwards = async {
        let cut = copy(&mut from_server, &mut to_client, down, fault == WireFault::Hold).await;
        if cut {
            fire();
        }
        if fault == WireFault::Hold {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = upwards => {}
        () = downwards => {}
        _ = seen.changed() => {}
    }
}

/// Copies until the end, or until `most` bytes; whether it was cut. `wait`: it counts as cut when the first byte is there.
async fn copy(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut most: usize,
    wait: bool,
) -> bool {
    let mut piece = vec![0; 64 << 10];
    loop {
        let long = match from.read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(long) => long,
        };
        if wait {
            return true;
        }
        let now = long.min(most);
        if to.write_all(&piece[..now]).await.is_err() {
            return false;
        }
        let _ = to.flush().await;
        if now < long {
            return true;
        }
        most -= now;
    }
}

/// Reads a request to its end.
async fn swallow(socket: &mut TcpStream) {
    let mut read = Vec::new();
    let mut piece = vec![0; 64 << 10];
    let mut left = None;
    loop {
        let Ok(long @ 1..) = socket.read(&mut piece).await else { return };
        read.extend_from_slice(&piece[..long]);
        if left.is_none()
            && let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let body =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            left = Some(end + 4 + body.unwrap_or(0_usize));
        }
        if left.is_some_and(|whole| read.len() >= whole) {
            return;
        }
    }
}
