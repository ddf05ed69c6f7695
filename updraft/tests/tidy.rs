//! The house rules that no compiler checks: who imports whom, that every file says what it is for, that links lead somewhere,
//! and that what the documents show is what happens.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Files below `folder` that end in `.extension`, but for what is built.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for path in files(root(), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        assert!(first.starts_with("//!"), "{}: the first line is no `//!`", path.display());
    }
}

#[test]
fn crates_import_only_what_lies_below() {
    let below: [(&str, &[&str]); 7] = [
        ("kernel", &[]),
        ("checkpoint", &[]),
        ("dataflow", &["updraft-kernel", "updraft-checkpoint"]),
        ("connectors", &["updraft-kernel", "updraft-dataflow"]),
        ("nats", &["updraft-kernel", "updraft-dataflow", "updraft-connectors"]),
        ("postgres", &["updraft-kernel", "updraft-dataflow"]),
        ("sql", &["updraft-kernel", "updraft-dataflow"]),
    ];
    for (name, allowed) in below {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let own = format!("updraft-{name}");
        for line in manifest.lines().filter(|line| line.starts_with("updraft")) {
            let import = line.split(['.', ' ', '=']).next().unwrap();
            assert!(import == own || allowed.contains(&import), "{name} must not import {import}");
        }
    }
}

#[test]
fn mutations_fit_the_code_and_are_told_of() {
    let told = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let patches = files(&root().join("mutations"), "patch");
    assert!(patches.len() > 20, "{} patches", patches.len());
    for patch in patches {
        let name = patch.file_stem().unwrap().to_str().unwrap();
        assert!(told.contains(&format!("| {name} |")), "CONTRIBUTING.md does not tell of {name}");
        let check = Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(root()).output().unwrap();
        assert!(check.status.success(), "{name}: {}", String::from_utf8_lossy(&check.stderr));
    }
}

#[test]
fn links_lead_to_files() {
    for path in files(root(), "md") {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if !link.contains("://") && !link.starts_with('#') {
                let target = path.parent().unwrap().join(link.split('#').next().unwrap());
                assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            }
        }
    }
}

#[test]
fn the_readme_shows_the_first_example() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let example = fs::read_to_string(root().join("updraft/examples/01_hello.rs")).unwrap();
    let shown = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, example.split_once("\n\n").unwrap().1);
    let printed = support::stdout(&mut support::example("01_hello"));
    assert!(printed.contains("home") && printed.lines().count() >= 5, "{printed}");
}

#[test]
fn the_numbered_examples_print_what_they_should() {
    let lines = |name: &str| {
        let printed = support::stdout(&mut support::example(name));
        support::sorted(&printed).into_iter().map(str::to_string).collect::<Vec<_>>()
    };
    let shop = [
        "\"ann: 1 orders in a visit, 900 cents\"",
        "\"ann: 2 orders in a visit, 750 cents\"",
        "\"bob: 1 orders in a visit, 100 cents\"",
        "\"bob: 1 orders in a visit, 700 cents\"",
        "order 1: paid after 5 s",
        "order 2: not paid within a minute",
        "order 3: paid after 10 s",
        "order 4: paid after 20 s",
        "order 5: not paid within a minute",
        "what",
    ];
    assert_eq!(lines("02_streams"), shop);
    let throttled = lines("03_operator");
    assert_eq!(
        throttled.iter().filter(|line| line.contains("100 calls of busy held back")).count(),
        3,
        "{throttled:?}"
    );
    assert!(lines("04_tasks").concat().contains("71 odd multiples of 7 below 1000; the sum of their sevenths is 5041"));
    let simulated = lines("05_simulated");
    assert!(simulated.contains(&"ann: 3 clicks".to_string()) && simulated.len() == 6, "{simulated:?}");
}

#[test]
fn the_commands_of_the_documents_work() {
    let updraft = || Command::new(env!("CARGO_BIN_EXE_updraft"));
    assert!(support::stdout(updraft().arg("--help")).contains("demo"));
    let demo = support::stdout(updraft().args(["demo", "--seconds", "3", "--rate", "50000"]));
    assert!(demo.lines().count() >= 1 && demo.contains("hottest items"), "{demo}");
    let bench = support::stdout(updraft().args(["bench", "--millions", "0.05", "--repeat", "1", "--kernels", "2"]));
    assert_eq!(bench.lines().count(), 8, "{bench}");
    let streambox =
        ["bench", "streambox", "network", "--target", "1000", "--seconds", "0.3", "--records", "10000", "--in-order"];
    let streambox = support::stdout(updraft().args(streambox));
    assert!(streambox.starts_with("benchmark") && streambox.contains("\nnetwork "), "{streambox}");
    let explained = support::stdout(updraft().args(["explain", "demo"]));
    assert!(explained.contains("from 0, any kernel"), "{explained}");
    let help = support::stdout(updraft().args(["explain", "--help"]));
    for name in ["streambox-tweets", "q5"] {
        assert!(help.contains(name), "{help}");
        let dot = support::stdout(updraft().args(["explain", name, "--format", "dot"]));
        assert!(dot.starts_with("digraph") && dot.ends_with("}\n"), "{dot}");
    }
    assert!(support::stdout(updraft().args(["completions", "bash"])).contains("updraft"));
    let error = support::failure(updraft().args(["demo", "--window", "1", "--slide", "2"]));
    assert!(error.contains("--slide"), "{error}");
    let sample = root().join("updraft/examples/access_log/sample.log");
    assert!(support::stdout(support::example("access_log").arg(sample)).contains("/login"));
}
