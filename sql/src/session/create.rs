//! `CREATE`, `ALTER` and `DROP`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{DFSchema, DataFusionError, plan_err};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlanBuilder};
use datafusion_sql::sqlparser::ast::Ident;
use updraft_dataflow::connector::{Connector, OptionSpec, Options, Table, nearest};

use super::{Outcome, Result, Session, done, parts, reference};
use crate::build::scan::base_schema;
use crate::catalog::{Aligned, BadRows, Column, ConnectorTable, Entry, Origin, Rowtime, View};
use crate::parse::statement::{
    self as ast, AlterAction, AlterTable, AlterView, AlterViewAction, ColumnKind, CreateFunction, CreateNamespace,
    CreateTable, CreateView, Drop, Feature, Merging, Object, Setting, Watermark,
};

const MAX_DRIFT: &str = "scan.watermark.alignment.max-drift";
const GROUP: &str = "scan.watermark.alignment.group";

/// Options of every table, beside those of its connector.
const COMMON: [OptionSpec; 5] = [
    OptionSpec { name: "connector", about: "What kind of table it is." },
    OptionSpec {
        name: "bad-records",
        about: "What becomes of rows that cannot be decoded: 'fail', 'skip' or 'dead-letter'.",
    },
    OptionSpec {
        name: "scan.watermark.idle-timeout",
        about: "After how long without a row it stops holding others back.",
    },
    OptionSpec {
        name: MAX_DRIFT,
        about: "How far, in event time, a partition may get ahead of the slowest: it waits then.",
    },
    OptionSpec {
        name: GROUP,
        about: "Tables of one group wait for each other so: all are given the same maximum drift.",
    },
];

impl Session {
    pub(super) fn create_table(&mut self, create: &CreateTable, text: &str) -> Result<Outcome> {
        let name = reference(&create.name)?;
        if create.if_not_exists && self.catalog.get(&name).is_some() {
            return done(format!("Table {name} exists already."));
        }
        if create.distributed.is_some() {
            return plan_err!("DISTRIBUTED BY is not supported: no connector here knows buckets");
        }
        if create.query.is_some() {
            return plan_err!("CREATE TABLE … AS SELECT is not supported: create the table, then INSERT INTO it");
        }
        let table = self.table(create, name.table(), text)?;
        self.catalog.add(&name, Entry::Table(Arc::new(table)), create.or_replace)?;
        done(format!("Table {name} created."))
    }

    /// The table that a statement describes.
    fn table(&self, create: &CreateTable, name: &str, text: &str) -> Result<ConnectorTable> {
        let like = self.like(create)?;
        let mut options = like.as_ref().map_or_else(Options::default, |like| like.options.clone());
        create.options.iter().for_each(|setting| options.set(&setting.key.value, &setting.value.value));
        let Some(connector) = options.get("connector") else {
            return plan_err!("table '{name}' has no 'connector': add WITH ('connector' = '…')");
        };
        let connector = self.registry.get(connector).map_err(DataFusionError::External)?.clone();
        let bad = bad_rows(&options)?;
        let known = connector.options();
        options.check(&format!("'{}'", connector.name()), known.iter().chain(&COMMON)).map_err(external)?;
        let mut table = Table {
            name: name.into(),
            schema: Arc::new(Schema::empty()),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
            options: options.iter().filter(|(key, _)| !is_common(key)).map(|(k, v)| (k.into(), v.into())).collect(),
            bounded: false,
        };
        let mut columns = like.as_ref().map_or_else(Vec::new, |like| like.columns.clone());
        if create.columns.iter().all(|column| !matches!(column.kind, ColumnKind::Physical(_))) && columns.is_empty() {
            let inferred = connector.infer(&table).map_err(external)?;
            columns.extend(inferred.fields().iter().map(|field| stored(field.as_ref().clone(), None)));
        }
        if let Some(twice) = twice(&create.columns) {
            return plan_err!("table '{name}' has two columns `{twice}`");
        }
        for column in &create.columns {
            columns.retain(|other: &Column| other.field.name() != &column.name.value);
            columns.push(self.column(column, &columns, create, &*connector)?);
        }
        number(&mut columns);
        let physical = columns.iter().filter(|column| !matches!(column.origin, Origin::Computed(_)));
        let physical = physical.filter(|column| !matches!(column.origin, Origin::Metadata { is_virtual: true, .. }));
        table.schema = Arc::new(Schema::new(physical.map(|column| column.field.clone()).collect::<Vec<_>>()));
        let position = |ident: &Ident| position(&table.schema, &ident.value, name);
        let key = create.primary_key.iter().flat_map(|key| &key.columns).map(position).collect::<Result<Vec<_>>>()?;
        let partitions = create.partitioned_by.iter().map(position).collect::<Result<Vec<_>>>()?;
        (table.primary_key, table.partition_keys) = (key, partitions);
        let rowtime = match &create.watermark {
            Some(watermark) => Some(self.rowtime(watermark, &columns, name)?),
            None => like.and_then(|like| like.rowtime),
        };
        let schema = ConnectorTable::schema_of(&columns);
        let statement = text.to_string();
        Ok(ConnectorTable {
            connector,
            table,
            columns,
            rowtime,
            bad,
            idle: idle(&options)?,
            aligned: aligned(&options)?,
            statement,
            schema,
            all_options: options,
        })
    }

    /// A column, after those in `before`.
    fn column(
        &self,
        column: &ast::Column,
        before: &[Column],
        create: &CreateTable,
        connector: &dyn Connector,
    ) -> Result<Column> {
        let name = &column.name.value;
        let comment = column.comment.clone();
        match &column.kind {
            ColumnKind::Physical(kind) => Ok(stored(Field::new(name, kind.data_type.clone(), kind.nullable), comment)),
            ColumnKind::Metadata { of, key, is_virtual } => {
                let key = key.as_ref().map_or(name, |key| &key.value);
                let known = connector.metadata();
                let Some((_, kind)) = known.iter().find(|(known, _)| known == key) else {
                    let keys: Vec<_> = known.iter().map(|(key, _)| *key).collect();
                    let hint = match nearest(key, keys.iter().copied()) {
                        Some(near) => format!("did you mean '{near}'?"),
                        None if keys.is_empty() => "it has none".into(),
                        None => format!("there are {}", keys.join(", ")),
                    };
                    return plan_err!("'{}' has no metadata '{key}': {hint}", connector.name());
                };
                let origin = Origin::Metadata { key: key.clone(), kind: kind.clone(), is_virtual: *is_virtual };
                let field = Arc::new(Field::new(name, of.data_type.clone(), of.nullable));
                Ok(Column { field, origin, comment, written: None })
            }
            ColumnKind::Computed(expr) => {
                let written = Some(expr.to_string());
                // It may refer to stored columns that are written after it.
                let mut stored = before.to_vec();
                for other in create.columns.iter().filter(|other| !matches!(other.kind, ColumnKind::Computed(_))) {
                    if !stored.iter().any(|column| column.field.name() == &other.name.value) {
                        stored.push(self.column(other, before, create, connector)?);
                    }
                }
                let schema = DFSchema::try_from(base_schema(&stored))?;
                let expr = self.context().expression(expr.clone(), &schema)?;
                let (_, computed) = expr.to_field(&schema)?;
                let field = Field::new(name, computed.data_type().clone(), computed.is_nullable());
                Ok(Column { field: Arc::new(field), origin: Origin::Computed(expr), comment, written })
            }
        }
    }

    fn rowtime(&self, watermark: &Watermark, columns: &[Column], table: &str) -> Result<Rowtime> {
        let [name] = &parts(&watermark.column)[..] else {
            return plan_err!(
                "WATERMARK FOR {}: make a field of a row a column of its own first, `ts AS {}`",
                watermark.column,
                watermark.column
            );
        };
        let schema = ConnectorTable::schema_of(columns);
        let column = position(&schema, name, table)?;
        if !matches!(schema.field(column).data_type(), DataType::Timestamp(..)) {
            let kind = crate::parse::FlinkType(schema.field(column).data_type()).to_string();
            return plan_err!("WATERMARK FOR {name}: event time is a TIMESTAMP(3) or TIMESTAMP_LTZ(3), not {kind}");
        }
        let all = DFSchema::try_from(schema.as_ref().clone())?;
        let expr = self.context().expression(watermark.expr.clone(), &all)?;
        if !matches!(expr.get_type(&all)?, DataType::Timestamp(..)) {
            return plan_err!("WATERMARK FOR {name} AS {}: that is no time", watermark.expr);
        }
        let text = format!("WATERMARK FOR `{name}` AS {}", watermark.expr);
        Ok(Rowtime { column, watermark: expr, text })
    }

    /// What `LIKE` takes of another table.
    fn like(&self, create: &CreateTable) -> Result<Option<Taken>> {
        let Some(like) = &create.like else { return Ok(None) };
        let name = reference(&like.table)?;
        let Some(Entry::Table(of)) = self.catalog.get(&name) else {
            return plan_err!("LIKE {name}: there is no such table");
        };
        let takes = |feature: Feature| {
            let rules = like.rules.iter().rev();
            let rule = rules
                .clone()
                .find(|rule| rule.feature == feature)
                .or_else(|| rules.clone().find(|rule| rule.feature == Feature::All));
            rule.is_none_or(|rule| rule.merging != Merging::Excluding)
        };
        let columns = of.columns.iter().filter(|column| match column.origin {
            Origin::Physical(_) => true,
            Origin::Metadata { .. } => takes(Feature::Metadata),
            Origin::Computed(_) => takes(Feature::Generated),
        });
        let options = if takes(Feature::Options) { of.all_options.clone() } else { Options::default() };
        let rowtime = of.rowtime.clone().filter(|_| takes(Feature::Watermarks));
        Ok(Some(Taken { columns: columns.cloned().collect(), options, rowtime }))
    }

    pub(super) fn create_view(&mut self, create: &CreateView, text: &str) -> Result<Outcome> {
        let name = reference(&create.name)?;
        if create.if_not_exists && self.catalog.get(&name).is_some() {
            return done(format!("View {name} exists already."));
        }
        let view =
            self.view(&create.query, &create.columns.iter().map(|(column, _)| column).collect::<Vec<_>>(), text)?;
        self.catalog.add(&name, Entry::View(Arc::new(view)), create.or_replace)?;
        done(format!("View {name} created."))
    }

    fn view(&self, query: &datafusion_sql::sqlparser::ast::Query, columns: &[&Ident], text: &str) -> Result<View> {
        let plan = self.context().view(query.clone())?;
        if columns.is_empty() {
            return Ok(View::new(plan, text.into()));
        }
        let own = plan.schema().columns();
        if own.len() != columns.len() {
            return plan_err!("the view has {} names for {} columns", columns.len(), own.len());
        }
        let renamed = own.into_iter().zip(columns).map(|(column, name)| Expr::Column(column).alias(&name.value));
        let plan = LogicalPlanBuilder::from(plan).project(renamed.collect::<Vec<_>>())?.build()?;
        Ok(View::new(plan, text.into()))
    }

    pub(super) fn create_function(&mut self, create: &CreateFunction) -> Result<Outcome> {
        let name = create.name.to_string().replace('`', "");
        let definition = &create.definition.value;
        let Some(function) = self.natives.get(definition) else {
            let known: Vec<_> = self.natives.keys().map(String::as_str).collect();
            let hint = nearest(definition, known.iter().copied())
                .map_or_else(|| format!("there are {}", known.join(", ")), |near| format!("did you mean '{near}'?"));
            return plan_err!("CREATE FUNCTION {name}: '{definition}' is no function of this program; {hint}");
        };
        self.functions.name_scalar(&name, function.clone());
        done(format!("Function {name} created."))
    }

    pub(super) fn create_namespace(&mut self, create: &CreateNamespace) -> Result<Outcome> {
        let databases = match (create.object, &parts(&create.name)[..]) {
            (Object::Catalog, [catalog]) => {
                if !create.if_not_exists && self.catalog.databases.contains_key(catalog) {
                    return plan_err!("catalog {catalog} exists already");
                }
                self.catalog.databases.entry(catalog.clone()).or_insert_with(|| vec!["default".into()]);
                return done(format!("Catalog {catalog} created."));
            }
            (_, [database]) => (self.catalog.catalog.clone(), database.clone()),
            (_, [catalog, database]) => (catalog.clone(), database.clone()),
            _ => return plan_err!("{} is no name of a database", create.name),
        };
        let (catalog, database) = databases;
        let Some(all) = self.catalog.databases.get_mut(&catalog) else {
            return plan_err!("there is no catalog {catalog}");
        };
        if !all.contains(&database) {
            all.push(database.clone());
        } else if !create.if_not_exists {
            return plan_err!("database {catalog}.{database} exists already");
        }
        done(format!("Database {database} created."))
    }

    pub(super) fn alter_table(&mut self, alter: &AlterTable, text: &str) -> Result<Outcome> {
        let name = reference(&alter.name)?;
        let Some(Entry::Table(table)) = self.catalog.get(&name).cloned() else {
            return if alter.if_exists { done("Nothing to alter.") } else { plan_err!("there is no table {name}") };
        };
        match &alter.action {
            AlterAction::Rename(to) => {
                let to = reference(to)?;
                self.catalog.add(&to, Entry::Table(table), false)?;
                self.catalog.remove(&name);
            }
            AlterAction::Set(settings) => {
                let given = |setting: &Setting| (setting.key.value.clone(), setting.value.value.clone());
                let mut changed = table.with_options(&settings.iter().map(given).collect::<Vec<_>>())?;
                changed.table.name.clone_from(&table.table.name);
                self.catalog.alter(&name, &table, changed)?;
            }
            _ => return Err(DataFusionError::NotImplemented(format!("{text} (drop the table, and create it anew)"))),
        }
        done(format!("Table {name} altered."))
    }

    pub(super) fn alter_view(&mut self, alter: &AlterView, text: &str) -> Result<Outcome> {
        let name = reference(&alter.name)?;
        let Some(Entry::View(view)) = self.catalog.get(&name).cloned() else {
            return plan_err!("there is no view {name}");
        };
        match &alter.action {
            AlterViewAction::Rename(to) => {
                self.catalog.add(&reference(to)?, Entry::View(view), false)?;
                self.catalog.remove(&name);
            }
            AlterViewAction::Query(query) => {
                let view = self.view(query, &[], text)?;
                self.catalog.add(&name, Entry::View(Arc::new(view)), true)?;
            }
        }
        done(format!("View {name} altered."))
    }

    pub(super) fn drop(&mut self, drop: &Drop) -> Result<Outcome> {
        let missing = |what: &str| {
            if drop.if_exists { done("Nothing to drop.") } else { plan_err!("there is no {what} {}", drop.name) }
        };
        match drop.object {
            Object::Table | Object::View => {
                let name = reference(&drop.name)?;
                let fits = match self.catalog.get(&name) {
                    Some(Entry::Table(_)) => drop.object == Object::Table,
                    Some(Entry::View(_)) => drop.object == Object::View,
                    None => false,
                };
                if !fits {
                    return missing(if drop.object == Object::Table { "table" } else { "view" });
                }
                self.catalog.remove(&name);
            }
            Object::Function => return missing("function"),
            Object::Catalog => {
                if self.catalog.databases.remove(&drop.name.to_string()).is_none() {
                    return missing("catalog");
                }
            }
            Object::Database => {
                let (catalog, database) = match &parts(&drop.name)[..] {
                    [database] => (self.catalog.catalog.clone(), database.clone()),
                    [catalog, database] => (catalog.clone(), database.clone()),
                    _ => return missing("database"),
                };
                if !drop.cascade && !self.catalog.is_empty(&catalog, &database) {
                    return plan_err!(
                        "database {catalog}.{database} is not empty: drop its tables and views, or say CASCADE"
                    );
                }
                self.catalog.clear(&catalog, &database);
                let all = self.catalog.databases.get_mut(&catalog);
                match all.and_then(|all| all.iter().position(|other| *other == database).map(|at| all.remove(at))) {
                    Some(_) => {}
                    None => return missing("database"),
                }
            }
        }
        done("Dropped.")
    }
}

impl ConnectorTable {
    /// The same table with some options changed, under a name that tells.
    pub(crate) fn with_options(&self, changes: &[(String, String)]) -> Result<Self> {
        let mut all = self.all_options.clone();
        changes.iter().for_each(|(key, value)| all.set(key, value));
        let known = self.connector.options();
        all.check(&format!("'{}'", self.connector.name()), known.iter().chain(&COMMON)).map_err(external)?;
        let options = all.iter().filter(|(key, _)| !is_common(key)).map(|(k, v)| (k.into(), v.into())).collect();
        let shown: Vec<_> = changes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Ok(Self {
            connector: self.connector.clone(),
            table: Table {
                options,
                name: format!("{} ({})", self.table.name, shown.join(", ")).into(),
                ..self.table.clone()
            },
            columns: self.columns.clone(),
            rowtime: self.rowtime.clone(),
            bad: bad_rows(&all)?,
            idle: idle(&all)?,
            aligned: aligned(&all)?,
            statement: self.statement.clone(),
            schema: self.schema.clone(),
            all_options: all,
        })
    }
}

/// What is taken of a table that another is like.
struct Taken {
    columns: Vec<Column>,
    options: Options,
    rowtime: Option<Rowtime>,
}

fn external(error: updraft_dataflow::Error) -> DataFusionError {
    DataFusionError::External(error)
}

fn is_common(option: &str) -> bool {
    COMMON.iter().any(|common| common.name == option)
}

fn idle(options: &Options) -> Result<Option<std::time::Duration>> {
    options.get("scan.watermark.idle-timeout").map(super::settings::duration).transpose()
}

fn aligned(options: &Options) -> Result<Option<Aligned>> {
    match (options.get(MAX_DRIFT), options.get(GROUP)) {
        (Some(drift), group) => {
            Ok(Some(Aligned { drift: super::settings::duration(drift)?, group: group.map(str::to_owned) }))
        }
        (None, Some(_)) => plan_err!("'{GROUP}' is nothing without '{MAX_DRIFT}': say how far ahead one may be"),
        (None, None) => Ok(None),
    }
}

/// The name of a column that another has too.
fn twice(columns: &[ast::Column]) -> Option<&str> {
    let mut names: Vec<_> = columns.iter().map(|column| column.name.value.as_str()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn bad_rows(options: &Options) -> Result<BadRows> {
    match options.get("bad-records") {
        None | Some("fail") => Ok(BadRows::Fail),
        Some("skip") => Ok(BadRows::Skip),
        Some("dead-letter") => Ok(BadRows::DeadLetter),
        Some(other) => plan_err!("'bad-records' = '{other}': it is 'fail', 'skip' or 'dead-letter'"),
    }
}

fn stored(field: Field, comment: Option<String>) -> Column {
    Column { field: Arc::new(field), origin: Origin::Physical(0), comment, written: None }
}

/// Numbers the columns that are stored.
fn number(columns: &mut [Column]) {
    let mut next = 0;
    for column in columns {
        if let Origin::Physical(index) = &mut column.origin {
            *index = next;
            next += 1;
        } else if let Origin::Metadata { is_virtual: false, .. } = &column.origin {
            next += 1;
        }
    }
}

fn position(schema: &Schema, name: &str, table: &str) -> Result<usize> {
    schema.index_of(name).or_else(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let hint = nearest(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        plan_err!("table '{table}' has no column `{name}`{hint}")
    })
}
