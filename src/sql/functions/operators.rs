//! Operators: which operands, which result, how written.

use super::Operator;

const TABLES: &[&[Operator]] = &[];

/// All overloads of an operator, binary and prefix, or none.
pub fn by_name(name: &str) -> &'static [Operator] {
    TABLES
        .iter()
        .map(|table| super::overloads(table, |operator| operator.name == name))
        .find(|found| !found.is_empty())
        .unwrap_or(&[])
}
