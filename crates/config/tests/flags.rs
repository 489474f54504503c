//! The flags of `register`: each has one name, and what it sets is written where it is read again.

use harrier_config::mirror::{Runner, runner_flags};
use harrier_config::{Takes, add_runner, parse_mirror};
use std::collections::BTreeSet;

#[test]
fn names_are_unique_and_as_the_contract_has_them() {
    let flags = runner_flags();
    let names: BTreeSet<&str> = flags.iter().map(|flag| flag.name.as_str()).collect();
    assert_eq!(names.len(), flags.len());
    for (name, env, takes) in [
        ("url", "CI_SERVER_URL", Takes::One),
        ("token", "CI_SERVER_TOKEN", Takes::One),
        ("description", "RUNNER_NAME", Takes::One),
        ("tls-ca-file", "CI_SERVER_TLS_CA_FILE", Takes::One),
        ("env", "RUNNER_ENV", Takes::Many),
        ("unhealthy-interval", "", Takes::One),
        ("job-status-final-update-retry-limit", "RUNNER_job_status_final_update_retry_limit", Takes::One),
        ("feature-flags", "FEATURE_FLAGS", Takes::Map),
        ("custom_build_dir-enabled", "CUSTOM_BUILD_DIR_ENABLED", Takes::Switch),
        ("docker-tlsverify", "DOCKER_TLS_VERIFY", Takes::Switch),
        ("docker-services_privileged", "DOCKER_SERVICES_PRIVILEGED", Takes::Switch),
        ("docker-pull-policy", "DOCKER_PULL_POLICY", Takes::CommaList),
        ("docker-volume-driver-ops", "DOCKER_VOLUME_DRIVER_OPS", Takes::Map),
        ("cache-s3-authentication_type", "CACHE_S3_AUTHENTICATION_TYPE", Takes::One),
        ("cache-max_uploaded_archive_size", "CACHE_MAXIMUM_UPLOADED_ARCHIVE_SIZE", Takes::One),
        ("cache-gcs-credentials-file", "GOOGLE_APPLICATION_CREDENTIALS", Takes::One),
        ("machine-idle-nodes", "MACHINE_IDLE_COUNT", Takes::One),
        (
            "kubernetes-service-ephemeral_storage-limit",
            "KUBERNETES_SERVICE_EPHEMERAL_STORAGE_LIMIT",
            Takes::One,
        ),
        ("kubernetes-pod-security-context-fs-group", "KUBERNETES_POD_SECURITY_CONTEXT_FS_GROUP", Takes::One),
        (
            "kubernetes-build_container_security_context-privileged",
            "KUBERNETES_BUILD_CONTAINER_SECURITY_CONTEXT_PRIVILEGED",
            Takes::Switch,
        ),
        (
            "kubernetes-service_container_security_context-capabilities-add",
            "KUBERNETES_SERVICE_CONTAINER_SECURITY_CONTEXT_CAPABILITIES_ADD",
            Takes::Many,
        ),
        ("ssh-disable-strict-host-key-checking", "DISABLE_STRICT_HOST_KEY_CHECKING", Takes::Switch),
    ] {
        let flag = flags.iter().find(|flag| flag.name == name).unwrap_or_else(|| panic!("no --{name}"));
        assert_eq!((flag.env.as_str(), flag.takes), (env, takes), "{name}");
    }
}

#[test]
fn every_flag_writes_a_key_that_is_read_again() {
    for flag in runner_flags() {
        let mut runner = Runner::default();
        let taken = ["7", "true", "1h0m0s", "k:7", "k:true"]
            .iter()
            .find(|value| runner.put_flag(&flag, &[(**value).to_owned()]).is_ok());
        assert!(taken.is_some(), "--{} takes nothing", flag.name);
        let text = add_runner("", "config.toml", &runner).unwrap_or_else(|error| panic!("{error}"));
        let (host, warnings) = parse_mirror(&text, "config.toml").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(warnings, [], "--{}", flag.name);
        let again = add_runner("", "config.toml", &host.runners[0]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again, text, "--{}", flag.name);
        let key = flag.path.last().copied().unwrap_or_default();
        assert!(text.contains(key), "--{}: {text}", flag.name);
    }
}

#[test]
fn values_that_do_not_fit_say_why() {
    let flags = runner_flags();
    for (name, value, why) in [
        ("limit", "many", "\"many\" is not a whole number"),
        ("docker-privileged", "yes", "\"yes\" is not true or false"),
        ("prepare-timeout", "5", "invalid duration \"5\": missing unit, write 5s for seconds"),
        ("feature-flags", "FF_X", "\"FF_X\" is not of the form key:value"),
        ("machine-idle-scale-factor", "x", "\"x\" is not a number"),
    ] {
        let flag = flags.iter().find(|flag| flag.name == name).unwrap_or_else(|| panic!("no --{name}"));
        assert_eq!(Runner::default().put_flag(flag, &[value.to_owned()]), Err(why.to_owned()));
    }
}
