//! SQL from the command line: `updraft sql`, `run`, `check` and `explain`, as people and scripts call them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{failure, shell, sorted, stdout};

fn updraft() -> Command {
    Command::new(env!("CARGO_BIN_EXE_updraft"))
}

/// What a query prints.
fn sql(query: &str, args: &[&str]) -> String {
    stdout(updraft().arg("sql").arg(query).args(args).stdin(Stdio::null()))
}

/// What a query over standard input prints.
fn piped(input: &[u8], query: &str) -> String {
    let mut updraft = updraft().args(["sql", query]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Little enough for the pipe to hold.
    updraft.stdin.take().unwrap().write_all(input).unwrap();
    let Output { status, stdout, .. } = updraft.wait_with_output().unwrap();
    assert!(status.success(), "{query}");
    String::from_utf8(stdout).unwrap()
}

/// A folder with a table of orders, `tables.sql`, and files of statements.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let orders = "CREATE TABLE orders (id INT, price DOUBLE, country STRING)\n\
                  WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv');\n";
    let fixed = [("tables.sql", orders), ("orders.csv", "1,2.5,de\n2,3,fr\n3,4,de\n")];
    for (name, text) in fixed.iter().chain(files) {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn within(folder: &tempfile::TempDir, args: &[&str]) -> Command {
    let mut updraft = updraft();
    updraft.args(args).current_dir(folder.path()).stdin(Stdio::null());
    updraft
}

mod queries {
    use super::*;

    #[test]
    fn rows_are_shown_as_csv_json_or_a_table() {
        let query = "SELECT id, name FROM (VALUES (1, 'a,b'), (2, CAST(NULL AS STRING))) AS t(id, name) ORDER BY id";
        assert_eq!(sql(query, &[]), "id,name\n1,\"a,b\"\n2,\n");
        assert_eq!(sql(query, &["-o", "json"]), "{\"id\":1,\"name\":\"a,b\"}\n{\"id\":2,\"name\":null}\n");
        let table = "\
+---------------+--------+
|            id | name   |
+---------------+--------+
|             1 | a,b    |
|             2 | <NULL> |
+---------------+--------+
2 rows in set
";
        let shown = sql(query, &["--output", "table"]);
        // How wide a column is depends on what came first; what is in it does not.
        let cells = |text: &str| -> Vec<Vec<String>> {
            let rows = text.lines().filter(|line| !line.starts_with('+'));
            rows.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
        };
        assert_eq!(cells(&shown), cells(table), "{shown}");
        let widths: Vec<_> = shown.lines().take(6).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{shown}");
    }

    #[test]
    fn all_statements_of_a_query_run_in_order() {
        let made = "CREATE TABLE made (id INT) WITH ('connector' = 'datagen', 'number-of-rows' = '4', \
                    'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '4')";
        let printed = sql(&format!("{made}; SELECT SUM(id) AS s FROM made; SELECT COUNT(*) AS n FROM made;"), &[]);
        assert_eq!(printed, "s\n10\nn\n4\n");
        assert_eq!(shell(&format!("echo 'SELECT 5 AS five;' | {} sql", env!("CARGO_BIN_EXE_updraft"))), "five\n5\n");
    }

    #[test]
    fn changes_are_told_in_streaming_mode_and_final_rows_in_batch_mode() {
        let query = "SELECT s, COUNT(*) AS n FROM (VALUES ('a'), ('b'), ('a')) AS t(s) GROUP BY s";
        assert_eq!(sorted(&sql(query, &["--mode", "batch"])), ["a,2", "b,1", "s,n"]);
        let changes = sql(query, &["--mode", "streaming", "--set", "parallelism.default=1"]);
        assert!(changes.starts_with("op,s,n\n"), "{changes}");
        let weight = |row: &str| if row.starts_with("+I") || row.starts_with("+U") { 1 } else { -1 };
        let mut left = std::collections::BTreeMap::<&str, i64>::new();
        changes.lines().skip(1).for_each(|row| *left.entry(&row[3..]).or_default() += weight(row));
        left.retain(|_, count| *count != 0);
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [("a,2", 1), ("b,1", 1)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let told = failure(updraft().args(["sql", "SELECT 1;\nSELECT lin FROM stdin"]).stdin(Stdio::null()));
        assert!(told.contains("stdin"), "{told}");
        let told = failure(updraft().args(["sql", "CREATE TABLE t (a INT) WITH ('connector' = 'datagn')"]));
        assert!(
            told.starts_with("updraft: query:1:1: there is no connector 'datagn': did you mean 'datagen'?"),
            "{told}"
        );
        let told = failure(updraft().args(["sql", "SELECT 1", "--set", "execution.runtime-mode=fast"]));
        assert!(told.contains("'execution.runtime-mode' = 'fast': it is 'streaming'"), "{told}");
        assert!(!told.contains("Error during planning"), "{told}");
        assert!(failure(updraft().args(["sql", "SELECT 1", "--set", "nonsense"])).contains("write KEY=VALUE"));
    }

    #[test]
    fn examples_of_the_help_are_lines_of_their_own() {
        let help = stdout(updraft().args(["sql", "--help"]));
        assert!(help.contains("\n  updraft sql \"SELECT 6 * 7\"\n  cat orders.csv | updraft sql \""), "{help}");
    }
}

mod standard_input {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

    const TOTALS: &str = "SELECT country, SUM(price) AS total FROM stdin GROUP BY country ORDER BY total DESC";

    #[test]
    fn csv_with_any_common_delimiter_is_told_by_its_lines() {
        for delimiter in [',', ';', '\t', '|'] {
            let input = "country,price\nde,5\nfr,7\nde,1\n".replace(',', &delimiter.to_string());
            assert_eq!(piped(input.as_bytes(), TOTALS), "country,total\nfr,7\nde,6\n", "{delimiter:?}");
        }
    }

    #[test]
    fn json_lines_are_told_by_their_brace() {
        let input = b"{\"country\": \"de\", \"price\": 5, \"tags\": [\"x\"]}\n{\"country\": \"fr\", \"price\": 7}\n";
        assert_eq!(piped(input, TOTALS), "country,total\nfr,7\nde,5\n");
        assert_eq!(piped(input, "SELECT tags[1] AS tag FROM stdin WHERE price = 5"), "tag\nx\n");
    }

    #[test]
    fn parquet_is_told_by_its_first_bytes() {
        let columns: [(&str, ArrayRef); 2] = [
            ("country", Arc::new(StringArray::from(vec!["de", "fr", "de"]))),
            ("price", Arc::new(Int64Array::from(vec![5, 7, 1]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut file = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        assert_eq!(piped(&file, TOTALS), "country,total\nfr,7\nde,6\n");
    }

    #[test]
    fn all_else_is_lines_of_text() {
        assert_eq!(piped(b"hello there\n\nbye\n", "SELECT line FROM stdin"), "line\nhello there\n\"\"\nbye\n");
        assert_eq!(piped(b"one\ntwo\nthree\n", "SELECT COUNT(*) AS n FROM stdin WHERE line LIKE 't%'"), "n\n2\n");
    }

    #[test]
    fn none_is_an_error_that_says_so() {
        let told = failure(updraft().args(["sql", "SELECT * FROM stdin"]).stdin(Stdio::null()));
        assert!(told.contains("pipe something in"), "{told}");
    }
}

mod files {
    use super::*;

    const COUNTS: &str = "SELECT country, COUNT(*) AS n FROM orders GROUP BY country;";
    const DEAR: &str = "CREATE TABLE dear (id INT) WITH ('connector' = 'print', 'print-identifier' = 'dear');\n\
                        INSERT INTO dear SELECT id FROM orders WHERE price > 2.6;";

    #[test]
    fn several_are_one_session() {
        let folder = folder(&[("counts.sql", COUNTS), ("dear.sql", DEAR)]);
        let printed = stdout(&mut within(&folder, &["run", "tables.sql", "dear.sql"]));
        assert_eq!(sorted(&printed), ["dear> +I[2]", "dear> +I[3]"]);
        let set = "execution.runtime-mode=batch";
        for args in [
            &["run", "tables.sql", "counts.sql", "--mode", "batch"][..],
            &["run", "-i", "tables.sql", "counts.sql", "--set", set],
            &["run", "counts.sql", "--init", "tables.sql", "--set", set, "-k", "2", "-o", "csv"],
        ] {
            assert_eq!(sorted(&stdout(&mut within(&folder, args))), ["country,n", "de,2", "fr,1"], "{args:?}");
        }
        // As Flink's client, files stream unless it is said otherwise.
        assert!(stdout(&mut within(&folder, &["run", "tables.sql", "counts.sql"])).starts_with("op,country,n\n"));
    }

    #[test]
    fn what_is_wrong_ends_them_with_its_place() {
        let folder = folder(&[("wrong.sql", "SELECT id\nFROM ordres;\nSELECT 1 AS never;")]);
        let Output { status, stdout, stderr } = within(&folder, &["run", "tables.sql", "wrong.sql"]).output().unwrap();
        assert_eq!((status.code(), String::from_utf8(stdout).unwrap()), (Some(1), String::new()));
        let told = String::from_utf8(stderr).unwrap();
        assert!(told.contains("wrong.sql:2:6: table 'ordres' not found"), "{told}");
        let told = failure(&mut within(&folder, &["run", "none.sql"]));
        assert!(told.contains("none.sql: cannot be read"), "{told}");
        assert_eq!(within(&folder, &["run"]).output().unwrap().status.code(), Some(2), "a file is missing");
    }

    #[test]
    fn check_tells_all_that_is_wrong() {
        let wrong = "\
SELECT pric FROM orders;
SELECT id FROM orders;
SELECT country,
       COUNT(*)
FROM ordres GROUP BY country;
SELEC 1;
SELECT UPER(country) FROM orders;
CREATE TABLE t (a INT)
WITH ('connector' = 'datagen', 'rows-per-secnd' = '3');
";
        let told = "\
wrong.sql:1:8: unknown column `pric`
   |
 1 | SELECT pric FROM orders;
   |        ^^^^ did you mean `price`?
wrong.sql:5:6: table 'ordres' not found; did you mean `orders`?
   |
 5 | FROM ordres GROUP BY country;
   |      ^^^^^^
wrong.sql:6:1: expected a statement, found SELEC
   |
 6 | SELEC 1;
   | ^^^^^ did you mean SELECT?
wrong.sql:7:8: unknown function `uper`
   |
 7 | SELECT UPER(country) FROM orders;
   |        ^^^^ did you mean `upper`?
wrong.sql:8:1: 'datagen' has no option 'rows-per-secnd': did you mean 'rows-per-second'?
   |
 8 | CREATE TABLE t (a INT)
   | ^^^^^^^^^^^^^^^^^^^^^^
updraft: 5 statements are wrong
";
        let folder = folder(&[("wrong.sql", wrong), ("counts.sql", COUNTS)]);
        let Output { status, stdout: right, stderr } =
            within(&folder, &["check", "tables.sql", "wrong.sql"]).output().unwrap();
        assert_eq!(String::from_utf8(stderr).unwrap(), told);
        assert_eq!(status.code(), Some(1));
        assert_eq!(
            String::from_utf8(right).unwrap(),
            "tables.sql: 1 statement is right\nwrong.sql: 1 statement is right\n"
        );
        let right = stdout(&mut within(&folder, &["check", "tables.sql", "counts.sql"]));
        assert_eq!(right, "tables.sql: 1 statement is right\ncounts.sql: 1 statement is right\n");
    }

    #[test]
    fn check_runs_nothing() {
        let insert = "INSERT INTO copy SELECT id FROM orders;";
        let copy = "CREATE TABLE copy (id INT) WITH ('connector' = 'filesystem', 'path' = 'copy', 'format' = 'csv');";
        let folder = folder(&[("copy.sql", &format!("{copy}\n{insert}"))]);
        stdout(&mut within(&folder, &["check", "tables.sql", "copy.sql"]));
        assert!(!folder.path().join("copy").exists());
        stdout(&mut within(&folder, &["run", "tables.sql", "copy.sql"]));
        assert!(folder.path().join("copy").exists());
    }
}

mod explain {
    use super::*;

    #[test]
    fn tells_what_a_query_is_made_of() {
        let query = "SELECT country, COUNT(*) AS n FROM orders GROUP BY country;";
        let folder = folder(&[("counts.sql", query)]);
        let told = stdout(&mut within(&folder, &["explain", "tables.sql", "counts.sql"]));
        for part in ["GroupAggregate(", "changelog=[I,UB,UA,D]", "source: orders", "by key group", "sink: result"] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        let dot = stdout(&mut within(&folder, &["explain", "tables.sql", "counts.sql", "--format", "dot"]));
        assert!(dot.starts_with("digraph"), "{dot}");
        let told = failure(&mut within(&folder, &["explain", "none.sql"]));
        assert!(told.contains("there is no such file"), "{told}");
        let told = failure(&mut within(&folder, &["explain", "tables.sql"]));
        assert!(told.contains("there is no query"), "{told}");
    }

    #[test]
    fn what_is_there_twice_is_computed_once() {
        let counts = "(SELECT country, COUNT(*) AS n FROM orders GROUP BY country)";
        let query =
            format!("SELECT a.country FROM {counts} AS a JOIN (SELECT MAX(n) AS most FROM {counts}) AS b ON n = most;");
        let folder = folder(&[("most.sql", &query)]);
        let told = stdout(&mut within(&folder, &["explain", "tables.sql", "most.sql"]));
        assert_eq!(told.matches("GroupAggregate(groupBy=[country]").count(), 1, "{told}");
        assert_eq!(told.matches("Reused(reference_id=[1])").count(), 1, "{told}");
        // A hint makes another table of it.
        let other = query.replacen("FROM orders", "FROM orders /*+ OPTIONS('csv.field-delimiter' = ';') */", 1);
        let folder = self::folder(&[("most.sql", &other)]);
        let told = stdout(&mut within(&folder, &["explain", "tables.sql", "most.sql"]));
        assert_eq!(told.matches("GroupAggregate(groupBy=[country]").count(), 2, "{told}");
    }

    /// A table of files that may still come.
    fn table(name: &str) -> String {
        format!(
            "CREATE TABLE {name} (id BIGINT, t TIMESTAMP(3), WATERMARK FOR t AS t) WITH ('connector' = 'filesystem', \
             'path' = '{name}.csv', 'format' = 'csv', 'source.monitor-interval' = '1 s');\n"
        )
    }

    #[test]
    fn rows_that_cannot_be_the_greatest_are_left_out_before_a_join() {
        let windows = "SELECT MAX(id) AS most, window_end AS at FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(t), \
                       INTERVAL '1' HOUR)) GROUP BY window_start, window_end";
        let query = format!(
            "SELECT a.id FROM a JOIN ({windows}) AS w ON a.id = w.most AND a.t BETWEEN w.at - INTERVAL '1' HOUR AND w.at;"
        );
        let told = |query: &str| {
            let folder = folder(&[("job.sql", &[&*table("a"), query].concat())]);
            let told = stdout(&mut within(&folder, &["explain", "job.sql"]));
            told.matches("id may be the greatest of its window").count()
        };
        assert_eq!(told(&query), 1);
        // Where the greatest is of fewer rows, or of each key, or the window may be another one, all rows may be joined.
        assert_eq!(told(&query.replace("TABLE a,", "(SELECT * FROM a WHERE id < 9),")), 0);
        assert_eq!(told(&query.replace("window_end)", "window_end, id)")), 0);
        assert_eq!(told(&query.replace("- INTERVAL '1' HOUR", "- INTERVAL '3' HOUR")), 0);
    }

    fn why(files: &[(&str, &str)], query: &str) -> String {
        let job = [table("a"), table("b"), query.to_owned()].concat();
        let folder = folder(&[files, &[("job.sql", &job)]].concat());
        stdout(&mut within(&folder, &["explain", "job.sql", "--why-no-output", "--seconds", "1"]))
    }

    const ONE: (&str, &str) = ("a.csv", "1,2026-01-01 00:00:00\n2,2026-01-01 00:10:00\n");
    const HOURS: &str = "SELECT window_start, COUNT(*) FROM TUMBLE(TABLE a, DESCRIPTOR(t), INTERVAL '1' HOUR) \
                         GROUP BY window_start, window_end;";
    const JOIN: &str = "SELECT a.id FROM a JOIN b ON a.id = b.id AND b.t BETWEEN a.t - INTERVAL '1' MINUTE AND a.t;";

    #[test]
    fn a_source_that_gives_nothing_is_named() {
        let told = why(&[("a.csv", "")], HOURS);
        assert!(told.starts_with("no output in 1.0 s:\n- `a` has given no row"), "{told}");
        let told = why(&[ONE, ("b.csv", "")], JOIN);
        assert!(told.contains("- `b` has given no row") && !told.contains("`a` has given no row"), "{told}");
    }

    #[test]
    fn the_one_that_holds_the_watermark_is_named() {
        let told = why(&[ONE, ("b.csv", "7,2026-01-01 05:00:00\n8,2026-01-01 06:10:00\n")], JOIN);
        let holds = "- `a` holds the watermark at 2026-01-01 00:10:00.000; its newest row is of 2026-01-01 00:10:00.000, \
                     while others have come to 2026-01-01 06:10:00.000";
        assert!(told.contains(holds), "{told}");
        let told = why(&[ONE], HOURS);
        assert!(told.contains("`a` holds the watermark") && told.contains("has taken 2 rows and given none"), "{told}");
    }

    #[test]
    fn one_that_gives_output_is_well() {
        let told = why(&[ONE], "SELECT id FROM a;");
        assert_eq!(told, "it does give output: 2 rows in 1.0 s\n");
    }
}

mod endings {
    use super::*;

    /// Numbers from 1, for ever.
    const ENDLESS: &str = "CREATE TABLE endless (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50', \
                           'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '1000000000');";

    /// Interrupts a query when it has shown a row; what it has printed by then and after.
    fn interrupted(args: &[&str]) -> String {
        let mut updraft = updraft().args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut rows = BufReader::new(updraft.stdout.take().unwrap());
        let mut printed = String::new();
        while printed.lines().count() < 2 {
            assert!(rows.read_line(&mut printed).unwrap() > 0, "{args:?} has ended by itself: {printed}");
        }
        shell(&format!("kill -INT {}", updraft.id()));
        std::io::Read::read_to_string(&mut rows, &mut printed).unwrap();
        assert!(updraft.wait().unwrap().success(), "an interrupt ends well");
        printed
    }

    #[test]
    fn an_interrupt_ends_a_query_and_what_would_follow() {
        let printed = interrupted(&["sql", &format!("{ENDLESS} SELECT id FROM endless; SELECT 7 AS never;")]);
        let ids: Vec<u64> = printed.lines().skip(1).map(|line| line.parse().unwrap()).collect();
        assert!(ids.iter().copied().eq(1..=ids.len() as u64), "{printed}");
    }

    #[test]
    fn an_interrupt_ends_inserts() {
        let job = format!(
            "{ENDLESS} CREATE TABLE shown (id BIGINT) WITH ('connector' = 'print');\nINSERT INTO shown SELECT id FROM endless;"
        );
        let folder = folder(&[("job.sql", &job)]);
        let printed = interrupted(&["run", &folder.path().join("job.sql").display().to_string()]);
        assert!(printed.starts_with("+I[1]\n+I[2]\n") && printed.ends_with("]\n"), "{printed}");
    }

    #[test]
    fn a_reader_that_goes_ends_a_query_well() {
        let updraft = env!("CARGO_BIN_EXE_updraft");
        let rows = "CREATE TABLE fast (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000')";
        let script = format!("{updraft} sql \"{rows}; SELECT 1 AS one FROM fast\" | head -2; echo ${{PIPESTATUS[0]}}");
        assert_eq!(shell(&script), "one\n1\n0\n");
    }
}

/// The shell, through a terminal of its own (`script` of util-linux).
mod interactive {
    use super::*;
    use std::io::Read;
    use std::process::{Child, ChildStdin};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    struct Terminal {
        child: Child,
        keys: ChildStdin,
        shown: Receiver<Vec<u8>>,
        /// What was shown and not yet expected.
        unread: String,
    }

    impl Terminal {
        /// The shell, which keeps its history in `folder`.
        fn open(folder: &Path) -> Self {
            let command = format!("stty cols 160 rows 40; exec {} sql -k 2", env!("CARGO_BIN_EXE_updraft"));
            let mut script = Command::new("script");
            script.args(["-qefc", &command, "/dev/null"]).env("XDG_STATE_HOME", folder).env("TERM", "xterm");
            let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script of util-linux");
            let (send, shown) = channel();
            let mut screen = child.stdout.take().unwrap();
            #[expect(clippy::disallowed_methods, reason = "a pipe is read beside the test, which writes to another")]
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = screen.read(&mut buffer) {
                    if send.send(buffer[..read].to_vec()).is_err() {
                        break;
                    }
                }
            });
            let keys = child.stdin.take().unwrap();
            let mut terminal = Self { child, keys, shown, unread: String::new() };
            terminal.expect("sql> ");
            terminal
        }

        fn press(&mut self, keys: &str) {
            self.keys.write_all(keys.as_bytes()).unwrap();
            self.keys.flush().unwrap();
        }

        /// Waits until `text` is shown; what was shown up to it.
        fn expect(&mut self, text: &str) -> String {
            loop {
                if let Some(at) = self.unread.find(text) {
                    return self.unread.drain(..at + text.len()).collect();
                }
                let more = self.shown.recv_timeout(Duration::from_secs(60));
                let more = more.unwrap_or_else(|_| panic!("`{text}` is not shown, but {:?}", self.unread));
                self.unread += &String::from_utf8_lossy(&more);
            }
        }

        /// Types a line, and waits for the next prompt; what was shown in between.
        fn enter(&mut self, line: &str) -> String {
            self.press(&format!("{line}\r"));
            // The terminal leaves the mode of the line editor before an answer, and enters it after that.
            self.expect("\u{1b}[?2004l");
            let answer = self.expect("\u{1b}[?2004h");
            self.expect("sql> ");
            answer
        }

        fn leave(mut self) {
            self.press("\\q\r");
            assert!(self.child.wait().unwrap().success());
        }
    }

    const CLICKS: &str =
        "CREATE TABLE clicks (area_code STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '3');";

    #[test]
    fn statements_may_take_several_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(folder.path());
        terminal.press("SELECT 6 *\r");
        assert!(
            terminal.enter("7 AS answer;").contains("| 42 |") || terminal.enter("SELECT 42 AS a;").contains("42 |")
        );
        assert!(terminal.enter(CLICKS).contains("Table clicks created."));
        assert!(terminal.enter("SELECT COUNT(*) AS n FROM clicks;").contains(" 3 |"));
        terminal.leave();
    }

    #[test]
    fn what_is_wrong_is_told_and_the_shell_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(folder.path());
        let told = terminal.enter("SELEC 1;");
        assert!(told.contains("did you mean SELECT?") && told.contains("^^^^^"), "{told}");
        terminal.enter(CLICKS);
        let told = terminal.enter("SELECT area_cod FROM clicks;");
        assert!(told.contains("did you mean `area_code`?"), "{told}");
        let told = terminal.enter("SELECT 1 / (COUNT(*) - 3) AS x FROM clicks;");
        assert!(told.contains("Divide by zero"), "{told}");
        assert!(terminal.enter("SELECT COUNT(*) AS n FROM clicks;").contains(" 3 |"));
        terminal.leave();
    }

    #[test]
    fn tables_are_described() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(folder.path());
        terminal.enter(CLICKS);
        assert!(terminal.enter("\\d").contains("| clicks "));
        let told = terminal.enter("\\d clicks");
        assert!(told.contains("| area_code | STRING | TRUE |"), "{told}");
        assert!(terminal.enter("\\?").contains("EXPLAIN …;"));
        assert!(terminal.enter("\\x").contains("no such command"));
        terminal.leave();
    }

    #[test]
    fn names_are_completed() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(folder.path());
        terminal.enter(CLICKS);
        terminal.press("DESCRIBE clic\t");
        terminal.expect("DESCRIBE clicks");
        assert!(terminal.enter(";").contains("area_code"));
        terminal.press("SELECT COUNT(area_c\t");
        terminal.expect("COUNT(area_code");
        assert!(terminal.enter(") AS n FROM clicks;").contains(" 3 |"));
        terminal.leave();
    }

    #[test]
    fn history_outlives_the_shell() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(folder.path());
        terminal.enter("SELECT 4 AS kept;");
        terminal.leave();
        let mut terminal = Terminal::open(folder.path());
        // Up: the `\q` of the last time; once more: the query before.
        terminal.press("\u{1b}[A\u{1b}[A");
        terminal.expect("SELECT 4 AS kept;");
        let told = terminal.enter("");
        assert!(told.contains("kept") && told.contains(" 4 |"), "{told}");
        terminal.leave();
    }

    #[test]
    fn an_interrupt_ends_the_query_and_not_the_shell() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(folder.path());
        terminal.enter("CREATE TABLE slow (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20');");
        for _ in 0..2 {
            terminal.press("SELECT 'tick' AS tick FROM slow; SELECT 'after' AS after_it;\r");
            terminal.expect("| tick |\r\n");
            terminal.expect("| tick |\r\n");
            terminal.press("\u{3}");
            let rest = terminal.expect("sql> ");
            assert!(rest.contains("in set") && !rest.contains("after"), "{rest}");
            let told = terminal.enter("SELECT 5 AS five;");
            assert!(told.contains("1 row in set"), "{told}");
        }
        terminal.leave();
    }
}

mod state {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::process::Child;
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    const TABLES: &str = "
SET 'execution.checkpointing.interval' = '20 ms';
CREATE TABLE orders (id BIGINT, customer BIGINT, price INT)
WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'csv', 'source.monitor-interval' = '20 ms');
CREATE TABLE totals (customer BIGINT, n BIGINT, total BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE most (customer BIGINT, price BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE dear (id BIGINT, price BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/dear', 'format' = 'csv');
CREATE TABLE cheap (id BIGINT, price BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/cheap', 'format' = 'csv');
";

    /// Some orders: id, customer and price.
    fn orders(ids: std::ops::Range<i64>) -> Vec<[i64; 3]> {
        ids.map(|id| [id, id * id % 7, id * 37 % 101]).collect()
    }

    fn write_orders(folder: &tempfile::TempDir, name: &str, ids: std::ops::Range<i64>) {
        let mut text = String::new();
        orders(ids).iter().for_each(|[id, customer, price]| writeln!(text, "{id},{customer},{price}").unwrap());
        // There is never half of it.
        let path = folder.path().join("orders");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join(format!(".{name}")), text).unwrap();
        std::fs::rename(path.join(format!(".{name}")), path.join(name)).unwrap();
    }

    fn write_job(folder: &tempfile::TempDir, name: &str, inserts: &[&str]) {
        let set = format!("{TABLES}EXECUTE STATEMENT SET BEGIN\n{};\nEND;\n", inserts.join(";\n"));
        std::fs::write(folder.path().join(name), set).unwrap();
    }

    fn start(folder: &tempfile::TempDir, args: &[&str]) -> Child {
        let mut updraft = within(folder, args);
        updraft.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until a checkpoint says that so many records were read.
    fn wait_for(folder: &tempfile::TempDir, child: &mut Child, state: &str, records: usize) {
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let mut error = String::new();
                std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut error).unwrap();
                panic!("{status}: {error}");
            }
            let shown = within(folder, &["state", "show", state]).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            let taken = shown
                .split("\"taken\"\":")
                .skip(1)
                .map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<usize>().unwrap());
            if taken.sum::<usize>() == records {
                return;
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as Ctrl-C does: what it has told.
    fn interrupt(child: Child) -> String {
        stdout(Command::new("kill").args(["-INT", &child.id().to_string()]));
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        error
    }

    /// The rows that an operator keeps which computes what `what` says.
    fn exported(folder: &tempfile::TempDir, state: &str, what: &str) -> Vec<String> {
        let shown = stdout(&mut within(folder, &["state", "show", state, "-o", "json"]));
        let line = shown.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {shown}"));
        let id = line.split("\"part\":\"").nth(1).unwrap().split('"').next().unwrap();
        stdout(&mut within(folder, &["state", "export", state, id, "kept.parquet"]));
        let query = "CREATE TABLE kept WITH ('connector' = 'filesystem', 'path' = 'kept.parquet', 'format' = 'parquet'); \
                     SELECT * FROM kept";
        let rows = stdout(&mut within(folder, &["sql", query, "-o", "csv"]));
        in_order(rows.lines().skip(1).collect::<Vec<_>>().join("\n").as_str())
    }

    fn in_order(text: &str) -> Vec<String> {
        sorted(text).into_iter().map(str::to_owned).collect()
    }

    fn lines(folder: &tempfile::TempDir, table: &str) -> Vec<String> {
        let files = std::fs::read_dir(folder.path().join("out").join(table)).unwrap();
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        in_order(&texts.collect::<String>())
    }

    /// The number of these orders and the sum of their prices, by customer.
    fn totals(orders: &[[i64; 3]]) -> Vec<String> {
        let mut totals = BTreeMap::<i64, [i64; 2]>::new();
        for [_, customer, price] in orders {
            let [n, total] = totals.entry(*customer).or_default();
            (*n, *total) = (*n + 1, *total + price);
        }
        totals.into_iter().map(|(customer, [n, total])| format!("{customer},{n},{total}")).collect()
    }

    const TOTALS: &str =
        "INSERT INTO totals SELECT customer, COUNT(*), SUM(price) FROM orders WHERE price > 10 GROUP BY customer";
    const DEAR: &str = "INSERT INTO dear SELECT id, price FROM orders WHERE price > 90";
    const CHEAP: &str = "INSERT INTO cheap SELECT id, price FROM orders WHERE price < 5";

    /// Each part of a job goes on with its own state, whatever is done to others; what was gone begins empty when it comes back.
    #[test]
    fn a_job_is_edited_between_its_runs() {
        let folder = folder(&[]);
        write_orders(&folder, "1.csv", 0..1_000);
        write_job(&folder, "first.sql", &[TOTALS, DEAR]);
        let mut child = start(&folder, &["run", "first.sql", "--state", "state"]);
        wait_for(&folder, &mut child, "state", 1_000);
        assert_eq!(interrupt(child), "");
        let [first, second, third] = [0..1_000, 1_000..2_000, 2_000..3_000].map(orders);
        let above = |orders: &[[i64; 3]], least: i64| -> Vec<[i64; 3]> {
            orders.iter().copied().filter(|[.., price]| *price > least).collect()
        };
        assert_eq!(exported(&folder, "state", "sum"), totals(&above(&first, 10)));

        // Statements in another order, other settings: nothing is asked. On another number of kernels, too.
        write_job(&folder, "reordered.sql", &[DEAR, TOTALS]);
        let mut child =
            start(&folder, &["run", "reordered.sql", "--state", "state", "--set", "pipeline.name=x", "-k", "1"]);
        write_orders(&folder, "2.csv", 1_000..2_000);
        wait_for(&folder, &mut child, "state", 2_000);
        assert_eq!(interrupt(child), "");
        assert_eq!(exported(&folder, "state", "sum"), totals(&above(&[&first[..], &second].concat(), 10)));

        // Another filter, a sink and an aggregate more, a branch less.
        let most = "INSERT INTO most SELECT customer, MAX(price) FROM orders GROUP BY customer";
        write_job(&folder, "edited.sql", &[&TOTALS.replace("> 10", "> 50"), CHEAP, most]);
        let refused = failure(&mut within(&folder, &["run", "edited.sql", "--state", "state"]));
        for told in [
            "sink cheap: new",
            "sink dear: gone, what it has prepared is committed first",
            "sink most: new",
            "goes on, and is given other rows",
            "new, begins empty",
            "--yes",
        ] {
            assert!(refused.contains(told), "{told}: {refused}");
        }
        let mut child = start(&folder, &["run", "edited.sql", "--state", "state", "--yes"]);
        write_orders(&folder, "3.csv", 2_000..3_000);
        wait_for(&folder, &mut child, "state", 3_000);
        assert!(interrupt(child).contains("sink cheap: new"));
        let all = [above(&[&first[..], &second].concat(), 10), above(&third, 50)].concat();
        assert_eq!(exported(&folder, "state", "sum"), totals(&all));
        let mut greatest = BTreeMap::new();
        for [_, customer, price] in &third {
            let most: &mut i64 = greatest.entry(*customer).or_default();
            *most = (*most).max(*price);
        }
        let greatest: Vec<_> = greatest.iter().map(|(customer, price)| format!("{customer},{price}")).collect();
        assert_eq!(exported(&folder, "state", "max"), greatest);
        let dear = [&first[..], &second].concat();
        let mut dear: Vec<_> = above(&dear, 90).iter().map(|[id, _, price]| format!("{id},{price}")).collect();
        let mut cheap: Vec<_> =
            third.iter().filter(|[.., price]| *price < 5).map(|[id, _, price]| format!("{id},{price}")).collect();
        dear.sort();
        cheap.sort();
        assert_eq!((lines(&folder, "dear"), lines(&folder, "cheap")), (dear, cheap));

        // Without its table nobody can commit what a sink has prepared.
        write_job(&folder, "less.sql", &[TOTALS]);
        let text = std::fs::read_to_string(folder.path().join("less.sql")).unwrap();
        let text: Vec<_> = text.lines().filter(|line| !line.contains("TABLE cheap")).collect();
        std::fs::write(folder.path().join("less.sql"), text.join("\n")).unwrap();
        let refused = failure(&mut within(&folder, &["run", "less.sql", "--state", "state", "--yes"]));
        assert!(refused.contains("keep `CREATE TABLE cheap`"), "{refused}");
    }

    /// What joins remember is read as wider columns; a column more cannot be known.
    #[test]
    fn columns_become_wider() {
        let folder = folder(&[]);
        write_orders(&folder, "1.csv", 0..200);
        let join = "INSERT INTO dear SELECT a.id, a.price + b.price FROM orders a JOIN orders b ON a.id = b.customer";
        write_job(&folder, "job.sql", &[join]);
        let mut child = start(&folder, &["run", "job.sql", "--state", "state"]);
        wait_for(&folder, &mut child, "state", 200);
        assert_eq!(interrupt(child), "");
        let wide =
            std::fs::read_to_string(folder.path().join("job.sql")).unwrap().replace("price INT)", "price BIGINT)");
        std::fs::write(folder.path().join("wide.sql"), &wide).unwrap();
        let mut child = start(&folder, &["run", "wide.sql", "--state", "state", "--yes"]);
        write_orders(&folder, "2.csv", 200..400);
        wait_for(&folder, &mut child, "state", 400);
        let told = interrupt(child);
        assert!(told.contains("migrated: `price` was Int32, and is Int64"), "{told}");
        let all = orders(0..400);
        let pairs = all.iter().flat_map(|[id, _, price]| {
            all.iter()
                .filter(move |[_, customer, _]| customer == id)
                .map(move |other| format!("{id},{}", price + other[2]))
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort();
        assert_eq!(lines(&folder, "dear"), pairs);
        // Narrower again: what is there may not fit.
        let told = failure(&mut within(&folder, &["run", "job.sql", "--state", "state"]));
        assert!(told.contains("begins empty, its state is dropped: `price` was Int64, and is Int32"), "{told}");
    }

    /// Each INSERT keeps its folder, and goes on from a savepoint as from the state that it is a copy of.
    #[test]
    fn jobs_go_on_from_a_savepoint() {
        let folder = folder(&[]);
        write_orders(&folder, "1.csv", 0..500);
        let write = |name: &str, inserts: &[&str]| {
            std::fs::write(folder.path().join(name), format!("{TABLES}{};\n", inserts.join(";\n"))).unwrap();
        };
        write("job.sql", &[TOTALS, DEAR]);
        let mut child = start(&folder, &["run", "job.sql", "--state", "state"]);
        // Both read them.
        wait_for(&folder, &mut child, "state", 1_000);
        stdout(&mut within(&folder, &["savepoint", "state", "kept"]));
        child.kill().unwrap();
        child.wait().unwrap();
        let again = failure(&mut within(&folder, &["savepoint", "state", "kept"]));
        assert!(again.contains("there are checkpoints already"), "{again}");
        let list = |dir: &str| stdout(&mut within(&folder, &["state", "ls", dir]));
        let before = list("kept");
        assert_eq!(before.lines().count(), 3, "{before}");

        write("swapped.sql", &[DEAR, CHEAP, TOTALS]);
        let mut child = start(&folder, &["run", "swapped.sql", "--state", "new", "--from", "kept"]);
        write_orders(&folder, "2.csv", 500..800);
        wait_for(&folder, &mut child, "new", 2_400);
        assert_eq!(interrupt(child), "");
        let above: Vec<_> = orders(0..800).into_iter().filter(|[.., price]| *price > 10).collect();
        assert_eq!(exported(&folder, "new", "sum"), totals(&above));
        let found = |is: fn(i64) -> bool| {
            let found = orders(0..800).into_iter().filter(|[.., price]| is(*price));
            let mut lines: Vec<_> = found.map(|[id, _, price]| format!("{id},{price}")).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&folder, "dear"), found(|price| price > 90));
        assert_eq!(lines(&folder, "cheap"), found(|price| price < 5));
        assert_eq!(list("kept"), before, "a savepoint stays as it is");
        let refused = failure(&mut within(&folder, &["run", "job.sql", "--state", "new", "--from", "kept"]));
        assert!(refused.contains("has state already"), "{refused}");
    }

    #[test]
    fn what_is_not_there_or_damaged_is_told() {
        let folder = folder(&[]);
        let told = |args: &[&str]| failure(&mut within(&folder, args));
        assert!(told(&["state", "ls", "nowhere"]).contains("nowhere: there is no such folder"));
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        assert!(told(&["savepoint", "empty", "kept"]).contains("empty: there are no checkpoints"));
        write_orders(&folder, "1.csv", 0..100);
        write_job(&folder, "job.sql", &[TOTALS]);
        let mut child = start(&folder, &["run", "job.sql", "--state", "state"]);
        wait_for(&folder, &mut child, "state", 100);
        interrupt(child);
        assert!(
            told(&["state", "show", "state", "--checkpoint", "999"]).contains("there is no checkpoint 999: there are")
        );
        assert!(
            told(&["state", "export", "state", "nobody", "out.parquet"])
                .contains("there is no `nobody`: there is stage group")
        );
        assert!(told(&["state", "export", "state", "sink totals", "out.parquet"]).contains("has no state"));
        for file in std::fs::read_dir(folder.path().join("state/job-1/data")).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
        let shown = stdout(&mut within(&folder, &["state", "show", "state", "-o", "json"]));
        let id = shown.split("\"part\":\"").find(|part| part.starts_with("stage")).unwrap().split('"').next().unwrap();
        assert!(told(&["state", "export", "state", id, "out.parquet"]).contains("is damaged"));
        assert!(told(&["savepoint", "state", "kept"]).contains("is damaged"));
        assert!(told(&["state", "ls", "kept"]).contains("there are no checkpoints"));
    }
}
