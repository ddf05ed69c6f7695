//! Arrays, maps, rows.

use super::{check, check_errors};

#[test]
fn arrays() {
    check(&[
        ("CARDINALITY(ARRAY[1, 2, 3])", "3"),
        ("ARRAY[1, 2, 3][2]", "2"),
        ("ARRAY[1, 2, 3][4]", "NULL"),
        ("ARRAY[1, 2, 3][0]", "NULL"),
        ("ELEMENT(ARRAY[5])", "5"),
        ("ARRAY_APPEND(ARRAY[1, 2], 3)", "[1, 2, 3]"),
        ("ARRAY_APPEND(ARRAY[1, 2], NULL)", "[1, 2, ]"),
        ("ARRAY_PREPEND(ARRAY['b'], 'a')", "[a, b]"),
        ("ARRAY_CONTAINS(ARRAY[1, 2], 2)", "TRUE"),
        ("ARRAY_CONTAINS(ARRAY[1, NULL], NULL)", "TRUE"),
        ("ARRAY_CONTAINS(ARRAY[1, 2], 3)", "FALSE"),
        ("ARRAY_DISTINCT(ARRAY[3, 1, 3, NULL, 1, NULL])", "[3, 1, ]"),
        ("ARRAY_POSITION(ARRAY['a', 'b'], 'b')", "2"),
        ("ARRAY_POSITION(ARRAY['a', 'b'], 'c')", "0"),
        ("ARRAY_POSITION(ARRAY['a', 'b'], NULL)", "NULL"),
        ("ARRAY_REMOVE(ARRAY[1, 2, 1], 1)", "[2]"),
        ("ARRAY_REVERSE(ARRAY[1, 2, 3])", "[3, 2, 1]"),
        ("ARRAY_SLICE(ARRAY[1, 2, 3, 4], 2, 3)", "[2, 3]"),
        ("ARRAY_SLICE(ARRAY[1, 2, 3, 4], 0)", "[1, 2, 3, 4]"),
        ("ARRAY_SLICE(ARRAY[1, 2, 3, 4], -2, -1)", "[3, 4]"),
        ("ARRAY_SLICE(ARRAY[1, 2, 3, 4], 3, 2)", "[]"),
        ("ARRAY_SLICE(ARRAY[1, 2, 3, 4], 9, 12)", "[]"),
        ("ARRAY_SORT(ARRAY[2, NULL, 1])", "[, 1, 2]"),
        ("ARRAY_SORT(ARRAY[2, NULL, 1], FALSE)", "[2, 1, ]"),
        ("ARRAY_SORT(ARRAY[2, NULL, 1], FALSE, TRUE)", "[, 2, 1]"),
        ("ARRAY_UNION(ARRAY[1, 2, 1], ARRAY[2, 3])", "[1, 2, 3]"),
        ("ARRAY_CONCAT(ARRAY[1], ARRAY[2], ARRAY[1])", "[1, 2, 1]"),
        ("ARRAY_EXCEPT(ARRAY[3, 1, 2, 3], ARRAY[2])", "[3, 1]"),
        ("ARRAY_INTERSECT(ARRAY[3, 1, 2, 3], ARRAY[2, 3])", "[3, 2]"),
        ("ARRAY_MAX(ARRAY[1, 5, NULL])", "5"),
        ("ARRAY_MIN(ARRAY['b', 'a'])", "a"),
        ("ARRAY_JOIN(ARRAY['a', NULL, 'b'], ',')", "a,b"),
        ("ARRAY_JOIN(ARRAY['a', NULL, 'b'], ',', '?')", "a,?,b"),
        ("ARRAY_JOIN(ARRAY['a'], CAST(NULL AS STRING))", "NULL"),
        ("ARRAY_REVERSE(CAST(NULL AS ARRAY<INT>))", "NULL"),
    ]);
    check_errors(&[("ELEMENT(ARRAY[1, 2])", "has 2 elements"), ("ARRAY_REVERSE(1)", "an ARRAY was expected")]);
}

#[test]
fn maps_and_rows() {
    check(&[
        ("CARDINALITY(MAP['a', 1, 'b', 2])", "2"),
        ("MAP['a', 1, 'b', 2]['b']", "2"),
        ("MAP['a', 1]['z']", "NULL"),
        ("MAP[1, 'x', 2, 'y'][2]", "y"),
        ("MAP_KEYS(MAP['a', 1])", "[a]"),
        ("MAP_VALUES(MAP['a', 1])", "[1]"),
        ("CARDINALITY(MAP_ENTRIES(MAP['a', 1, 'b', 2]))", "2"),
        ("MAP_FROM_ARRAYS(ARRAY['a', 'b'], ARRAY[1, 2])", "{a: 1, b: 2}"),
        ("MAP_UNION(MAP['a', 1, 'b', 2], MAP['b', 3, 'c', 4])", "{a: 1, b: 3, c: 4}"),
        ("JSON_STRING(ROW(1, 'a'))", r#"{"c0":1,"c1":"a"}"#),
    ]);
}
