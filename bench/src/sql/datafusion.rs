//! DataFusion alone, with its own files, operators and threads.

use datafusion::arrow::array::RecordBatch;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use tokio::runtime::{Builder, Runtime};

use super::data::{Files, Table};

pub(super) struct DataFusion {
    context: SessionContext,
    runtime: Runtime,
}

impl DataFusion {
    pub(super) fn new(files: &Files, threads: usize) -> Self {
        let config = SessionConfig::new().with_target_partitions(threads);
        let context = SessionContext::new_with_config(config);
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
        let runtime = runtime.expect("the threads can be started");
        files.tables.iter().for_each(|table| runtime.block_on(register(&context, table)));
        Self { context, runtime }
    }

    pub(super) fn query(&self, query: &str) -> Vec<RecordBatch> {
        self.runtime.block_on(async {
            let frame = self.context.sql(query).await.expect("the query is right");
            frame.collect().await.expect("the query can be run")
        })
    }
}

async fn register(context: &SessionContext, table: &Table) {
    let (name, path) = (table.name, table.path.to_str().expect("a path that is text"));
    match table.format {
        "csv" => context.register_csv(name, path, CsvReadOptions::new().has_header(true).schema(&table.schema)).await,
        "json" => {
            let options = JsonReadOptions::default().schema(&table.schema);
            context.register_json(name, path, options).await
        }
        _ => context.register_parquet(name, path, ParquetReadOptions::default()).await,
    }
    .expect("the file can be read");
}
