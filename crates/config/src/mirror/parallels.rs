//! `[runners.parallels]` (`runner-config.md` §6.6).

use crate::table::table;

table! {
/// `[runners.parallels]`.
Parallels {
    base_name: Option<String>, "base_name", Always, "base-name", "PARALLELS_BASE_NAME", "VM to clone";
    template_name: Option<String>, "template_name", Omit, "template-name", "PARALLELS_TEMPLATE_NAME", "Name of the linked template";
    disable_snapshots: Option<bool>, "disable_snapshots", Always, "disable-snapshots", "PARALLELS_DISABLE_SNAPSHOTS", "Destroy VMs after jobs instead of snapshots";
    time_server: Option<String>, "time_server", Omit, "time-server", "PARALLELS_TIME_SERVER", "NTP host for the guest; default time.apple.com";
    allowed_images: Vec<String>, "allowed_images", Omit, "allowed-images", "PARALLELS_ALLOWED_IMAGES", "Regex list for job `image` as base VM; empty = job image ignored with a warning";
}
}
