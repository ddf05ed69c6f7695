//! Strings, regular expressions, encodings, hashes, PRINTF.

use super::{check, check_errors};

#[test]
fn documented() {
    check(&[
        ("'a' || 'b'", "ab"),
        ("CHAR_LENGTH('日本語')", "3"),
        ("CHARACTER_LENGTH('abc')", "3"),
        ("UPPER('abc')", "ABC"),
        ("LOWER('ABC')", "abc"),
        ("POSITION('c' IN 'abc')", "3"),
        ("POSITION('z' IN 'abc')", "0"),
        ("TRIM('  a ')", "a"),
        ("TRIM(BOTH 'x' FROM 'xxaxx')", "a"),
        ("TRIM(LEADING 'x' FROM 'xxaxx')", "axx"),
        ("TRIM(TRAILING 'x' FROM 'xxaxx')", "xxa"),
        ("LTRIM(' This is a test String.')", "This is a test String."),
        ("RTRIM('This is a test String. ')", "This is a test String."),
        ("BTRIM(' a ')", "a"),
        ("BTRIM('xyaxy', 'yx')", "a"),
        ("REPEAT('This is a test String.', 2)", "This is a test String.This is a test String."),
        ("OVERLAY('xxxxxtest' PLACING 'xxxx' FROM 6)", "xxxxxxxxx"),
        ("OVERLAY('xxxxxtest' PLACING 'xxxx' FROM 6 FOR 2)", "xxxxxxxxxst"),
        ("STARTSWITH('abc', '')", "TRUE"),
        ("STARTSWITH('abc', 'ab')", "TRUE"),
        ("ENDSWITH('abc', 'bc')", "TRUE"),
        ("ENDSWITH('abc', 'b')", "FALSE"),
        ("REPLACE('hello world', 'world', 'flink')", "hello flink"),
        ("REPLACE('ababab', 'abab', 'z')", "zab"),
        ("TRANSLATE('abcba', 'ab', 'x')", "xcx"),
        ("INITCAP('hello wORLD')", "Hello World"),
        ("CONCAT('AA', 'BB', 'CC')", "AABBCC"),
        ("CONCAT('AA', NULL, 'CC')", "NULL"),
        ("CONCAT_WS('~', 'AA', CAST(NULL AS STRING), 'BB', '', 'CC')", "AA~BB~~CC"),
        ("LPAD('hi', 4, '??')", "??hi"),
        ("LPAD('hi', 1, '??')", "h"),
        ("RPAD('hi', 4, '??')", "hi??"),
        ("RPAD('hi', 1, '??')", "h"),
        ("FROM_BASE64('aGVsbG8gd29ybGQ=')", "hello world"),
        ("TO_BASE64('hello world')", "aGVsbG8gd29ybGQ="),
        ("ASCII('abc')", "97"),
        ("ASCII(CAST(NULL AS STRING))", "NULL"),
        ("CHR(97)", "a"),
        ("CHR(353)", "a"),
        ("DECODE(ENCODE('abc', 'UTF-16LE'), 'UTF-16LE')", "abc"),
        ("HEX(ENCODE('é', 'ISO-8859-1'))", "E9"),
        ("HEX(ENCODE('a', 'UTF-16'))", "FEFF0061"),
        ("INSTR('abc', 'c')", "3"),
        ("LEFT('abc', 2)", "ab"),
        ("LEFT('abc', -1)", ""),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', -1)", ""),
        ("LOCATE('a', 'banana', 3)", "4"),
        ("LOCATE('a', 'banana', 7)", "0"),
        ("URL_ENCODE('a b&ü')", "a+b%26%C3%BC"),
        ("URL_DECODE('a+b%26%C3%BC')", "a b&ü"),
        ("URL_DECODE('a%2')", "NULL"),
        ("REVERSE('abc')", "cba"),
        ("SPLIT_INDEX('a,b,c', ',', 1)", "b"),
        ("SPLIT_INDEX('a,b,c', ',', -1)", "NULL"),
        ("SPLIT_INDEX('a,b,c', 44, 2)", "c"),
        ("STR_TO_MAP('k1=v1,k2=v2')", "{k1: v1, k2: v2}"),
        ("STR_TO_MAP('k1:v1;k2', ';', ':')", "{k1: v1, k2: }"),
        ("SUBSTR('abcdef', 2, 3)", "bcd"),
        ("SUBSTRING('abcdef' FROM 3)", "cdef"),
        ("SUBSTRING('abcdef' FROM 3 FOR 2)", "cd"),
        ("SUBSTRING('abcdef', -2)", "ef"),
        ("SUBSTRING('abcdef', 0, 2)", "ab"),
        ("ELT(2, 'a', 'b')", "b"),
        ("ELT(3, 'a', 'b')", "NULL"),
        ("SPLIT('a,b,,c', ',')", "[a, b, , c]"),
        ("SPLIT('abc', '')", "[a, b, c]"),
        ("SPLIT('abc', ';')", "[abc]"),
        ("IS_ALPHA('abc')", "TRUE"),
        ("IS_ALPHA('ab1')", "FALSE"),
        ("IS_DIGIT('123')", "TRUE"),
        ("IS_DECIMAL('1.5')", "TRUE"),
        ("IS_DECIMAL('a')", "FALSE"),
        ("HEX('hello,world')", "68656C6C6F2C776F726C64"),
        ("CAST(UNHEX('466C696E6B') AS STRING)", "Flink"),
        ("UNHEX('zz')", "NULL"),
    ]);
}

#[test]
fn urls() {
    let url = "'http://user@facebook.com:80/path1/p.php?k1=v1&k2=v2#Ref1'";
    let parts = [
        ("HOST", "facebook.com"),
        ("PATH", "/path1/p.php"),
        ("QUERY", "k1=v1&k2=v2"),
        ("REF", "Ref1"),
        ("PROTOCOL", "http"),
        ("AUTHORITY", "user@facebook.com:80"),
        ("FILE", "/path1/p.php?k1=v1&k2=v2"),
        ("USERINFO", "user"),
        ("NONE", "NULL"),
    ];
    for (part, expected) in parts {
        assert_eq!(super::harness::evaluate(&format!("PARSE_URL({url}, '{part}')")).unwrap(), expected, "{part}");
    }
    check(&[
        ("PARSE_URL('http://facebook.com/path1/p.php?k1=v1&k2=v2#Ref1', 'QUERY', 'k2')", "v2"),
        ("PARSE_URL('http://facebook.com/path1/p.php?k1=v1', 'QUERY', 'k3')", "NULL"),
        ("PARSE_URL('nonsense', 'HOST')", "NULL"),
    ]);
}

#[test]
fn patterns() {
    check(&[
        ("REGEXP_REPLACE('foobar', 'oo|ar', '')", "fb"),
        ("REGEXP_REPLACE('2024-05', '(\\d+)-(\\d+)', '$2/$1')", "05/2024"),
        ("REGEXP_REPLACE('a', '(', 'x')", "NULL"),
        ("REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)', 2)", "bar"),
        ("REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)')", "foothebar"),
        ("REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)', 3)", "NULL"),
        ("REGEXP_COUNT('abab', 'ab')", "2"),
        ("REGEXP_COUNT('abab', '(')", "NULL"),
        ("REGEXP_EXTRACT_ALL('100-200, 300-400', '(\\d+)-(\\d+)', 2)", "[200, 400]"),
        ("REGEXP_EXTRACT_ALL('ab', '(a)(b)', 3)", "NULL"),
        ("REGEXP_INSTR('日本abc', 'b')", "4"),
        ("REGEXP_SUBSTR('abc', 'b.')", "bc"),
        ("REGEXP_SUBSTR('abc', 'z')", "NULL"),
        ("REGEXP('abc', '^a\\w+$')", "TRUE"),
        ("REGEXP('abc', '')", "FALSE"),
        ("REGEXP('a.c', 'a\\Q.\\Ec')", "TRUE"),
        ("REGEXP('٣', '\\d')", "FALSE"),
        ("'abc' SIMILAR TO 'a(b|d)%'", "TRUE"),
        ("'abc' SIMILAR TO 'b'", "FALSE"),
        ("'abc' NOT SIMILAR TO 'b'", "TRUE"),
        ("'a.c' SIMILAR TO 'a.c' AND 'abc' NOT SIMILAR TO 'a.c'", "TRUE"),
        ("'abc' LIKE 'a_c'", "TRUE"),
        ("'abc' NOT LIKE '%d'", "TRUE"),
        ("CAST(NULL AS STRING) LIKE 'a'", "NULL"),
    ]);
    check_errors(&[
        ("REGEXP('abc', 'a(?=b)')", "look-ahead"),
        ("REGEXP('abc', '(a)\\1')", "back-references"),
        ("REGEXP('abc', 'a++')", "possessive"),
        ("REGEXP('abc', '(?>a)')", "atomic"),
        ("REGEXP('abc', '(')", "is no regular expression"),
    ]);
}

#[test]
fn hashes() {
    check(&[
        ("MD5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
        ("SHA1('abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("SHA224('abc')", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ("SHA256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "SHA2('abc', 256) = SHA256('abc') AND SHA2('abc', 512) = SHA512('abc') AND SHA2('abc', 384) = SHA384('abc')",
            "TRUE",
        ),
        ("MD5(CAST(NULL AS STRING))", "NULL"),
    ]);
    check_errors(&[("SHA2('abc', 100)", "224, 256, 384 or 512")]);
}

#[test]
fn formats() {
    check(&[
        ("PRINTF('%d %s', 5, 'a')", "5 a"),
        ("PRINTF('%05d|%-4s|%4s', 42, 'a', 'b')", "00042|a   |   b"),
        ("PRINTF('%.2f %e', 3.14159, CAST(1500 AS DOUBLE))", "3.14 1.500000e+03"),
        ("PRINTF('%,d %+d %x %b%%', 1234567, 1, 255, TRUE)", "1,234,567 +1 ff true%"),
        ("PRINTF('%2$s %1$s', 'a', 'b')", "b a"),
        ("PRINTF('%s', CAST(NULL AS STRING))", "null"),
        ("PRINTF('%d', 'a')", "NULL"),
        ("PRINTF('%d')", "NULL"),
    ]);
}

#[test]
fn wrong_arguments_are_errors() {
    check_errors(&[
        ("CONCAT('a', 1)", "CONCAT takes a string as argument 2"),
        ("LPAD('a', 3)", "LPAD takes 3 arguments, and 2 were given"),
        ("LPAD('a', 99999999, 'b')", "16777216"),
        ("FROM_BASE64('?')", "is not of base 64"),
        ("ENCODE('a', 'EBCDIC')", "there is no character set"),
    ]);
}
