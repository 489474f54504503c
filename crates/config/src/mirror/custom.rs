//! `[runners.custom]` (`runner-config.md` §6.4).

use crate::table::table;

table! {
/// `[runners.custom]`.
Custom {
    config_exec: Option<String>, "config_exec", Omit, "config-exec", "CUSTOM_CONFIG_EXEC", "Program for the config stage; its stdout is JSON";
    config_args: Vec<String>, "config_args", Omit, "config-args", "", "Its arguments";
    config_exec_timeout: Option<i64>, "config_exec_timeout", Omit, "config-exec-timeout", "CUSTOM_CONFIG_EXEC_TIMEOUT", "Seconds; default 3600";
    prepare_exec: Option<String>, "prepare_exec", Omit, "prepare-exec", "CUSTOM_PREPARE_EXEC", "Program for the prepare stage";
    prepare_args: Vec<String>, "prepare_args", Omit, "prepare-args", "", "Its arguments";
    prepare_exec_timeout: Option<i64>, "prepare_exec_timeout", Omit, "prepare-exec-timeout", "CUSTOM_PREPARE_EXEC_TIMEOUT", "Seconds; default 3600";
    run_exec: Option<String>, "run_exec", Always, "run-exec", "CUSTOM_RUN_EXEC", "Program run once per job stage. Required";
    run_args: Vec<String>, "run_args", Omit, "run-args", "", "Arguments put before script path and stage";
    cleanup_exec: Option<String>, "cleanup_exec", Omit, "cleanup-exec", "CUSTOM_CLEANUP_EXEC", "Program run at the end";
    cleanup_args: Vec<String>, "cleanup_args", Omit, "cleanup-args", "", "Its arguments";
    cleanup_exec_timeout: Option<i64>, "cleanup_exec_timeout", Omit, "cleanup-exec-timeout", "CUSTOM_CLEANUP_EXEC_TIMEOUT", "Seconds; default 3600";
    graceful_kill_timeout: Option<i64>, "graceful_kill_timeout", Omit, "graceful-kill-timeout", "CUSTOM_GRACEFUL_KILL_TIMEOUT", "Seconds between SIGTERM and SIGKILL; default 600";
    force_kill_timeout: Option<i64>, "force_kill_timeout", Omit, "force-kill-timeout", "CUSTOM_FORCE_KILL_TIMEOUT", "Seconds to wait after SIGKILL before giving up; default 10";
}
}
