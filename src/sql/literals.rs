//! Values of literals: numbers and strings of a text, read as the type that the context wants.

use super::lex::{self, Token};
use super::types::{self, TextContext, Type, Value};
use crate::error::Error;

/// The value of a literal's token. `negated`: a minus sign before it belongs to it.
pub fn read(token: Token, negated: bool, type_: Type, text: &str, context: &TextContext) -> Result<Value, Error> {
    let source = token.text(text);
    let read = |written: &str| types::input(type_, -1, written, context);
    let value = if token.kind.is_string() {
        read(&lex::string_value(token.kind, source, text, token.start)?)
    } else if let (Type::Int2 | Type::Int4 | Type::Int8, Ok(value)) = (type_, source.parse::<i32>()) {
        // The common case without a detour: digits that fit.
        let value = i64::from(value);
        let value = if negated { -value } else { value };
        if type_ == Type::Int2 { read(&value.to_string()) } else { Ok(Value::Int(value)) }
    } else if negated {
        read(&format!("-{source}"))
    } else {
        read(source)
    };
    value.map_err(|error| {
        if error.fields().position.is_some() { error } else { error.position(lex::position(text, token.start)) }
    })
}
