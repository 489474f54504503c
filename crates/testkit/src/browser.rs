//! A real browser for tests of pages: headless Chromium, driven over WebDriver through Debian's `chromedriver`, with the few parts
//! of the DevTools protocol that WebDriver lacks (width of a phone, dark mode, pictures of whole pages).
//!
//! Called by browser tests. It must never wait for time to pass: every wait has a condition, and says what the page showed
//! when it did not come true. Nothing of it is left when it is dropped.

use crate::plain_http::PlainClient;
use crate::runner_process::TempHome;
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than a page takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// The name under which WebDriver gives an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one window.
#[derive(Debug)]
pub struct Browser {
    client: PlainClient,
    session: String,
    /// Where pages with a path alone are.
    site: String,
    pictures: PathBuf,
    driver: Child,
    /// Dropped last: it ends what the driver has left.
    _home: TempHome,
}

impl Browser {
    /// Starts a browser for the site (`http://127.0.0.1:1234`); pictures go into the directory.
    ///
    /// # Panics
    /// When there is no browser, with the command that installs one.
    pub async fn start(site: &str, pictures: &Path) -> Browser {
        std::fs::create_dir_all(pictures).expect("the directory for pictures can be made");
        let home = TempHome::new();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is there; as root on Debian: scripts/browser.sh");
        let said = BufReader::new(driver.stdout.take().expect("stdout was asked for"));
        let (tell, told) = std::sync::mpsc::channel();
        // Read to its end: a driver that nobody listens to would end at its next word.
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let port =
                    line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.'));
                if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
                    // Whoever waited for it may have given up.
                    let _ = tell.send(port);
                }
            }
        });
        let port = told.recv_timeout(PATIENCE).expect("chromedriver says its port");
        let client = PlainClient::new(([127, 0, 0, 1], port).into());
        let mut browser = Browser {
            client,
            session: String::new(),
            site: site.trim_end_matches('/').to_owned(),
            pictures: pictures.to_owned(),
            driver,
            _home: home,
        };
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
                "--disable-background-networking", "--disable-component-update", "--no-first-run", "--lang=en",
                "--hide-scrollbars", "--window-size=1280,900",
            ],
            "binary": "/usr/bin/chromium",
        });
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 60_000, "pageLoad": 60_000},
        });
        let made = browser.ask("POST", "/session", &json!({"capabilities": {"alwaysMatch": wanted}})).await;
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    async fn try_ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = match method {
            "POST" => self.client.send_json(method, path, &[], body).await,
            _ => self.client.send(method, path, &[], b"").await,
        };
        let answer = answer.unwrap_or_else(|error| panic!("the driver of the browser has gone: {error}"));
        let value = answer.json()["value"].take();
        if answer.status() == 200 {
            Ok(value)
        } else {
            Err(format!("{}: {}", value["error"], value["message"]))
        }
    }

    #[track_caller]
    fn ask<'a>(
        &'a mut self,
        method: &'a str,
        path: &'a str,
        body: &'a Value,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.try_ask(method, path, body).await;
            answer.unwrap_or_else(|error| panic!("{caller}: {path} {body}: {error}"))
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/session/{}/{rest}", self.session)
    }

    /// Loads a page of the site, or of elsewhere when the address is whole.
    #[track_caller]
    pub fn go<'a>(&'a mut self, to: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let url = if to.starts_with('/') { format!("{}{to}", self.site) } else { to.to_owned() };
            let path = self.path("url");
            let gone = self.try_ask("POST", &path, &json!({"url": url})).await;
            gone.unwrap_or_else(|error| panic!("{caller}: {url}: {error}"));
        }
    }

    /// Runs the body of a function in the page.
    #[track_caller]
    pub fn run<'a>(&'a mut self, script: &'a str) -> impl Future<Output = Value> + 'a {
        self.run_with(script, json!([]))
    }

    /// The same with `arguments`.
    #[track_caller]
    pub fn run_with<'a>(&'a mut self, script: &'a str, arguments: Value) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let path = self.path("execute/sync");
            let ran = self.try_ask("POST", &path, &json!({"script": script, "args": arguments})).await;
            ran.unwrap_or_else(|error| panic!("{caller}: {script}: {error}"))
        }
    }

    /// Waits until an expression is true in the page, and gives its value.
    ///
    /// # Panics
    /// When it does not become true, with the text of the page.
    #[track_caller]
    pub fn until<'a>(&'a mut self, expression: &'a str) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            let script = json!({"script": format!("return {expression}"), "args": []});
            loop {
                let path = self.path("execute/sync");
                // While one page goes and the next comes there is nothing to ask.
                let found = self.try_ask("POST", &path, &script).await;
                match &found {
                    Ok(Value::Null | Value::Bool(false)) | Err(_) => {}
                    Ok(Value::String(text)) if text.is_empty() => {}
                    Ok(value) => return value.clone(),
                }
                if Instant::now() > deadline {
                    let text = self
                        .run("return location.href + '\\n' + document.body.innerText.slice(0, 2000)")
                        .await;
                    panic!(
                        "{caller}: never {expression} ({found:?}):\n{}",
                        text.as_str().unwrap_or_default()
                    );
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
    }

    /// Waits until the page shows a text.
    #[track_caller]
    pub fn until_text<'a>(&'a mut self, text: &'a str) -> impl Future<Output = ()> + 'a {
        let wanted = format!("document.body.innerText.includes({})", Value::from(text));
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            let script = json!({"script": format!("return {wanted}"), "args": []});
            loop {
                let path = self.path("execute/sync");
                if self.try_ask("POST", &path, &script).await == Ok(Value::Bool(true)) {
                    return;
                }
                if Instant::now() > deadline {
                    let shown = self
                        .run("return location.href + '\\n' + document.body.innerText.slice(0, 2000)")
                        .await;
                    panic!("{caller}: never {text:?}:\n{}", shown.as_str().unwrap_or_default());
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
    }

    async fn element(&mut self, selector: &str) -> Result<String, String> {
        let path = self.path("element");
        let found = self.try_ask("POST", &path, &json!({"using": "css selector", "value": selector})).await?;
        Ok(found[ELEMENT].as_str().unwrap_or_default().to_owned())
    }

    /// Clicks as a person does: the element has to be seen, and nothing may cover it.
    #[track_caller]
    pub fn click<'a>(&'a mut self, selector: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let clicked = match self.element(selector).await {
                    Ok(id) => {
                        let path = self.path(&format!("element/{id}/click"));
                        self.try_ask("POST", &path, &json!({})).await
                    }
                    Err(error) => Err(error),
                };
                match clicked {
                    Ok(_) => return,
                    // A live part may be replaced between the two.
                    Err(error) => assert!(Instant::now() < deadline, "{caller}: {selector}: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
    }

    /// Presses the mouse's button on something and does not let go.
    #[track_caller]
    pub fn hold<'a>(&'a mut self, selector: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let id = self.element(selector).await.unwrap_or_else(|error| panic!("{caller}: {error}"));
            // The name that WebDriver gives to a reference to an element.
            let there = json!({"element-6066-11e4-a52e-4f735466cecf": id});
            self.mouse(&[
                json!({"type": "pointerMove", "origin": there, "x": 0, "y": 0}),
                json!({"type": "pointerDown", "button": 0}),
            ])
            .await;
        }
    }

    /// Lets go what is held, where the mouse is.
    pub async fn release(&mut self) {
        self.mouse(&[json!({"type": "pointerUp", "button": 0})]).await;
    }

    async fn mouse(&mut self, actions: &[Value]) {
        let path = self.path("actions");
        let moved = json!({"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]});
        self.ask("POST", &path, &moved).await;
    }

    /// Types into a field, after what is in it.
    #[track_caller]
    pub fn fill<'a>(&'a mut self, selector: &'a str, text: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let id = self.element(selector).await.unwrap_or_else(|error| panic!("{caller}: {error}"));
            let path = self.path(&format!("element/{id}/value"));
            let typed = self.try_ask("POST", &path, &json!({"text": text})).await;
            typed.unwrap_or_else(|error| panic!("{caller}: {selector}: {error}"));
        }
    }

    /// Presses keys, one after the other, wherever the focus is. WebDriver's names: `\u{e004}` is Tab, `\u{e007}` Enter, `\u{e008}` Shift
    /// (held until the end), `\u{e00c}` Escape.
    pub async fn press(&mut self, keys: &[&str]) {
        let mut actions = Vec::new();
        let mut held = Vec::new();
        for key in keys {
            actions.push(json!({"type": "keyDown", "value": key}));
            if *key == "\u{e008}" {
                held.push(json!({"type": "keyUp", "value": key}));
            } else {
                actions.push(json!({"type": "keyUp", "value": key}));
            }
        }
        actions.append(&mut held);
        let path = self.path("actions");
        let pressed = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.ask("POST", &path, &pressed).await;
    }

    async fn devtools(&mut self, command: &str, parameters: Value) -> Value {
        let path = self.path("goog/cdp/execute");
        self.ask("POST", &path, &json!({"cmd": command, "params": parameters})).await
    }

    /// How large the window is, in CSS pixels; below 600 it is a phone's.
    pub async fn size(&mut self, width: u32, height: u32) {
        let phone = width < 600;
        let wanted = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.devtools("Emulation.setDeviceMetricsOverride", wanted).await;
    }

    /// What the reader's system prefers.
    pub async fn prefers_dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let wanted = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", wanted).await;
    }

    /// A picture of the whole page, `<name>.png` in the directory for pictures.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn picture(&mut self, name: &str) {
        let size =
            self.run("return [innerWidth, Math.min(document.documentElement.scrollHeight, 4000)]").await;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let taken = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let made = self.devtools("Page.captureScreenshot", taken).await;
        let data = made["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("its bytes");
        std::fs::write(self.pictures.join(format!("{name}.png")), bytes).expect("the picture can be written");
    }

    /// What the console said since it was asked last, of errors and warnings: `LEVEL text`.
    pub async fn console(&mut self) -> Vec<String> {
        let path = self.path("se/log");
        let said = self.ask("POST", &path, &json!({"type": "browser"})).await;
        let entries = said.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")))
            .map(|entry| format!("{} {}", entry["level"], entry["message"]))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already gone is just as well. The browser itself goes with its home.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
