//! `[runners.ssh]` (`runner-config.md` §6.5).

use crate::table::table;
use harrier_base::Secret;

table! {
/// `[runners.ssh]`.
Ssh {
    user: Option<String>, "user", Omit, "user", "SSH_USER", "Login name; default root";
    password: Option<Secret>, "password", Omit, "password", "SSH_PASSWORD", "Password";
    host: Option<String>, "host", Omit, "host", "SSH_HOST", "Remote host; default localhost";
    port: Option<String>, "port", Omit, "port", "SSH_PORT", "Remote port (a string); default 22";
    identity_file: Option<String>, "identity_file", Omit, "identity-file", "SSH_IDENTITY_FILE", "Private key file, no passphrase support seen in code";
    disable_strict_host_key_checking: Option<bool>, "disable_strict_host_key_checking", Omit, "disable-strict-host-key-checking", "DISABLE_STRICT_HOST_KEY_CHECKING", "true = accept any host key";
    known_hosts_file: Option<String>, "known_hosts_file", Omit, "known-hosts-file", "KNOWN_HOSTS_FILE", "known_hosts path; default ~/.ssh/known_hosts";
}
}
