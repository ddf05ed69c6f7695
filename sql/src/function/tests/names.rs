//! Names: each stands for one function, and those that are missing are said to be.

use std::collections::HashSet;

use crate::function::{UNSUPPORTED, aggregate_functions, scalar_functions};

#[test]
fn no_name_stands_for_two_functions() {
    let mut seen = HashSet::new();
    for function in scalar_functions() {
        for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
            assert!(seen.insert(name.to_owned()), "{name} stands for two functions");
        }
    }
    for function in aggregate_functions() {
        for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
            assert!(seen.insert(name.to_owned()), "{name} stands for two functions");
        }
    }
    for (name, reason) in UNSUPPORTED {
        assert!(!seen.contains(*name) && !reason.is_empty(), "{name} is there, and said to be missing");
    }
}

/// The functions that Flink's page names and that are called by their name alone.
const DOCUMENTED: &str = "
    power abs sqrt ln log10 log2 log exp ceil ceiling floor sin sinh cos tan tanh cot asin acos atan atan2 cosh degrees
    radians sign round pi e rand rand_integer uuid bin hex unhex truncate char_length character_length upper lower printf
    ltrim rtrim btrim repeat regexp_replace startswith endswith substring replace regexp_count regexp_extract
    regexp_extract_all regexp_instr regexp_substr translate initcap concat concat_ws lpad rpad from_base64 to_base64 ascii
    chr decode encode instr left right locate url_decode url_encode parse_url regexp reverse split_index str_to_map substr
    json_quote json_unquote elt localtime localtimestamp current_time current_date current_timestamp now
    current_row_timestamp year quarter month week dayofyear dayofmonth dayofweek hour minute second date_format
    timestampadd timestampdiff convert_tz from_unixtime unix_timestamp to_date to_timestamp_ltz to_timestamp nullif
    coalesce ifnull is_alpha is_decimal is_digit greatest least typeof cardinality element array_append array_contains
    array_distinct array_position array_prepend array_remove array_reverse array_slice array_sort array_union array_concat
    array_except array_intersect array_max array_join array_min map_keys map_union map_values map_entries map_from_arrays
    split json_exists json_string json_value json_query json_object json_array row md5 sha1 sha224 sha256 sha384 sha512
    sha2 count avg sum max min stddev_pop stddev_samp var_pop var_samp collect variance first_value last_value listagg
    array_agg percentile json_objectagg json_arrayagg grouping";

#[test]
fn each_documented_name_is_there() {
    let mut names = HashSet::new();
    for function in scalar_functions() {
        names.extend(function.aliases().iter().cloned().chain([function.name().to_owned()]));
    }
    for function in aggregate_functions() {
        names.extend(function.aliases().iter().cloned().chain([function.name().to_owned()]));
    }
    let missing: Vec<_> = DOCUMENTED.split_whitespace().filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
