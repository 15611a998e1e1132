//! The order of jsonb, over its stored text.

use std::cmp::Ordering;

use serde_json::Value;

use super::numeric;

/// The order of stored documents (collation `pg_jsonb`; the manual, chapter 8.14.4): objects, arrays, booleans, numbers,
/// strings, null, from the greatest; of two arrays or objects the one with more members is the greater. An array without
/// elements at the top is the least of all.
pub fn compare(a: &str, b: &str) -> Ordering {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let (Some(left), Some(right)) = (read(a), read(b)) else { return a.cmp(b) };
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    is_empty(&right).cmp(&is_empty(&left)).then_with(|| compare_values(&left, &right))
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::String(_) => 1,
        Value::Number(_) => 2,
        Value::Bool(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => numeric::compare(&a.to_string(), &b.to_string()),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
            a.iter().zip(b).map(|(a, b)| compare_values(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            let members = |object: &serde_json::Map<String, Value>| {
                let mut members: Vec<(String, Value)> = object.clone().into_iter().collect();
                // Keys are stored by length, then by bytes, and compared in that order.
                members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
                members
            };
            let (a, b) = (members(a), members(b));
            let pairs = a.iter().zip(&b);
            let order =
                |((a, x), (b, y)): (&(String, Value), &(String, Value))| a.cmp(b).then_with(|| compare_values(x, y));
            pairs.map(order).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_ordered_by_kind_and_size() {
        let mut all = ["{\"a\": 1}", "[1, 2]", "[10]", "true", "10", "9", "\"a\"", "null", "[]", "10.5"];
        all.sort_by(|a, b| compare(a, b));
        assert_eq!(all, ["[]", "null", "\"a\"", "9", "10", "10.5", "true", "[10]", "[1, 2]", "{\"a\": 1}"]);
        assert_eq!(compare("10", "10.0"), Ordering::Equal);
    }
}
