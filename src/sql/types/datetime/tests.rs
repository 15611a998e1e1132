//! Dates and times as PostgreSQL reads and writes them.

use jiff::tz::TimeZone;

use super::*;
use crate::error::Error;

fn context(zone: &str) -> TextContext {
    TextContext { time_zone: TimeZone::get(zone).unwrap(), ..TextContext::default() }
}

fn timestamp(text: &str) -> Result<String, Error> {
    let context = TextContext::default();
    let mut out = Vec::new();
    write_timestamp(Type::Timestamp, parse_timestamp(Type::Timestamp, text, &context)?, &context, &mut out);
    Ok(String::from_utf8(out).unwrap())
}

fn zoned(text: &str, context: &TextContext) -> String {
    let mut out = Vec::new();
    write_timestamp(Type::Timestamptz, parse_timestamp(Type::Timestamptz, text, context).unwrap(), context, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn timestamps_in_many_forms() {
    for (text, shown) in [
        ("2024-01-15", "2024-01-15 00:00:00"),
        ("2024-01-15 10:20", "2024-01-15 10:20:00"),
        ("2024-01-15T10:20:30.5Z", "2024-01-15 10:20:30.5"),
        ("2024-01-15 10:20:30.1234567+02", "2024-01-15 10:20:30.123457"),
        ("Jan 15 2024 3:04 PM", "2024-01-15 15:04:00"),
        ("15 January 2024", "2024-01-15 00:00:00"),
        ("1/15/2024", "2024-01-15 00:00:00"),
        ("15-Jan-24", "2024-01-15 00:00:00"),
        ("20240115T102030", "2024-01-15 10:20:30"),
        ("20240115", "2024-01-15 00:00:00"),
        ("Mon Jan 15 10:20:30 2024", "2024-01-15 10:20:30"),
        ("2024-01-15 24:00:00", "2024-01-16 00:00:00"),
        ("0044-03-15 BC", "0044-03-15 00:00:00 BC"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("epoch", "1970-01-01 00:00:00"),
        ("12024-01-01", "12024-01-01 00:00:00"),
        ("2024-060", "2024-02-29 00:00:00"),
    ] {
        assert_eq!(timestamp(text).unwrap(), shown, "{text}");
    }
}

#[test]
fn bad_dates_are_refused_as_postgresql_refuses_them() {
    for (text, code) in [
        ("", "22007"),
        ("abc", "22007"),
        ("2024-13-01", "22008"),
        ("2024-02-30", "22008"),
        ("2024-01-01 25:00", "22008"),
        ("2024-01-01 10:60", "22008"),
        ("300000-01-01", "22008"),
        ("2024", "22007"),
        ("2024-01-01 10:00 Nowhere/City", "22023"),
        ("2024-01-01 +99:00", "22009"),
    ] {
        assert_eq!(timestamp(text).unwrap_err().condition().code(), code, "{text}");
    }
    assert_eq!(
        parse_date("x", &TextContext::default()).unwrap_err().to_string(),
        "invalid input syntax for type date: \"x\" (22007)"
    );
    assert_eq!(
        parse_date("2024-02-30", &TextContext::default()).unwrap_err().to_string(),
        "date/time field value out of range: \"2024-02-30\" (22008)"
    );
}

#[test]
fn zones_apply() {
    let berlin = context("Europe/Berlin");
    assert_eq!(zoned("2024-07-01 12:00", &berlin), "2024-07-01 12:00:00+02");
    assert_eq!(zoned("2024-01-01 12:00Z", &berlin), "2024-01-01 13:00:00+01");
    assert_eq!(zoned("2024-03-31 02:30", &berlin), "2024-03-31 03:30:00+02");
    assert_eq!(zoned("2024-10-27 02:30", &berlin), "2024-10-27 02:30:00+01");
    assert_eq!(zoned("2024-01-01 00:00 America/New_York", &berlin), "2024-01-01 06:00:00+01");
    assert_eq!(zoned("2024-01-01 00:00 EST", &berlin), "2024-01-01 06:00:00+01");
    assert_eq!(zoned("1800-01-01 00:00", &berlin), "1800-01-01 00:00:00+00:53:28");
    assert_eq!(zoned("2024-01-01 00:00", &context("Asia/Kolkata")), "2024-01-01 00:00:00+05:30");
}

#[test]
fn styles() {
    let value = parse_timestamp(Type::Timestamp, "2024-01-15 10:20:30.5", &TextContext::default()).unwrap();
    for (style, order, shown) in [
        (DateStyle::Iso, DateOrder::Dmy, "2024-01-15 10:20:30.5 2024-01-15"),
        (DateStyle::Sql, DateOrder::Mdy, "01/15/2024 10:20:30.5 01/15/2024"),
        (DateStyle::Sql, DateOrder::Dmy, "15/01/2024 10:20:30.5 15/01/2024"),
        (DateStyle::German, DateOrder::Dmy, "15.01.2024 10:20:30.5 15.01.2024"),
        (DateStyle::Postgres, DateOrder::Mdy, "Mon Jan 15 10:20:30.5 2024 01-15-2024"),
        (DateStyle::Postgres, DateOrder::Dmy, "Mon 15 Jan 10:20:30.5 2024 15-01-2024"),
    ] {
        let context = TextContext { date_style: style, date_order: order, ..TextContext::default() };
        let mut out = Vec::new();
        write_timestamp(Type::Timestamp, value, &context, &mut out);
        out.push(b' ');
        write_date(value.div_euclid(DAY_US), &context, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), shown);
    }
}

#[test]
fn rounding_of_seconds() {
    assert_eq!(round_to(1_500_000, 0), 2_000_000);
    assert_eq!(round_to(-1_500_000, 0), -2_000_000);
    assert_eq!(round_to(1_234_567, 3), 1_235_000);
}

#[test]
fn a_date_that_does_not_fit_datestyles_order_is_refused() {
    let with = |text: &str, date_order: DateOrder| {
        let context = TextContext { date_order, ..TextContext::default() };
        let mut out = Vec::new();
        parse_date(text, &context).map(|days| {
            write_date(days, &TextContext::default(), &mut out);
            String::from_utf8(out).unwrap()
        })
    };
    assert_eq!(with("13/02/2024", DateOrder::Dmy).unwrap(), "2024-02-13");
    assert_eq!(with("02/13/2024", DateOrder::Mdy).unwrap(), "2024-02-13");
    assert_eq!(with("24/02/13", DateOrder::Ymd).unwrap(), "2024-02-13");
    assert_eq!(with("13 Feb 2024", DateOrder::Ymd).unwrap(), "2024-02-13");
    for (text, order) in [("13/02/2024", DateOrder::Mdy), ("02/13/2024", DateOrder::Dmy)] {
        let error = with(text, order).unwrap_err();
        assert_eq!(error.condition().code(), "22008", "{text}");
        assert!(format!("{error:?}").contains("different \\\"datestyle\\\" setting"), "{error:?}");
    }
    assert_eq!(with("1/2/3", DateOrder::Mdy).unwrap(), "2003-01-02");
    assert_eq!(with("02/13/13/2024", DateOrder::Mdy).unwrap_err().condition().code(), "22007");
}

#[test]
fn abbreviations_whose_offset_changed() {
    let utc = |text: &str| {
        let context = TextContext::default();
        let mut out = Vec::new();
        let value = parse_timestamp(Type::Timestamptz, text, &context).unwrap();
        write_timestamp(Type::Timestamptz, value, &context, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(utc("2010-01-01 00:00 MSK"), "2009-12-31 21:00:00+00");
    assert_eq!(utc("2013-01-01 00:00 MSK"), "2012-12-31 20:00:00+00");
    assert_eq!(utc("2020-01-01 00:00 MSK"), "2019-12-31 21:00:00+00");
    let zone = |name: &str| Zone::by_name(name).unwrap().to_utc(0) / HOUR_US;
    assert_eq!((zone("02:00"), zone("-3"), zone("pdt"), zone("UTC+3")), (2, -3, 7, 3));
}
