//! `[runners.machine]` (`runner-config.md` §6.9).

use crate::table::table;

table! {
/// `[runners.machine]`.
Machine {
    max_growth_rate: Option<i64>, "MaxGrowthRate", Omit, "max-growth-rate", "MACHINE_MAX_GROWTH_RATE", "Max machines created at once; 0 = no limit";
    idle_count: Option<i64>, "IdleCount", Always, "idle-nodes", "MACHINE_IDLE_COUNT", "Machines kept idle";
    idle_scale_factor: Option<f64>, "IdleScaleFactor", Always, "idle-scale-factor", "MACHINE_IDLE_SCALE_FACTOR", "Idle target as factor of machines in use, capped by IdleCount (experimental); default 0.0";
    idle_count_min: Option<i64>, "IdleCountMin", Always, "idle-count-min", "MACHINE_IDLE_COUNT_MIN", "Floor for that target; not below 1";
    idle_time: Option<i64>, "IdleTime", Omit, "idle-time", "MACHINE_IDLE_TIME", "Seconds a machine must be idle before removal";
    max_builds: Option<i64>, "MaxBuilds", Omit, "max-builds", "MACHINE_MAX_BUILDS", "Jobs per machine, then it is removed; 0 = no limit";
    machine_driver: Option<String>, "MachineDriver", Always, "machine-driver", "MACHINE_DRIVER", "docker-machine driver";
    machine_name: Option<String>, "MachineName", Always, "machine-name", "MACHINE_NAME", "Name template, must contain %s";
    machine_options: Vec<String>, "MachineOptions", Omit, "machine-options", "MACHINE_OPTIONS", "Options for machine create";
    machine_options_with_name: Vec<String>, "MachineOptionsWithName", Omit, "machine-options-with-name", "MACHINE_OPTIONS_WITH_NAME", "Option templates, each must contain %s (machine name)";
    max_removal_attempts: Option<i64>, "MaxRemovalAttempts", Omit, "max-removal-attempts", "MACHINE_MAX_REMOVAL_ATTEMPTS", "Tries to remove a machine; default 30";
    off_peak_periods: Vec<String>, "OffPeakPeriods", Omit, "", "", "Dead since 14.0, only warned";
    off_peak_timezone: Option<String>, "OffPeakTimezone", Omit, "", "", "Dead";
    off_peak_idle_count: Option<i64>, "OffPeakIdleCount", Omit, "", "", "Dead";
    off_peak_idle_time: Option<i64>, "OffPeakIdleTime", Omit, "", "", "Dead";
    autoscaling: Vec<MachineAutoscaling>, "autoscaling", Omit, "", "", "`[[runners.machine.autoscaling]]` list; last match wins";
}
}

table! {
/// `[[runners.machine.autoscaling]]`.
MachineAutoscaling {
    periods: Vec<String>, "Periods", Omit, "", "", "7-field cron-like periods (sec min hour dom month dow year)";
    timezone: Option<String>, "Timezone", Always, "", "", "IANA zone; empty = local";
    idle_count: Option<i64>, "IdleCount", Always, "", "", "As above, in this period";
    idle_scale_factor: Option<f64>, "IdleScaleFactor", Always, "", "", "As above";
    idle_count_min: Option<i64>, "IdleCountMin", Always, "", "", "As above";
    idle_time: Option<i64>, "IdleTime", Always, "", "", "As above";
}
}
