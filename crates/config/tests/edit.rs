//! Edits keep every byte they are not about, and a new entry looks as GitLab Runner writes it.

use harrier_base::Secret;
use harrier_config::mirror::{Cache, Docker, Kubernetes, Runner, Stamp};
use harrier_config::{EditError, TokenFields, add_runner, parse_mirror, remove_runners, set_token};
use proptest::prelude::*;

fn docker_runner() -> Runner {
    Runner {
        name: Some("my \"first\" runner".to_owned()),
        url: Some("https://gitlab.example.com/".to_owned()),
        id: Some(41),
        token: Some(Secret::new("t1_Xk3vJ0e8q2mS7yWd1pQf")),
        token_obtained_at: Some(Stamp(1_769_940_672)),
        executor: Some("docker".to_owned()),
        cache: Some(Cache {
            s3: Some(Default::default()),
            gcs: Some(Default::default()),
            azure: Some(Default::default()),
            ..Default::default()
        }),
        docker: Some(Docker {
            image: Some("docker:stable".to_owned()),
            privileged: Some(true),
            volumes: vec!["/cache".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

const DOCKER_ENTRY: &str = r#"[[runners]]
  name = "my \"first\" runner"
  url = "https://gitlab.example.com/"
  id = 41
  token = "t1_Xk3vJ0e8q2mS7yWd1pQf"
  token_obtained_at = 2026-02-01T10:11:12Z
  token_expires_at = 0001-01-01T00:00:00Z
  executor = "docker"
  [runners.cache]
    MaxUploadedArchiveSize = 0
    [runners.cache.s3]
      AssumeRoleMaxConcurrency = 0
    [runners.cache.gcs]
    [runners.cache.azure]
  [runners.docker]
    tls_verify = false
    image = "docker:stable"
    privileged = true
    disable_entrypoint_overwrite = false
    oom_kill_disable = false
    disable_cache = false
    volumes = ["/cache"]
    volume_keep = false
    shm_size = 0
    network_mtu = 0
"#;

#[test]
fn a_first_entry_makes_the_file_as_gitlab_runner_does() {
    let text = add_runner("", "config.toml", &docker_runner()).expect("an empty file takes an entry");
    let head = "concurrent = 1\ncheck_interval = 0\nshutdown_timeout = 0\n\n[session_server]\n  session_timeout = 1800\n\n";
    assert_eq!(text, format!("{head}{DOCKER_ENTRY}"));
}

#[test]
fn a_further_entry_leaves_the_text_before_it() {
    for (before, between) in [
        (include_str!("fixtures/docker.toml"), "\n"),
        ("concurrent = 2 # two\n\n", ""),
        ("concurrent = 2", "\n\n"),
    ] {
        let text = add_runner(before, "config.toml", &docker_runner()).expect("it takes an entry");
        assert_eq!(text, format!("{before}{between}{DOCKER_ENTRY}"));
    }
    let windows =
        add_runner("concurrent = 2\r\n", "config.toml", &docker_runner()).expect("it takes an entry");
    assert_eq!(windows.matches('\n').count(), windows.matches("\r\n").count());
    let other_case =
        add_runner("[[Runners]]\nname = 'x'\n", "c", &docker_runner()).expect("it takes an entry");
    assert!(other_case.contains("\n[[Runners]]\n  name"), "{other_case}");
}

#[test]
fn kubernetes_maps_and_lists_are_written_below() {
    let runner = Runner {
        executor: Some("kubernetes".to_owned()),
        kubernetes: Some(Kubernetes {
            node_selector: [("a.b/c".to_owned(), "x".to_owned())].into(),
            volumes: Some(Default::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let text = add_runner("", "config.toml", &runner).expect("it takes an entry");
    assert!(text.ends_with(
        "    pod_annotations_overwrite_allowed = \"\"\n    [runners.kubernetes.node_selector]\n      \"a.b/c\" = \"x\"\n    [runners.kubernetes.volumes]\n"
    ), "{text}");
}

#[test]
fn an_entry_is_taken_out_with_the_comment_above_it() {
    let text = include_str!("fixtures/docker.toml");
    let docker_at = text.find("# Builds of the shop.").expect("it is in the fixture");
    let shell_at = text.rfind("[[runners]]").expect("it is in the fixture");
    let without =
        |indices: &[usize]| remove_runners(text, "config.toml", indices).expect("it can be taken out");
    assert_eq!(without(&[0]), format!("{}{}", &text[..docker_at], &text[shell_at..]));
    assert_eq!(without(&[1]), text[..shell_at]);
    assert_eq!(without(&[1, 0, 1]), text[..docker_at]);
    assert!(matches!(remove_runners(text, "c", &[2]), Err(EditError::NoEntry { number: 3, .. })));
}

#[test]
fn scattered_sections_go_with_their_entry() {
    let text = "[[runners]]\nname = 'a'\n[labels]\nabc = 'd'\n# of b\n[[runners]]\nname = 'b'\n[session_server]\n[runners.docker]\nimage = 'x'\n[machine]\n";
    assert_eq!(
        remove_runners(text, "c", &[1]).expect("it can be taken out"),
        "[[runners]]\nname = 'a'\n[labels]\nabc = 'd'\n[session_server]\n[machine]\n"
    );
}

fn fields() -> TokenFields {
    TokenFields {
        id: Some(7),
        token: Secret::new("new-token"),
        obtained_at: Stamp(1_769_940_672),
        expires_at: Stamp(1_769_940_673),
    }
}

#[test]
fn token_fields_are_set_in_place_or_after_their_elders() {
    let text = "[[runners]] # one\n\tname = 'a' # the name\n\texecutor = 'shell'\n\n[[runners]]\n  TOKEN = \"old\" # mine\n";
    assert_eq!(
        set_token(text, "c", 0, &fields()).expect("it can be set"),
        "[[runners]] # one\n\tname = 'a' # the name\n\tid = 7\n\ttoken = \"new-token\"\n\ttoken_obtained_at = 2026-02-01T10:11:12Z\n\ttoken_expires_at = 2026-02-01T10:11:13Z\n\texecutor = 'shell'\n\n[[runners]]\n  TOKEN = \"old\" # mine\n"
    );
    assert_eq!(
        set_token(text, "c", 1, &fields()).expect("it can be set"),
        "[[runners]] # one\n\tname = 'a' # the name\n\texecutor = 'shell'\n\n[[runners]]\n  id = 7\n  TOKEN = \"new-token\" # mine\n  token_obtained_at = 2026-02-01T10:11:12Z\n  token_expires_at = 2026-02-01T10:11:13Z\n"
    );
    let bare = set_token("[[runners]]", "c", 0, &fields()).expect("it can be set");
    assert!(bare.starts_with("[[runners]]\n  id = 7\n  token ="), "{bare}");
}

#[test]
fn what_cannot_be_edited_is_refused() {
    let inline = "runners = [{ name = 'a' }]\n";
    assert!(parse_mirror(inline, "c").is_ok());
    assert!(matches!(add_runner(inline, "c", &docker_runner()), Err(EditError::NotTables { .. })));
    assert!(matches!(remove_runners("x = ", "c", &[0]), Err(EditError::Config(_))));
    assert!(matches!(set_token("", "c", 0, &fields()), Err(EditError::NoEntry { .. })));
}

/// A piece of a file: a runner, or something else, with its own comments and odd layout.
fn piece() -> impl Strategy<Value = String> {
    let junk = prop_oneof![
        Just(String::new()),
        Just("\n".to_owned()),
        Just("# a comment\n".to_owned()),
        Just("   # indented = [comment]\n\n".to_owned()),
    ];
    let runner = prop_oneof![
        Just("[[runners]]\nname='x'\n  token   =   \"t\"   # tail\n".to_owned()),
        Just("  [[ runners ]]   # odd\r\n\tname = \"ä\"\r\n".to_owned()),
        Just("[[runners]]\npre_build_script = '''\n[[runners]]\n# no comment\n'''\n[runners.docker]\nvolumes = [\n \"[x]\",\n]\n".to_owned()),
        Just("[[runners]]\n[runners.kubernetes]\n[[runners.kubernetes.services]]\nname='a'\n[[runners.kubernetes.services]]\nname='b'\n".to_owned()),
    ];
    (junk.clone(), runner, junk).prop_map(|(before, runner, after)| format!("{before}{runner}{after}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn adding_and_taking_out_gives_the_text_back(
        head in prop_oneof![Just(""), Just("concurrent = 3\n"), Just("# top\n\nconcurrent=3 # x\n[session_server]\n")],
        pieces in prop::collection::vec(piece(), 0..4),
    ) {
        let text: String = std::iter::once(head.to_owned()).chain(pieces).collect();
        let count = parse_mirror(&text, "c").map(|(host, _)| host.runners.len());
        prop_assume!(count.is_ok());
        let count = count.unwrap_or_default();
        let added = add_runner(&text, "c", &docker_runner());
        let added = added.map_err(|error| TestCaseError::fail(error.to_string()))?;
        if !text.trim().is_empty() {
            prop_assert!(added.starts_with(&text));
            let back = remove_runners(&added, "c", &[count]);
            let back = back.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(back.trim_end(), text.trim_end());
        }
        for index in 0..count {
            let set = set_token(&text, "c", index, &fields());
            let set = set.map_err(|error| TestCaseError::fail(error.to_string()))?;
            let others = |text: &str| -> Vec<String> {
                let own = |line: &&str| !line.contains("token") && !line.contains("id = 7");
                text.split_inclusive('\n').filter(own).map(str::to_owned).collect()
            };
            prop_assert_eq!(others(&set), others(&text));
            let old = |text: &str| text.matches("token   =   \"t\"   # tail\n").count();
            prop_assert!(old(&text) - old(&set) <= 1);
            let kept = remove_runners(&text, "c", &[index]);
            let kept = kept.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(parse_mirror(&kept, "c").map(|(host, _)| host.runners.len()).ok(), Some(count - 1));
            // What is left is the text without one or more whole pieces of it.
            let mut rest = text.as_str();
            for line in kept.split_inclusive('\n') {
                let found = rest.find(line);
                prop_assert!(found.is_some(), "{line:?} was not there");
                rest = &rest[found.unwrap_or_default() + line.len()..];
            }
        }
    }
}
