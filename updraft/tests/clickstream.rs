//! Clicks per area code and minute over CSV files with late rows, against a computation that knows the rule: a row is late if its
//! time is below the watermark of its file, which stands at whole minutes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{sorted, stdout};

/// A window, in milliseconds.
const MINUTE: i64 = 60_000;

/// By how much rows may be out of order, in milliseconds.
const BOUND: i64 = 5_000;

/// Eight in the morning, in milliseconds since the day began.
const START: i64 = 8 * 60 * MINUTE;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clickstream")
}

/// What the job of the example prints about other clicks.
fn job(clicks: &Path, kernels: usize, mode: &str) -> String {
    let job = std::fs::read_to_string(example().join("job.sql")).unwrap();
    let mine = job.replace("updraft/examples/clickstream/clicks", &clicks.display().to_string());
    assert_ne!(job, mine);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.sql");
    std::fs::write(&file, mine).unwrap();
    let mut updraft = Command::new(env!("CARGO_BIN_EXE_updraft"));
    stdout(updraft.arg("run").arg(file).args(["--kernels", &kernels.to_string(), "--mode", mode]))
}

/// A click, or `None` for a line that is none.
type Click = Option<(&'static str, u64, i64)>;

/// The same for the same seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Twenty minutes of clicks: most out of order by less than the bound, some by more, some by much more.
    fn clicks(&mut self) -> Vec<Click> {
        const AREAS: [&str; 6] = ["212", "415", "512", "617", "702", ""];
        let mut now = START + self.below(90_000) as i64;
        let mut click = || {
            now += self.below(400) as i64;
            let behind = match self.below(100) {
                0 => return None,
                1..=3 => self.below(300_000),
                4..=9 => self.below(12_000),
                _ => self.below(BOUND as u64 + 1),
            };
            let area = AREAS[self.below(AREAS.len() as u64) as usize];
            Some((area, self.below(1_000), now - behind as i64))
        };
        (0..6_000).map(|_| click()).collect()
    }
}

/// A time of the day of the test, as in CSV.
fn time(millis: i64) -> String {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    format!("2026-11-20 {:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// The same as `print` shows it, which is how Java does: without zeros at the end.
fn printed(millis: i64) -> String {
    let full = time(millis).replace(' ', "T");
    let brief = full.trim_end_matches(".000");
    if brief != full && millis % MINUTE == 0 { brief[..16].into() } else { brief.into() }
}

fn line((index, click): (usize, &Click)) -> String {
    match click {
        Some((area, user, at)) => format!("{area},{user},/item/{index},{}\n", time(*at)),
        None if index % 2 == 0 => format!("212,a{index},/,{}\n", time(START)),
        None => "212,1,/,soon\n".into(),
    }
}

/// What the job has to print.
#[derive(Default)]
struct Expected {
    counts: BTreeMap<(i64, &'static str), u64>,
    lines: Vec<String>,
    late: usize,
    rejected: usize,
}

impl Expected {
    /// The rows of one file, in their order; `all` are counted where nobody waits for the watermark.
    fn read(&mut self, file: &str, clicks: &[Click], all: bool) {
        let (mut newest, mut first, mut watermark) = (i64::MIN, None, i64::MIN);
        for (index, click) in clicks.iter().enumerate() {
            let Some((area, user, at)) = click else {
                self.rejected += 1;
                self.lines.push(format!("rejected> +I[{file}, {}, ", index + 1));
                continue;
            };
            if *at < watermark && !all {
                self.late += 1;
                self.lines.push(format!("late> +I[{}, {user}, {}]", area, printed(*at)));
            } else {
                *self.counts.entry((at.div_euclid(MINUTE), area)).or_default() += 1;
            }
            newest = newest.max(*at);
            let reached = (newest - BOUND).div_euclid(MINUTE) * MINUTE;
            // A file's first row says nothing yet.
            if reached > *first.get_or_insert(reached) {
                watermark = reached;
            }
        }
    }

    fn lines(mut self) -> Vec<String> {
        let count = |((minute, area), count): (&(i64, &str), &u64)| {
            format!("clicks> +I[{}, {}, {count}]", printed(minute * MINUTE), area)
        };
        let counts: Vec<_> = self.counts.iter().map(count).collect();
        self.lines.extend(counts);
        self.lines.sort_unstable();
        self.lines
    }
}

/// A line without the reason why it was rejected, which must be there.
fn plain(line: &str) -> String {
    if line.starts_with("rejected> ") {
        let fields: Vec<_> = line.splitn(3, ", ").collect();
        assert!(fields[2].contains("user_id") || fields[2].contains("click_time"), "{line}: no reason");
        return format!("{}, {}, ", fields[0], fields[1]);
    }
    line.into()
}

#[test]
fn late_rows_are_those_below_the_watermark_of_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(0x5EED_5EED);
    let files: Vec<_> = (0..3).map(|part| (folder.path().join(format!("part-{part}.csv")), random.clicks())).collect();
    for (path, clicks) in &files {
        std::fs::write(path, clicks.iter().enumerate().map(line).collect::<String>()).unwrap();
    }
    for (kernels, mode) in [(1, "streaming"), (2, "streaming"), (3, "streaming"), (2, "batch")] {
        let mut expected = Expected::default();
        for (path, clicks) in &files {
            expected.read(&path.display().to_string(), clicks, mode == "batch");
        }
        assert_eq!(expected.late > 100, mode == "streaming", "{}", expected.late);
        assert!(expected.rejected > 100, "{}", expected.rejected);
        let told = job(folder.path(), kernels, mode);
        let mut told: Vec<_> = told.lines().map(plain).collect();
        told.sort_unstable();
        let expected = expected.lines();
        let differ = told.iter().zip(&expected).find(|(told, expected)| told != expected);
        assert_eq!((differ, told.len()), (None, expected.len()), "{kernels} kernels, {mode}");
    }
}

#[test]
fn the_example_runs_as_its_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut updraft = Command::new(env!("CARGO_BIN_EXE_updraft"));
    let printed = stdout(updraft.args(["run", "updraft/examples/clickstream/job.sql"]).current_dir(root));
    let readme = std::fs::read_to_string(example().join("README.md")).unwrap();
    let shown: Vec<_> = readme.lines().filter(|line| line.contains("> +I[")).collect();
    assert!(shown.len() >= 3, "the README shows nothing");
    for line in shown {
        assert!(sorted(&printed).binary_search(&line).is_ok(), "{line} is not among\n{printed}");
    }
    let count = |of: &str| printed.lines().filter(|line| line.starts_with(of)).count();
    assert_eq!(count("rejected> "), 2);
    assert!(count("late> ") > 0);
}
