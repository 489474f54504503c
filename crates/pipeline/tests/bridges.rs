//! Bridges, needs of other pipelines, credentials and steps: `ci-yaml.md` §16.1, §23 to §26.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_pipeline::{Bridge, Elsewhere, Forward, SecretProvider, Strategy};
use support::*;

/// Refused, with the beginning of GitLab's message.
#[test]
fn refused_with_the_right_message() {
    let mut wrong = String::new();
    for (section, text, message) in [
        (
            "16.1",
            "a: {script: x, needs: [{pipeline: 1}]}",
            "jobs:a:needs:need config missing required keys: job",
        ),
        (
            "16.1",
            "a: {script: x, needs: [{project: g/p, job: b}]}",
            "jobs:a:needs:need config missing required keys: ref",
        ),
        (
            "16.1",
            "a: {script: x, needs: [{pipeline: 1, job: b, optional: true}]}",
            "jobs:a:needs:need config contains unknown keys: optional",
        ),
        (
            "16.1",
            "a: {script: x, needs: [{pipeline: 1, job: b, artifacts: 1}]}",
            "jobs:a:needs:need artifacts should be a boolean value",
        ),
        (
            "16.1",
            "a: {script: x, needs: [{pipeline: 1, job: a}, {pipeline: 1, job: b}, {pipeline: 1, job: c}, \
             {pipeline: 1, job: d}, {pipeline: 1, job: e}, {pipeline: 1, job: f}]}",
            "jobs:a:needs config can hold at most 5",
        ),
        (
            "16.1",
            "a: {script: x, rules: [{needs: [{pipeline: 1, job: b}]}]}",
            "jobs:a:rules:rule:needs:need config uses invalid types",
        ),
        (
            "16.1",
            "a: {needs: [{pipeline: g/a}, {pipeline: g/b}]}",
            "jobs:a:needs config should contain at most one",
        ),
        (
            "16.1",
            "a: {trigger: g/p, needs: [{pipeline: g/a}]}",
            "jobs:a config should contain either a trigger or a needs:pipeline",
        ),
        (
            "16.1",
            "a: {trigger: g/p, needs: [{pipeline: 1, job: b}]}",
            "jobs:a:needs:need config uses invalid types",
        ),
        (
            "16.2",
            "a: {script: x, needs: [{pipeline: 1, job: b}], dependencies: []}",
            "jobs:a needs should hold the jobs",
        ),
        (
            "18",
            "a: {needs: [b]}\nb: {script: x}",
            "jobs:a config should implement the script:, run:, or trigger:",
        ),
        (
            "18",
            "a: {trigger: g/p, script: x}",
            "jobs:a config these keys cannot be used together: script, trigger",
        ),
        (
            "18",
            "a: {trigger: g/p, run: [{name: s, script: x}]}",
            "jobs:a config these keys cannot be used together: run",
        ),
        ("18", "a: {trigger: g/p, image: x}", "jobs:a config contains unknown keys: image"),
        (
            "18",
            "a: {trigger: g/p, when: delayed}",
            "jobs:a when should be one of: on_success, on_failure, always, manual",
        ),
        (
            "18",
            "a: {trigger: g/p, allow_failure: {exit_codes: 1}}",
            "jobs:a:allow_failure config should be a boolean value",
        ),
        ("17", "a: {trigger: g/p, parallel: 2}", "jobs:a:parallel config should be a hash"),
        ("23.1", "a: {trigger: }\nb: {script: x}", "jobs:a config should implement"),
        ("23.1", "a: {trigger: ''}", "jobs:a:trigger config can't be blank"),
        ("23.1", "a: {trigger: [g/p]}", "jobs:a:trigger has to be either a string or a hash"),
        ("23.1", "a: {trigger: {branch: x}}", "jobs:a:trigger config must specify either project or include"),
        ("23.1", "a: {trigger: {project: 1}}", "jobs:a:trigger project should be a string"),
        (
            "23.1",
            "a: {trigger: {project: g/p, include: x.yml}}",
            "jobs:a:trigger config contains unknown keys: project",
        ),
        (
            "23.1",
            "a: {trigger: {include: x.yml, inputs: {}}}",
            "jobs:a:trigger config contains unknown keys: inputs",
        ),
        (
            "23.1",
            "a: {trigger: {project: g/p, strategy: wait}}",
            "jobs:a:trigger strategy should be one of: depend, mirror",
        ),
        (
            "23.1",
            "a: {trigger: {project: g/p, forward: {all: true}}}",
            "jobs:a:trigger:forward config contains unknown keys",
        ),
        (
            "23.1",
            "a: {trigger: {project: g/p, forward: {yaml_variables: 1}}}",
            "jobs:a:trigger:forward:yaml_variables config should be a boolean value",
        ),
        (
            "23.1",
            "a: {trigger: {include: [a.yml, b.yml, c.yml, d.yml]}}",
            "jobs:a:trigger:include config is too long (maximum is 3)",
        ),
        (
            "23.1",
            "a: {trigger: {include: [{rules: []}]}}",
            "jobs:a:trigger:include config contains unknown keys: rules",
        ),
        (
            "23.1",
            "a: {trigger: {include: [{inputs: {}}]}}",
            "jobs:a:trigger:include config does not have a valid subkey",
        ),
        (
            "23.1",
            "a: {trigger: {include: [{local: a.yml, template: b}]}}",
            "jobs:a:trigger:include config must use only one of",
        ),
        (
            "23.1",
            "a: {trigger: {include: [{project: g/p}]}}",
            "jobs:a:trigger:include config must specify the file",
        ),
        (
            "23.1",
            "a: {trigger: {include: [{artifact: c.yml}]}}",
            "jobs:a:trigger:include config must specify the job",
        ),
        (
            "23.1",
            "a: {trigger: {include: [{local: c.yml, job: b}]}}",
            "jobs:a:trigger:include job goes with `artifact` only",
        ),
        ("23.2", "a: {trigger: {include: [{artifact: c.yml, job: b}]}}", "a job: undefined need: b"),
        (
            "23.2",
            "a: {trigger: {include: [{artifact: c.yml, job: b}]}}\nb: {stage: deploy, script: x}",
            "a job: need b is not defined in current or prior stages",
        ),
        ("25", "a: {script: x, id_tokens: {T: {}}}", "jobs:a:id_tokens:T config missing required keys: aud"),
        (
            "25",
            "a: {script: x, id_tokens: {T: {aud: x, sub: y}}}",
            "jobs:a:id_tokens:T config contains unknown keys: sub",
        ),
        (
            "25",
            "a: {script: x, id_tokens: {T: {aud: [1]}}}",
            "jobs:a:id_tokens:T aud should be an array of strings",
        ),
        ("25", "a: {script: x, identity: aws}", "jobs:a:identity config should be one of: google_cloud"),
        (
            "25",
            "a: {script: x, secrets: {S: {file: true}}}",
            "jobs:a:secrets:S config must have one of these keys",
        ),
        (
            "25",
            "a: {script: x, secrets: {S: {vault: a/b@c, azure_key_vault: {name: n}}}}",
            "jobs:a:secrets:S config these keys cannot be used together: vault, azure_key_vault",
        ),
        (
            "25",
            "a: {script: x, secrets: {S: {vault: password}}}",
            "jobs:a:secrets:S:vault config should be a hash or a string",
        ),
        (
            "25",
            "a: {script: x, secrets: {S: {vault: {engine: {name: kv, path: p}, path: a, field: b}}}}",
            "jobs:a:secrets:S:vault:engine config name should be one of",
        ),
        (
            "25",
            "a: {script: x, secrets: {S: {gcp_secret_manager: {name: n}}}}",
            "jobs:a:secrets:S:gcp_secret_manager config missing required keys: token",
        ),
        (
            "25",
            "a: {script: x, secrets: {S: {aws_secrets_manager: {field: f}}}}",
            "jobs:a:secrets:S:aws_secrets_manager config missing required keys: secret_id",
        ),
        (
            "25",
            "a: {script: x, secrets: {S: {gitlab_secrets_manager: {name: a-b}}}}",
            "jobs:a:secrets:S:gitlab_secrets_manager config name can contain only",
        ),
        (
            "25",
            "a: {script: x, secrets: {S: {azure_key_vault: {name: n}, file: 1}}}",
            "jobs:a:secrets:S:file config should be a boolean",
        ),
        (
            "18",
            "a: {script: x, dast_configuration: {profile: p}}",
            "jobs:a:dast_configuration config contains unknown keys: profile",
        ),
        ("26", "a: {run: x}", "jobs:a:run config should be an array of hashes"),
        ("26", "a: {run: [{script: x}]}", "jobs:a:run:step config missing required keys: name"),
        ("26", "a: {run: [{name: 1x, script: x}]}", "jobs:a:run:step name should be letters, digits and '_'"),
        (
            "26",
            "a: {run: [{name: s}]}",
            "jobs:a:run:step config must have one of these keys: script, step, func",
        ),
        (
            "26",
            "a: {run: [{name: s, script: x, step: y}]}",
            "jobs:a:run:step config these keys cannot be used together",
        ),
        ("26", "a: {run: [{name: s, script: [x]}]}", "jobs:a:run:step script should be a non-empty string"),
        (
            "26",
            "a: {run: [{name: s, script: x, inputs: {}}]}",
            "jobs:a:run:step inputs go with `step` or `func` only",
        ),
        (
            "26",
            "a: {run: [{name: s, step: {git: {url: u}}}]}",
            "jobs:a:run:step:step:git config missing required keys: rev",
        ),
        (
            "26",
            "a: {run: [{name: s, step: {}}]}",
            "jobs:a:run:step:step config must have exactly one of these keys: git, oci",
        ),
        (
            "26",
            "a: {run: [{name: s, script: x, env: {A: 1}}]}",
            "jobs:a:run:step:env config should be a hash of strings",
        ),
        (
            "26",
            "a: {run: [{name: s, script: x}], before_script: [y]}",
            "jobs:a config these keys cannot be used together: run, before_script",
        ),
    ] {
        let first = first_error(&format!("{text}\n"));
        if !first.starts_with(message) {
            wrong.push_str(&format!("{section}: {text}\n  said {first}\n  want {message}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// §23.1
#[test]
fn shapes_of_trigger() {
    let p = pipeline(
        "one: {trigger: group/app}\n\
         two: {trigger: {project: group/app, branch: $B, strategy: depend, inputs: {n: 3}, forward: {yaml_variables: \
         false, pipeline_variables: true}}}\n\
         made: {stage: build, script: x}\n\
         three: {trigger: {include: c.yml, strategy: mirror}}\n\
         four: {trigger: {include: [{local: a.yml, inputs: {x: 1}}, {artifact: gen.yml, job: made}, {project: g/p, file: \
         [a.yml]}]}}\n\
         five: {needs: [{pipeline: group/up}]}\n\
         six: {needs: [{pipeline: group/up}, made]}\n",
    );
    let bridge = |name: &str| job(&p, name).bridge.clone().unwrap();
    assert!(
        matches!(bridge("one"), Bridge::Project { project, branch: None, strategy: Strategy::Independent, .. } if project == "group/app")
    );
    let Bridge::Project { branch, inputs, strategy, forward, .. } = bridge("two") else {
        panic!("a project")
    };
    assert_eq!((branch.as_deref(), strategy), (Some("$B"), Strategy::Depend));
    assert_eq!(inputs["n"], 3);
    assert_eq!(forward, Forward { yaml_variables: false, pipeline_variables: true });
    assert_eq!(bridge("three").strategy(), Strategy::Mirror);
    let Bridge::Child { include, artifacts, .. } = bridge("four") else { panic!("a child") };
    assert_eq!(include[0]["inputs"]["x"], 1);
    assert_eq!(artifacts, [("made".to_owned(), "gen.yml".to_owned())]);
    assert_eq!(bridge("five"), Bridge::Mirror { project: "group/up".into() });
    assert_eq!(job(&p, "five").needs, None);
    assert_eq!(job(&p, "six").needs.as_ref().unwrap().len(), 1);
    assert!(job(&p, "made").bridge.is_none());
}

/// §4, §18
#[test]
fn a_bridge_inherits_only_interruptible() {
    let p = pipeline(
        "default: {interruptible: true, tags: [x], image: i, before_script: [b], retry: 2}\nvariables: {A: '1'}\n\
         a: {trigger: g/p, parallel: {matrix: [{P: [x, y]}]}}\n",
    );
    assert_eq!(p.jobs.len(), 2);
    let a = job(&p, "a: [x]");
    assert!(a.interruptible && a.tags.is_empty() && a.image.is_none() && a.retry.max == 0);
    assert!(a.before_script.is_empty());
    let names: Vec<&str> = a.variables.iter().map(|v| v.key.as_str()).collect();
    assert_eq!(names, ["A", "P"]);
}

/// §16.1
#[test]
fn needs_elsewhere() {
    let p = pipeline(
        "b: {stage: build, script: x}\n\
         a: {script: x, needs: [b, {pipeline: $UP, job: j, artifacts: false}, {project: g/p, job: k, ref: main}]}\n\
         c: {script: x, needs: [{pipeline: 7, job: j}]}\n",
    );
    let a = job(&p, "a");
    assert_eq!(a.needs.as_ref().unwrap().len(), 1);
    let from: Vec<_> = a.elsewhere.iter().map(|n| (n.job.as_str(), n.artifacts, n.from.clone())).collect();
    assert_eq!(
        from,
        [
            ("j", false, Elsewhere::Pipeline("$UP".into())),
            ("k", true, Elsewhere::Project { project: "g/p".into(), git_ref: "main".into() }),
        ]
    );
    assert_eq!(job(&p, "c").needs.as_deref(), Some(&[][..]), "it starts at once");
    assert_eq!(job(&p, "c").elsewhere[0].from, Elsewhere::Pipeline("7".into()));
}

/// §25, §26, §18
#[test]
fn what_jobs_want_from_elsewhere() {
    let p = pipeline(
        "default: {id_tokens: {D: {aud: d}}, identity: google_cloud}\n\
         a: {script: x, id_tokens: {T: {aud: [x, $Y]}}, secrets: {V: {vault: prod/db/password@ops, file: false, token: $T}, \
         W: {vault: {engine: {name: kv-v1, path: e}, path: p, field: f}}, G: {gcp_secret_manager: {name: n, version: 2}, \
         token: $T}, Z: {azure_key_vault: {name: n}}, A: {aws_secrets_manager: 'id#f'}, K: {akeyless: {name: /k}}, L: \
         {gitlab_secrets_manager: {name: n_1}}}, dast_configuration: {site_profile: s}}\n\
         b: {run: [{name: one, script: echo}, {name: two, step: ./x, inputs: {a: 1}, env: {E: v}}, {name: three, func: {git: \
         {url: u, rev: r}}}]}\n\
         pages: {script: x, pages: {path_prefix: p, expire_in: 1 day, publish: out}}\n",
    );
    let a = job(&p, "a");
    assert_eq!(
        (a.id_tokens[0].name.as_str(), a.id_tokens[0].aud.len(), a.id_tokens[0].single),
        ("T", 2, false)
    );
    assert_eq!(a.identity.as_deref(), Some("google_cloud"));
    let names: Vec<(&str, bool)> = a.secrets.iter().map(|s| (s.name.as_str(), s.file)).collect();
    assert_eq!(
        names,
        [("V", false), ("W", true), ("G", true), ("Z", true), ("A", true), ("K", true), ("L", true)]
    );
    let vault = SecretProvider::Vault {
        engine: "kv-v2".into(),
        engine_path: "ops".into(),
        path: "prod/db".into(),
        field: "password".into(),
    };
    assert_eq!((&a.secrets[0].provider, a.secrets[0].token.as_deref()), (&vault, Some("$T")));
    let SecretProvider::Aws { settings } = &a.secrets[4].provider else { panic!("aws") };
    assert_eq!((settings["secret_id"].as_str(), settings["field"].as_str()), ("id", "f"));
    assert_eq!(a.dast_configuration.as_ref().unwrap().site_profile.as_deref(), Some("s"));
    let b = job(&p, "b");
    assert_eq!(b.run.as_ref().unwrap()[1]["inputs"]["a"], 1);
    assert_eq!(b.id_tokens[0].name, "D");
    let pages = job(&p, "pages").pages.clone().unwrap();
    assert_eq!((pages.publish.as_str(), pages.path_prefix.as_deref()), ("out", Some("p")));
}
