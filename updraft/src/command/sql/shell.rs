//! The interactive shell: lines with history and completion, until a statement is whole.

use std::borrow::Cow;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};
use updraft_sql::Session;
use updraft_sql::parse;

use super::engine::{Engine, rendered};
use crate::command::Outcome;

const WELCOME: &str = "Updraft SQL. Statements end with `;`. \\? for help, \\q to leave.";

const HELP: &str = r"\d          tables and views
\d NAME     the columns of a table or view
\df         functions
\set        settings
\q          leave
EXPLAIN …;  how a query is run
Everything else is SQL, in Flink's dialect, and ends with `;`. Ctrl-C ends a running query.";

/// What can stand at the beginning of a statement or within one, for completion.
const WORDS: [&str; 46] = [
    "AND",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CREATE",
    "CUMULATE",
    "DESC",
    "DESCRIBE",
    "DESCRIPTOR",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXPLAIN",
    "FROM",
    "GROUP",
    "HAVING",
    "HOP",
    "INSERT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "SELECT",
    "SESSION",
    "SET",
    "SHOW",
    "TABLE",
    "THEN",
    "TUMBLE",
    "UNION",
    "WATERMARK",
    "WHERE",
    "WITH",
];

/// Reads statements until the end.
pub(super) fn run(engine: &mut Engine) -> Outcome {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor = Editor::<Words, DefaultHistory>::with_config(config)?;
    let history = history();
    if let Some(history) = &history {
        // There is none before the first time.
        let _ = editor.load_history(history);
    }
    println!("{WELCOME}");
    loop {
        editor.set_helper(Some(Words::of(engine.session())));
        match editor.readline("sql> ") {
            Ok(line) if ["\\q", "quit", "quit;", "exit", "exit;"].contains(&line.trim()) => break,
            Ok(line) => answer(engine, &line),
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(history) = &history {
        history.parent().map(std::fs::create_dir_all).transpose()?;
        editor.save_history(history)?;
    }
    engine.wait()
}

/// Where lines are kept, by the XDG base directory specification.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("updraft").join("sql_history"))
}

/// Does what a line says; what is wrong is told, and the shell goes on.
fn answer(engine: &mut Engine, line: &str) {
    let line = match command(line.trim()) {
        Command::Help => return println!("{HELP}"),
        Command::Unknown => return println!("no such command; \\? for help"),
        Command::Sql(line) => line,
    };
    for piece in parse::split(&line) {
        let told = match engine.plan(&piece) {
            Ok(None) => continue,
            Ok(Some(outcome)) => engine.finish(outcome).map_err(|error| error.to_string()),
            Err(wrong) => Err(rendered(&wrong, "line", &line)),
        };
        if let Err(told) = told {
            eprintln!("{told}");
        }
        if engine.was_interrupted() {
            break;
        }
    }
}

enum Command {
    Help,
    Unknown,
    Sql(String),
}

/// What a line means that begins with a backslash.
fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    match (words.next().unwrap_or_default(), words.next()) {
        ("\\?" | "\\h" | "help" | "help;", _) => Command::Help,
        ("\\d" | "\\dt", None) => Command::Sql("SHOW TABLES;".into()),
        ("\\d", Some(name)) => Command::Sql(format!("DESCRIBE {name};")),
        ("\\df", None) => Command::Sql("SHOW FUNCTIONS;".into()),
        ("\\set", None) => Command::Sql("SET;".into()),
        (word, _) if word.starts_with('\\') => Command::Unknown,
        _ => Command::Sql(line.into()),
    }
}

/// Completes names, and tells whether a statement is whole.
struct Words {
    words: Vec<String>,
}

impl Words {
    fn of(session: &Session) -> Self {
        let tables = session.tables();
        let columns = tables.iter().flat_map(|table| session.columns(table));
        let mut words: Vec<String> = columns.collect();
        words.extend(tables);
        words.extend(WORDS.map(str::to_string));
        words.extend(session.functions().into_iter().map(|name| name.to_uppercase()));
        words.sort();
        words.dedup();
        Self { words }
    }
}

impl Helper for Words {}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let start = line[..at]
            .rfind(|c| !is_word(c))
            .map_or(0, |before| before + line[before..].chars().next().map_or(1, char::len_utf8));
        let begun = line[start..at].to_lowercase();
        let fits = self.words.iter().filter(|word| !begun.is_empty() && word.to_lowercase().starts_with(&begun));
        Ok((start, fits.map(|word| Pair { display: word.clone(), replacement: word.clone() }).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input().trim();
        let whole = input.is_empty() || !matches!(command(input), Command::Sql(_)) || input.starts_with('\\');
        let whole = whole || ["quit", "exit"].contains(&input) || parse::is_complete(input);
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}
