//! [`Single`]: a table in one file, in a job that takes checkpoints.

use std::fs;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use updraft_dataflow::{Error, Prepared};

use super::draft::failed;
use super::settings::Settings;
use super::sink::BUFFER;
use crate::columns::Encode;
use crate::growing::Growing;

/// See the module's page.
pub(super) struct Single {
    growing: Growing,
    encoder: Box<dyn Encode>,
    buffer: Vec<u8>,
}

impl Single {
    pub(super) async fn begin(
        settings: &Settings,
        stored: &SchemaRef,
        attempt: u64,
        prepared: Vec<Prepared>,
    ) -> Result<Self, Error> {
        let (path, remedy) = (settings.path(), "name a folder (end the path with '/')");
        if settings.store.is_some() || settings.format.is_block() {
            let kind = if settings.store.is_some() { "object of a store" } else { settings.format.name() };
            let name = settings.name();
            return Err(
                format!("'{name}': a job that takes checkpoints cannot write to one {kind} file: {remedy}").into()
            );
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(&path, &error))?;
        }
        let mut encoder = settings.format.file_encoder(stored)?;
        let prepared = prepared.into_iter().last().map(serde_json::from_value).transpose()?;
        if prepared.is_some() {
            // What a file begins with is there already.
            encoder.finish(&mut Vec::new())?;
        }
        let growing = Growing::begin(&path, settings.compression_of(&path), attempt, prepared).await?;
        Ok(Self { growing, encoder, buffer: Vec::new() })
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        self.encoder.encode(rows, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.growing.write(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }

    pub(super) async fn prepare(&mut self) -> Result<Prepared, Error> {
        // Text has no end: this is what a file begins with, if nothing else has come.
        self.encoder.finish(&mut self.buffer)?;
        self.flush().await?;
        Ok(serde_json::to_value(self.growing.prepare().await?)?)
    }

    pub(super) fn commit(&self, prepared: Prepared) -> Result<(), Error> {
        self.growing.commit(serde_json::from_value(prepared)?);
        Ok(())
    }

    pub(super) async fn close(&mut self) -> Result<(), Error> {
        self.prepare().await?;
        self.growing.publish().await
    }

    pub(super) fn abort(&mut self) {
        self.growing.abort();
    }
}
