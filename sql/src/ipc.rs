//! Record batches as bytes: a stream of Arrow's, which other versions can read, too. Whatever the bytes are, they are read or refused.

mod checked;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::StreamWriter;

/// A batch as bytes, which are of its rows alone.
pub(crate) fn write(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let columns = batch.columns().iter().map(compact).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(batch.schema(), columns, &options)?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// All batches that there are in such bytes.
pub(crate) fn read_all(mut bytes: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
    let (mut schema, mut batches) = (None, Vec::new());
    while let Some(message) = checked::message(&mut bytes)? {
        let (message, body) = checked::body(&message, &mut bytes)?;
        match (message.header_as_schema(), message.header_as_record_batch(), &schema) {
            (Some(of), _, None) => {
                checked::schema(of)?;
                schema = Some(Arc::new(fb_to_schema(of)));
            }
            (_, Some(batch), Some(schema)) => {
                checked::batch(batch, schema, body.len())?;
                let (body, version) = (Buffer::from(body), message.version());
                batches.push(read_record_batch(&body, batch, schema.clone(), &HashMap::new(), None, &version)?);
            }
            _ => {
                return Err(ArrowError::IpcError("no columns: a schema, and batches after it, are to be there".into()));
            }
        }
    }
    Ok(batches)
}

/// The same without bytes that are of other rows. A few texts that were taken out of a large column still hold all of its
/// buffers, which would be written, and held by whoever reads them: more with each time.
fn compact(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        DataType::Struct(fields) => {
            let of = column.as_struct();
            let columns = of.columns().iter().map(compact).collect::<Result<Vec<_>, _>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, of.nulls().cloned(), of.len())?)
        }
        DataType::List(field) => {
            let of = column.as_list::<i32>();
            let values = compact(of.values())?;
            Arc::new(ListArray::try_new(field.clone(), of.offsets().clone(), values, of.nulls().cloned())?)
        }
        _ => column.clone(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use arrow::array::{Int64Array, StringViewArray, UInt32Array};
    use arrow::compute::{concat_batches, take_record_batch};

    use super::*;

    /// What is read and written over and over stays as large as it is.
    #[test]
    fn rows_that_were_taken_out_of_many_are_written_alone() {
        let texts: StringViewArray = (0..10_000).map(|n| Some(format!("a text that is not inlined: {n}"))).collect();
        let numbers = Int64Array::from_iter_values(0..10_000);
        let nested = StructArray::from(vec![(
            Arc::new(arrow::datatypes::Field::new("text", DataType::Utf8View, true)),
            Arc::new(texts.clone()) as ArrayRef,
        )]);
        let columns: [(&str, ArrayRef); 3] =
            [("number", Arc::new(numbers)), ("text", Arc::new(texts)), ("nested", Arc::new(nested))];
        let all = RecordBatch::try_from_iter(columns).unwrap();
        let mut few = take_record_batch(&all, &UInt32Array::from_iter_values((0..10).map(|n| n * 999))).unwrap();
        let bytes = write(&few).unwrap().len();
        assert!(bytes < 5_000, "{bytes} bytes of ten rows");
        for _ in 0..5 {
            let read = read_all(&write(&few).unwrap()).unwrap();
            assert_eq!(read[0], few);
            let halves = [few.slice(0, 5), few.slice(5, 5)].map(|half| read_all(&write(&half).unwrap()).unwrap());
            few = concat_batches(&few.schema(), halves.iter().flatten()).unwrap();
        }
        assert_eq!(write(&few).unwrap().len(), bytes);
    }
}
