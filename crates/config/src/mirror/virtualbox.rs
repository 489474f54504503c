//! `[runners.virtualbox]` (`runner-config.md` §6.7).

use crate::table::table;

table! {
/// `[runners.virtualbox]`.
VirtualBox {
    base_name: Option<String>, "base_name", Always, "base-name", "VIRTUALBOX_BASE_NAME", "VM to clone";
    base_snapshot: Option<String>, "base_snapshot", Omit, "base-snapshot", "VIRTUALBOX_BASE_SNAPSHOT", "Snapshot name/UUID for the linked clone";
    base_folder: Option<String>, "base_folder", Always, "base-folder", "VIRTUALBOX_BASE_FOLDER", "Folder for new VMs";
    disable_snapshots: Option<bool>, "disable_snapshots", Always, "disable-snapshots", "VIRTUALBOX_DISABLE_SNAPSHOTS", "Full clone and destroy";
    allowed_images: Vec<String>, "allowed_images", Omit, "allowed-images", "VIRTUALBOX_ALLOWED_IMAGES", "Regex list as for Parallels";
    start_type: Option<String>, "start_type", Always, "start-type", "VIRTUALBOX_START_TYPE", "headless, gui or separate";
}
}
