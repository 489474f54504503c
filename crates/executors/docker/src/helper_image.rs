//! Harrier's own helper image: this program, git and what they need, taken from the machine the runner runs on
//! (`executors.md` §10.4; a deliberate difference: nothing is pulled). `helper_image` of the configuration overrides it.
//!
//! Called when a session is opened. The image is named by its content, so it is made once for each version of its parts.

use crate::connection::{Engine, status, words};
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};

/// Repository of the images.
pub(crate) const REPOSITORY: &str = "harrier-helper";
/// This program in the image.
pub(crate) const PROGRAM: &str = "/usr/local/bin/harrier";

/// What hooks and git's own scripts use; each is taken if it is here.
const TOOLS: [&str; 41] = [
    "bash", "sh", "cat", "mkdir", "rm", "rmdir", "mv", "cp", "ln", "ls", "chmod", "chown", "touch", "sed",
    "grep", "tr", "cut", "head", "tail", "sort", "uniq", "uname", "basename", "dirname", "env", "date", "id",
    "sleep", "printf", "expr", "wc", "find", "xargs", "awk", "tar", "gzip", "ssh", "git-lfs", "test", "true",
    "echo",
];

/// Why there is no helper image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperImageError {
    /// No git.
    #[error(
        "git is not on the PATH of the runner, so no helper image can be made: install git on this machine, or set helper_image in [runners.docker]"
    )]
    NoGit,
    /// A file cannot be read.
    #[error("the helper image cannot be made: {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The engine refuses it.
    #[error("the engine at {address} does not take the helper image: {cause}")]
    Engine {
        /// Which.
        address: String,
        /// Its answer.
        cause: String,
    },
}

/// The helper images this process knows of.
#[derive(Default)]
pub(crate) struct HelperImages {
    parts: OnceCell<Arc<Parts>>,
    making: Mutex<()>,
}

/// The files of the image, and its name.
struct Parts {
    tag: String,
    /// Path in the image → what is there.
    files: BTreeMap<PathBuf, Piece>,
}

enum Piece {
    File { source: PathBuf, mode: u32 },
    Link(PathBuf),
    Text(&'static str),
    Dir(u32),
}

impl HelperImages {
    /// The image's name, which stands for its content; whether it is there nobody has looked.
    pub async fn name(&self, own_binary: &Path) -> Result<String, HelperImageError> {
        Ok(format!("{REPOSITORY}:{}", self.parts(own_binary).await?.tag))
    }

    async fn parts(&self, own_binary: &Path) -> Result<&Arc<Parts>, HelperImageError> {
        self.parts
            .get_or_try_init(|| async {
                let own = own_binary.to_owned();
                tokio::task::spawn_blocking(move || Parts::collect(&own))
                    .await
                    .unwrap_or_else(|_| {
                        Err(read_error(own_binary, std::io::Error::other("its files could not be collected")))
                    })
                    .map(Arc::new)
            })
            .await
    }

    /// The image's id (engines differ in how they complete a name without a registry); it is there when this returns.
    pub async fn obtain(&self, engine: &Engine, own_binary: &Path) -> Result<String, HelperImageError> {
        let parts = self.parts(own_binary).await?;
        let name = format!("{REPOSITORY}:{}", parts.tag);
        if let Some(id) = present(engine, &name).await? {
            return Ok(id);
        }
        let _one_at_a_time = self.making.lock().await;
        if let Some(id) = present(engine, &name).await? {
            return Ok(id);
        }
        make(engine, Arc::clone(parts)).await?;
        present(engine, &name).await?.ok_or_else(|| HelperImageError::Engine {
            address: engine.address.clone(),
            cause: format!("{name} was imported, but is not there"),
        })
    }
}

async fn present(engine: &Engine, name: &str) -> Result<Option<String>, HelperImageError> {
    match engine.docker.inspect_image(name).await {
        Ok(found) => Ok(Some(found.id.unwrap_or_else(|| name.to_owned()))),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(engine_error(engine, &error)),
    }
}

fn engine_error(engine: &Engine, error: &bollard::errors::Error) -> HelperImageError {
    HelperImageError::Engine { address: engine.address.clone(), cause: words(error) }
}

fn read_error(path: &Path, source: std::io::Error) -> HelperImageError {
    HelperImageError::Read { path: path.to_owned(), source }
}

async fn make(engine: &Engine, parts: Arc<Parts>) -> Result<(), HelperImageError> {
    let tag = parts.tag.clone();
    let tar = tokio::task::spawn_blocking(move || parts.tar()).await.unwrap_or_else(|_| {
        Err(read_error(Path::new("tar"), std::io::Error::other("it could not be written")))
    })?;
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        // Podman takes the tag only as a part of this.
        repo: Some(format!("{REPOSITORY}:{tag}")),
        changes: vec![
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            format!("ENTRYPOINT [\"{PROGRAM}\"]"),
            format!("LABEL {}managed=true", harrier_plan::LABEL_PREFIX),
        ],
        ..CreateImageOptions::default()
    };
    let mut answers = engine.docker.create_image(Some(options), Some(bollard::body_full(tar.into())), None);
    while let Some(answer) = answers.next().await {
        answer.map_err(|error| engine_error(engine, &error))?;
    }
    Ok(())
}

impl Parts {
    /// Reads every file once, for the name. Blocks.
    fn collect(own_binary: &Path) -> Result<Self, HelperImageError> {
        let git = on_path("git").ok_or(HelperImageError::NoGit)?;
        let mut files = BTreeMap::new();
        for (path, mode) in [("/tmp", 0o1777), ("/root", 0o700), ("/etc", 0o755)] {
            files.insert(PathBuf::from(path), Piece::Dir(mode));
        }
        for (link, target) in
            [("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")]
        {
            files.insert(PathBuf::from(link), Piece::Link(target.into()));
        }
        files.insert("/etc/passwd".into(), Piece::Text("root:x:0:0:root:/root:/bin/sh\n"));
        files.insert("/etc/group".into(), Piece::Text("root:x:0:\n"));
        // Sources of a local run belong to the user who runs it, and git in here is root's.
        files.insert("/etc/gitconfig".into(), Piece::Text("[safe]\n\tdirectory = *\n"));
        files.insert("/etc/nsswitch.conf".into(), Piece::Text("hosts: files dns\n"));
        let mut programs = vec![own_binary.to_owned(), git.clone()];
        add_file(&mut files, PathBuf::from(PROGRAM), own_binary)?;
        add(&mut files, &git)?;
        for tool in TOOLS.iter().filter_map(|tool| on_path(tool)) {
            add(&mut files, &tool)?;
            programs.push(tool);
        }
        let core = exec_path(&git);
        add_tree(&mut files, &core, &mut programs)?;
        add_tree(&mut files, Path::new("/usr/share/git-core/templates"), &mut Vec::new())?;
        let bundle =
            ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
        if let Some(bundle) = bundle.iter().map(Path::new).find(|path| path.is_file()) {
            add_file(&mut files, "/etc/ssl/certs/ca-certificates.crt".into(), bundle)?;
        }
        for library in libraries(&programs) {
            add(&mut files, &library)?;
        }
        let files = once_each(files);
        let mut digest = Sha256::new();
        for (path, piece) in &files {
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update([0]);
            match piece {
                Piece::File { source, mode } => {
                    digest.update(mode.to_le_bytes());
                    let bytes = std::fs::read(source).map_err(|error| read_error(source, error))?;
                    digest.update((bytes.len() as u64).to_le_bytes());
                    digest.update(&bytes);
                }
                Piece::Link(target) => digest.update(target.as_os_str().as_encoded_bytes()),
                Piece::Text(text) => digest.update(text),
                Piece::Dir(mode) => digest.update(mode.to_le_bytes()),
            }
        }
        let tag = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { tag, files })
    }

    /// The image's only layer. Blocks.
    fn tar(&self) -> Result<Vec<u8>, HelperImageError> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, piece) in &self.files {
            let name = path.strip_prefix("/").unwrap_or(path);
            let failed = |error| read_error(path, error);
            let mut header = tar::Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            match piece {
                Piece::File { source, mode } => {
                    let bytes = std::fs::read(source).map_err(|error| read_error(source, error))?;
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, name, bytes.as_slice()).map_err(failed)?;
                }
                Piece::Text(text) => {
                    header.set_mode(0o644);
                    header.set_size(text.len() as u64);
                    tar.append_data(&mut header, name, text.as_bytes()).map_err(failed)?;
                }
                Piece::Link(target) => {
                    header.set_mode(0o777);
                    header.set_size(0);
                    header.set_entry_type(tar::EntryType::Symlink);
                    tar.append_link(&mut header, name, target).map_err(failed)?;
                }
                Piece::Dir(mode) => {
                    header.set_mode(*mode);
                    header.set_size(0);
                    header.set_entry_type(tar::EntryType::Directory);
                    tar.append_data(&mut header, name, std::io::empty()).map_err(failed)?;
                }
            }
        }
        tar.into_inner().map_err(|error| read_error(Path::new("the image's archive"), error))
    }
}

/// `/bin` and its kin are links into `/usr` in the image.
fn in_image(path: &Path) -> PathBuf {
    for (from, to) in
        [("/bin", "/usr/bin"), ("/sbin", "/usr/sbin"), ("/lib64", "/usr/lib64"), ("/lib", "/usr/lib")]
    {
        if let Ok(rest) = path.strip_prefix(from) {
            return Path::new(to).join(rest);
        }
    }
    path.to_owned()
}

fn add(files: &mut BTreeMap<PathBuf, Piece>, path: &Path) -> Result<(), HelperImageError> {
    add_file(files, in_image(path), path)
}

/// The file a path leads to, at the path itself.
fn add_file(
    files: &mut BTreeMap<PathBuf, Piece>,
    place: PathBuf,
    path: &Path,
) -> Result<(), HelperImageError> {
    let source = std::fs::canonicalize(path).map_err(|error| read_error(path, error))?;
    let mode =
        std::fs::metadata(&source).map_err(|error| read_error(path, error))?.permissions().mode() & 0o755;
    files.insert(place, Piece::File { source, mode });
    Ok(())
}

/// One file under many names, as busybox is, is kept once; the other names lead there.
fn once_each(files: BTreeMap<PathBuf, Piece>) -> BTreeMap<PathBuf, Piece> {
    let mut first_of: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let link = |(path, piece): (PathBuf, Piece)| match piece {
        Piece::File { source, mode } => match first_of.get(&source) {
            Some(first) => (path, Piece::Link(first.clone())),
            None => {
                first_of.insert(source.clone(), path.clone());
                (path, Piece::File { source, mode })
            }
        },
        other => (path, other),
    };
    files.into_iter().map(link).collect()
}

/// Files and links of a directory; programs among them are told. One file under many names is kept once.
fn add_tree(
    files: &mut BTreeMap<PathBuf, Piece>,
    dir: &Path,
    programs: &mut Vec<PathBuf>,
) -> Result<(), HelperImageError> {
    use std::os::unix::fs::MetadataExt;
    let mut first_of: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let meta = std::fs::symlink_metadata(&path).map_err(|error| read_error(&path, error))?;
            if meta.is_dir() {
                pending.push(path);
            } else if meta.is_symlink() {
                let target = std::fs::read_link(&path).map_err(|error| read_error(&path, error))?;
                files.insert(in_image(&path), Piece::Link(target));
            } else if meta.is_file() {
                match first_of.get(&(meta.dev(), meta.ino())) {
                    Some(first) if meta.nlink() > 1 => {
                        files.insert(in_image(&path), Piece::Link(first.clone()));
                    }
                    _ => {
                        first_of.insert((meta.dev(), meta.ino()), in_image(&path));
                        add(files, &path)?;
                        if meta.permissions().mode() & 0o111 != 0 {
                            programs.push(path);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Where git keeps its other programs.
fn exec_path(git: &Path) -> PathBuf {
    let asked = output(&git.to_string_lossy(), &["--exec-path".into()]);
    let path = PathBuf::from(asked.trim());
    if path.is_absolute() { path } else { "/usr/lib/git-core".into() }
}

/// The shared libraries of the programs, as the dynamic linker finds them; of static programs none.
fn libraries(programs: &[PathBuf]) -> Vec<PathBuf> {
    let arguments: Vec<String> = programs.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let mut found: Vec<PathBuf> = output("ldd", &arguments)
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let path = line.split_once("=> ").map_or(line, |(_, path)| path);
            let path = path.split(" (0x").next()?;
            // `name:` lines name the program itself.
            (path.starts_with('/') && line.contains("(0x")).then(|| PathBuf::from(path))
        })
        .collect();
    // Loaded by name, so the linker does not tell of them (glibc before 2.34).
    let beside: Vec<PathBuf> = found.iter().filter_map(|path| path.parent().map(Path::to_owned)).collect();
    for dir in beside {
        for name in ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"] {
            let path = dir.join(name);
            if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What git and the dynamic linker say of themselves; nothing if they cannot be asked.
fn output(program: &str, arguments: &[String]) -> String {
    std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_git_and_all_it_needs() {
        let own = std::env::current_exe().expect("this test");
        let parts = Parts::collect(&own).expect("collected");
        let has = |path: &str| parts.files.contains_key(Path::new(path));
        for path in [PROGRAM, "/usr/bin/git", "/usr/bin/sh", "/etc/passwd"] {
            assert!(has(path), "{path}");
        }
        assert!(parts.files.keys().any(|path| path.to_string_lossy().contains("libc.so")), "the C library");
        let tar = parts.tar().expect("written");
        let mut archive = tar::Archive::new(tar.as_slice());
        assert_eq!(archive.entries().expect("an archive").count(), parts.files.len());
        assert_eq!(Parts::collect(&own).expect("again").tag, parts.tag);
    }
}
