//! The word count against awk and sort, over the text of this repository, plain and compressed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use support::{example, failure, shell, sorted, stdout};

#[test]
fn agrees_with_awk() {
    let folder = tempfile::tempdir().unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let to = folder.path().display().to_string();
    shell(&format!(
        "cd {root}; for i in 1 2 3; do cat README.md */src/*.rs > {to}/$i.txt; done; gzip {to}/2.txt; cat {to}/1.txt > {to}/4.txt"
    ));
    let counted = stdout(example("word_count").arg(format!("{to}/*")));
    let expected = shell(&format!(
        "(cat {to}/*.txt; zcat {to}/*.gz) | gawk '{{ gsub(/[^A-Za-z]+/, \" \"); $0 = tolower($0); \
         for (i = 1; i <= NF; i++) n[$i]++ }} END {{ print \"word,count\"; for (w in n) print w \",\" n[w] }}'"
    ));
    assert_eq!(sorted(&counted), sorted(&expected));
    let top = stdout(example("word_count").arg(format!("{to}/*")).args(["--top", "5"]));
    let best = shell(&format!("printf '%s' '{expected}' | tail -n +2 | sort -t, -k2,2nr -k1,1 | sed -n 1,5p"));
    assert_eq!(top.lines().skip(1).collect::<Vec<_>>(), best.lines().collect::<Vec<_>>());
}

#[test]
fn errors_name_the_file_and_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.txt");
    fs::write(&path, b"good\n\xff\xfe bad\n").unwrap();
    let error = failure(example("word_count").arg(&path));
    assert!(error.contains("bad.txt:2: "), "{error}");
    let error = failure(example("word_count").arg(folder.path().join("*.none")));
    assert!(error.contains("*.none"), "{error}");
}
