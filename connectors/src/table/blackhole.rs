//! `'connector' = 'blackhole'`: takes all rows, and forgets them. For measuring.

use updraft_dataflow::Error;
use updraft_dataflow::connector::{AnySink, AnySource, Changelog, Connector, OptionSpec, Scan, Table};

/// The connector. It has no options.
#[derive(Clone, Copy, Debug)]
pub struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn source(&self, table: &Table, _: &Scan) -> Result<AnySource, Error> {
        Err(super::not_readable(table, self.name()))
    }

    fn accepts(&self, _: &Table) -> Changelog {
        Changelog::Changes
    }

    fn sink(&self, _: &Table) -> Result<AnySink, Error> {
        let (sink, _) = crate::Blackhole::new();
        Ok(AnySink::new(sink))
    }
}
