//! What the clock shows now. As in Flink's streaming mode it is read anew for each batch, so none of these is constant.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDateTime};
use datafusion_common::{Result, plan_err};
use datafusion_expr::ScalarUDF;
use updraft_kernel::clock;

use super::format::Format;
use super::moment::column;
use super::scalar::{Call, Gives, Scalar, Takes, scalar};

/// The functions of the clock.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let millis = TimeUnit::Millisecond;
    let instant = || Gives::Type(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    let time = || Gives::Type(DataType::Time32(TimeUnit::Millisecond));
    let list: Vec<Scalar> = vec![
        scalar("current_timestamp", Takes::all(&[]), instant(), now).or(&["now", "current_row_timestamp"]),
        scalar("localtimestamp", Takes::all(&[]), Gives::Type(DataType::Timestamp(millis, None)), now),
        scalar("current_date", Takes::all(&[]), Gives::Type(DataType::Date32), now),
        scalar("current_time", Takes::all(&[]), time(), now).or(&["localtime"]),
        scalar("unix_timestamp", Takes::By(unix_types), Gives::LONG, unix_timestamp),
    ];
    list.into_iter().map(Scalar::volatile).map(Into::into).collect()
}

fn wall() -> NaiveDateTime {
    DateTime::from_timestamp_millis(clock::wall().as_millis() as i64).unwrap_or_default().naive_utc()
}

fn now(call: &Call) -> Result<ArrayRef> {
    let mut local = call.zone.local(wall());
    if matches!(call.result, DataType::Time32(_)) {
        local = super::moment::Unit::Second.floor(local).unwrap_or(local);
    }
    column(&vec![Some(local); call.rows], &call.result, call.zone)
}

fn unix_types(given: &[DataType]) -> Result<Vec<DataType>> {
    if given.len() > 2 || !given.iter().all(|given| given.is_string() || given.is_null()) {
        return plan_err!("UNIX_TIMESTAMP takes nothing, or a string and its format");
    }
    Ok(vec![DataType::Utf8View; given.len()])
}

/// Seconds since 1970: now, or of a text. What cannot be read is the least BIGINT, as in Flink.
fn unix_timestamp(call: &Call) -> Result<ArrayRef> {
    if call.len() == 0 {
        let seconds = wall().and_utc().timestamp();
        return call.each::<Int64Array, _>(|_| Some(seconds));
    }
    let (text, patterns) = (call.text(0)?, call.text_or(1, "yyyy-MM-dd HH:mm:ss")?);
    call.try_each::<Int64Array, _>(|row| {
        let (Some(text), Some(pattern)) = (text.at(row), patterns.at(row)) else { return Ok(None) };
        let Some((moment, offset, _)) = Format::new(pattern)?.read(text) else { return Ok(Some(i64::MIN)) };
        let utc = offset.map_or_else(
            || call.zone.utc(moment),
            |offset| moment - chrono::Duration::seconds(i64::from(offset.local_minus_utc())),
        );
        Ok(Some(utc.and_utc().timestamp()))
    })
}
