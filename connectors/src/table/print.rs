//! `'connector' = 'print'`: a line for each row on standard output, as Flink prints them: `+I[1, hello]`.

use updraft_dataflow::connector::{AnySink, AnySource, Changelog, Connector, OptionSpec, Scan, Table};
use updraft_dataflow::{Bundle, Error, Punctuation, Rows, Sink};

use super::options;
use crate::console::terminal::Terminal;
use crate::text::{Style, cells};

/// The connector.
///
/// | option | |
/// |---|---|
/// | `print-identifier` | goes before each line, with `> ` between |
/// | `standard-error` | `true`: to standard error |
/// | `sink.parallelism` | for Flink's sake: one task prints, so lines need no number of theirs |
///
/// Lines appear when their epoch is complete, at the latest.
///
/// What was written since a job's last checkpoint is written again if its process is killed: each record comes at least
/// once.
#[derive(Clone, Copy, Debug)]
pub struct Print;

impl Connector for Print {
    fn name(&self) -> &'static str {
        "print"
    }

    fn options(&self) -> Vec<OptionSpec> {
        vec![
            OptionSpec { name: "print-identifier", about: "What goes before each line; nothing by default." },
            OptionSpec { name: "standard-error", about: "Whether to print to standard error; false by default." },
            OptionSpec { name: "sink.parallelism", about: "How many tasks may print; one does, whatever it says." },
        ]
    }

    fn source(&self, table: &Table, _: &Scan) -> Result<AnySource, Error> {
        Err(super::not_readable(table, self.name()))
    }

    fn accepts(&self, _: &Table) -> Changelog {
        Changelog::Changes
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        options::at_least_one(&table.options, "sink.parallelism")?;
        let prefix = table.options.get("print-identifier").map(|identifier| format!("{identifier}> "));
        let is_error = options::flag(&table.options, "standard-error")?.unwrap_or(false);
        Ok(AnySink::new(PrintSink { prefix: prefix.unwrap_or_default(), terminal: Terminal::new(is_error) }))
    }
}

struct PrintSink {
    prefix: String,
    terminal: Terminal,
}

impl Sink<Rows> for PrintSink {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        for rows in bundle.as_slice() {
            encode(rows, &self.prefix, &mut self.terminal.text)?;
            self.terminal.relieve().await?;
        }
        Ok(())
    }

    async fn complete(&mut self, _: Punctuation) -> Result<(), Error> {
        self.terminal.flush().await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.terminal.flush().await
    }
}

fn encode(rows: &Rows, prefix: &str, out: &mut String) -> Result<(), Error> {
    let columns: Vec<_> =
        rows.batch().columns().iter().map(|column| cells(column, Style::Java)).collect::<Result<_, _>>()?;
    for row in 0..rows.len() {
        out.push_str(prefix);
        out.push_str(rows.kind(row).short());
        out.push('[');
        for (at, write) in columns.iter().enumerate() {
            out.push_str(if at > 0 { ", " } else { "" });
            write(row, out);
        }
        out.push_str("]\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
    use updraft_dataflow::RowKind;

    use super::*;

    #[test]
    fn lines_are_those_of_flink() {
        let columns: [(&str, ArrayRef); 4] = [
            ("f0", Arc::new(Int32Array::from(vec![Some(1), None]))),
            ("f1", Arc::new(StringArray::from(vec!["hello, world", ""]))),
            ("f2", Arc::new(Float64Array::from(vec![10.0, 0.5]))),
            ("f3", Arc::new(TimestampMillisecondArray::from(vec![1_586_937_900_000, 1_586_937_901_000]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let (mut plain, mut named) = (String::new(), String::new());
        encode(&batch.clone().into(), "", &mut plain).unwrap();
        assert_eq!(plain, "+I[1, hello, world, 10.0, 2020-04-15T08:05]\n+I[null, , 0.5, 2020-04-15T08:05:01]\n");
        encode(&Rows::changes(batch, [RowKind::Delete, RowKind::UpdateAfter]), "id> ", &mut named).unwrap();
        assert!(named.starts_with("id> -D[1, ") && named.contains("\nid> +U[null, "), "{named}");
    }
}
