//! Comparison, logic, arithmetic, conversion, conditions.

use super::harness::rows;
use super::{check, check_errors};

#[test]
fn comparison_and_logic() {
    check(&[
        ("1 IS DISTINCT FROM NULL", "TRUE"),
        ("NULL IS DISTINCT FROM NULL", "FALSE"),
        ("1 IS NOT DISTINCT FROM NULL", "FALSE"),
        ("12 BETWEEN 15 AND 12", "FALSE"),
        ("12 BETWEEN SYMMETRIC 15 AND 12", "TRUE"),
        ("12 NOT BETWEEN SYMMETRIC 15 AND 12", "FALSE"),
        ("12 BETWEEN ASYMMETRIC 10 AND 12", "TRUE"),
        ("12 BETWEEN 10 AND NULL", "NULL"),
        ("12 BETWEEN NULL AND 10", "FALSE"),
        ("12 BETWEEN SYMMETRIC NULL AND 12", "NULL"),
        ("12 NOT BETWEEN 15 AND NULL AND TRUE", "TRUE"),
        ("4 IN (1, 2, 3)", "FALSE"),
        ("1 IN (1, 2, NULL)", "TRUE"),
        ("4 IN (1, 2, NULL)", "NULL"),
        ("4 NOT IN (1, 2, NULL)", "NULL"),
        ("TRUE OR CAST(NULL AS BOOLEAN)", "TRUE"),
        ("TRUE AND CAST(NULL AS BOOLEAN)", "NULL"),
        ("CAST(NULL AS BOOLEAN) IS UNKNOWN", "TRUE"),
        ("FALSE IS NOT TRUE", "TRUE"),
    ]);
}

#[test]
fn arithmetic() {
    check(&[
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("-7 % 2", "-1"),
        ("MOD(-7, 2)", "-1"),
        ("POWER(2, 10)", "1024.0"),
        ("ABS(-5)", "5"),
        ("ABS(-1.50)", "1.50"),
        ("SQRT(9)", "3.0"),
        ("LN(E())", "1.0"),
        ("LOG10(100)", "2.0"),
        ("LOG2(8)", "3.0"),
        ("LOG(2, 8)", "3.0"),
        ("LOG(1)", "0.0"),
        ("EXP(0)", "1.0"),
        ("CEIL(1.2)", "2"),
        ("CEILING(-1.2)", "-1"),
        ("FLOOR(-1.2)", "-2"),
        ("FLOOR(CAST(1.7 AS DOUBLE))", "1.0"),
        ("SIN(0)", "0.0"),
        ("COS(0)", "1.0"),
        ("ROUND(TANH(1), 4)", "0.7616"),
        ("ATAN2(0, 1)", "0.0"),
        ("DEGREES(PI())", "180.0"),
        ("RADIANS(0)", "0.0"),
        ("SIGN(-3)", "-1"),
        ("SIGN(2.50)", "1.00"),
        ("ROUND(CAST(1.005 AS DOUBLE), 2)", "1.01"),
        ("ROUND(2.5)", "3"),
        ("ROUND(-2.545, 2)", "-2.55"),
        ("ROUND(1250, -2)", "1300"),
        ("TRUNCATE(42.324, 2)", "42.32"),
        ("TRUNCATE(CAST(42.324 AS DOUBLE))", "42.0"),
        ("TRUNCATE(CAST(-42.329 AS DOUBLE), 2)", "-42.32"),
        ("TRUNCATE(1299, -2)", "1200"),
        ("TRUNCATE(CAST(NULL AS DOUBLE), 2)", "NULL"),
        ("BIN(4)", "100"),
        ("BIN(12)", "1100"),
        ("HEX(20)", "14"),
        ("HEX(100)", "64"),
        ("PI() > 3.14 AND E() < 2.72", "TRUE"),
        ("RAND() >= 0 AND RAND() < 1", "TRUE"),
        ("RAND_INTEGER(10) BETWEEN 0 AND 9", "TRUE"),
        ("REGEXP(UUID(), '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')", "TRUE"),
    ]);
    check_errors(&[
        ("RAND(1)", "a seed"),
        ("RAND_INTEGER(1, 2)", "a seed"),
        ("RAND_INTEGER(0)", "not a positive INT"),
        ("MOD(1, 0)", "ivide by zero"),
    ]);
}

#[test]
fn conversion() {
    check(&[
        ("CAST('42' AS INT)", "42"),
        ("CAST(NULL AS STRING)", "NULL"),
        ("TRY_CAST('42' AS INT)", "42"),
        ("TRY_CAST('non-number' AS INT)", "NULL"),
        ("COALESCE(TRY_CAST('non-number' AS INT), 0)", "0"),
        ("CAST(TRUE AS STRING)", "TRUE"),
        ("CAST(CAST(1 AS DOUBLE) AS STRING)", "1.0"),
        ("CAST(CAST(12345678901 AS DOUBLE) AS STRING)", "1.2345678901E10"),
        ("CAST(TIMESTAMP '2020-01-02 03:04:05' AS STRING) || ''", "2020-01-02 03:04:05.000000000"),
        ("CAST(TO_TIMESTAMP('2020-01-02 03:04:05') AS STRING)", "2020-01-02 03:04:05.000"),
        ("CAST(TO_TIMESTAMP_LTZ(0, 3) AS STRING)", "1970-01-01 01:00:00.000"),
        ("TYPEOF(CAST(NULL AS INT))", "INT"),
        ("TYPEOF(1 + 1)", "BIGINT NOT NULL"),
        ("TYPEOF(ARRAY['a'])", "ARRAY<STRING> NOT NULL"),
        ("TYPEOF(TO_TIMESTAMP(CAST(NULL AS STRING)))", "TIMESTAMP(3)"),
        ("TYPEOF(CEIL(1.25))", "DECIMAL(3, 0) NOT NULL"),
    ]);
    check_errors(&[("CAST('non-number' AS INT)", "non-number")]);
}

#[test]
fn conditions() {
    check(&[
        ("CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' ELSE 'c' END", "b"),
        ("CASE WHEN FALSE THEN 1 END", "NULL"),
        ("NULLIF(5, 5)", "NULL"),
        ("NULLIF(5, 0)", "5"),
        ("COALESCE(NULL, 'default')", "default"),
        ("IF(5 > 3, 5, 3)", "5"),
        ("IF(TRUE, 1, 1 / 0)", "1"),
        ("IFNULL(CAST(NULL AS INT), 5)", "5"),
        ("GREATEST(1, 3, 2)", "3"),
        ("GREATEST(1, NULL, 2)", "NULL"),
        ("LEAST('b', 'a')", "a"),
    ]);
}

#[test]
fn columns_are_vectors() {
    assert_eq!(rows("GREATEST(i, 3)").unwrap(), ["3", "3", "NULL", "4", "4", "5"]);
    assert_eq!(rows("CONCAT(s, '!')").unwrap(), ["a!", "b!", "a!", "NULL", "c!", "d!"]);
    assert_eq!(rows("LPAD('x', i, s)").unwrap(), ["x", "bx", "NULL", "NULL", "cccx", "ddddx"]);
    assert_eq!(rows("ARRAY[i, 7][1]").unwrap(), ["1", "2", "NULL", "4", "4", "5"]);
    assert_eq!(rows("ROUND(m * 10, 0)").unwrap(), ["10", "20", "NULL", "25", "30", "0"]);
    assert_eq!(rows("IF(i > 3, 'many', 'few')").unwrap(), ["few", "few", "few", "many", "many", "many"]);
}
