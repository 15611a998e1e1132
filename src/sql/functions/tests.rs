//! Functions called as the engine calls them: by the name that a plan holds. Expected values are PostgreSQL 15's.

use std::collections::HashMap;

use super::*;
use crate::sql::types::{input, output};

/// A session that knows nothing but its text context.
struct Nobody;

impl Host for Nobody {
    fn current_user(&self) -> String {
        "postgres".to_owned()
    }
    fn session_user(&self) -> String {
        "postgres".to_owned()
    }
    fn current_database(&self) -> String {
        "postgres".to_owned()
    }
    fn current_schemas(&self, _: bool) -> Vec<String> {
        vec!["public".to_owned()]
    }
    fn backend_pid(&self) -> i32 {
        1
    }
    fn transaction_timestamp(&self) -> i64 {
        0
    }
    fn statement_timestamp(&self) -> i64 {
        0
    }
    fn clock_timestamp(&self) -> i64 {
        0
    }
    fn setting(&self, _: &str, _: bool) -> Result<Option<String>, Error> {
        Ok(None)
    }
    fn set_setting(&self, _: &str, value: &str, _: bool) -> Result<String, Error> {
        Ok(value.to_owned())
    }
    fn text_context(&self) -> TextContext {
        TextContext::default()
    }
    fn sleep(&self, _: f64) -> Result<(), Error> {
        Ok(())
    }
    fn signal_backend(&self, _: i32, _: bool) -> Result<bool, Error> {
        Ok(false)
    }
    fn catalog_function(&self, name: &str, _: &[Datum<'_>]) -> Result<Value, Error> {
        Err(Error::internal(name))
    }
}

/// Calls the overload with those argument types; the result as text.
fn call(name: &str, arguments: &[(Type, &str)]) -> Result<String, Error> {
    let types: Vec<Type> = arguments.iter().map(|(type_, _)| *type_).collect();
    let function = by_name(name).iter().find(|function| function.arguments == types).unwrap();
    let Emit::Call(emitted) = function.emit else { panic!("{name} is not called") };
    let context = TextContext::default();
    let values: Vec<Value> = arguments.iter().map(|(type_, text)| input(*type_, -1, text, &context).unwrap()).collect();
    let data: Vec<Datum<'_>> = values.iter().map(Value::as_datum).collect();
    let result = (registration(emitted).unwrap().implementation)(&Nobody, &data)?;
    let mut out = Vec::new();
    output(function.result, -1, result.as_datum(), &context, &mut out);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn overloads_of_a_name_stand_together_and_every_call_has_an_implementation() {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, function) in all().enumerate() {
        if let Some(previous) = seen.insert(function.name, index) {
            assert_eq!(previous + 1, index, "{} stands apart", function.name);
        }
        if let (Emit::Call(emitted), FunctionKind::Scalar) = (function.emit, function.kind) {
            assert!(registration(emitted).is_some(), "{emitted}");
        }
        if let (Emit::Call(emitted), FunctionKind::Aggregate) = (function.emit, function.kind) {
            assert!(aggregates::Aggregate::by_call(emitted).is_some(), "{emitted}");
        }
    }
}

#[test]
fn rounding_to_places_is_not_rounding_to_whole_numbers() {
    use Type::{Int4, Numeric};
    assert_eq!(call("round", &[(Numeric, "1.245"), (Int4, "2")]).unwrap(), "1.25");
    assert_eq!(call("round", &[(Numeric, "1250"), (Int4, "-2")]).unwrap(), "1300");
    assert_eq!(call("trunc", &[(Numeric, "1.999"), (Int4, "2")]).unwrap(), "1.99");
    assert_eq!(call("round", &[(Numeric, "2.5")]).unwrap(), "3");
}

#[test]
fn ages_count_the_days_of_the_earlier_month() {
    use Type::Timestamp;
    for (a, b, shown) in [
        ("2024-03-15", "2023-01-20", "1 year 1 mon 26 days"),
        ("2023-01-20", "2024-03-15", "-1 years -1 mons -26 days"),
        ("2024-03-01", "2024-02-29 12:00", "12:00:00"),
        ("2024-02-29 12:00", "2024-03-01", "-12:00:00"),
    ] {
        assert_eq!(call("age", &[(Timestamp, a), (Timestamp, b)]).unwrap(), shown, "{a} {b}");
    }
}

#[test]
fn fields_that_a_type_lacks_are_refused() {
    use Type::{Date, Interval, Text, Time, Timestamp};
    assert_eq!(
        call("extract", &[(Text, "hour"), (Date, "2024-03-15")]).unwrap_err().to_string(),
        "unit \"hour\" not supported for type date (0A000)"
    );
    assert_eq!(
        call("extract", &[(Text, "year"), (Time, "10:00")]).unwrap_err().to_string(),
        "unit \"year\" not supported for type time without time zone (0A000)"
    );
    for (unit, type_, text, shown) in [
        ("epoch", Time, "10:20:30.5", "37230.500000"),
        ("epoch", Timestamp, "2024-03-15 10:20:30.5", "1710498030.500000"),
        ("epoch", Interval, "1 year 1 mon 1 day 1 sec", "34236001.000000"),
        ("century", Date, "0044-03-15 BC", "-1"),
        ("week", Date, "2021-01-03", "53"),
    ] {
        assert_eq!(call("extract", &[(Text, unit), (type_, text)]).unwrap(), shown, "{unit} {text}");
    }
}

#[test]
fn letters_that_would_become_two_keep_their_case() {
    assert_eq!(call("upper", &[(Type::Text, "straße")]).unwrap(), "STRAßE");
    assert_eq!(call("lower", &[(Type::Text, "ÄÖ")]).unwrap(), "äö");
}

#[test]
fn text_functions_give_what_postgresql_gives() {
    use Type::{Int4, Text};
    for (name, arguments, shown) in [
        ("substring", &[(Text, "hello"), (Int4, "-1"), (Int4, "4")][..], "he"),
        ("left", &[(Text, "hello"), (Int4, "-2")], "hel"),
        ("right", &[(Text, "hello"), (Int4, "-2")], "llo"),
        ("lpad", &[(Text, "hi"), (Int4, "5"), (Text, "xy")], "xyxhi"),
        ("split_part", &[(Text, "a,b,c"), (Text, ","), (Int4, "-1")], "c"),
        ("regexp_replace", &[(Text, "hello"), (Text, "(l)(o)"), (Text, "\\2\\1")], "helol"),
        ("initcap", &[(Text, "hello WORLD foo-bar")], "Hello World Foo-Bar"),
        ("overlay", &[(Text, "abcdef"), (Text, "xx"), (Int4, "2"), (Int4, "3")], "axxef"),
        ("quote_literal", &[(Text, "it's \\ x")], "E'it''s \\\\ x'"),
        ("string_to_array", &[(Text, "a,b,,c"), (Text, ",")], "{a,b,\"\",c}"),
    ] {
        assert_eq!(call(name, arguments).unwrap(), shown, "{name}");
    }
    let negative = call("substring", &[(Text, "hello"), (Int4, "2"), (Int4, "-1")]).unwrap_err();
    assert_eq!(negative.to_string(), "negative substring length not allowed (22011)");
}
