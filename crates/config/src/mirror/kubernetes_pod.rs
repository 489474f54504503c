//! Smaller tables below `[runners.kubernetes]` (`runner-config.md` §6.3): DNS, host aliases, life cycle, patches,
//! pause pods.

use crate::mirror::Policy;
use crate::table::table;

table! {
/// `[[runners.kubernetes.host_aliases]]`.
HostAlias {
    ip: Option<String>, "ip", Always, "", "", "Address";
    hostnames: Vec<String>, "hostnames", Always, "", "", "Names";
}
}

table! {
/// `[runners.kubernetes.dns_config]`.
DnsConfig {
    nameservers: Vec<String>, "nameservers", Omit, "", "", "Servers";
    options: Vec<DnsOption>, "options", Omit, "", "", "Options";
    searches: Vec<String>, "searches", Omit, "", "", "Search domains";
}
}

table! {
/// `[[runners.kubernetes.dns_config.options]]`.
DnsOption {
    name: Option<String>, "name", Always, "", "", "Name";
    value: Option<String>, "value", Omit, "", "", "Value";
}
}

table! {
/// `[runners.kubernetes.container_lifecycle]`.
ContainerLifecycle {
    post_start: Option<LifecycleHandler>, "post_start", Omit, "", "", "After the start";
    pre_stop: Option<LifecycleHandler>, "pre_stop", Omit, "", "", "Before the end";
}
}

table! {
/// A hook.
LifecycleHandler {
    exec: Option<ExecAction>, "exec", Omit, "", "", "A command";
    http_get: Option<HttpGet>, "http_get", Omit, "", "", "A request";
    tcp_socket: Option<TcpSocket>, "tcp_socket", Omit, "", "", "A connection";
}
}

table! {
/// `exec`.
ExecAction {
    command: Vec<String>, "command", Omit, "", "", "Command line";
}
}

table! {
/// `http_get`.
HttpGet {
    host: Option<String>, "host", Always, "", "", "Host";
    http_headers: Vec<HttpHeader>, "http_headers", Omit, "", "", "Headers";
    path: Option<String>, "path", Always, "", "", "Path";
    port: Option<i64>, "port", Always, "", "", "Port";
    scheme: Option<String>, "scheme", Always, "", "", "HTTP or HTTPS";
}
}

table! {
/// A header.
HttpHeader {
    name: Option<String>, "name", Always, "", "", "Name";
    value: Option<String>, "value", Always, "", "", "Value";
}
}

table! {
/// `tcp_socket`.
TcpSocket {
    host: Option<String>, "host", Always, "", "", "Host";
    port: Option<i64>, "port", Always, "", "", "Port";
}
}

table! {
/// `[[runners.kubernetes.pod_spec]]` (§6.3.5).
PodSpecPatch {
    name: Option<String>, "name", Always, "", "", "Name";
    patch_path: Option<String>, "patch_path", Always, "", "", "File with the patch";
    patch: Option<String>, "patch", Always, "", "", "The patch, YAML or JSON";
    patch_type: Option<String>, "patch_type", Always, "", "", "strategic, merge or json";
}
}

table! {
/// `[runners.kubernetes.autoscaler]` (§6.3.6).
PausePods {
    max_pause_pods: Option<i64>, "max_pause_pods", Omit, "", "", "Cap on pause pods; 0 = none";
    pause_pod_image: Option<String>, "pause_pod_image", Omit, "", "", "Image of pause pods; default registry.k8s.io/pause:3.10";
    pause_pod_priority_class_name: Option<String>, "pause_pod_priority_class_name", Omit, "", "", "Low priority class so job pods preempt them";
    policy: Vec<Policy>, "policy", Omit, "", "", "Same policy tables as 6.10.2";
    pause_pod_image_pull_secrets: Vec<String>, "pause_pod_image_pull_secrets", Omit, "", "", "Pull secrets";
}
}
