//! A [`Session`]: a catalog, settings, and what statements do to them.
//!
//! Statements that only change or show something are done at once; queries and inserts come back as a [`Query`] or as
//! [`Inserts`], planned and checked, to be run as a job by whoever has a runtime.

mod create;
mod describe;
mod insert;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::{DataFusionError, TableReference};
use datafusion_expr::{LogicalPlan, ScalarUDF};
use datafusion_sql::sqlparser::ast::{self, ObjectName};
use updraft_dataflow::Job;
use updraft_dataflow::connector::{AnySink, Registry};

use crate::build::expr::batch_schema;
use crate::build::{Builder, Common, Mode, Node, Translator, window};
use crate::catalog::{Catalog, ConnectorTable, Entry};
use crate::fail::told;
use crate::parse::statement::{Explain, Insert, Statement, Use};
use crate::plan::{Context, Functions};

pub use describe::Shown;
pub use settings::Settings;

/// Why a statement cannot be run.
pub type Error = DataFusionError;

type Result<T> = std::result::Result<T, Error>;

/// Tables, functions and settings.
#[derive(Clone, Debug)]
pub struct Session {
    catalog: Catalog,
    functions: Functions,
    registry: Registry,
    settings: Settings,
    /// Functions of the program, by what `CREATE FUNCTION f AS '…'` calls them.
    natives: BTreeMap<String, Arc<ScalarUDF>>,
}

/// What became of a statement.
#[derive(Debug)]
pub enum Outcome {
    /// It is done: what it says to people.
    Done(String),
    /// It is done, and shows rows.
    Shown(Shown),
    /// A query, to be run.
    Query(Box<Query>),
    /// Inserts that are one job, to be run.
    Inserts(Inserts),
}

/// A query that was planned.
pub struct Query {
    node: Node,
    mode: Mode,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.node)
    }
}

impl Query {
    /// The columns that come out.
    pub fn schema(&self) -> SchemaRef {
        batch_schema(&self.node.schema)
    }

    /// Whether rows that came out may be updated or deleted later.
    pub fn has_changes(&self) -> bool {
        self.node.traits.changes
    }

    /// Whether only final rows come out, at the end of the input.
    pub fn is_batch(&self) -> bool {
        self.mode.batch
    }

    /// A job that gives all rows to `sink`.
    ///
    /// # Errors
    /// When a source cannot be opened.
    pub fn job(self, name: &str, sink: AnySink) -> std::result::Result<Job, updraft_dataflow::Error> {
        let job = Job::new(name);
        let mut builder = Builder::new(job.clone(), self.mode, [&self.node]).map_err(told)?;
        builder.sink("result", self.node, sink).map_err(told)?;
        Ok(job)
    }
}

/// Inserts that were planned, to be one job.
pub struct Inserts {
    targets: Vec<(Arc<ConnectorTable>, Node)>,
    mode: Mode,
}

impl std::fmt::Debug for Inserts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.targets.iter().try_for_each(|(table, node)| write!(f, "Sink(table={})\n{node}", table.table.name))
    }
}

impl Inserts {
    /// The tables that are filled.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|(table, _)| &*table.table.name)
    }

    /// What is inserted, as queries by themselves.
    pub fn into_queries(self) -> Vec<Query> {
        self.targets.into_iter().map(|(_, node)| Query { node, mode: self.mode }).collect()
    }

    /// Whether all is written at the end of the input.
    pub fn is_batch(&self) -> bool {
        self.mode.batch
    }

    /// The job.
    ///
    /// # Errors
    /// When a source or sink cannot be opened.
    pub fn job(self, name: &str) -> std::result::Result<Job, updraft_dataflow::Error> {
        let job = Job::new(name);
        let nodes = self.targets.iter().map(|(_, node)| node);
        let mut builder = Builder::new(job.clone(), self.mode, nodes).map_err(told)?;
        for (table, node) in self.targets {
            let sink = table.connector.sink(&table.bounded(self.mode.batch))?;
            builder.sink(&table.table.name, node, sink).map_err(told)?;
        }
        Ok(job)
    }
}

impl Session {
    /// A session with nothing in it, whose tables are of the given connectors.
    pub fn new(registry: Registry) -> Self {
        Self {
            catalog: Catalog::default(),
            functions: Functions::new(),
            registry,
            settings: Settings::default(),
            natives: BTreeMap::new(),
        }
    }

    /// Lets `CREATE FUNCTION f AS 'definition'` name a function of the program.
    pub fn register_function(&mut self, definition: impl Into<String>, function: ScalarUDF) {
        self.natives.insert(definition.into(), Arc::new(function));
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes a setting, as `SET 'key' = 'value'`.
    ///
    /// # Errors
    /// When the value is none for that key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        self.settings.set(key, value)
    }

    /// A sink for a table, as an INSERT would have it: none if there is no such table.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn sink(&self, table: &str) -> Option<std::result::Result<AnySink, updraft_dataflow::Error>> {
        match self.catalog.get(&TableReference::bare(table))? {
            Entry::Table(table) => Some(table.connector.sink(&table.bounded(false))),
            Entry::View(_) => None,
        }
    }

    /// Names of tables and views, for completion.
    pub fn tables(&self) -> Vec<String> {
        self.catalog.names().collect()
    }

    /// Names of the columns of a table or view, for completion.
    pub fn columns(&self, table: &str) -> Vec<String> {
        let source = self.catalog.source(&TableReference::bare(table));
        source
            .map(|source| source.schema().fields().iter().map(|field| field.name().clone()).collect())
            .unwrap_or_default()
    }

    /// Names of functions, for completion.
    pub fn functions(&self) -> Vec<String> {
        self.functions.names()
    }

    /// Does what a statement says, or plans it. `text` is the statement as written.
    ///
    /// # Errors
    /// When it is wrong, or asks for what is not supported.
    pub fn execute(&mut self, statement: &Statement, text: &str) -> Result<Outcome> {
        let text = text.trim().trim_end_matches(';').trim_end();
        match statement {
            Statement::Query(query) => Ok(Outcome::Query(Box::new(self.query(query)?))),
            Statement::Insert(insert) => Ok(Outcome::Inserts(self.inserts([&**insert])?)),
            Statement::StatementSet(inserts) => {
                Ok(Outcome::Inserts(self.inserts(inserts.iter().map(|insert| &insert.value))?))
            }
            Statement::Explain(explain) => self.explain(explain),
            Statement::CreateTable(create) => self.create_table(create, text),
            Statement::CreateView(create) => self.create_view(create, text),
            Statement::CreateNamespace(create) => self.create_namespace(create),
            Statement::AlterTable(alter) => self.alter_table(alter, text),
            Statement::AlterView(alter) => self.alter_view(alter, text),
            Statement::Drop(drop) => self.drop(drop),
            Statement::Use(to) => self.use_(to),
            Statement::Show(show) => self.show(show),
            Statement::Describe { name, .. } => self.describe(name),
            Statement::Set(None) => Ok(Outcome::Shown(self.settings.show())),
            Statement::Set(Some(setting)) => {
                self.settings.set(&setting.key.value, &setting.value.value)?;
                done("Set.")
            }
            Statement::Reset(key) => {
                self.settings.reset(key.as_ref().map(|key| key.value.as_str()));
                done("Reset.")
            }
            Statement::CreateFunction(create) => self.create_function(create),
            Statement::Unsupported(construct) => Err(DataFusionError::NotImplemented(construct.clone())),
        }
    }

    fn context(&self) -> Context<'_> {
        Context::new(&self.catalog, &self.functions)
    }

    fn query(&self, query: &ast::Query) -> Result<Query> {
        let (node, mode) = self.plan(query)?;
        Ok(Query { node, mode })
    }

    /// Plans a query.
    pub(crate) fn plan(&self, query: &ast::Query) -> Result<(Node, Mode)> {
        self.translate(&self.context().query(query.clone())?)
    }

    /// The streaming plan of a logical one.
    fn translate(&self, plan: &LogicalPlan) -> Result<(Node, Mode)> {
        let batch = self.settings.is_batch(plan);
        let translator = Translator { batch, time_to_live: self.settings.time_to_live(), common: Common::of(plan)? };
        Ok((window::assigned(translator.node(plan)?)?, self.mode(batch)))
    }

    pub(crate) fn add_table(&mut self, name: &TableReference, entry: Entry) -> Result<()> {
        self.catalog.add(name, entry, false)
    }

    fn mode(&self, batch: bool) -> Mode {
        Mode { batch, idle: self.settings.idle() }
    }

    fn inserts<'a>(&self, inserts: impl IntoIterator<Item = &'a Insert>) -> Result<Inserts> {
        let targets = inserts.into_iter().map(|insert| self.insert(insert)).collect::<Result<Vec<_>>>()?;
        let batch = targets.iter().all(|(.., batch)| *batch);
        Ok(Inserts {
            targets: targets.into_iter().map(|(table, node, _)| (table, node)).collect(),
            mode: self.mode(batch),
        })
    }

    fn explain(&self, explain: &Explain) -> Result<Outcome> {
        let text = match &explain.statement.value {
            Statement::Query(query) => {
                let plan = self.context().query((**query).clone())?;
                let (node, _) = self.translate(&plan)?;
                format!("== Optimized Logical Plan ==\n{}\n\n== Streaming Plan ==\n{node}", plan.display_indent())
            }
            Statement::Insert(insert) => format!("== Streaming Plan ==\n{:?}", self.inserts([&**insert])?),
            Statement::StatementSet(set) => {
                format!("== Streaming Plan ==\n{:?}", self.inserts(set.iter().map(|insert| &insert.value))?)
            }
            _ => return Err(DataFusionError::Plan("EXPLAIN takes a query or INSERT".into())),
        };
        Ok(Outcome::Shown(Shown::verbatim("plan", text.lines())))
    }

    fn use_(&mut self, to: &Use) -> Result<Outcome> {
        let (catalog, database) = match to {
            Use::Catalog(catalog) => (catalog.value.clone(), None),
            Use::Database(name) => match &parts(name)[..] {
                [database] => (self.catalog.catalog.clone(), Some(database.clone())),
                [catalog, database] => (catalog.clone(), Some(database.clone())),
                _ => return Err(DataFusionError::Plan(format!("{name} is no name of a database"))),
            },
        };
        let Some(databases) = self.catalog.databases.get(&catalog) else {
            return Err(DataFusionError::Plan(format!("there is no catalog {catalog}")));
        };
        let database = match database {
            Some(database) if !databases.contains(&database) => {
                return Err(DataFusionError::Plan(format!("there is no database {catalog}.{database}")));
            }
            Some(database) => database,
            None => databases.first().cloned().unwrap_or_default(),
        };
        (self.catalog.catalog, self.catalog.database) = (catalog, database);
        done("Used.")
    }
}

fn done(message: impl Into<String>) -> Result<Outcome> {
    Ok(Outcome::Done(message.into()))
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().map(|part| part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.clone())).collect()
}

/// The table that a name of one to three parts means.
fn reference(name: &ObjectName) -> Result<TableReference> {
    match &parts(name)[..] {
        [table] => Ok(TableReference::bare(table.as_str())),
        [database, table] => Ok(TableReference::partial(database.as_str(), table.as_str())),
        [catalog, database, table] => Ok(TableReference::full(catalog.as_str(), database.as_str(), table.as_str())),
        _ => Err(DataFusionError::Plan(format!("{name} is no name of a table: at most catalog.database.table"))),
    }
}
