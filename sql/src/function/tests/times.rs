//! Dates and times. The harness' session is in Europe/Berlin.

use super::{check, check_errors};

#[test]
fn parts() {
    check(&[
        ("EXTRACT(DAY FROM DATE '2006-06-05')", "5"),
        ("YEAR(DATE '1994-09-27')", "1994"),
        ("QUARTER(DATE '1994-09-27')", "3"),
        ("MONTH(DATE '1994-09-27')", "9"),
        ("WEEK(DATE '1994-09-27')", "39"),
        ("DAYOFYEAR(DATE '1994-09-27')", "270"),
        ("DAYOFMONTH(DATE '1994-09-27')", "27"),
        ("DAYOFWEEK(DATE '1994-09-27')", "3"),
        ("HOUR(TIMESTAMP '1994-09-27 13:14:15')", "13"),
        ("MINUTE(TIMESTAMP '1994-09-27 13:14:15')", "14"),
        ("SECOND(TIMESTAMP '1994-09-27 13:14:15')", "15"),
        ("EXTRACT(MILLISECOND FROM TIMESTAMP '1994-09-27 13:14:15.250')", "15250"),
        ("EXTRACT(HOUR FROM TO_TIMESTAMP_LTZ(0, 3))", "1"),
        ("EXTRACT(HOUR FROM INTERVAL '26' HOUR)", "2"),
        ("YEAR(CAST(NULL AS DATE))", "NULL"),
    ]);
}

#[test]
fn steps() {
    check(&[
        ("FLOOR(TIME '12:44:31' TO MINUTE)", "12:44:00"),
        ("CEIL(TIME '12:44:31' TO MINUTE)", "12:45:00"),
        ("FLOOR(DATE '2024-05-17' TO MONTH)", "2024-05-01"),
        ("CEIL(DATE '2024-05-17' TO YEAR)", "2025-01-01"),
        ("FLOOR(DATE '2024-05-17' TO WEEK)", "2024-05-12"),
        ("FLOOR(DATE '2024-05-17' TO DECADE)", "2020-01-01"),
        ("FLOOR(DATE '2000-05-17' TO CENTURY)", "1901-01-01"),
        ("FLOOR(TO_TIMESTAMP('2024-05-17 10:11:12.345') TO HOUR)", "2024-05-17 10:00:00.000"),
        ("TIMESTAMPADD(WEEK, 1, DATE '2003-01-02')", "2003-01-09"),
        ("TIMESTAMPADD(MONTH, 1, DATE '2024-01-31')", "2024-02-29"),
        ("TIMESTAMPADD(HOUR, -1, DATE '2024-01-01')", "2023-12-31 23:00:00.000"),
        ("TIMESTAMPDIFF(DAY, TIMESTAMP '2003-01-02 10:00:00', TIMESTAMP '2003-01-03 10:00:00')", "1"),
        ("TIMESTAMPDIFF(DAY, TIMESTAMP '2003-01-03 10:00:00', TIMESTAMP '2003-01-02 10:00:01')", "0"),
        ("TIMESTAMPDIFF(MONTH, DATE '2024-01-31', DATE '2024-02-29')", "0"),
        ("TIMESTAMPDIFF(YEAR, DATE '2020-02-29', DATE '2024-02-29')", "4"),
        ("TIMESTAMPDIFF(MONTH, DATE '2024-03-01', DATE '2024-01-15')", "-1"),
        ("(TIME '2:55:00', INTERVAL '1' HOUR) OVERLAPS (TIME '3:30:00', INTERVAL '2' HOUR)", "TRUE"),
        ("(TIME '9:00:00', TIME '10:00:00') OVERLAPS (TIME '10:15:00', INTERVAL '3' HOUR)", "FALSE"),
        ("TO_TIMESTAMP('2024-01-01 00:00:00') + INTERVAL '1 02:03:04.5' DAY TO SECOND", "2024-01-02 02:03:04.500"),
        ("DATE '2024-01-31' + INTERVAL '2-1' YEAR TO MONTH", "2026-02-28"),
        ("DATE '2024-01-31' - INTERVAL '1' DAY", "2024-01-30"),
    ]);
    check_errors(&[
        ("TIMESTAMPADD(FORTNIGHT, 1, DATE '2003-01-02')", "no unit of time FORTNIGHT"),
        ("FLOOR(DATE '2024-01-01' TO SOON)", "no unit of time"),
    ]);
}

#[test]
fn texts() {
    check(&[
        ("DATE_FORMAT(TIMESTAMP '2020-01-02 13:04:05.678', 'yyyy/MM/dd HH:mm:ss.SSS')", "2020/01/02 13:04:05.678"),
        (
            "DATE_FORMAT(TIMESTAMP '2020-01-02 13:04:05', 'EEE, d MMM yy h:mm a ''o''''clock''')",
            "Thu, 2 Jan 20 1:04 PM o'clock",
        ),
        ("DATE_FORMAT(CAST('2020-01-02 13:04:05.123456789' AS TIMESTAMP(9)), 'ss.SSSSSSSSS')", "05.123456789"),
        ("DATE_FORMAT(TO_TIMESTAMP_LTZ(0, 3), 'HH:mm XXX')", "01:00 +01:00"),
        ("CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'America/Los_Angeles')", "1969-12-31 16:00:00"),
        ("CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'GMT-08:00')", "1969-12-31 16:00:00"),
        ("CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'PST')", "1969-12-31 16:00:00"),
        ("FROM_UNIXTIME(44)", "1970-01-01 01:00:44"),
        ("FROM_UNIXTIME(44, 'yyyyMMddHHmmss')", "19700101010044"),
        ("UNIX_TIMESTAMP('1970-01-01 08:00:01.001', 'yyyy-MM-dd HH:mm:ss.SSS')", "25201"),
        ("UNIX_TIMESTAMP('1970-01-01 08:00:01.001 +0800', 'yyyy-MM-dd HH:mm:ss.SSS X')", "1"),
        ("UNIX_TIMESTAMP('1970-01-01 08:00:01.001 +0800', 'yyyy-MM-dd HH:mm:ss.SSS')", "25201"),
        ("UNIX_TIMESTAMP('1970-01-01 08:00:01.001', 'yyyy-MM-dd HH:mm:ss.SSS X')", "-9223372036854775808"),
        ("TO_DATE('2024-05-17')", "2024-05-17"),
        ("TO_DATE('17.05.2024', 'dd.MM.yyyy')", "2024-05-17"),
        ("TO_DATE('nonsense')", "NULL"),
        ("TO_TIMESTAMP('2024-05-17 10:11:12.345')", "2024-05-17 10:11:12.345"),
        ("TO_TIMESTAMP('20240517101112', 'yyyyMMddHHmmss')", "2024-05-17 10:11:12.000"),
        ("TO_TIMESTAMP('2024-13-17 10:11:12')", "NULL"),
        ("TO_TIMESTAMP_LTZ(100, 0)", "1970-01-01 00:01:40.000"),
        ("TO_TIMESTAMP_LTZ(1100, 3)", "1970-01-01 00:00:01.100"),
        ("TO_TIMESTAMP_LTZ('2023-01-01 00:00:00', 'yyyy-MM-dd HH:mm:ss', 'Asia/Shanghai')", "2022-12-31 16:00:00.000"),
    ]);
    check_errors(&[
        ("CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'Mars')", "there is no time zone 'Mars'"),
        ("DATE_FORMAT(DATE '2024-01-01', 'bb')", "has the letter b"),
        ("TO_TIMESTAMP_LTZ(1, 6)", "the precision is 0"),
    ]);
}

#[test]
fn clock() {
    check(&[
        ("CURRENT_TIMESTAMP >= TO_TIMESTAMP_LTZ(1700000000, 0)", "TRUE"),
        ("TYPEOF(NOW())", "TIMESTAMP_LTZ(3)"),
        ("TYPEOF(CURRENT_ROW_TIMESTAMP())", "TIMESTAMP_LTZ(3)"),
        ("TYPEOF(LOCALTIMESTAMP)", "TIMESTAMP(3)"),
        ("TYPEOF(CURRENT_DATE)", "DATE"),
        ("TYPEOF(LOCALTIME)", "TIME(0)"),
        ("TYPEOF(CURRENT_TIME)", "TIME(0)"),
        ("UNIX_TIMESTAMP() > 1700000000", "TRUE"),
        ("LOCALTIMESTAMP > TO_TIMESTAMP('2020-01-01')", "TRUE"),
    ]);
}
