//! The events in small batches, so that a job can be ended between many of them.

use updraft::connectors::table::Nexmark;
use updraft::dataflow::connector::{AnyPartition, AnySink, AnySource, Connector, OptionSpec, Scan, Table};
use updraft::dataflow::{Batch, Error, Partition, Place, Rows, Source};

/// Rows of a batch.
const ROWS: usize = 300;

/// The connector `nexmark`.
#[derive(Debug)]
pub(crate) struct Small;

impl Connector for Small {
    fn name(&self) -> &'static str {
        Nexmark.name()
    }

    fn options(&self) -> Vec<OptionSpec> {
        Nexmark.options()
    }

    fn infer(&self, table: &Table) -> Result<arrow::datatypes::SchemaRef, Error> {
        Nexmark.infer(table)
    }

    fn is_bounded(&self, table: &Table) -> bool {
        Nexmark.is_bounded(table)
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        Ok(AnySource::new(Smaller(Nexmark.source(table, &Scan { batch: ROWS, ..scan.clone() })?)))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Nexmark.sink(table)
    }
}

struct Smaller(AnySource);

impl Source for Smaller {
    type Item = Rows;
    type Partition = SmallerPartition;

    fn open(self) -> Result<Vec<SmallerPartition>, Error> {
        Ok(self.0.open()?.into_iter().map(SmallerPartition).collect())
    }
}

struct SmallerPartition(AnyPartition);

impl Partition for SmallerPartition {
    type Item = Rows;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Rows>>, Error> {
        // Others may go first: this is not about speed.
        updraft::kernel::yield_now().await;
        self.0.next(limit.min(ROWS)).await
    }

    fn position(&self) -> String {
        self.0.position()
    }

    fn place(&self) -> Option<Place> {
        self.0.place()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.0.seek(place)
    }
}
