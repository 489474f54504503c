//! How the file is kept on the disk.

use harrier_config::{ConfigError, file, load, system_id};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map(|data| data.permissions().mode() & 0o777).unwrap_or_default()
}

#[test]
fn a_saved_file_is_private_and_alone() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("etc/runner/config.toml");
    file::save(&path, "concurrent = 2\n").expect("it can be saved");
    assert_eq!((mode(&path), mode(&dir.path().join("etc/runner"))), (0o600, 0o700));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    file::save(&path, "concurrent = 3\n").expect("it can be saved");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(load(&path).map(|host| host.concurrent).ok(), Some(3));
    let names: Vec<_> = fs::read_dir(path.parent().expect("it has one")).expect("it is there").collect();
    assert_eq!(names.len(), 1, "nothing is left beside it");
}

#[test]
fn a_link_stays_a_link() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let (real, link) = (dir.path().join("real.toml"), dir.path().join("config.toml"));
    fs::write(&real, "").expect("it can be written");
    std::os::unix::fs::symlink(&real, &link).expect("it can be made");
    file::save(&link, "concurrent = 3\n").expect("it can be saved");
    assert!(fs::symlink_metadata(&link).is_ok_and(|data| data.is_symlink()));
    assert_eq!(fs::read_to_string(&real).ok().as_deref(), Some("concurrent = 3\n"));
}

#[test]
fn what_cannot_be_read_or_written_says_where() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("config.toml");
    assert_eq!(load(&path).map(|host| host.concurrent).ok(), Some(1), "a missing file is an empty one");
    fs::write(&path, b"concurrent = 1\n# \xff\n").expect("it can be written");
    let said = load(&path).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(said, Err(format!("{}:2: not valid UTF-8; save the file in UTF-8", path.display())));
    assert!(matches!(load(dir.path()), Err(ConfigError::Unreadable { .. })));
    let below_a_file = path.join("config.toml");
    let said = file::save(&below_a_file, "").map_err(|error| error.to_string());
    assert!(
        said.is_err_and(|said| said.contains("cannot write") && said.contains("the old file is unchanged"))
    );
}

#[test]
fn certificates_beside_the_file_are_found_by_host() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let (path, certs) = (dir.path().join("config.toml"), dir.path().join("certs"));
    fs::create_dir(&certs).expect("it can be made");
    for name in ["gitlab.lan.crt", "gitlab.lan.auth.crt", "gitlab.lan.auth.key"] {
        fs::write(certs.join(name), "").expect("it can be written");
    }
    let text = "[[runners]]\nurl = \"https://gitlab.lan:8443/x\"\n[[runners]]\nurl = \"https://other.lan\"\n";
    fs::write(&path, text).expect("it can be written");
    let host = load(&path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(host.runners[0].tls_ca_file, Some(certs.join("gitlab.lan.crt")));
    assert_eq!(host.runners[0].tls_key_file, Some(certs.join("gitlab.lan.auth.key")));
    assert_eq!(host.runners[1].tls_ca_file, None);
}

#[test]
fn the_system_id_is_kept_and_mended() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let (config, kept) = (dir.path().join("config.toml"), dir.path().join(".runner_system_id"));
    let first = system_id(&config);
    assert!(first.not_kept.is_none() && mode(&kept) == 0o600);
    assert_eq!(fs::read_to_string(&kept).ok().as_deref(), Some(first.id.as_str()));
    fs::write(&kept, "r_AbCdEfGh0123\n").expect("it is ours");
    assert_eq!(system_id(&config).id, "r_AbCdEfGh0123");
    fs::write(&kept, "nonsense").expect("it is ours");
    assert!(system_id(&config).id.len() == 14);
    assert!(system_id(&kept.join("config.toml")).not_kept.is_some());
}
