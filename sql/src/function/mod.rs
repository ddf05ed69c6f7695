//! Flink's built-in functions, by their names in lower case, over DataFusion's.
//!
//! What DataFusion has with the same meaning is used as it is; what differs is one of ours, in the file of its topic: a
//! scalar function is an entry of a list there ([`string`] is a good first one to read, [`scalar`] tells how one is made).
//! [`forms`] parses the expressions that are no plain calls, [`expr_planners`] say what DataFusion's grammar means, and
//! [`function_rewrites`] make casts to strings print as Flink does.
//!
//! # What is missing
//!
//! [`UNSUPPORTED`] lists the names, with reasons. Besides:
//! * Regular expressions have no look-around, back-references, possessive quantifiers or atomic groups: an error says so.
//! * RAND and RAND_INTEGER take no seed.
//! * JSON paths have no filters, slices, `..` or functions.
//! * A COLLECT's MULTISET is a MAP from each value to how often it came.
//! * Functions of the clock are read once a batch. The session's time zone is DataFusion's `execution.time_zone`.

mod aggregate;
pub(crate) mod by_place;
mod clock;
mod collect;
mod collection;
mod conditional;
mod conversion;
mod encoding;
mod format;
pub mod forms;
mod hash;
mod json;
mod json_forms;
mod json_function;
mod json_text;
mod math;
mod moment;
mod pattern;
mod planner;
mod printf;
mod regex;
mod round;
mod scalar;
mod string;
#[cfg(test)]
mod tests;
mod time;
mod zone;

use std::sync::Arc;

use datafusion_expr::expr_rewriter::FunctionRewrite;
use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion_functions::{core, string as strings, unicode};
use datafusion_functions_aggregate as aggregates;
use datafusion_functions_nested as nested;
use datafusion_functions_window as windows;

pub use conversion::{CastsToText, type_name};

/// Flink's functions that are not there, and why: for a planner's errors.
pub const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "current_watermark",
        "an expression cannot see the watermark of its stage: late rows are dropped at the source already",
    ),
    ("parse_json", "there is no VARIANT type: keep JSON in a STRING, and read it by JSON_VALUE and JSON_QUERY"),
    ("try_parse_json", "there is no VARIANT type: keep JSON in a STRING, and read it by JSON_VALUE and JSON_QUERY"),
    ("group_id", "rows do not tell which grouping set they are of: use GROUPING"),
    ("grouping_id", "only GROUPING is there"),
    ("current_database", "there are no databases: name tables in full"),
    ("proctime", "an expression has no processing time: use CURRENT_TIMESTAMP"),
    ("source_watermark", "it belongs in a WATERMARK clause of CREATE TABLE, not in a query"),
    ("assert_not_null", "NOT NULL is checked where a row is written: use COALESCE"),
];

/// The scalar functions, ours and DataFusion's.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let ours = [
        string::functions(),
        regex::functions(),
        encoding::functions(),
        hash::functions(),
        printf::functions(),
        math::functions(),
        round::functions(),
        time::functions(),
        clock::functions(),
        conditional::functions(),
        conversion::functions(),
        collection::functions(),
        json_function::functions(),
    ];
    ours.into_iter().flatten().chain(their_scalars()).collect()
}

/// DataFusion's scalar functions that mean what Flink's mean.
fn their_scalars() -> Vec<Arc<ScalarUDF>> {
    vec![
        strings::upper(),
        strings::lower(),
        strings::btrim(),
        strings::ltrim(),
        strings::rtrim(),
        strings::repeat(),
        strings::replace(),
        strings::concat_ws(),
        strings::ascii(),
        also(&strings::starts_with(), "startswith"),
        also(&strings::ends_with(), "endswith"),
        strings::octet_length(),
        unicode::character_length(),
        unicode::initcap(),
        unicode::reverse(),
        unicode::translate(),
        core::coalesce(),
        core::nullif(),
        core::nvl(),
        core::overlay(),
        core::get_field(),
        core::r#struct(),
        core::named_struct(),
        nested::make_array::make_array_udf(),
        also(&nested::map::map_udf(), "map_from_arrays"),
        nested::map_keys::map_keys_udf(),
        nested::map_values::map_values_udf(),
        nested::map_entries::map_entries_udf(),
    ]
}

fn also(function: &Arc<ScalarUDF>, name: &'static str) -> Arc<ScalarUDF> {
    Arc::new(function.as_ref().clone().with_aliases([name]))
}

/// The aggregates, ours and DataFusion's.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let theirs = [
        aggregates::count::count_udaf(),
        aggregates::min_max::min_udaf(),
        aggregates::min_max::max_udaf(),
        aggregates::first_last::first_value_udaf(),
        aggregates::first_last::last_value_udaf(),
        aggregates::array_agg::array_agg_udaf(),
        aggregates::grouping::grouping_udaf(),
    ];
    aggregate::functions().into_iter().chain(collect::functions()).chain(theirs).collect()
}

/// The window functions, all of them DataFusion's.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    windows::all_default_window_functions()
}

/// What DataFusion's grammar means: ours first, then DataFusion's own.
pub fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let ours = planner::FlinkPlanner::new(&scalar_functions());
    let ours = ours.map(|planner| Arc::new(planner) as Arc<dyn ExprPlanner>);
    let theirs: [Arc<dyn ExprPlanner>; 5] = [
        Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        Arc::new(nested::planner::NestedFunctionPlanner),
        Arc::new(nested::planner::FieldAccessPlanner),
        Arc::new(aggregates::planner::AggregateFunctionPlanner),
    ];
    ours.into_iter().chain(theirs).collect()
}

/// What the analyzer rewrites in expressions.
pub fn function_rewrites() -> Vec<Arc<dyn FunctionRewrite + Send + Sync>> {
    vec![Arc::new(by_place::CastsOfRows), Arc::new(CastsToText::default())]
}
