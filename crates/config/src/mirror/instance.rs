//! `[runners.instance]` (`runner-config.md` §6.8).

use crate::table::table;

table! {
/// `[runners.instance]`.
Instance {
    allowed_images: Vec<String>, "allowed_images", Omit, "", "", "Images a job may name when VM isolation is on";
    use_common_build_dir: Option<bool>, "use_common_build_dir", Omit, "", "", "One build dir for all jobs; only with VM isolation or max_use_count 1, else warned and ignored";
}
}
