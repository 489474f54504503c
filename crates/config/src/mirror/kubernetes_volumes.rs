//! `[[runners.kubernetes.volumes.*]]` (`runner-config.md` §6.3.2).

use crate::table::table;
use std::collections::BTreeMap;

table! {
/// `[runners.kubernetes.volumes]`.
Volumes {
    host_path: Vec<HostPath>, "host_path", Omit, "", "", "Directories of the node";
    pvc: Vec<Pvc>, "pvc", Omit, "", "", "Persistent volume claims";
    config_map: Vec<ConfigMap>, "config_map", Omit, "", "", "Config maps";
    secret: Vec<ConfigMap>, "secret", Omit, "", "", "Secrets";
    empty_dir: Vec<EmptyDir>, "empty_dir", Omit, "", "", "Empty directories";
    csi: Vec<Csi>, "csi", Omit, "", "", "CSI volumes";
    nfs: Vec<Nfs>, "nfs", Omit, "", "", "NFS shares";
}
}

table! {
/// `host_path`.
HostPath {
    name: Option<String>, "name", Always, "", "", "Name";
    mount_path: Option<String>, "mount_path", Always, "", "", "Where it is mounted";
    sub_path: Option<String>, "sub_path", Omit, "", "", "Part of it";
    read_only: Option<bool>, "read_only", Omit, "", "", "Mounted read-only";
    host_path: Option<String>, "host_path", Omit, "", "", "Path on the node; default mount_path";
    mount_propagation: Option<String>, "mount_propagation", Omit, "", "", "Mount propagation";
}
}

table! {
/// `pvc`.
Pvc {
    name: Option<String>, "name", Always, "", "", "Name of the volume and of the claim";
    mount_path: Option<String>, "mount_path", Always, "", "", "Where it is mounted";
    sub_path: Option<String>, "sub_path", Omit, "", "", "Part of it";
    read_only: Option<bool>, "read_only", Omit, "", "", "Mounted read-only";
    mount_propagation: Option<String>, "mount_propagation", Omit, "", "", "Mount propagation";
}
}

table! {
/// `config_map` and `secret`.
ConfigMap {
    name: Option<String>, "name", Always, "", "", "Name";
    mount_path: Option<String>, "mount_path", Always, "", "", "Where it is mounted";
    sub_path: Option<String>, "sub_path", Omit, "", "", "Part of it";
    read_only: Option<bool>, "read_only", Omit, "", "", "Mounted read-only";
    items: BTreeMap<String, String>, "items", Omit, "", "", "Key to path";
}
}

table! {
/// `empty_dir`.
EmptyDir {
    name: Option<String>, "name", Always, "", "", "Name";
    mount_path: Option<String>, "mount_path", Always, "", "", "Where it is mounted";
    sub_path: Option<String>, "sub_path", Omit, "", "", "Part of it";
    medium: Option<String>, "medium", Omit, "", "", "Memory, or unset";
    size_limit: Option<String>, "size_limit", Omit, "", "", "Most size";
    mount_propagation: Option<String>, "mount_propagation", Omit, "", "", "Mount propagation";
}
}

table! {
/// `csi`.
Csi {
    name: Option<String>, "name", Always, "", "", "Name";
    mount_path: Option<String>, "mount_path", Always, "", "", "Where it is mounted";
    sub_path: Option<String>, "sub_path", Omit, "", "", "Part of it";
    driver: Option<String>, "driver", Always, "", "", "Driver";
    fs_type: Option<String>, "fs_type", Always, "", "", "File system";
    read_only: Option<bool>, "read_only", Omit, "", "", "Mounted read-only";
    volume_attributes: BTreeMap<String, String>, "volume_attributes", Omit, "", "", "For the driver";
}
}

table! {
/// `nfs`.
Nfs {
    name: Option<String>, "name", Always, "", "", "Name";
    mount_path: Option<String>, "mount_path", Always, "", "", "Where it is mounted";
    sub_path: Option<String>, "sub_path", Omit, "", "", "Part of it";
    server: Option<String>, "server", Always, "", "", "Server";
    path: Option<String>, "path", Always, "", "", "Exported path";
    read_only: Option<bool>, "read_only", Omit, "", "", "Mounted read-only";
}
}
