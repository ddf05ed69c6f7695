//! The statements of Flink's SQL, as trees; queries and expressions are sqlparser's.
//!
//! What is known but not run is [`Statement::Unsupported`], with the words to say so.

use datafusion_sql::sqlparser::ast::{Expr, Ident, ObjectName, Query};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::types::SqlType;

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// What is written.
    pub value: T,
    /// Where, in the whole text: lines and columns from 1; the end is exclusive.
    pub span: Span,
}

/// `'key' = 'value'`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `'connector'`, say.
    pub key: Spanned<String>,
    /// `'filesystem'`, say.
    pub value: Spanned<String>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `SELECT`, `WITH`, `VALUES`, `TABLE t`.
    Query(Box<Query>),
    /// `INSERT`.
    Insert(Box<Insert>),
    /// `EXECUTE STATEMENT SET BEGIN …; …; END`: inserts that are one job.
    StatementSet(Vec<Spanned<Insert>>),
    /// `EXPLAIN`.
    Explain(Box<Explain>),
    /// `CREATE TABLE`.
    CreateTable(Box<CreateTable>),
    /// `CREATE VIEW`.
    CreateView(Box<CreateView>),
    /// `CREATE FUNCTION`.
    CreateFunction(CreateFunction),
    /// `CREATE CATALOG` or `CREATE DATABASE`.
    CreateNamespace(CreateNamespace),
    /// `ALTER TABLE`.
    AlterTable(Box<AlterTable>),
    /// `ALTER VIEW`.
    AlterView(Box<AlterView>),
    /// `DROP` of anything.
    Drop(Drop),
    /// `USE`.
    Use(Use),
    /// `SHOW`.
    Show(Show),
    /// `DESCRIBE` or `DESC`.
    Describe {
        /// Whether `EXTENDED` is written.
        extended: bool,
        /// Of which table or view.
        name: ObjectName,
    },
    /// `SET 'key' = 'value'`; without either, all settings are to be shown.
    Set(Option<Setting>),
    /// `RESET 'key'`; without it, all settings.
    Reset(Option<Spanned<String>>),
    /// What Flink knows and we do not: its name (`ANALYZE TABLE`).
    Unsupported(String),
}

impl Statement {
    /// The tables that it fills, by their own names; none where it is no INSERT.
    pub fn fills(&self) -> Vec<String> {
        let name = |insert: &Insert| {
            let last = insert.table.0.last().and_then(|part| part.as_ident());
            last.map(|name| name.value.clone()).unwrap_or_default()
        };
        match self {
            Self::Insert(insert) => vec![name(insert)],
            Self::StatementSet(inserts) => inserts.iter().map(|insert| name(&insert.value)).collect(),
            _ => Vec::new(),
        }
    }
}

/// `INSERT INTO t (…) query`.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// Whether it is `INSERT OVERWRITE`.
    pub overwrite: bool,
    /// Into which table.
    pub table: ObjectName,
    /// What `/*+ OPTIONS('key' = 'value') */` says after its name.
    pub options: Vec<Setting>,
    /// `PARTITION (column = value, …)`.
    pub partition: Vec<(Ident, Expr)>,
    /// The columns that are given; none are all.
    pub columns: Vec<Ident>,
    /// What is inserted.
    pub query: Box<Query>,
}

/// `EXPLAIN`.
#[derive(Clone, Debug, PartialEq)]
pub struct Explain {
    /// What is to be shown beside the plan.
    pub details: Vec<ExplainDetail>,
    /// Of which statement.
    pub statement: Spanned<Statement>,
}

/// What `EXPLAIN` shows beside the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainDetail {
    /// `ESTIMATED_COST`.
    EstimatedCost,
    /// `CHANGELOG_MODE`.
    ChangelogMode,
    /// `PLAN_ADVICE`.
    PlanAdvice,
    /// `JSON_EXECUTION_PLAN`.
    JsonExecutionPlan,
}

/// `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    /// Whether it is `OR REPLACE`.
    pub or_replace: bool,
    /// Whether it is `TEMPORARY`.
    pub temporary: bool,
    /// Whether it is `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// Its columns, in order. Without any, they are those of the query or of the table that it is like.
    pub columns: Vec<Column>,
    /// For `AS` a query: names of the query's columns in another order, when names stand alone.
    pub order: Vec<Ident>,
    /// Its primary key.
    pub primary_key: Option<PrimaryKey>,
    /// Its watermark.
    pub watermark: Option<Watermark>,
    /// What it is for.
    pub comment: Option<String>,
    /// `DISTRIBUTED BY …`: where it is written. (Which no connector here knows.)
    pub distributed: Option<Span>,
    /// `PARTITIONED BY`.
    pub partitioned_by: Vec<Ident>,
    /// `WITH`.
    pub options: Vec<Setting>,
    /// `LIKE`.
    pub like: Option<Like>,
    /// `AS` a query.
    pub query: Option<Box<Query>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: Ident,
    /// What it holds.
    pub kind: ColumnKind,
    /// What it is for.
    pub comment: Option<String>,
    /// All of it.
    pub span: Span,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there are few columns, and boxes would be in the reader's way")]
pub enum ColumnKind {
    /// What is stored.
    Physical(SqlType),
    /// What is computed of other columns.
    Computed(Expr),
    /// What the connector knows beside the record.
    Metadata {
        /// Its type.
        of: SqlType,
        /// `FROM 'key'`: by default, the column's name.
        key: Option<Spanned<String>>,
        /// Whether it is `VIRTUAL`: read, and never written.
        is_virtual: bool,
    },
}

/// `PRIMARY KEY (…) NOT ENFORCED`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrimaryKey {
    /// What follows `CONSTRAINT`.
    pub name: Option<Ident>,
    /// Its columns.
    pub columns: Vec<Ident>,
    /// All of it.
    pub span: Span,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// The column of event time; of several parts, a field of a row.
    pub column: ObjectName,
    /// What the watermark is after a row.
    pub expr: Expr,
    /// All of it.
    pub span: Span,
}

/// `LIKE table (…)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Like {
    /// Which table.
    pub table: ObjectName,
    /// What of it is taken, in the order in which it is written.
    pub rules: Vec<LikeRule>,
}

/// `INCLUDING ALL` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LikeRule {
    /// What is done with it.
    pub merging: Merging,
    /// With what.
    pub feature: Feature,
}

/// What is done with a feature of a table that another is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// It is taken; a duplicate is an error.
    Including,
    /// It is not taken.
    Excluding,
    /// It is taken, unless the new table has its own.
    Overwriting,
}

/// A feature of a table that another can be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// All of them.
    All,
    /// Its keys.
    Constraints,
    /// Its distribution.
    Distribution,
    /// Its computed columns.
    Generated,
    /// Its metadata columns.
    Metadata,
    /// Its options.
    Options,
    /// What it is partitioned by.
    Partitions,
    /// Its watermark.
    Watermarks,
}

/// `CREATE VIEW`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateView {
    /// Whether it is `OR REPLACE`.
    pub or_replace: bool,
    /// Whether it is `TEMPORARY`.
    pub temporary: bool,
    /// Whether it is `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// Names of its columns, with comments; none are those of the query.
    pub columns: Vec<(Ident, Option<String>)>,
    /// What it is for.
    pub comment: Option<String>,
    /// What it stands for.
    pub query: Box<Query>,
}

/// `CREATE FUNCTION`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateFunction {
    /// Whether it is `TEMPORARY`.
    pub temporary: bool,
    /// Whether it is `SYSTEM`.
    pub system: bool,
    /// Whether it is `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// What it is made of: a class in Flink.
    pub definition: Spanned<String>,
    /// `LANGUAGE`, in capitals.
    pub language: Option<Spanned<String>>,
    /// `USING JAR 'path', …`: kinds in capitals, and paths.
    pub using: Vec<(String, Spanned<String>)>,
    /// `WITH`.
    pub options: Vec<Setting>,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A table.
    Table,
    /// A view.
    View,
    /// A function.
    Function,
    /// A catalog.
    Catalog,
    /// A database.
    Database,
}

/// `CREATE CATALOG` or `CREATE DATABASE`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateNamespace {
    /// Which of the two.
    pub object: Object,
    /// Whether it is `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// What it is for.
    pub comment: Option<String>,
    /// `WITH`.
    pub options: Vec<Setting>,
}

/// `ALTER TABLE`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterTable {
    /// Whether it is `IF EXISTS`.
    pub if_exists: bool,
    /// Which table.
    pub name: ObjectName,
    /// What is changed.
    pub action: AlterAction,
}

/// What is changed of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum AlterAction {
    /// `RENAME TO`.
    Rename(ObjectName),
    /// `RENAME a TO b`.
    RenameColumn(Ident, Ident),
    /// `SET (…)`.
    Set(Vec<Setting>),
    /// `RESET (…)`.
    Reset(Vec<Spanned<String>>),
    /// `ADD …`.
    Add(Vec<SchemaPart>),
    /// `MODIFY …`.
    Modify(Vec<SchemaPart>),
    /// `DROP` of columns.
    DropColumns(Vec<Ident>),
    /// `DROP PRIMARY KEY`.
    DropPrimaryKey,
    /// `DROP CONSTRAINT name`.
    DropConstraint(Ident),
    /// `DROP WATERMARK`.
    DropWatermark,
}

/// A part of a table's schema.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaPart {
    /// A column, and where it goes.
    Column(Column, Option<Position>),
    /// A primary key.
    PrimaryKey(PrimaryKey),
    /// A watermark.
    Watermark(Watermark),
}

/// Where a column goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Position {
    /// Before all others.
    First,
    /// After that one.
    After(Ident),
}

/// `ALTER VIEW`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterView {
    /// Which view.
    pub name: ObjectName,
    /// What is changed.
    pub action: AlterViewAction,
}

/// What is changed of a view.
#[derive(Clone, Debug, PartialEq)]
pub enum AlterViewAction {
    /// `RENAME TO`.
    Rename(ObjectName),
    /// `AS` another query.
    Query(Box<Query>),
}

/// `DROP`.
#[derive(Clone, Debug, PartialEq)]
pub struct Drop {
    /// Of what.
    pub object: Object,
    /// Whether it is `TEMPORARY`.
    pub temporary: bool,
    /// Whether it is `SYSTEM`, for a function.
    pub system: bool,
    /// Whether it is `IF EXISTS`.
    pub if_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// Whether what is in it goes too: `CASCADE`.
    pub cascade: bool,
}

/// `USE`.
#[derive(Clone, Debug, PartialEq)]
pub enum Use {
    /// `USE CATALOG c`.
    Catalog(Ident),
    /// `USE d` or `USE c.d`.
    Database(ObjectName),
}

/// `SHOW`.
#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    /// What is shown.
    pub what: ShowWhat,
    /// `FROM name` or `IN name`.
    pub of: Option<ObjectName>,
    /// Only what is like a pattern.
    pub like: Option<ShowLike>,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum ShowWhat {
    /// `TABLES`.
    Tables,
    /// `VIEWS`.
    Views,
    /// `COLUMNS`, of [`Show::of`].
    Columns,
    /// `CATALOGS`.
    Catalogs,
    /// `CURRENT CATALOG`.
    CurrentCatalog,
    /// `DATABASES`.
    Databases,
    /// `CURRENT DATABASE`.
    CurrentDatabase,
    /// `FUNCTIONS`, or `USER FUNCTIONS`.
    Functions {
        /// Whether only those of the user.
        user: bool,
    },
    /// `JOBS`.
    Jobs,
    /// `CREATE TABLE name`, `CREATE VIEW name`, `CREATE CATALOG name`.
    Create(Object, ObjectName),
}

/// `[NOT] LIKE 'pattern'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowLike {
    /// Whether it is `NOT`.
    pub not: bool,
    /// Whether it is `ILIKE`, which is blind to case.
    pub blind_to_case: bool,
    /// `%` and `_` stand for any text and any character.
    pub pattern: String,
}
