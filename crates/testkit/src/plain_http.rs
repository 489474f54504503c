//! HTTP/1.1 by hand, over one connection: requests that are sent, answers that are whole or not there. Called by the bench,
//! which is a thousand runners at once, and by fault tests, which must know exactly what was acknowledged. It must never try
//! again by itself.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest line of a head, in bytes.
const LINE: usize = 64 << 10;

/// A request or an answer.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// `GET /path HTTP/1.1` or `HTTP/1.1 200 OK`
    pub first: String,
    /// In the order they came; names as they were written.
    pub headers: Vec<(String, String)>,
    /// Whole, however it was framed.
    pub body: Vec<u8>,
}

impl Message {
    /// A header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Method and path of a request.
    pub fn asks(&self) -> (&str, &str) {
        let mut words = self.first.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// Status of an answer; 0 when it has none.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// First line and headers; `None` when the other side closed before the first byte.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub async fn read_head(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Message>> {
        let mut message = Message::default();
        loop {
            let mut line = String::new();
            let read = (&mut *reader).take(LINE as u64).read_line(&mut line).await?;
            if read == 0 && message.first.is_empty() {
                return Ok(None);
            }
            if !line.ends_with('\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if message.first.is_empty() {
                line.clone_into(&mut message.first);
            } else if line.is_empty() {
                return Ok(Some(message));
            } else if let Some((name, value)) = line.split_once(':') {
                message.headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// The body of a message whose head was read. `ends_with_connection`: an answer without a length.
    ///
    /// # Errors
    /// The connection broke before the end.
    pub async fn read_body(
        &mut self,
        reader: &mut (impl AsyncBufRead + Unpin),
        ends_with_connection: bool,
    ) -> io::Result<()> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks(reader).await;
        }
        match self.header("content-length").and_then(|value| value.parse::<usize>().ok()) {
            Some(length) => {
                self.body = vec![0; length];
                reader.read_exact(&mut self.body).await.map(|_| ())
            }
            None if ends_with_connection => reader.read_to_end(&mut self.body).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn read_chunks(&mut self, reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
        loop {
            let mut line = String::new();
            (&mut *reader).take(LINE as u64).read_line(&mut line).await?;
            let size = line.trim().split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
            let size = size.ok_or(io::ErrorKind::UnexpectedEof)?;
            let begun = self.body.len();
            self.body.resize(begun + size, 0);
            reader.read_exact(&mut self.body[begun..]).await?;
            let mut end = [0; 2];
            reader.read_exact(&mut end).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// As it goes over the wire, with the length of its body.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{}\r\n", self.first);
        let framing = |name: &str| {
            ["content-length", "transfer-encoding", "expect"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        };
        for (name, value) in self.headers.iter().filter(|(name, _)| !framing(name)) {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if !matches!(self.status(), 204 | 304) {
            out.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        out.push_str("\r\n");
        [out.as_bytes(), &self.body].concat()
    }
}

/// One client with one connection, opened when it is needed.
#[derive(Debug)]
pub struct PlainClient {
    server: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl PlainClient {
    /// A client of this server.
    pub fn new(server: SocketAddr) -> PlainClient {
        PlainClient { server, connection: None }
    }

    /// Sends a request and gives the whole answer. After an error nothing is known of the request, and the connection is gone.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Message> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut message = Message {
            first: format!("{method} {path} HTTP/1.1"),
            headers: headers.collect(),
            body: body.to_vec(),
        };
        message.headers.push(("host".to_owned(), self.server.to_string()));
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.server).await?;
                stream.set_nodelay(true)?;
                BufReader::with_capacity(4096, stream)
            }
        };
        connection.write_all(&message.bytes()).await?;
        let mut answer = Message::read_head(&mut connection).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if method != "HEAD" && !matches!(answer.status(), 204 | 304) {
            answer.read_body(&mut connection, true).await?;
        }
        if !answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// The same with a JSON body.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn send_json(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &serde_json::Value,
    ) -> io::Result<Message> {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(method, path, &headers, body.to_string().as_bytes()).await
    }
}
