//! `harrier backup`: a copy of the data directory that a server can be started on, made while the server runs.

use super::{Place, ServeError, finish, runtime};
use harrier_database::{Place as Tables, Sealer, Store, copy_sqlite};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Copy a server's data directory while it runs
#[derive(clap::Args)]
pub struct BackupArgs {
    #[command(flatten)]
    place: Place,
    /// Directory that is made for the copy
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

/// Runs the command.
pub fn backup(args: &BackupArgs) -> ExitCode {
    finish(run(args))
}

fn run(args: &BackupArgs) -> Result<(), ServeError> {
    if args.place.database.is_some() {
        return Err(ServeError::Words(
            "the tables are in PostgreSQL: back them up with pg_dump first, then copy the data directory"
                .into(),
        ));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ServeError::Io { path, source }
    };
    fs::create_dir(&args.to).map_err(failed(&args.to))?;
    let data = args.place.data_dir()?;
    // Logs that are moved into a store of objects meanwhile are there nevertheless.
    let traces = data.traces();
    copy(&traces, &args.to.join("traces")).map_err(failed(&traces))?;
    // The tables before the rest: what they name is copied afterwards and therefore there. What came in between is only more files.
    copy_sqlite(&data.database(), &args.to.join("harrier.db"))?;
    for part in ["secret.key", "known_hosts", "git", "traces", "artifacts", "runner"] {
        let from = data.root().join(part);
        copy(&from, &args.to.join(part)).map_err(failed(&from))?;
    }
    println!("{}", args.to.display());
    let tables = Tables::Sqlite(data.database());
    let elsewhere = runtime()?.block_on(async {
        let store = Store::open(tables, Sealer::from_file(&data.key())?).await?;
        store.has_objects().await
    })?;
    if elsewhere {
        eprintln!(
            "note: logs and artifacts that are in a bucket (--storage) are not in the copy: back the bucket up too, and start the \
             copy with the same --storage"
        );
    }
    Ok(())
}

/// Files and directories with their modes; links as links; what goes away meanwhile is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let kind = match fs::symlink_metadata(from) {
        Ok(data) => data,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        fs::set_permissions(to, kind.permissions())?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if !kind.is_file() {
        return Ok(());
    }
    match fs::copy(from, to) {
        Err(error) if !gone(&error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
