//! A server on a real socket that answers from a script and remembers what it was asked.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use harrier_client::{Client, ClientOptions, ServerAccess};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// One answer: status, headers, body.
pub type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// What came in.
#[derive(Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

#[derive(Clone, Default)]
pub struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub struct Scripted {
    pub url: String,
    script: Script,
}

impl Scripted {
    /// Starts on a free port of this machine; it ends with the test's runtime.
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = Script::default();
        script.replies.lock().expect("lock").extend(replies);
        let app = axum::Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, script }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().expect("lock").clone()
    }

    /// Every scripted answer was used.
    pub fn used_up(&self) -> bool {
        self.script.replies.lock().expect("lock").is_empty()
    }

    pub fn push(&self, reply: Reply) {
        self.script.replies.lock().expect("lock").push_back(reply);
    }

    pub fn client(&self) -> Client {
        client(ServerAccess { url: self.url.clone(), ..ServerAccess::default() })
    }
}

pub fn options() -> ClientOptions {
    ClientOptions {
        user_agent: "gitlab-runner 19.4.0 (main; go1.25.1; linux/amd64)".into(),
        connection_max_age: None,
    }
}

pub fn client(access: ServerAccess) -> Client {
    Client::new(access, options()).expect("a client")
}

pub fn reply(status: u16) -> Reply {
    (status, Vec::new(), Vec::new())
}

pub fn json(status: u16, body: &str) -> Reply {
    (status, vec![("content-type", "application/json".into())], body.as_bytes().to_vec())
}

pub fn with(mut reply: Reply, name: &'static str, value: impl Into<String>) -> Reply {
    reply.1.push((name, value.into()));
    reply
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map(|b| b.to_vec()).unwrap_or_else(|_| b"<torn>".to_vec());
    script.seen.lock().expect("lock").push(Seen {
        method: parts.method,
        path: parts.uri.to_string(),
        headers: parts.headers,
        body,
    });
    let next = script.replies.lock().expect("lock").pop_front();
    let (status, headers, body) = next.unwrap_or_else(|| reply(599));
    let mut response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).expect("a response")
}
