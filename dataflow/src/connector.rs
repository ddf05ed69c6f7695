//! Connectors as tables: what a name such as `'connector' = 'filesystem'` stands for.
//!
//! A [`Connector`] makes sources and sinks of [`Rows`] for a [`Table`] that was described by options. They are the same
//! [`Source`] and [`Sink`] traits that Rust jobs use; [`AnySource`] and [`AnySink`] forget which. Who embeds the
//! engine gathers connectors in a [`Registry`]; a planner looks them up there.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};

use crate::bundle::Bundle;
use crate::rows::Rows;
use crate::sink::{Prepared, Sink};
use crate::source::{Batch, Error, Partition, Place, Progress, Source};
use crate::time::Punctuation;

/// An option that a connector knows.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// `scan.startup.mode`, say. One that ends in `.*` stands for all that begin so (`fields.*`).
    pub name: &'static str,
    /// What it is for, with its default: one sentence.
    pub about: &'static str,
}

/// The options of a table, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Options {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(options: I) -> Self {
        Self(options.into_iter().collect())
    }
}

impl Options {
    /// What was given for `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Gives `name` another value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// The same, which must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn required(&self, name: &str) -> Result<&str, Error> {
        self.get(name)
            .ok_or_else(|| format!("option '{name}' is missing: add '{name}' = '…' to the table's WITH").into())
    }

    /// What was given for `name`, read as a `T`; `what` says what is expected (`a number of rows`).
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Error> {
        let parse = |value: &str| value.parse().map_err(|_| format!("option '{name}' = '{value}': not {what}").into());
        self.get(name).map(parse).transpose()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Finds fault with options that are not among `known`.
    ///
    /// # Errors
    /// Names the first one, and the known option that is most like it.
    pub fn check<'a>(&self, of: &str, known: impl IntoIterator<Item = &'a OptionSpec>) -> Result<(), Error> {
        let known: Vec<_> = known.into_iter().map(|spec| spec.name).collect();
        let fits = |name: &str| {
            known
                .iter()
                .any(|known| name == *known || known.strip_suffix('*').is_some_and(|start| name.starts_with(start)))
        };
        let Some((name, _)) = self.iter().find(|(name, _)| !fits(name)) else { return Ok(()) };
        let hint = nearest(name, known.iter().copied())
            .map_or_else(|| format!("it knows {}", known.join(", ")), |nearest| format!("did you mean '{nearest}'?"));
        Err(format!("{of} has no option '{name}': {hint}").into())
    }
}

/// The one among `known` that is most like `name`, if any is: for error messages.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let far = |known: &&str| distance(&name, &known.to_lowercase());
    let nearest = known.into_iter().map(|known| (far(&known), known)).min()?;
    (nearest.0 <= (name.chars().count() / 3).max(1)).then_some(nearest.1)
}

/// Insertions, deletions and replacements between two words (Wagner and Fischer, JACM 1974).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A table, as a connector sees it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name, for errors and metrics.
    pub name: Arc<str>,
    /// The columns that are stored, as written to a sink; for a source see [`Scan`].
    pub schema: SchemaRef,
    /// Columns of the primary key.
    pub primary_key: Vec<usize>,
    /// Columns that it is partitioned by.
    pub partition_keys: Vec<usize>,
    /// What was written after `WITH`, but for what the planner itself keeps (`connector`).
    pub options: Options,
    /// Whether the job is to end: then a source is read to its end and no further.
    pub bounded: bool,
}

/// What is read of a table.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The columns of [`Rows`] that the source has to give: some of the table's, in any order, then the metadata.
    pub schema: SchemaRef,
    /// For each column, where it comes from.
    pub columns: Vec<Column>,
    /// Rows of a batch, about.
    pub batch: usize,
}

/// Where a column comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Column {
    /// The table's stored column of that index.
    Physical(usize),
    /// What the connector knows beside the record, by its key (`file.path`), which is one of [`Connector::metadata`].
    Metadata(String),
}

/// What changes of rows are told: by a source, or to a sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changelog {
    /// Insertions alone.
    Insertions,
    /// Insertions, updates and deletions by primary key: rows before an update need not be told, and of those that are
    /// deleted the key alone.
    Upserts,
    /// All.
    Changes,
}

/// A kind of table.
pub trait Connector: fmt::Debug + Send + Sync {
    /// What `'connector' = '…'` calls it.
    fn name(&self) -> &'static str;

    /// All options that it knows, those of its formats too.
    fn options(&self) -> Vec<OptionSpec>;

    /// The metadata columns that its sources can give: key and type.
    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        Vec::new()
    }

    /// The columns of a table that was declared without any, where the connector knows them or can find out.
    ///
    /// # Errors
    /// When it cannot.
    fn infer(&self, table: &Table) -> Result<SchemaRef, Error> {
        Err(format!("table `{}`: '{}' needs its columns to be declared", table.name, self.name()).into())
    }

    /// Whether its source ends by itself.
    fn is_bounded(&self, table: &Table) -> bool {
        table.bounded
    }

    /// What its source tells; of each key in order.
    fn tells(&self, table: &Table) -> Changelog {
        let _ = table;
        Changelog::Insertions
    }

    /// How many bytes its source reads, about, where that is known beforehand: for a planner that asks which of two tables is
    /// the smaller one.
    fn size(&self, table: &Table) -> Option<u64> {
        let _ = table;
        None
    }

    /// A source of what the table holds. Options have been [checked](Options::check).
    ///
    /// # Errors
    /// When an option's value is wrong, or nothing can be read from such tables.
    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error>;

    /// What its sink can take.
    fn accepts(&self, table: &Table) -> Changelog {
        let _ = table;
        Changelog::Insertions
    }

    /// A sink that fills the table.
    ///
    /// # Errors
    /// When an option's value is wrong, or nothing can be written to such tables.
    fn sink(&self, table: &Table) -> Result<AnySink, Error>;
}

/// Connectors by name.
#[derive(Clone, Debug, Default)]
pub struct Registry(Vec<Arc<dyn Connector>>);

impl Registry {
    /// The same with one more.
    #[must_use]
    pub fn with(mut self, connector: impl Connector + 'static) -> Self {
        self.0.push(Arc::new(connector));
        self
    }

    /// The connector that `'connector' = 'NAME'` names.
    ///
    /// # Errors
    /// When there is none, with what there is.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Connector>, Error> {
        self.0.iter().find(|connector| connector.name() == name).ok_or_else(|| {
            let names = || self.0.iter().map(|connector| connector.name());
            let hint = nearest(name, names()).map_or_else(
                || format!("there are {}", names().collect::<Vec<_>>().join(", ")),
                |nearest| format!("did you mean '{nearest}'?"),
            );
            format!("there is no connector '{name}': {hint}").into()
        })
    }
}

type Local<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// Some source of rows.
pub struct AnySource(Box<Open>);

/// Opens it, or has it go on from places.
type Open = dyn FnOnce(Option<Vec<Option<Place>>>) -> Result<Vec<AnyPartition>, Error> + Send;

impl AnySource {
    /// Forgets which source it is.
    pub fn new(source: impl Source<Item = Rows>) -> Self {
        let open = |places: Option<Vec<Option<Place>>>| {
            let partitions = if let Some(places) = places { source.resume(places) } else { source.open() };
            Ok(partitions?.into_iter().map(AnyPartition::new).collect())
        };
        Self(Box::new(open))
    }
}

impl fmt::Debug for AnySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnySource")
    }
}

impl Source for AnySource {
    type Item = Rows;
    type Partition = AnyPartition;

    fn open(self) -> Result<Vec<AnyPartition>, Error> {
        (self.0)(None)
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<AnyPartition>, Error> {
        (self.0)(Some(places))
    }
}

/// Some partition of rows.
pub struct AnyPartition(Box<dyn DynPartition>);

impl AnyPartition {
    /// Forgets which partition it is.
    pub fn new(partition: impl Partition<Item = Rows>) -> Self {
        Self(Box::new(partition))
    }
}

trait DynPartition: Send {
    fn next(&mut self, limit: usize) -> Local<'_, Option<Batch<Rows>>>;
    fn position(&self) -> String;
    fn progress(&self) -> Option<Progress>;
    fn place(&self) -> Option<Place>;
    fn seek(&mut self, place: Place) -> Result<(), Error>;
    fn stored(&mut self, place: &Place);
}

impl<P: Partition<Item = Rows>> DynPartition for P {
    fn next(&mut self, limit: usize) -> Local<'_, Option<Batch<Rows>>> {
        Box::pin(Partition::next(self, limit))
    }

    fn position(&self) -> String {
        Partition::position(self)
    }

    fn progress(&self) -> Option<Progress> {
        Partition::progress(self)
    }

    fn place(&self) -> Option<Place> {
        Partition::place(self)
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        Partition::seek(self, place)
    }

    fn stored(&mut self, place: &Place) {
        Partition::stored(self, place);
    }
}

impl Partition for AnyPartition {
    type Item = Rows;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Rows>>, Error> {
        self.0.next(limit).await
    }

    fn position(&self) -> String {
        self.0.position()
    }

    fn progress(&self) -> Option<Progress> {
        self.0.progress()
    }

    fn place(&self) -> Option<Place> {
        self.0.place()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.0.seek(place)
    }

    fn stored(&mut self, place: &Place) {
        self.0.stored(place);
    }
}

/// Some sink of rows.
pub struct AnySink(Box<dyn DynSink>);

impl AnySink {
    /// Forgets which sink it is.
    pub fn new(sink: impl Sink<Rows>) -> Self {
        Self(Box::new(sink))
    }
}

impl fmt::Debug for AnySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnySink")
    }
}

trait DynSink: Send {
    fn write(&mut self, bundle: Bundle<Rows>) -> Local<'_, ()>;
    fn complete(&mut self, punctuation: Punctuation) -> Local<'_, ()>;
    fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Local<'_, ()>;
    fn prepare(&mut self) -> Local<'_, Prepared>;
    fn commit(&mut self, prepared: Prepared) -> Local<'_, ()>;
    fn close(&mut self) -> Local<'_, ()>;
    fn abort(&mut self);
}

impl<S: Sink<Rows>> DynSink for S {
    fn write(&mut self, bundle: Bundle<Rows>) -> Local<'_, ()> {
        Box::pin(Sink::write(self, bundle))
    }

    fn complete(&mut self, punctuation: Punctuation) -> Local<'_, ()> {
        Box::pin(Sink::complete(self, punctuation))
    }

    fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Local<'_, ()> {
        Box::pin(Sink::begin(self, attempt, prepared))
    }

    fn prepare(&mut self) -> Local<'_, Prepared> {
        Box::pin(Sink::prepare(self))
    }

    fn commit(&mut self, prepared: Prepared) -> Local<'_, ()> {
        Box::pin(Sink::commit(self, prepared))
    }

    fn close(&mut self) -> Local<'_, ()> {
        Box::pin(Sink::close(self))
    }

    fn abort(&mut self) {
        Sink::abort(self);
    }
}

impl Sink<Rows> for AnySink {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        self.0.write(bundle).await
    }

    async fn complete(&mut self, punctuation: Punctuation) -> Result<(), Error> {
        self.0.complete(punctuation).await
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        self.0.begin(attempt, prepared).await
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        self.0.prepare().await
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        self.0.commit(prepared).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.0.close().await
    }

    fn abort(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_options_name_their_nearest_neighbour() {
        let known = [("path", ""), ("format", ""), ("fields.*", "")].map(|(name, about)| OptionSpec { name, about });
        let check = |name: &str| {
            let options: Options = [(name.to_string(), "x".to_string())].into_iter().collect();
            options.check("'filesystem'", &known).map_err(|error| error.to_string())
        };
        assert_eq!(check("fields.id.kind"), Ok(()));
        assert_eq!(check("fromat"), Err("'filesystem' has no option 'fromat': did you mean 'format'?".into()));
        assert_eq!(check("zzz"), Err("'filesystem' has no option 'zzz': it knows path, format, fields.*".into()));
    }
}
