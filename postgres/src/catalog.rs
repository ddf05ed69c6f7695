//! What a database says of a table: its columns, its key, and what it tells of rows that are changed.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tokio_postgres::Client;
use tokio_postgres::types::Oid;
use updraft_dataflow::Error;
use updraft_dataflow::connector::nearest;

use crate::name::TableName;
use crate::session::{Lost, lost};
use crate::types;

/// A column as the database has it.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// `numeric(10,2)`.
    pub(crate) type_name: String,
    /// The same without what is in parentheses.
    pub(crate) base_type: String,
    /// What rows of it become, where nothing else is declared.
    pub(crate) data_type: DataType,
    pub(crate) not_null: bool,
    /// Whether the database computes it itself.
    pub(crate) generated: bool,
    /// Whether it need not be given.
    pub(crate) has_default: bool,
}

/// A table as the database has it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// With its schema.
    pub(crate) name: TableName,
    pub(crate) columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    pub(crate) primary_key: Vec<usize>,
    /// Other sets of columns that are unique.
    pub(crate) unique: Vec<Vec<String>>,
    /// What is told of old rows: `d` (their key), `f` (all), `i` (an index), `n` (nothing).
    pub(crate) identity: char,
}

const TABLE: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.relreplident::text FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const COLUMNS: &str = "SELECT a.attname::text, a.atttypid, format_type(a.atttypid, a.atttypmod), a.atttypmod, a.attnotnull, \
    a.attgenerated <> '' OR a.attidentity = 'a', t.typtype = 'd', t.typbasetype, t.typtypmod, t.typcategory = 'A', t.typelem, format_type(a.atttypid, NULL), a.atthasdef OR a.attidentity <> '' \
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const KEYS: &str = "SELECT i.indisprimary, array_agg(a.attname::text ORDER BY k.place) FROM pg_index i \
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place) \
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.place <= i.indnkeyatts \
    WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
    GROUP BY i.indexrelid, i.indisprimary";

impl Described {
    /// Asks the database.
    pub(crate) async fn of(client: &Client, table: &TableName) -> Result<Self, Lost> {
        let shown = table.to_string();
        let wrong = |error: tokio_postgres::Error| lost(&format!("table {shown}"), &error);
        let found = client.query_opt(TABLE, &[&shown]).await.map_err(wrong)?;
        let Some(row) = found else {
            let hint = "create it, or check its schema and the case of its name";
            return Err(Lost::Job(format!("there is no table {shown} in the database: {hint}").into()));
        };
        let (oid, identity): (Oid, String) = (row.get(0), row.get(3));
        let name = TableName { schema: Some(row.get(1)), name: row.get(2) };
        let columns = client.query(COLUMNS, &[&oid]).await.map_err(wrong)?;
        let columns: Vec<Column> = columns.iter().map(column).collect();
        let (mut primary_key, mut unique) = (Vec::new(), Vec::new());
        for row in client.query(KEYS, &[&oid]).await.map_err(wrong)? {
            let (is_primary, names): (bool, Vec<String>) = (row.get(0), row.get(1));
            if is_primary {
                let place = |name: &String| columns.iter().position(|column| column.name == *name);
                primary_key = names.iter().filter_map(place).collect();
            }
            unique.push(names);
        }
        let identity = identity.chars().next().unwrap_or('d');
        Ok(Self { name, columns, primary_key, unique, identity })
    }

    /// The columns, for a table that was declared without any.
    pub(crate) fn schema(&self) -> SchemaRef {
        let field = |column: &Column| Field::new(&column.name, column.data_type.clone(), !column.not_null);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The column of that name.
    pub(crate) fn column(&self, name: &str) -> Result<&Column, Error> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let names = || self.columns.iter().map(|column| &*column.name);
            let hint = nearest(name, names()).map_or_else(
                || format!("it has {}", names().collect::<Vec<_>>().join(", ")),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            format!("table {} has no column `{name}`: {hint}", self.name).into()
        })
    }
}

fn column(row: &tokio_postgres::Row) -> Column {
    let (oid, modifier): (Oid, i32) = (row.get(1), row.get(3));
    let (is_domain, base, base_modifier): (bool, Oid, i32) = (row.get(6), row.get(7), row.get(8));
    let (is_array, item): (bool, Oid) = (row.get(9), row.get(10));
    let data_type = match (is_domain, is_array) {
        (true, _) => types::arrow_of(base, base_modifier),
        (_, true) => types::list(types::arrow_of(item, modifier)),
        _ => types::arrow_of(oid, modifier),
    };
    let (name, type_name) = (row.get(0), row.get(2));
    let (base_type, has_default) = (row.get(11), row.get(12));
    Column { name, type_name, base_type, data_type, not_null: row.get(4), generated: row.get(5), has_default }
}
