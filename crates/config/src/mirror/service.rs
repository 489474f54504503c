//! `[[runners.docker.services]]` and `[[runners.kubernetes.services]]` (`runner-config.md` §6.2).

use crate::table::table;

table! {
/// `[[runners.docker.services]]` and `[[runners.kubernetes.services]]`.
Service {
    name: Option<String>, "name", Always, "", "", "Image of the service; variables expanded";
    alias: Option<String>, "alias", Omit, "", "", "Extra hostnames, separated by spaces or commas";
    command: Vec<String>, "command", Omit, "", "", "Command override";
    entrypoint: Vec<String>, "entrypoint", Omit, "", "", "Entrypoint override";
    environment: Vec<String>, "environment", Omit, "", "", "KEY=value list for this service only";
    suspend_data_path: Option<String>, "suspend_data_path", Omit, "", "", "Kubernetes only: path kept on the suspend PVC";
}
}
