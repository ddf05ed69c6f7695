//! JSON.

use super::{check, check_errors};

#[test]
fn is_json() {
    check(&[
        ("'1' IS JSON", "TRUE"),
        ("'[]' IS JSON", "TRUE"),
        ("'\"abc\"' IS JSON", "TRUE"),
        ("'abc' IS JSON", "FALSE"),
        ("'abc' IS NOT JSON", "TRUE"),
        ("CAST(NULL AS STRING) IS JSON", "FALSE"),
        ("'1' IS JSON SCALAR", "TRUE"),
        ("'1' IS JSON ARRAY", "FALSE"),
        ("'{}' IS JSON OBJECT AND TRUE", "TRUE"),
        ("'{}' IS JSON SCALAR", "FALSE"),
    ]);
}

#[test]
fn exists_and_value() {
    check(&[
        ("JSON_EXISTS('{\"a\": true}', '$.a')", "TRUE"),
        ("JSON_EXISTS('{\"a\": true}', '$.b')", "FALSE"),
        ("JSON_EXISTS('{\"a\": [{ \"b\": 1 }]}', '$.a[0].b')", "TRUE"),
        ("JSON_EXISTS('{\"a\": true}', 'strict $.b' TRUE ON ERROR)", "TRUE"),
        ("JSON_EXISTS('{\"a\": true}', 'strict $.b' FALSE ON ERROR)", "FALSE"),
        ("JSON_EXISTS('{\"a\": true}', 'strict $.b' UNKNOWN ON ERROR)", "NULL"),
        ("JSON_VALUE('{\"a\": true}', '$.a')", "true"),
        ("JSON_VALUE('{\"a\": true}', '$.a' RETURNING BOOLEAN)", "TRUE"),
        ("JSON_VALUE('{\"a\": true}', 'lax $.b' DEFAULT FALSE ON EMPTY)", "false"),
        ("JSON_VALUE('{\"a\": true}', 'strict $.b' DEFAULT FALSE ON ERROR)", "false"),
        ("JSON_VALUE('{\"a.b\": [0.998,0.996]}','$.[\"a.b\"][0]' RETURNING DOUBLE)", "0.998"),
        ("JSON_VALUE('{\"a.b\": [0.998,0.996]}','$[\"a.b\"][0]' RETURNING DOUBLE)", "0.998"),
        (
            "JSON_VALUE('{\"contains blank\": \"right\"}', 'strict $.[''contains blank'']' NULL ON EMPTY DEFAULT 'wrong' ON ERROR)",
            "right",
        ),
        ("JSON_VALUE('{\"a\": [1]}', '$.a')", "NULL"),
        ("JSON_VALUE('nonsense', '$.a')", "NULL"),
        ("JSON_VALUE('{\"a\": \"x\"}', '$.a' RETURNING INT)", "NULL"),
    ]);
    check_errors(&[
        ("JSON_VALUE('nonsense', '$' ERROR ON ERROR)", "is no JSON"),
        ("JSON_VALUE('{}', '$.a' ERROR ON EMPTY)", "ON EMPTY"),
        ("JSON_VALUE('{}', '$..a')", "is no JSON path"),
    ]);
}

#[test]
fn query() {
    check(&[
        ("JSON_QUERY('{ \"a\": { \"b\": 1 } }', '$.a')", "{\"b\":1}"),
        ("JSON_QUERY('[1, 2]', '$')", "[1,2]"),
        ("JSON_QUERY(CAST(NULL AS STRING), '$')", "NULL"),
        ("JSON_QUERY('{\"a\":[{\"c\":\"c1\"},{\"c\":\"c2\"}]}', 'lax $.a[*].c')", "[\"c1\",\"c2\"]"),
        ("JSON_QUERY('{\"a\":[{\"c\":\"c1\"},{\"c\":\"c2\"}]}', 'lax $.a[*].c' RETURNING ARRAY<STRING>)", "[c1, c2]"),
        ("JSON_QUERY('{}', '$' WITH CONDITIONAL ARRAY WRAPPER)", "[{}]"),
        ("JSON_QUERY('[1, 2]', '$' WITH CONDITIONAL ARRAY WRAPPER)", "[1,2]"),
        ("JSON_QUERY('[1, 2]', '$' WITH UNCONDITIONAL ARRAY WRAPPER)", "[[1,2]]"),
        ("JSON_QUERY('1', '$')", "NULL"),
        ("JSON_QUERY('1', '$' WITH CONDITIONAL ARRAY WRAPPER)", "[1]"),
        ("JSON_QUERY('{}', 'lax $.invalid' EMPTY OBJECT ON EMPTY)", "{}"),
        ("JSON_QUERY('{}', 'strict $.invalid' EMPTY ARRAY ON ERROR)", "[]"),
        ("JSON_QUERY('{\"z\":1,\"a\":{\"y\":1,\"b\":2}}', '$')", "{\"z\":1,\"a\":{\"y\":1,\"b\":2}}"),
    ]);
    check_errors(&[("JSON_QUERY('{}', 'strict $.a' ERROR ON ERROR)", "is no JSON, or has nothing")]);
}

#[test]
fn construction() {
    check(&[
        ("JSON_STRING(CAST(NULL AS INT))", "NULL"),
        ("JSON_STRING(1)", "1"),
        ("JSON_STRING(TRUE)", "true"),
        ("JSON_STRING('Hello, World!')", "\"Hello, World!\""),
        ("JSON_STRING(ARRAY[1, 2])", "[1,2]"),
        ("JSON_STRING(MAP['a', 1])", "{\"a\":1}"),
        ("JSON_OBJECT()", "{}"),
        ("JSON_OBJECT('K1' VALUE 'V1', 'K2' VALUE 'V2')", "{\"K1\":\"V1\",\"K2\":\"V2\"}"),
        ("JSON_OBJECT(KEY 'K1' VALUE CAST(NULL AS STRING) NULL ON NULL)", "{\"K1\":null}"),
        ("JSON_OBJECT(KEY 'K1' VALUE CAST(NULL AS STRING) ABSENT ON NULL)", "{}"),
        ("JSON_OBJECT(KEY 'K1' VALUE JSON_OBJECT(KEY 'K2' VALUE 'V'))", "{\"K1\":{\"K2\":\"V\"}}"),
        ("JSON_OBJECT('a' VALUE JSON('{\"b\": 1}'))", "{\"a\":{\"b\":1}}"),
        ("JSON_ARRAY()", "[]"),
        ("JSON_ARRAY(1, '2')", "[1,\"2\"]"),
        ("JSON_ARRAY(CAST(NULL AS STRING) NULL ON NULL)", "[null]"),
        ("JSON_ARRAY(CAST(NULL AS STRING) ABSENT ON NULL)", "[]"),
        ("JSON_ARRAY(JSON_ARRAY(1))", "[[1]]"),
        ("JSON_QUOTE('a/b\"≠')", "\"a\\/b\\\"\\u2260\""),
        ("JSON_UNQUOTE('\"a\\tb\"')", "a\tb"),
        ("JSON_UNQUOTE('abc')", "abc"),
    ]);
    check_errors(&[("JSON_OBJECT('a' VALUE JSON('nonsense'))", "is no JSON")]);
}
