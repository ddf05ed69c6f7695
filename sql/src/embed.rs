//! SQL within a job that is written in Rust: streams as tables, and queries as streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::{DataFusionError, TableReference, plan_err};
use datafusion_expr::Expr;
use updraft_dataflow::connector::{AnySink, AnySource, Connector, OptionSpec, Options, Scan, Table};
use updraft_dataflow::{Error, Job, Rows, Stream};

use crate::Session;
use crate::build::Builder;
use crate::catalog::{BadRows, Column, ConnectorTable, Entry, Origin, Rowtime};
use crate::parse;
use crate::session::Outcome;

/// A session whose queries are streams of a job.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
/// use arrow::datatypes::{DataType, Field, Int64Type, Schema};
/// use updraft_dataflow::connector::Registry;
/// use updraft_dataflow::{Job, Stream, Rows};
/// use updraft_sql::Session;
///
/// # fn orders(job: &Job) -> Stream<(String, i64)> {
/// #     struct Once(Option<Vec<(String, i64)>>);
/// #     impl updraft_dataflow::Source for Once {
/// #         type Item = (String, i64);
/// #         type Partition = Self;
/// #         fn open(self) -> Result<Vec<Self>, updraft_dataflow::Error> { Ok(vec![self]) }
/// #     }
/// #     impl updraft_dataflow::Partition for Once {
/// #         type Item = (String, i64);
/// #         async fn next(&mut self, _: usize) -> Result<Option<updraft_dataflow::Batch<Self::Item>>, updraft_dataflow::Error> {
/// #             Ok(self.0.take().map(Into::into))
/// #         }
/// #         fn position(&self) -> String { String::new() }
/// #     }
/// #     job.source("orders", Once(Some(vec![("ann".into(), 5), ("bob".into(), 3), ("ann".into(), 2)]))).stream()
/// # }
/// let job = Job::new("spending");
/// let schema = Arc::new(Schema::new(vec![
///     Field::new("name", DataType::Utf8View, false),
///     Field::new("price", DataType::Int64, false),
/// ]));
/// let columns = schema.clone();
/// let rows = orders(&job).to_rows(move |orders| {
///     let names = StringViewArray::from_iter_values(orders.iter().map(|order| &order.0));
///     let prices = Int64Array::from_iter_values(orders.iter().map(|order| order.1));
///     RecordBatch::try_new(columns.clone(), vec![Arc::new(names), Arc::new(prices)]).unwrap()
/// });
/// let mut sql = Session::new(Registry::default()).embed(&job);
/// sql.table("orders", schema, None, rows)?;
/// let dear = sql.query("SELECT UPPER(name), price FROM orders WHERE price > 2")?;
/// let dear: Stream<Rows, _> = dear.inspect(|_, rows| assert!(rows.batch().column(1).as_primitive::<Int64Type>().value(0) > 2));
/// # struct Nowhere;
/// # impl updraft_dataflow::Sink<Rows> for Nowhere {
/// #     async fn write(&mut self, _: updraft_dataflow::Bundle<Rows>) -> Result<(), updraft_dataflow::Error> { Ok(()) }
/// # }
/// dear.sink("rows", Nowhere);
/// job.run().unwrap();
/// # Ok::<(), updraft_sql::session::Error>(())
/// ```
pub struct Embedded {
    session: Session,
    job: Job,
    streams: BTreeMap<Arc<str>, Stream<Rows>>,
}

impl Session {
    /// The session's tables and functions, for queries that are streams of `job`.
    pub fn embed(self, job: &Job) -> Embedded {
        Embedded { session: self, job: job.clone(), streams: BTreeMap::new() }
    }
}

impl Embedded {
    /// Calls a stream a table. `rowtime` names its column of event time, if it has one: the stream's own watermark tells how far
    /// that is.
    ///
    /// # Errors
    /// When there is such a table already, or no such column.
    pub fn table(
        &mut self,
        name: &str,
        schema: SchemaRef,
        rowtime: Option<&str>,
        rows: Stream<Rows>,
    ) -> Result<(), DataFusionError> {
        let rowtime = rowtime.map(|column| {
            let index = schema.index_of(column)?;
            let watermark = Expr::Column(datafusion_common::Column::new_unqualified(column));
            Ok::<_, DataFusionError>(Rowtime { column: index, watermark, text: "the stream's own".into() })
        });
        let column = |(index, field): (usize, &arrow::datatypes::FieldRef)| Column {
            field: field.clone(),
            origin: Origin::Physical(index),
            comment: None,
            written: None,
        };
        let table = ConnectorTable {
            connector: Arc::new(Streams),
            table: Table {
                name: name.into(),
                schema: schema.clone(),
                primary_key: Vec::new(),
                partition_keys: Vec::new(),
                options: Options::default(),
                bounded: false,
            },
            columns: schema.fields().iter().enumerate().map(column).collect(),
            rowtime: rowtime.transpose()?,
            bad: BadRows::Fail,
            idle: None,
            aligned: None,
            all_options: Options::default(),
            statement: format!("-- `{name}` is a stream of the program"),
            schema,
        };
        self.session.add_table(&TableReference::bare(name), Entry::Table(Arc::new(table)))?;
        self.streams.insert(name.into(), rows);
        Ok(())
    }

    /// Does what statements say that are no queries: `CREATE TABLE`, `CREATE VIEW`, `SET`.
    ///
    /// # Errors
    /// When one of them is wrong, or is a query.
    pub fn execute(&mut self, statements: &str) -> Result<(), DataFusionError> {
        for piece in parse::split(statements) {
            let Some(statement) = piece.parse().map_err(|wrong| DataFusionError::External(Box::new(wrong)))? else {
                continue;
            };
            match self.session.execute(&statement.value, piece.text())? {
                Outcome::Done(_) | Outcome::Shown(_) => {}
                Outcome::Query(_) | Outcome::Inserts(_) => {
                    return plan_err!("a query is a stream: ask for it by `query`");
                }
            }
        }
        Ok(())
    }

    /// The rows of a query, as a stream of the job.
    ///
    /// # Errors
    /// When it is wrong, or a source cannot be opened.
    pub fn query(&mut self, query: &str) -> Result<Stream<Rows>, DataFusionError> {
        let parsed = parse::query(query).map_err(|wrong| DataFusionError::External(Box::new(wrong)))?;
        let (node, mode) = self.session.plan(&parsed)?;
        let streams = self.streams.iter().map(|(name, rows)| (name.clone(), rows.share())).collect();
        Builder::new(self.job.clone(), mode, [&node])?.with_streams(streams).stream(node)
    }
}

/// The connector of tables that are streams: they are there already.
#[derive(Debug)]
struct Streams;

impl Connector for Streams {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn source(&self, table: &Table, _: &Scan) -> Result<AnySource, Error> {
        Err(format!("`{}` is a stream of another job", table.name).into())
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Err(format!("`{}` is a stream: rows cannot be written to it", table.name).into())
    }
}
