//! The catalog: tables, views and functions by name.
//!
//! Names are as in Flink, `catalog.database.table`, of which the first parts may be left out; they are case-sensitive.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{ResolvedTableReference, Result, TableReference, plan_err};
use datafusion_expr::{Expr, LogicalPlan, TableSource, TableType};
use updraft_dataflow::connector::{Connector, Options, Table, nearest};

/// Where a column of a table comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// It is stored: the connector's column of that index.
    Physical(usize),
    /// The connector knows it beside the record, by this key; where it is not virtual, it is written too.
    Metadata { key: String, kind: DataType, is_virtual: bool },
    /// It is computed from the others.
    Computed(Expr),
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) field: FieldRef,
    pub(crate) origin: Origin,
    pub(crate) comment: Option<String>,
    /// What it is computed of, as written.
    pub(crate) written: Option<String>,
}

/// The event time of a table.
#[derive(Clone, Debug)]
pub(crate) struct Rowtime {
    /// Its column.
    pub(crate) column: usize,
    /// The watermark that a row declares.
    pub(crate) watermark: Expr,
    /// Both, as written.
    pub(crate) text: String,
}

/// How far its partitions may get ahead of the slowest of them.
#[derive(Clone, Debug)]
pub(crate) struct Aligned {
    pub(crate) drift: std::time::Duration,
    /// Of all tables of the group, if there is one.
    pub(crate) group: Option<String>,
}

/// A table that a connector reads or writes.
#[derive(Debug)]
pub(crate) struct ConnectorTable {
    pub(crate) connector: Arc<dyn Connector>,
    /// What the connector is told of it.
    pub(crate) table: Table,
    pub(crate) columns: Vec<Column>,
    pub(crate) rowtime: Option<Rowtime>,
    /// What becomes of rows that cannot be decoded.
    pub(crate) bad: BadRows,
    /// After how long without a row it stops holding others back.
    pub(crate) idle: Option<std::time::Duration>,
    pub(crate) aligned: Option<Aligned>,
    /// All that was written after `WITH`.
    pub(crate) all_options: Options,
    /// The whole statement that made it.
    pub(crate) statement: String,
    pub(crate) schema: SchemaRef,
}

/// What becomes of rows that cannot be decoded: `'bad-records'`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum BadRows {
    /// The job ends.
    #[default]
    Fail,
    /// They are counted and dropped.
    Skip,
    /// They are rows of the table `name$dead_letters`.
    DeadLetter,
}

impl ConnectorTable {
    /// What the connector is told of it for a job that is to end, if it is.
    pub(crate) fn bounded(&self, bounded: bool) -> Table {
        Table { bounded, ..self.table.clone() }
    }

    /// The schema that queries see.
    pub(crate) fn schema_of(columns: &[Column]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()))
    }

    /// The columns that `INSERT INTO` fills.
    pub(crate) fn written(&self) -> Vec<FieldRef> {
        let written = self.columns.iter().filter(|column| match &column.origin {
            Origin::Physical(_) => true,
            Origin::Metadata { is_virtual, .. } => !is_virtual,
            Origin::Computed(_) => false,
        });
        written.map(|column| column.field.clone()).collect()
    }
}

impl TableSource for ConnectorTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// What is read of a table beside its rows: `t$late` and `t$dead_letters`.
#[derive(Debug)]
pub(crate) struct SideTable {
    pub(crate) of: Arc<ConnectorTable>,
    pub(crate) side: Side,
    pub(crate) schema: SchemaRef,
}

/// Which rows of a table were set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Those that came after the watermark.
    Late,
    /// Those that could not be decoded.
    DeadLetters,
}

impl Side {
    /// By the end of the name, after `$`.
    pub(crate) const NAMES: [(&'static str, Self); 2] = [("late", Self::Late), ("dead_letters", Self::DeadLetters)];
}

impl TableSource for SideTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The columns of `t$dead_letters`.
pub(crate) fn dead_letter_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("origin", DataType::Utf8View, false),
        Field::new("line", DataType::Int64, false),
        Field::new("record", DataType::BinaryView, false),
        Field::new("reason", DataType::Utf8View, false),
    ]))
}

/// A query with a name.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) plan: LogicalPlan,
    pub(crate) statement: String,
    schema: SchemaRef,
}

impl View {
    pub(crate) fn new(plan: LogicalPlan, statement: String) -> Self {
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Self { plan, statement, schema }
    }

    /// The same over a table that was altered, wherever it reads the table.
    fn over(&self, old: &Arc<ConnectorTable>, new: &Arc<ConnectorTable>) -> Result<Self> {
        let plan = self.plan.clone().transform_up_with_subqueries(|plan| {
            let LogicalPlan::TableScan(mut scan) = plan else { return Ok(Transformed::no(plan)) };
            let source: Arc<dyn Any + Send + Sync> = scan.source.clone();
            if Arc::ptr_eq(&source, &(old.clone() as Arc<dyn Any + Send + Sync>)) {
                scan.source = new.clone();
            } else if let Ok(view) = source.downcast::<Self>() {
                scan.source = Arc::new(view.over(old, new)?);
            }
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        });
        Ok(Self { plan: plan?.data, statement: self.statement.clone(), schema: self.schema.clone() })
    }
}

impl TableSource for View {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Table(Arc<ConnectorTable>),
    View(Arc<View>),
}

/// Tables and views by name, and where names without a catalog or database are looked up.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) catalog: String,
    pub(crate) database: String,
    /// Of each catalog.
    pub(crate) databases: BTreeMap<String, Vec<String>>,
    entries: BTreeMap<(String, String, String), Entry>,
}

impl Default for Catalog {
    fn default() -> Self {
        let (catalog, database) = ("default_catalog".to_string(), "default_database".to_string());
        let databases = [(catalog.clone(), vec![database.clone()])].into_iter().collect();
        Self { catalog, database, databases, entries: BTreeMap::new() }
    }
}

type Key = (String, String, String);

impl Catalog {
    fn key(&self, name: &TableReference) -> Key {
        let ResolvedTableReference { catalog, schema, table } = name.clone().resolve(&self.catalog, &self.database);
        (catalog.to_string(), schema.to_string(), table.to_string())
    }

    pub(crate) fn get(&self, name: &TableReference) -> Option<&Entry> {
        self.entries.get(&self.key(name))
    }

    /// A table becomes another one with the same columns, for views too.
    pub(crate) fn alter(
        &mut self,
        name: &TableReference,
        old: &Arc<ConnectorTable>,
        new: ConnectorTable,
    ) -> Result<()> {
        let new = Arc::new(new);
        for entry in self.entries.values_mut() {
            if let Entry::View(view) = entry {
                *view = Arc::new(view.over(old, &new)?);
            }
        }
        self.add(name, Entry::Table(new), true)
    }

    /// The source of a table, a view, or what was set aside of a table.
    pub(crate) fn source(&self, name: &TableReference) -> Result<Arc<dyn TableSource>> {
        match self.get(name) {
            Some(Entry::Table(table)) => return Ok(table.clone()),
            Some(Entry::View(view)) => return Ok(view.clone()),
            None => {}
        }
        if let Some((table, side)) = name.table().rsplit_once('$')
            && let Some((_, side)) = Side::NAMES.into_iter().find(|(name, _)| *name == side)
            && let Some(Entry::Table(of)) = self.get(&sibling(name, table))
        {
            return Ok(Arc::new(side_table(of, side)?));
        }
        let names: Vec<_> = self.names().collect();
        let hint = match nearest(name.table(), names.iter().map(String::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if names.is_empty() => "; create it first: CREATE TABLE … WITH ('connector' = …)".into(),
            None => format!("; there are {}", names.join(", ")),
        };
        plan_err!("table '{name}' not found{hint}")
    }

    /// Tables and views of the current database.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.current().map(|(name, _)| name.to_string())
    }

    /// The same, with what they stand for.
    pub(crate) fn current(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let here = |key: &Key| key.0 == self.catalog && key.1 == self.database;
        self.entries.iter().filter(move |(key, _)| here(key)).map(|(key, entry)| (key.2.as_str(), entry))
    }

    /// Adds an entry; an existing one is replaced only if `replace`.
    pub(crate) fn add(&mut self, name: &TableReference, entry: Entry, replace: bool) -> Result<()> {
        let key = self.key(name);
        if !self.databases.get(&key.0).is_some_and(|databases| databases.contains(&key.1)) {
            return plan_err!("there is no database {}.{}", key.0, key.1);
        }
        if !replace && self.entries.contains_key(&key) {
            return plan_err!("table '{name}' exists already: drop it first, or say IF NOT EXISTS");
        }
        self.entries.insert(key, entry);
        Ok(())
    }

    /// Whether there is neither table nor view in a database.
    pub(crate) fn is_empty(&self, catalog: &str, database: &str) -> bool {
        !self.entries.keys().any(|key| key.0 == catalog && key.1 == database)
    }

    /// Forgets all tables and views of a database.
    pub(crate) fn clear(&mut self, catalog: &str, database: &str) {
        self.entries.retain(|key, _| key.0 != catalog || key.1 != database);
    }

    pub(crate) fn remove(&mut self, name: &TableReference) -> Option<Entry> {
        let key = self.key(name);
        self.entries.remove(&key)
    }
}

fn sibling(name: &TableReference, table: &str) -> TableReference {
    match name {
        TableReference::Bare { .. } => TableReference::bare(table),
        TableReference::Partial { schema, .. } => TableReference::partial(schema.clone(), table),
        TableReference::Full { catalog, schema, .. } => TableReference::full(catalog.clone(), schema.clone(), table),
    }
}

fn side_table(of: &Arc<ConnectorTable>, side: Side) -> Result<SideTable> {
    let name = &of.table.name;
    let schema = match side {
        Side::Late if of.rowtime.is_none() => {
            return plan_err!("no row of '{name}' is ever late: it has no WATERMARK");
        }
        Side::DeadLetters if of.bad != BadRows::DeadLetter => {
            return plan_err!("'{name}' sets no rows aside: add 'bad-records' = 'dead-letter' to its options");
        }
        Side::Late => of.schema.clone(),
        Side::DeadLetters => dead_letter_schema(),
    };
    Ok(SideTable { of: of.clone(), side, schema })
}
