//! Security contexts below `[runners.kubernetes]` (`runner-config.md` §6.3.4).

use crate::table::table;

table! {
/// `[runners.kubernetes.pod_security_context]`.
PodSecurityContext {
    fs_group: Option<i64>, "fs_group", Omit, "fs-group", "KUBERNETES_POD_SECURITY_CONTEXT_FS_GROUP", "Extra group for all containers; owns volumes";
    run_as_user: Option<i64>, "run_as_user", Omit, "run-as-user", "KUBERNETES_POD_SECURITY_CONTEXT_RUN_AS_USER", "UID of the processes";
    run_as_group: Option<i64>, "run_as_group", Omit, "run-as-group", "KUBERNETES_POD_SECURITY_CONTEXT_RUN_AS_GROUP", "GID of the processes";
    run_as_non_root: Option<bool>, "run_as_non_root", Omit, "run-as-non-root", "KUBERNETES_POD_SECURITY_CONTEXT_RUN_AS_NON_ROOT", "Refuse images that run as root";
    supplemental_groups: Vec<i64>, "supplemental_groups", Omit, "supplemental-groups", "", "More groups for the first process of each container";
    selinux_type: Option<String>, "selinux_type", Omit, "selinux-type", "", "SELinux type label";
    seccomp_profile: Option<SecurityProfile>, "seccomp_profile", Omit, "seccomp-profile", "", "`type`, `localhost_profile`";
    app_armor_profile: Option<SecurityProfile>, "app_armor_profile", Omit, "app-armor-profile", "", "`type`, `localhost_profile`; cluster 1.30 or newer";
}
}

table! {
/// The four `[runners.kubernetes.*_container_security_context]`.
ContainerSecurityContext {
    capabilities: Option<Capabilities>, "capabilities", Omit, "capabilities", "", "Capabilities of the container";
    privileged: Option<bool>, "privileged", Omit, "privileged", "@PRIVILEGED", "Privileged container; default value of `privileged`";
    allow_privilege_escalation: Option<bool>, "allow_privilege_escalation", Omit, "allow-privilege-escalation", "@ALLOW_PRIVILEGE_ESCALATION", "May gain more rights than its parent; default value of `allow_privilege_escalation`";
    run_as_user: Option<i64>, "run_as_user", Omit, "run-as-user", "@RUN_AS_USER", "UID";
    run_as_group: Option<i64>, "run_as_group", Omit, "run-as-group", "@RUN_AS_GROUP", "GID";
    run_as_non_root: Option<bool>, "run_as_non_root", Omit, "run-as-non-root", "@RUN_AS_NON_ROOT", "Refuse root";
    read_only_root_filesystem: Option<bool>, "read_only_root_filesystem", Omit, "read-only-root-filesystem", "@READ_ONLY_ROOT_FILESYSTEM", "Root file system is read-only";
    selinux_type: Option<String>, "selinux_type", Omit, "selinux-type", "", "SELinux type label";
    proc_mount: Option<String>, "proc_mount", Omit, "proc-mount", "@PROC_MOUNT", "`default` or `unmasked`, any case; other values: error log, not sent";
    seccomp_profile: Option<SecurityProfile>, "seccomp_profile", Omit, "seccomp-profile", "", "`type`, `localhost_profile`";
    app_armor_profile: Option<SecurityProfile>, "app_armor_profile", Omit, "app-armor-profile", "", "`type`, `localhost_profile`";
}
}

table! {
/// `capabilities` of a container.
Capabilities {
    add: Vec<String>, "add", Omit, "add", "@ADD", "Replaces the add list that cap_add gave";
    drop: Vec<String>, "drop", Omit, "drop", "@DROP", "Replaces the drop list that cap_drop and the NET_RAW default gave";
}
}

table! {
/// `seccomp_profile` and `app_armor_profile`.
SecurityProfile {
    kind: Option<String>, "type", Omit, "type", "@TYPE", "RuntimeDefault, Localhost or Unconfined";
    localhost_profile: Option<String>, "localhost_profile", Omit, "localhost-profile", "@LOCALHOST_PROFILE", "Path of a Localhost profile";
}
}
