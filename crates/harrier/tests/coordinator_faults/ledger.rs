//! A proxy between a server and everybody else, which writes down what was sent and what the server has acknowledged: an answer
//! counts once it came whole. It never sends anything twice and never answers for the server: a connection that the server
//! closes is closed. An answer can be held back, so that the server is sure to be killed between its deed and anybody's knowing.

use harrier_testkit::Message;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, oneshot};

/// What somebody asks the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Push,
    Fetch,
    Claim,
    Accept,
    Trace,
    Artifact,
    End,
    /// A person's or a script's write.
    Call,
    Read,
}

fn deed_of(request: &Message) -> (Deed, i64) {
    let (method, path) = request.asks();
    let job = |path: &str| {
        let rest = path.strip_prefix("/api/v4/jobs/")?;
        rest.split(['/', '?']).next()?.parse::<i64>().ok()
    };
    let deed = match (method, path) {
        (_, path) if path.contains("/git-receive-pack") => Deed::Push,
        (_, path) if path.contains("/git-upload-pack") || path.contains("/info/refs") => Deed::Fetch,
        ("POST", "/api/v4/jobs/request") => Deed::Claim,
        ("PATCH", path) if path.contains("/trace") => Deed::Trace,
        ("POST", path) if job(path).is_some() => Deed::Artifact,
        ("PUT", path) if job(path).is_some() => match request.json()["state"].as_str() {
            Some("running" | "pending") => Deed::Accept,
            _ => Deed::End,
        },
        ("GET", _) => Deed::Read,
        _ => Deed::Call,
    };
    (deed, job(path).unwrap_or_default())
}

/// The log of a job as it was sent, and how much of it the server says it has.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub sent: Vec<u8>,
    pub acknowledged: usize,
}

#[derive(Debug, Default)]
pub struct Book {
    /// Logs by job.
    pub logs: BTreeMap<i64, Log>,
    /// Bodies of uploads that were answered 201, by job.
    pub uploads: BTreeMap<i64, Vec<u8>>,
    /// Final states that were answered 200, by job.
    pub ends: BTreeMap<i64, String>,
    /// Jobs that were handed out.
    pub handed: BTreeSet<i64>,
    /// What must not be.
    pub wrong: Vec<String>,
    /// When a runner was last served.
    pub served: Option<Instant>,
    pub count: BTreeMap<Deed, usize>,
    under_way: HashMap<u64, Deed>,
    next: u64,
}

impl Book {
    /// What the server was asked and has not answered.
    pub fn open(&self) -> BTreeSet<Deed> {
        self.under_way.values().copied().collect()
    }

    fn answered(&mut self, deed: Deed, job: i64, request: &Message, answer: &Message) {
        *self.count.entry(deed).or_default() += 1;
        let status = answer.status();
        if status >= 500 {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            self.wrong.push(format!("{}: {} {body}", request.first, answer.first));
        }
        if matches!(deed, Deed::Claim | Deed::Trace | Deed::Accept | Deed::End | Deed::Artifact)
            && status < 300
        {
            self.served = Some(Instant::now());
        }
        match (deed, status) {
            (Deed::Claim, 201) => {
                self.handed.insert(answer.json()["id"].as_i64().unwrap_or_default());
            }
            (Deed::Artifact, 201) => {
                self.uploads.insert(job, request.body.clone());
            }
            (Deed::End, 200) => {
                let state = request.json()["state"].as_str().unwrap_or_default().to_owned();
                self.ends.insert(job, state);
            }
            (Deed::Trace, 202 | 416) => {
                let range = answer.header("range").and_then(|range| range.strip_prefix("0-")?.parse().ok());
                let log = self.logs.entry(job).or_default();
                log.acknowledged = log.acknowledged.max(range.unwrap_or(0));
            }
            _ => {}
        }
    }

    /// A part of a log is on its way. What was sent once for a place is never sent otherwise.
    fn sends(&mut self, job: i64, request: &Message) {
        let range = request.header("content-range").and_then(|range| range.split('-').next()?.parse().ok());
        let start: usize = range.unwrap_or(0);
        let log = self.logs.entry(job).or_default();
        if start > log.sent.len() {
            self.wrong.push(format!("job {job}: a part from {start} on after {} bytes", log.sent.len()));
            return;
        }
        let known = (log.sent.len() - start).min(request.body.len());
        if log.sent[start..start + known] != request.body[..known] {
            self.wrong.push(format!("job {job}: another text for the bytes from {start} on"));
        }
        log.sent.extend_from_slice(&request.body[known..]);
    }
}

/// Clones are the same.
#[derive(Clone)]
pub struct Proxy {
    pub at: SocketAddr,
    server: SocketAddr,
    book: Arc<Mutex<Book>>,
    sent: broadcast::Sender<Deed>,
    hold: Arc<Mutex<Option<Hold>>>,
}

/// The next answer of a deed that did something is for nobody.
struct Hold {
    deed: Deed,
    came: oneshot::Sender<Held>,
}

/// An answer that was held back; its connection is closed when this goes.
pub struct Held {
    _open: oneshot::Sender<()>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let (sent, _) = broadcast::channel(1024);
        let this = Self { at, server, book: Arc::default(), sent, hold: Arc::default() };
        let proxy = this.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let proxy = proxy.clone();
                tokio::spawn(async move {
                    // A side that is gone ends the connection; that is all there is to do.
                    let _ = proxy.carry(stream).await;
                });
            }
        });
        this
    }

    pub fn book<T>(&self, read: impl FnOnce(&mut Book) -> T) -> T {
        read(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is sent to the server from now on.
    pub fn sent(&self) -> broadcast::Receiver<Deed> {
        self.sent.subscribe()
    }

    /// Holds back the next answer to such a deed that was done: a claim that was given a job, a write that was taken.
    pub fn hold(&self, deed: Deed) -> oneshot::Receiver<Held> {
        let (came, held) = oneshot::channel();
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(Hold { deed, came });
        held
    }

    fn holds(&self, deed: Deed, answer: &Message) -> Option<oneshot::Sender<Held>> {
        let done = if deed == Deed::Claim { answer.status() == 201 } else { answer.status() < 300 };
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        Some(hold.take_if(|hold| done && hold.deed == deed)?.came)
    }

    async fn carry(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut from = BufReader::new(stream);
        while let Some(mut request) = Message::read_head(&mut from).await? {
            if request.header("expect").is_some() {
                from.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            request.read_body(&mut from, false).await?;
            let (deed, job) = deed_of(&request);
            if deed == Deed::Trace {
                self.book(|book| book.sends(job, &request));
            }
            let exchange = self.exchange(deed, &request);
            let answer = tokio::select! {
                answer = exchange => answer?,
                // Who asked is gone: the server must notice.
                _ = gone(&mut from) => return Ok(()),
            };
            if let Some(came) = self.holds(deed, &answer) {
                let (open, closed) = oneshot::channel();
                // Whoever waits for it is there: it asked for this one answer.
                let _ = came.send(Held { _open: open });
                let _ = closed.await;
                return Ok(());
            }
            self.book(|book| book.answered(deed, job, &request, &answer));
            from.write_all(&answer.bytes()).await?;
        }
        Ok(())
    }

    async fn exchange(&self, deed: Deed, request: &Message) -> std::io::Result<Message> {
        let _open = Open::new(self, deed);
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut to = BufReader::new(stream);
        to.write_all(&request.bytes()).await?;
        // Nobody listens between two rounds.
        let _ = self.sent.send(deed);
        let mut answer = Message::read_head(&mut to).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        if answer.status() != 204 {
            answer.read_body(&mut to, true).await?;
        }
        Ok(answer)
    }
}

/// Until the other side has closed. It sends nothing while it waits for an answer.
async fn gone(from: &mut BufReader<TcpStream>) {
    let mut byte = [0];
    if let Ok(1..) = from.read(&mut byte).await {
        std::future::pending::<()>().await;
    }
}

struct Open<'a> {
    proxy: &'a Proxy,
    id: u64,
}

impl<'a> Open<'a> {
    fn new(proxy: &'a Proxy, deed: Deed) -> Self {
        let id = proxy.book(|book| {
            book.next += 1;
            book.under_way.insert(book.next, deed);
            book.next
        });
        Self { proxy, id }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.proxy.book(|book| book.under_way.remove(&self.id));
    }
}

/// Members of a JSON list.
pub fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
