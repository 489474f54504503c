//! `harrier lsp`: the language server's input and output, and the repository around the files of the editor. What is said comes
//! from the language server's crate. A fault in one request must not end the others.

use crate::local_cli::{self, ConfigurationArgs, Failed};
use harrier_language_server::{Analysis, Frames, Server, World, frame};
use harrier_local::{Inspect, Memory, Request, RootFile};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Help an editor with .gitlab-ci.yml, over standard input and output
///
/// Speaks the Language Server Protocol. docs/looking.md tells how editors are set up.
#[derive(clap::Args, Debug)]
pub struct LspArgs {
    /// Standard input and output, which is the only way; some editors say so
    #[arg(long)]
    stdio: bool,

    #[command(flatten)]
    configuration: ConfigurationArgs,
}

/// Serves until the editor says `exit` or closes its end.
pub fn main(args: &LspArgs) -> ExitCode {
    local_cli::exit(serve(args))
}

fn serve(args: &LspArgs) -> Result<u8, Failed> {
    let request = local_cli::request(&args.configuration)?;
    let mut world = Disk { request, memory: Arc::default() };
    let mut server = Server::new();
    let messages = messages();
    loop {
        // Diagnostics wait until nothing more is there: who types fast is not answered for every letter.
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(_) => {
                let settled = catch_unwind(AssertUnwindSafe(|| server.settle(&mut world)));
                send(&settled.unwrap_or_default())?;
                match messages.recv() {
                    Ok(message) => message,
                    // The editor is gone.
                    Err(_) => return Ok(1),
                }
            }
        };
        let message = message.map_err(Failed::Usage)?;
        send(&guarded(&message, || server.receive(&message, &mut world)))?;
        if let Some(code) = server.exit() {
            return Ok(code);
        }
    }
}

/// What `answer` gives; an apology if it panics, which has been printed to standard error.
fn guarded(message: &Value, answer: impl FnOnce() -> Vec<Value>) -> Vec<Value> {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| Server::apology(message).into_iter().collect())
}

/// Standard input as messages, read by a thread of its own; it ends with the input, or with the process.
fn messages() -> Receiver<Result<Value, String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut frames = Frames::default();
        let mut bytes = vec![0; 64 << 10];
        loop {
            match input.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => frames.push(&bytes[..count]),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => {
                    // Nobody listens any more when this cannot be sent.
                    let _ = sender.send(Err(format!("standard input cannot be read: {why}")));
                    return;
                }
            }
            loop {
                match frames.next_message() {
                    Ok(Some(message)) => {
                        if sender.send(Ok(message)).is_err() {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let _ = sender.send(Err(format!("standard input is no language client: {error}")));
                        return;
                    }
                }
            }
        }
    });
    receiver
}

fn send(messages: &[Value]) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    for message in messages {
        out.write_all(&frame(message))
            .map_err(|why| Failed::Internal(format!("the editor cannot be answered: {why}")))?;
    }
    out.flush().map_err(|why| Failed::Internal(format!("the editor cannot be answered: {why}")))
}

/// The files of this machine.
struct Disk {
    request: Request,
    memory: Arc<Memory>,
}

impl World for Disk {
    fn compile(
        &mut self,
        near: &Path,
        root_file: Option<&Path>,
        unsaved: &HashMap<PathBuf, String>,
    ) -> Result<Analysis, String> {
        let mut request = self.request.clone();
        near.clone_into(&mut request.from);
        let asked = Inspect {
            request,
            root_file: root_file.map(|path| RootFile::Path(path.to_owned())),
            git_ref: None,
            unsaved: unsaved.clone(),
            memory: Some(Arc::clone(&self.memory)),
        };
        let inspected = harrier_local::inspect(&asked).map_err(|error| error.to_string())?;
        let root = inspected.root;
        let files = inspected.compiled.sources.names().filter_map(|name| {
            let path = root.join(name);
            (unsaved.contains_key(&path) || path.is_file()).then(|| (name.to_owned(), path))
        });
        let mut files: HashMap<String, PathBuf> = files.collect();
        // The editor's own way of writing the path counts.
        if let (Some(path), Some(name)) = (root_file, inspected.compiled.sources.names().next()) {
            files.insert(name.to_owned(), path.to_owned());
        }
        Ok(Analysis { files, root, compiled: inspected.compiled })
    }

    fn refresh(&mut self) {
        self.memory = Arc::default();
    }

    fn includable(&mut self, root: &Path) -> Vec<String> {
        harrier_local::includable(root)
    }
}

#[cfg(test)]
mod tests {
    use super::guarded;
    use serde_json::json;

    #[test]
    fn a_crash_is_answered() {
        let request = json!({"id": 7, "method": "textDocument/hover"});
        let answer = guarded(&request, || panic!("a fault"));
        assert_eq!((&answer[0]["id"], &answer[0]["error"]["code"]), (&json!(7), &json!(-32603)));
        assert!(guarded(&json!({"method": "x"}), || panic!("a fault")).is_empty());
    }
}
