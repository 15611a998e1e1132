//! What PostgreSQL 15 answers.

use super::*;
use crate::sql::types::numeric::Numeric;

fn shown(template: &str) -> String {
    let local = days_from_civil(2024, 3, 5) * DAY_US + 14 * HOUR_US + 7 * MINUTE_US + 9 * SECOND_US + 123_456;
    Moment::of(local, "UTC", 0).text(template).unwrap()
}

#[test]
fn dates_by_template() {
    for (template, expected) in [
        ("YYYY-MM-DD HH24:MI:SS.US", "2024-03-05 14:07:09.123456"),
        ("HH12:MI am", "02:07 pm"),
        ("Day, DD Month YYYY", "Tuesday  , 05 March     2024"),
        ("FMDay, FMDDth FMMonth YYYY", "Tuesday, 5th March 2024"),
        ("Dy DD-Mon-YY", "Tue 05-Mar-24"),
        ("DDD IW Q J", "065 10 1 2460375"),
        ("\"at\" HH24\"h\"", "at 14h"),
        ("I IY IYY IYYY IDDD ID", "4 24 024 2024 065 2"),
        ("Y,YYY A.D. bc cc RM TZH:TZM OF", "2,024 A.D. ad 21 III  +00:00 +00"),
    ] {
        assert_eq!(shown(template), expected, "{template}");
    }
    let before = |year: i64| Moment::of(days_from_civil(year, 1, 1) * DAY_US, "", 0).text("YYYY BC CC").unwrap();
    assert_eq!(before(0), "0001 BC -01");
    assert_eq!(before(-100), "0101 BC -02");
}

#[test]
fn numbers_by_template() {
    for (value, template, expected) in [
        ("1234.5", "9999.99", " 1234.50"),
        ("12", "000", " 012"),
        ("-12", "999", " -12"),
        ("1234567", "9,999,999", " 1,234,567"),
        ("12345", "999", " ###"),
        ("12.5", "FM999.99", "12.5"),
        ("-5", "9MI", "5-"),
        ("-5", "S99", " -5"),
        ("5", "99PR", "  5 "),
        ("0.5", "9.99", "  .50"),
        ("0.5", "0.99", " 0.50"),
        ("0", "99", "  0"),
        ("0.1", "FM9.99", ".1"),
        ("485", "9SG99", "4+85"),
        ("482", "999th", " 482nd"),
        ("485", "RN", "        CDLXXXV"),
        ("12.45", "99V9", " 125"),
        ("148500", "9.99EEEE", " 1.49e+05"),
        ("NaN", "999", " NaN"),
        ("Infinity", "999", " ###"),
        ("1234", "9G999D99", " 1,234.00"),
        ("-1234", "L9G999", " -1,234"),
    ] {
        assert_eq!(
            numbers::of_numeric(&Numeric::parse(value).unwrap(), template).unwrap(),
            expected,
            "{value} {template}"
        );
    }
}

#[test]
fn dates_and_numbers_are_read_by_template() {
    let day = |input: &str, template: &str| read::read(input, template).and_then(|read| read.days(input));
    assert_eq!(day("2024-03-15", "YYYY-MM-DD").unwrap(), days_from_civil(2024, 3, 15));
    assert_eq!(day("15 Mar 24", "DD Mon YY").unwrap(), days_from_civil(2024, 3, 15));
    assert_eq!(day("20240315", "YYYYMMDD").unwrap(), days_from_civil(2024, 3, 15));
    assert_eq!(day("44-03-15 BC", "YYYY-MM-DD BC").unwrap(), days_from_civil(-43, 3, 15));
    assert_eq!(day("2005-527", "IYYY-IWID").unwrap(), days_from_civil(2006, 1, 1));
    assert_eq!(day("2024-02-30", "YYYY-MM-DD").unwrap_err().condition().code(), "22008");
    assert_eq!(day("x", "YYYY").unwrap_err().condition().code(), "22007");
    for (input, template, expected) in [
        ("-34,338,492", "99G999G999", "-34338492"),
        ("0.00001-", "9.999999S", "-0.00001"),
        ("5.01-", "FM9.999999MI", "-5.01"),
        ("<564646.654564>", "999999.999999PR", "-564646.654564"),
        ("123456", "999V999", "123.4560000000000000"),
        ("$1,234.56", "L99,999.99", "1234.56"),
    ] {
        assert_eq!(to_number::read(input, template).unwrap().to_string(), expected, "{input} {template}");
    }
}
