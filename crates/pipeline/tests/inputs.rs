//! Headers, inputs and interpolation by the rules of `ci-yaml.md` §8.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_base::Variable;
use harrier_pipeline::{Compiled, Context, GivenInput, render};
use serde_json::{Value, json};
use support::*;

fn cx(given: Value) -> Context {
    let mut cx = context(&[("CI_PROJECT_PATH", "me/mine")]);
    cx.project = vec![
        Variable::public("WHO", "world").into(),
        Variable::public("OUTER", "$WHO").into(),
        Variable::public("SECRET", "s3cr3t").masked().into(),
    ];
    let given = given.as_object().unwrap();
    cx.inputs =
        given.iter().map(|(name, value)| GivenInput { name: name.clone(), value: value.clone() }).collect();
    cx
}

fn compiled_inputs(header: &str, content: &str, given: Value) -> Compiled {
    let repository = Repository::new(&[
        ("shared.yml", "inputs: {shared: {default: s}, other: }\n"),
        ("again.yml", "inputs: {shared: {default: t}}\n"),
        ("job.yml", "a: {script: x}\n"),
    ])
    .project("g/p", "main", &[("in.yml", "inputs: {far: {default: f}}\n")])
    .remote("https://x.example/in.yml", "inputs: {remote: {default: r}}\n");
    compiled_with(&format!("spec: {header}\n---\n{content}\n"), &repository, &cx(given))
}

/// What a block comes to, as the only command of a job.
#[test]
fn filled_in() {
    for (rule, header, block, given, want) in [
        ("8.1 a null input is a required text", "{inputs: {a: }}", "$[[ inputs.a ]]", json!({"a": "x"}), "x"),
        ("8.1 a default", "{inputs: {a: {default: d}}}", "$[[ inputs.a ]]", json!({}), "d"),
        (
            "8.1 a description",
            "{description: d, inputs: {a: {default: d, description: e}}}",
            "$[[ inputs.a ]]",
            json!({}),
            "d",
        ),
        ("8.1 an empty header", "", "x", json!({}), "x"),
        ("8.1 options", "{inputs: {a: {options: [x, y]}}}", "$[[ inputs.a ]]", json!({"a": "y"}), "y"),
        (
            "8.1 options of numbers",
            "{inputs: {a: {type: number, options: [1, 2]}}}",
            "<$[[ inputs.a ]]>",
            json!({"a": "2"}),
            "<2>",
        ),
        (
            "8.1 regex is searched",
            "{inputs: {a: {regex: '\\d'}}}",
            "$[[ inputs.a ]]",
            json!({"a": "v1"}),
            "v1",
        ),
        (
            "8.1 spec:include, local",
            "{include: [{local: /shared.yml}]}",
            "$[[ inputs.shared ]]",
            json!({"other": "o"}),
            "s",
        ),
        (
            "8.1 spec:include, a text",
            "{include: shared.yml}",
            "$[[ inputs.other ]]",
            json!({"other": "o"}),
            "o",
        ),
        (
            "8.1 spec:include, project and remote",
            "{include: [{project: g/p, file: in.yml}, {remote: 'https://x.example/in.yml'}]}",
            "$[[ inputs.far ]]$[[ inputs.remote ]]",
            json!({}),
            "fr",
        ),
        (
            "8.1 spec:include and own",
            "{include: [{local: again.yml}], inputs: {a: {default: b}}}",
            "$[[ inputs.shared ]]$[[ inputs.a ]]",
            json!({}),
            "tb",
        ),
        (
            "8.2 the first rule that holds",
            "{inputs: {e: , a: {rules: [{if: '$[[ inputs.e ]] == \"p\"', options: [x], default: x}, {options: [y], default: y}]}}}",
            "$[[ inputs.a ]]",
            json!({"e": "p"}),
            "x",
        ),
        (
            "8.2 a rule without if",
            "{inputs: {e: , a: {rules: [{if: '$[[ inputs.e ]] == \"p\"', options: [x], default: x}, {options: [y], default: y}]}}}",
            "$[[ inputs.a ]]",
            json!({"e": "q"}),
            "y",
        ),
        (
            "8.2 a value out of the rule's options",
            "{inputs: {e: , a: {rules: [{if: '$[[ inputs.e ]] =~ /^p./', options: [x, z], default: x}]}}}",
            "$[[ inputs.a ]]",
            json!({"e": "pq", "a": "z"}),
            "z",
        ),
        (
            "8.2 a rule with a default alone",
            "{inputs: {a: {rules: [{default: d}]}}}",
            "$[[ inputs.a ]]",
            json!({}),
            "d",
        ),
        (
            "8.2 a default of null",
            "{inputs: {a: {rules: [{default: null}]}}}",
            "<$[[ inputs.a ]]>",
            json!({}),
            "<>",
        ),
        (
            "8.2 booleans compare with their text",
            "{inputs: {e: {type: boolean, default: true}, a: {rules: [{if: '$[[ inputs.e ]] == \"true\"', default: yes-it-is}, {default: n}]}}}",
            "$[[ inputs.a ]]",
            json!({}),
            "yes-it-is",
        ),
        (
            "8.2 false does not hold",
            "{inputs: {e: {type: boolean, default: false}, a: {rules: [{if: '$[[ inputs.e ]]', default: y}, {default: n}]}}}",
            "$[[ inputs.a ]]",
            json!({}),
            "n",
        ),
        (
            "8.2 a given value of a later input",
            "{inputs: {a: {rules: [{if: '$[[ inputs.e ]] == \"p\"', default: y}, {default: n}]}, e: }}",
            "$[[ inputs.a ]]",
            json!({"e": "p"}),
            "y",
        ),
        ("8.3 any scalar is a text", "{inputs: {a: }}", "$[[ inputs.a ]]", json!({"a": 1.0}), "1.0"),
        ("8.3 a boolean is a text", "{inputs: {a: }}", "$[[ inputs.a ]]", json!({"a": true}), "true"),
        ("8.3 a default that is no text", "{inputs: {a: {default: 3}}}", "$[[ inputs.a ]]", json!({}), "3"),
        (
            "8.3 null with a default of null",
            "{inputs: {a: {default: null}}}",
            "<$[[ inputs.a ]]>",
            json!({}),
            "<>",
        ),
        (
            "8.3 a number out of a text",
            "{inputs: {a: {type: number}}}",
            "n$[[ inputs.a ]]",
            json!({"a": "1e3"}),
            "n1000.0",
        ),
        (
            "8.3 a boolean out of a text",
            "{inputs: {a: {type: boolean}}}",
            "b$[[ inputs.a ]]",
            json!({"a": "true"}),
            "btrue",
        ),
        (
            "8.3 a list out of a text",
            "{inputs: {a: {type: array}}}",
            "l$[[ inputs.a ]]",
            json!({"a": "[1, \"b\"]"}),
            "l[1,\"b\"]",
        ),
        (
            "8.3 a list with commands",
            "{inputs: {a: {type: array}}}",
            "$[[ inputs.a ]]",
            json!({"a": ["x", "y"]}),
            "x|y",
        ),
        (
            "8.4 blanks are free",
            "{inputs: {a: }}",
            "$[[inputs.a]]$[[   inputs.a   ]]",
            json!({"a": "x"}),
            "xx",
        ),
        (
            "8.4 within text",
            "{inputs: {a: }}",
            "echo \"$[[ inputs.a ]]\" done",
            json!({"a": "x"}),
            "echo \"x\" done",
        ),
        ("8.4 an index", "{inputs: {a: {type: array}}}", "$[[ inputs.a[1] ]]", json!({"a": ["x", "y"]}), "y"),
        (
            "8.4 a key of a structured list",
            "{inputs: {a: {type: array}}}",
            "$[[ inputs.a[0].k ]]",
            json!({"a": [{"k": "v"}]}),
            "v",
        ),
        ("8.4 names with - and _", "{inputs: {a-b_c: }}", "$[[ inputs.a-b_c ]]", json!({"a-b_c": "x"}), "x"),
        (
            "8.4 matrix blocks stay",
            "{inputs: {a: }}",
            "$[[ matrix.A ]]$[[ inputs.a ]]",
            json!({"a": "x"}),
            "$[[ matrix.A ]]x",
        ),
        (
            "8.4 results are not interpolated",
            "{inputs: {a: , b: }}",
            "$[[ inputs.a ]]",
            json!({"a": "$[[ inputs.b ]]", "b": "y"}),
            "$[[ inputs.b ]]",
        ),
        (
            "8.4 expand_vars",
            "{inputs: {a: }}",
            "$[[ inputs.a | expand_vars ]]",
            json!({"a": "$WHO ${WHO} $NOPE"}),
            "world world $NOPE",
        ),
        (
            "8.4 expand_vars once",
            "{inputs: {a: }}",
            "$[[ inputs.a | expand_vars ]]",
            json!({"a": "$OUTER"}),
            "$WHO",
        ),
        (
            "8.4 predefined variables",
            "{inputs: {a: }}",
            "$[[ inputs.a | expand_vars ]]",
            json!({"a": "$CI_PROJECT_PATH"}),
            "me/mine",
        ),
        (
            "8.4 truncate",
            "{inputs: {a: }}",
            "$[[ inputs.a | truncate(1, 3) ]]",
            json!({"a": "äbcdef"}),
            "bcd",
        ),
        (
            "8.4 truncate behind the end",
            "{inputs: {a: }}",
            "<$[[ inputs.a | truncate(9,3) ]]>",
            json!({"a": "abc"}),
            "<>",
        ),
        (
            "8.4 posix_escape",
            "{inputs: {a: }}",
            "$[[ inputs.a | posix_escape ]]",
            json!({"a": "it's $X"}),
            "it\\'s\\ \\$X",
        ),
        (
            "8.4 posix_escape of nothing",
            "{inputs: {a: }}",
            "$[[ inputs.a | posix_escape ]]",
            json!({"a": ""}),
            "''",
        ),
        (
            "8.4 posix_quote",
            "{inputs: {a: }}",
            "$[[ inputs.a | posix_quote ]]",
            json!({"a": "it's"}),
            "'it'\\''s'",
        ),
        ("8.4 split", "{inputs: {a: }}", "$[[ inputs.a | split(\",\") ]]", json!({"a": "x,y"}), "x|y"),
        (
            "8.4 functions from left to right",
            "{inputs: {a: }}",
            "$[[ inputs.a | expand_vars | truncate(0,2) | posix_quote ]]",
            json!({"a": "$WHO"}),
            "'wo'",
        ),
    ] {
        let content = format!("j:\n  script:\n    - {}", serde_json::to_string(block).unwrap());
        let compiled = compiled_inputs(header, &content, given);
        let said: String = compiled.diagnostics.iter().map(|d| render(d, &compiled.sources)).collect();
        let pipeline = compiled.pipeline.unwrap_or_else(|| panic!("§{rule}\n{said}"));
        assert_eq!(job(&pipeline, "j").script.join("|"), want, "§{rule}");
    }
}

/// Refused, with the beginning of the message.
#[test]
fn refused() {
    let any = "$[[ inputs.a ]]";
    for (rule, header, block, given, message) in [
        ("8.1 no mapping", "[x]", any, json!({}), "header:spec config should be a hash"),
        (
            "8.1 unknown key",
            "{inptus: {}}",
            any,
            json!({}),
            "header:spec config contains unknown keys: inptus",
        ),
        (
            "8.1 description too long",
            &format!("{{description: {}}}", "d".repeat(257)),
            any,
            json!({}),
            "header:spec:description config is too long",
        ),
        (
            "8.1 inputs, no mapping",
            "{inputs: [a]}",
            any,
            json!({}),
            "header:spec:inputs config should be a hash",
        ),
        (
            "8.1 an input, no mapping",
            "{inputs: {a: x}}",
            any,
            json!({}),
            "header:spec:inputs:a config should be a hash",
        ),
        (
            "8.1 an input's unknown key",
            "{inputs: {a: {defualt: x}}}",
            any,
            json!({}),
            "header:spec:inputs:a config contains unknown keys: defualt",
        ),
        (
            "8.1 unknown type",
            "{inputs: {a: {type: text}}}",
            any,
            json!({}),
            "header:spec:inputs:a unknown input specification for `a` (valid types: array, boolean, number, string)",
        ),
        (
            "8.1 required",
            "{inputs: {a: {type: number}}}",
            any,
            json!({}),
            "`a` input: required value has not been provided",
        ),
        (
            "8.1 options, no list",
            "{inputs: {a: {options: x}}}",
            any,
            json!({}),
            "header:spec:inputs:a:options config should be an array",
        ),
        (
            "8.1 options, null",
            "{inputs: {a: {options: [x, null]}}}",
            any,
            json!({}),
            "header:spec:inputs:a:options config should be an array of texts",
        ),
        (
            "8.1 options, too many",
            &format!("{{inputs: {{a: {{options: {:?}}}}}}}", (0..51).collect::<Vec<_>>()),
            any,
            json!({}),
            "header:spec:inputs:a:options config cannot define more than 50",
        ),
        (
            "8.1 options, not one of them",
            "{inputs: {a: {options: [x, y]}}}",
            any,
            json!({"a": "z"}),
            "`a` input: `z` cannot be used because it is not in the list of allowed options",
        ),
        (
            "8.1 options, the default",
            "{inputs: {a: {options: [x, y], default: z}}}",
            any,
            json!({}),
            "`a` input: `z` cannot be used because",
        ),
        (
            "8.1 options of a boolean",
            "{inputs: {a: {type: boolean, options: [true]}}}",
            any,
            json!({}),
            "header:spec:inputs:a options can only be used with string and number inputs",
        ),
        (
            "8.1 options of a list",
            "{inputs: {a: {type: array, options: [x]}}}",
            any,
            json!({}),
            "header:spec:inputs:a options can only be used with",
        ),
        (
            "8.1 regex of a number",
            "{inputs: {a: {type: number, regex: x}}}",
            any,
            json!({}),
            "header:spec:inputs:a regex can only be used with string inputs",
        ),
        (
            "8.1 regex, invalid",
            "{inputs: {a: {regex: '(?=x)'}}}",
            any,
            json!({}),
            "header:spec:inputs:a:regex config is not a valid regular expression",
        ),
        (
            "8.1 regex, no match",
            "{inputs: {a: {regex: '^v\\d$'}}}",
            any,
            json!({"a": "x"}),
            "`a` input: provided value does not match required RegEx pattern",
        ),
        (
            "8.1 regex, the default",
            "{inputs: {a: {regex: '^v\\d$', default: x}}}",
            any,
            json!({}),
            "`a` input: default value does not match required RegEx pattern",
        ),
        (
            "8.1 component, unknown field",
            "{component: [nam]}",
            any,
            json!({}),
            "header:spec:component config contains unknown values: nam",
        ),
        (
            "8.1 spec:include, other keys",
            "{include: [{local: job.yml}]}",
            any,
            json!({}),
            "include config contains unknown keys: a",
        ),
        (
            "8.1 spec:include, kind",
            "{include: [{template: T.gitlab-ci.yml}]}",
            any,
            json!({}),
            "header:spec:include config contains unknown keys: template",
        ),
        (
            "8.1 spec:include, rules",
            "{include: [{local: shared.yml, rules: []}]}",
            any,
            json!({}),
            "header:spec:include config contains unknown keys: rules",
        ),
        (
            "8.1 spec:include, missing",
            "{include: [{local: none.yml}]}",
            any,
            json!({}),
            "Local file `none.yml` does not exist!",
        ),
        (
            "8.1 duplicate of two files",
            "{include: [shared.yml, again.yml]}",
            any,
            json!({}),
            "duplicate input: `shared` is declared twice",
        ),
        (
            "8.1 duplicate of a file and the header",
            "{include: again.yml, inputs: {shared: }}",
            any,
            json!({}),
            "duplicate input: `shared` is declared twice",
        ),
        (
            "8.2 rules with options",
            "{inputs: {a: {options: [x], rules: [{default: x}]}}}",
            any,
            json!({}),
            "header:spec:inputs:a config cannot use `options` together with `rules`",
        ),
        (
            "8.2 rules with default",
            "{inputs: {a: {default: x, rules: [{default: x}]}}}",
            any,
            json!({}),
            "header:spec:inputs:a config cannot use `default` together with `rules`",
        ),
        (
            "8.2 no list",
            "{inputs: {a: {rules: x}}}",
            any,
            json!({}),
            "header:spec:inputs:a:rules config should be an array of hashes",
        ),
        (
            "8.2 neither options nor default",
            "{inputs: {a: {rules: [{if: '\"x\"'}]}}}",
            any,
            json!({}),
            "header:spec:inputs:a:rules:rule config must give `options` or `default`",
        ),
        (
            "8.2 default out of options",
            "{inputs: {a: {rules: [{options: [x], default: y}]}}}",
            any,
            json!({}),
            "header:spec:inputs:a:rules:rule config default must be one of its options",
        ),
        (
            "8.2 expression",
            "{inputs: {a: {rules: [{if: '$[[ inputs.b', default: y}]}}}",
            any,
            json!({}),
            "header:spec:inputs:a:rules:rule if invalid expression syntax",
        ),
        (
            "8.2 no variables",
            "{inputs: {a: {rules: [{if: '$WHO', default: y}]}}}",
            any,
            json!({}),
            "header:spec:inputs:a:rules:rule if invalid expression syntax",
        ),
        (
            "8.2 unknown input",
            "{inputs: {a: {rules: [{if: '$[[ inputs.b ]]', default: y}]}}}",
            any,
            json!({}),
            "header:spec:inputs:a:rules if refers to the unknown input `b`",
        ),
        (
            "8.2 circular",
            "{inputs: {a: {rules: [{if: '$[[ inputs.b ]]', default: y}]}, b: {rules: [{if: '$[[ inputs.a ]]', default: y}]}}}",
            any,
            json!({}),
            "header:spec:inputs config has a circular reference between inputs",
        ),
        (
            "8.2 no rule holds, a value given",
            "{inputs: {a: {rules: [{if: '\"\" == \"x\"', options: [x]}]}}}",
            any,
            json!({"a": "x"}),
            "`a` input: `x` is not allowed",
        ),
        (
            "8.2 no rule holds, no value",
            "{inputs: {a: {rules: [{if: '\"\" == \"x\"', default: x}]}}}",
            any,
            json!({}),
            "`a` input: required value has not been provided",
        ),
        (
            "8.2 not in the rule's options",
            "{inputs: {a: {rules: [{options: [x], default: x}]}}}",
            any,
            json!({"a": "y"}),
            "`a` input: `y` cannot be used because",
        ),
        (
            "8.3 unknown names",
            "{inputs: {a: }}",
            any,
            json!({"a": "x", "b": 1, "c": 2}),
            "unknown input arguments: b, c",
        ),
        (
            "8.3 no number",
            "{inputs: {a: {type: number}}}",
            any,
            json!({"a": "x"}),
            "`a` input: provided value is not a number",
        ),
        (
            "8.3 a quoted number in the text",
            "{inputs: {a: {type: number}}}",
            any,
            json!({"a": "\"1\""}),
            "`a` input: provided value is not a number",
        ),
        (
            "8.3 no boolean",
            "{inputs: {a: {type: boolean}}}",
            any,
            json!({"a": "yes"}),
            "`a` input: provided value is not a boolean",
        ),
        (
            "8.3 no list",
            "{inputs: {a: {type: array}}}",
            any,
            json!({"a": "x"}),
            "`a` input: provided value is not an array",
        ),
        (
            "8.3 the default's type",
            "{inputs: {a: {type: number, default: '1'}}}",
            any,
            json!({}),
            "`a` input: default value is not a number",
        ),
        (
            "8.3 too many",
            "{inputs: {a: }}",
            any,
            (0..21).map(|n| (format!("i{n}"), json!(1))).collect::<serde_json::Map<_, _>>().into(),
            "There are too many inputs: 21 given, at most 20",
        ),
        (
            "8.4 unknown name",
            "{inputs: {abc: {default: x}}}",
            "$[[ inputs.abd ]]",
            json!({}),
            "unknown interpolation key: `abd`",
        ),
        (
            "8.4 unknown source",
            "{inputs: {a: {default: x}}}",
            "$[[ input.a ]]",
            json!({}),
            "unknown interpolation provided: `input.a`",
        ),
        (
            "8.4 no name",
            "{inputs: {a: {default: x}}}",
            "$[[ inputs ]]",
            json!({}),
            "invalid interpolation block `inputs`",
        ),
        (
            "8.4 bad name",
            "{inputs: {a: {default: x}}}",
            "$[[ inputs.a b ]]",
            json!({}),
            "invalid interpolation block `inputs.a b`",
        ),
        (
            "8.4 index of nothing",
            "{inputs: {a: {type: array, default: [x]}}}",
            "$[[ inputs.a[1] ]]",
            json!({}),
            "unknown interpolation key: `a[1]`",
        ),
        (
            "8.4 six names",
            "{inputs: {a: {type: array, default: [x]}}}",
            "$[[ inputs.a.b.c.d.e ]]",
            json!({}),
            "invalid interpolation block",
        ),
        (
            "8.4 component, not asked for",
            "{inputs: {a: {default: x}}}",
            "$[[ component.name ]]",
            json!({}),
            "unknown interpolation key: `name`",
        ),
        (
            "8.4 unknown function",
            "{inputs: {a: {default: x}}}",
            "$[[ inputs.a | expand_var ]]",
            json!({}),
            "no function matching `expand_var`",
        ),
        (
            "8.4 arguments",
            "{inputs: {a: {default: x}}}",
            "$[[ inputs.a | truncate(1) ]]",
            json!({}),
            "no function matching `truncate(1)`",
        ),
        (
            "8.4 negative arguments",
            "{inputs: {a: {default: x}}}",
            "$[[ inputs.a | truncate(-1, 2) ]]",
            json!({}),
            "no function matching `truncate(-1, 2)`",
        ),
        (
            "8.4 no arguments wanted",
            "{inputs: {a: {default: x}}}",
            "$[[ inputs.a | posix_escape(1) ]]",
            json!({}),
            "no function matching `posix_escape(1)`",
        ),
        (
            "8.4 function of a number",
            "{inputs: {a: {type: number, default: 1}}}",
            "$[[ inputs.a | truncate(0,1) ]]",
            json!({}),
            "error in `truncate` function: invalid input type",
        ),
        (
            "8.4 four functions",
            "{inputs: {a: {default: x}}}",
            "$[[ inputs.a | posix_quote | posix_quote | posix_quote | posix_quote ]]",
            json!({}),
            "too many functions in interpolation block",
        ),
        (
            "8.4 masked variables",
            "{inputs: {a: {default: $SECRET}}}",
            "$[[ inputs.a | expand_vars ]]",
            json!({}),
            "variable expansion error: masked variables cannot be expanded: SECRET",
        ),
        (
            "8.4 an expression too long",
            "{inputs: {a: {default: x}}}",
            &format!("$[[ inputs.{} ]]", "a".repeat(1100)),
            json!({}),
            "an interpolation block may have at most 1024 bytes",
        ),
    ] {
        let content = format!("j:\n  script:\n    - {}", serde_json::to_string(block).unwrap());
        let compiled = compiled_inputs(header, &content, given);
        assert!(compiled.pipeline.is_none(), "§{rule}: should be refused");
        let errors = errors(&compiled);
        let first = errors.first().map(String::as_str).unwrap_or_default();
        let first = first.strip_prefix("`.gitlab-ci.yml`: ").unwrap_or(first);
        assert!(first.starts_with(message), "§{rule}: {first}");
        assert!(errors.len() <= 3, "§{rule}: {errors:?}");
    }
}

/// §1.4: which document is the header, which the content.
#[test]
fn documents() {
    let inputs = cx(json!({"a": "x"}));
    let header = "spec: {inputs: {a: }}\n";
    for (text, jobs) in [
        (format!("{header}---\n'$[[ inputs.a ]]': {{script: x}}\n"), "x"),
        (format!("---\n{header}---\n'$[[ inputs.a ]]': {{script: x}}\n"), "x"),
        (format!("# licence\n---\n{header}---\n'$[[ inputs.a ]]': {{script: x}}\n"), "x"),
        (format!("{header}---\nmiddle: {{script: x}}\n---\nlast: {{script: x}}\n"), "last"),
    ] {
        let p = pipeline_of(compiled_with(&text, &Repository::default(), &inputs));
        let names: Vec<&str> = p.jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names.join(" "), jobs, "{text}");
    }
    let p = pipeline("first: {script: x}\n---\nsecond: {script: x}\n");
    assert_eq!(p.jobs[0].name, "first");
    let p = pipeline("a: {script: '$[[ inputs.x ]]'}\n");
    assert_eq!(p.jobs[0].script, ["$[[ inputs.x ]]"], "without a header nothing is interpolated");
    for text in [header.to_owned(), format!("{header}---\n# nothing\n"), format!("{header}---\n")] {
        let compiled = compiled_with(&text, &Repository::default(), &inputs);
        assert_eq!(errors(&compiled), ["Please provide content of .gitlab-ci.yml"], "{text}");
    }
    let compiled =
        compiled_with("spec: {}\nmore: {}\n---\na: {script: x}\n", &Repository::default(), &cx(json!({})));
    assert_eq!(errors(&compiled), ["`.gitlab-ci.yml`: header config contains unknown keys: more"]);
}

/// §8.4: keys, types, lists and comments.
#[test]
fn the_tree_is_interpolated() {
    let compiled = compiled_inputs(
        "{inputs: {name: , count: {type: number}, flag: {type: boolean}, list: {type: array}, tags: {type: array}}}",
        "
\"$[[ inputs.name ]]-job\":
  # $[[ inputs.nothing ]]
  script:
    - first
    - $[[ inputs.list ]]
    - last $[[ inputs.count ]]
  allow_failure: $[[ inputs.flag ]]
  parallel: $[[ inputs.count ]]
  tags: $[[ inputs.tags ]]
  variables: {V: '$[[ inputs.count ]]', \"$[[ inputs.name ]]\": '$[[ inputs.flag ]]'}
  rules: [{if: '\"$[[ inputs.name ]]\" == \"n\"'}]
",
        json!({"name": "n", "count": 2, "flag": true, "list": ["a", "b"], "tags": "[\"t\"]"}),
    );
    let p = pipeline_of(compiled);
    let j = job(&p, "n-job 1/2");
    assert_eq!(j.script, ["first", "a", "b", "last 2"]);
    assert_eq!(j.tags, ["t"]);
    assert_eq!(j.allow_failure, harrier_pipeline::AllowFailure::Yes);
    assert!(j.variables.iter().any(|v| v.key == "V" && v.value == "2"));
    assert!(j.variables.iter().any(|v| v.key == "n" && v.value == "true"));
}

/// An error in interpolated content points into the file as it is written.
#[test]
fn places_are_those_of_the_source() {
    let compiled = compiled_inputs(
        "{inputs: {stage: }}",
        "j:\n  script: echo\n  stage: $[[ inputs.stage ]]\nk:\n  script: x\n  when: $[[ inputs.stage ]]",
        json!({"stage": "nowhere"}),
    );
    let said = render(&compiled.diagnostics[0], &compiled.sources);
    assert!(said.contains("--> .gitlab-ci.yml:8:9"), "{said}");
    assert!(said.contains("when: $[[ inputs.stage ]]"), "{said}");
    let compiled = compiled_inputs("{inputs: {a: , b: , c: , d: }}", "j: {script: x}", json!({}));
    assert_eq!(errors(&compiled).len(), 3, "§8.3: the first three");
    let said = render(&compiled.diagnostics[0], &compiled.sources);
    assert!(said.contains("--> .gitlab-ci.yml:1:17"), "{said}");
}

/// §8.3: without a header, values are refused.
#[test]
fn inputs_without_a_header() {
    let compiled = compiled_with("j: {script: x}\n", &Repository::default(), &cx(json!({"a": 1})));
    assert!(errors(&compiled)[0].contains("Given inputs not defined in the `spec` section"));
}
