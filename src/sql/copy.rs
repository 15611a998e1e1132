//! COPY's options, validated: PostgreSQL's defaults, its restrictions and its wording.

use super::lex;
use super::parse::CopyValue;
use super::plan::{Column, CopyFormat, CopyHeader};
use crate::error::{Condition, Error};

/// What was written, in order, made into a format. `from`: FROM STDIN.
pub fn format(
    text: &str,
    options: &[(String, CopyValue, usize)],
    columns: &[Column],
    from: bool,
) -> Result<CopyFormat, Error> {
    let mut written = Written::default();
    for (index, (name, value, byte)) in options.iter().enumerate() {
        let at = lex::position(text, *byte);
        if options[..index].iter().any(|(other, ..)| other == name) {
            return Err(Error::new(Condition::SyntaxError, "conflicting or redundant options").position(at));
        }
        written.take(name, value, columns).map_err(|error| error.position(at))?;
    }
    written.validate(from)
}

#[derive(Default)]
struct Written {
    csv: bool,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<CopyHeader>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<Vec<usize>>,
    force_not_null: Option<Vec<usize>>,
    force_null: Option<Vec<usize>>,
}

impl Written {
    fn take(&mut self, name: &str, value: &CopyValue, columns: &[Column]) -> Result<(), Error> {
        match name {
            "format" => match text_of(name, value)?.as_str() {
                "text" => self.csv = false,
                "csv" => self.csv = true,
                "binary" => return Err(Error::unsupported("COPY in binary format")),
                other => {
                    let message = format!("COPY format \"{other}\" not recognized");
                    return Err(Error::new(Condition::InvalidParameterValue, message));
                }
            },
            // Rows are frozen from the start here: there is nothing to vacuum.
            "freeze" => {
                truth(name, value)?;
            }
            "delimiter" => self.delimiter = Some(text_of(name, value)?),
            "null" => self.null = Some(text_of(name, value)?),
            "quote" => self.quote = Some(text_of(name, value)?),
            "escape" => self.escape = Some(text_of(name, value)?),
            "header" => {
                self.header = Some(match value {
                    CopyValue::Text(word) if word.eq_ignore_ascii_case("match") => CopyHeader::Match,
                    value if truth(name, value)? => CopyHeader::Present,
                    _ => CopyHeader::Absent,
                });
            }
            "encoding" => {
                let encoding = text_of(name, value)?;
                if !["utf8", "utf-8", "unicode"].contains(&encoding.to_ascii_lowercase().as_str()) {
                    return Err(Error::unsupported(format!("COPY in encoding \"{encoding}\"")));
                }
            }
            "force_quote" => self.force_quote = Some(columns_of(name, value, columns, true)?),
            "force_not_null" => self.force_not_null = Some(columns_of(name, value, columns, false)?),
            "force_null" => self.force_null = Some(columns_of(name, value, columns, false)?),
            other => {
                return Err(Error::new(Condition::SyntaxError, format!("option \"{other}\" not recognized")));
            }
        }
        Ok(())
    }

    fn validate(self, from: bool) -> Result<CopyFormat, Error> {
        let csv = self.csv;
        let unsupported = |message: &str| Err(Error::new(Condition::FeatureNotSupported, message));
        let delimiter = one_byte("delimiter", self.delimiter, if csv { b',' } else { b'\t' })?;
        let null = self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() });
        if matches!(delimiter, b'\n' | b'\r') {
            let message = "COPY delimiter cannot be newline or carriage return";
            return Err(Error::new(Condition::InvalidParameterValue, message));
        }
        if null.contains(['\n', '\r']) {
            let message = "COPY null representation cannot use newline or carriage return";
            return Err(Error::new(Condition::InvalidParameterValue, message));
        }
        if !csv
            && (delimiter == b'\\' || delimiter == b'.' || delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit())
        {
            let message = format!("COPY delimiter cannot be \"{}\"", char::from(delimiter));
            return Err(Error::new(Condition::InvalidParameterValue, message));
        }
        if !csv && self.quote.is_some() {
            return unsupported("COPY quote available only in CSV mode");
        }
        if !csv && self.escape.is_some() {
            return unsupported("COPY escape available only in CSV mode");
        }
        let quote = one_byte("quote", self.quote, b'"')?;
        if csv && delimiter == quote {
            return Err(Error::new(Condition::InvalidParameterValue, "COPY delimiter and quote must be different"));
        }
        let escape = one_byte("escape", self.escape, quote)?;
        for (list, name, only_from) in [
            (&self.force_quote, "force quote", false),
            (&self.force_not_null, "force not null", true),
            (&self.force_null, "force null", true),
        ] {
            if list.is_some() && !csv {
                return unsupported(&format!("COPY {name} available only in CSV mode"));
            }
            if list.is_some() && from != only_from {
                let way = if only_from { "FROM" } else { "TO" };
                return unsupported(&format!("COPY {name} only available using COPY {way}"));
            }
        }
        if null.as_bytes().contains(&delimiter) {
            let message = "COPY delimiter must not appear in the NULL specification";
            return Err(Error::new(Condition::FeatureNotSupported, message));
        }
        if csv && null.as_bytes().contains(&quote) {
            let message = "CSV quote character must not appear in the NULL specification";
            return Err(Error::new(Condition::FeatureNotSupported, message));
        }
        if self.header == Some(CopyHeader::Match) && !from {
            return unsupported("cannot use \"match\" with HEADER in COPY TO");
        }
        Ok(CopyFormat {
            csv,
            delimiter,
            null,
            header: self.header.unwrap_or(CopyHeader::Absent),
            quote,
            escape,
            force_quote: self.force_quote.unwrap_or_default(),
            force_not_null: self.force_not_null.unwrap_or_default(),
            force_null: self.force_null.unwrap_or_default(),
        })
    }
}

fn text_of(name: &str, value: &CopyValue) -> Result<String, Error> {
    match value {
        CopyValue::Text(text) => Ok(text.clone()),
        _ => Err(Error::new(Condition::SyntaxError, format!("{name} requires a parameter"))),
    }
}

fn truth(name: &str, value: &CopyValue) -> Result<bool, Error> {
    match value {
        CopyValue::Absent => Ok(true),
        CopyValue::Text(word) => match word.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err(Error::new(Condition::SyntaxError, format!("{name} requires a Boolean value"))),
        },
        _ => Err(Error::new(Condition::SyntaxError, format!("{name} requires a Boolean value"))),
    }
}

fn one_byte(name: &str, value: Option<String>, default: u8) -> Result<u8, Error> {
    match value.as_deref().map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) => Ok(*byte),
        Some(_) => {
            let message = format!("COPY {name} must be a single one-byte character");
            Err(Error::new(Condition::FeatureNotSupported, message))
        }
    }
}

fn columns_of(name: &str, value: &CopyValue, columns: &[Column], all: bool) -> Result<Vec<usize>, Error> {
    match value {
        CopyValue::All if all => Ok((0..columns.len()).collect()),
        CopyValue::Columns(names) => names
            .iter()
            .map(|wanted| {
                columns.iter().position(|column| column.name == *wanted).ok_or_else(|| {
                    let shown = name.to_ascii_uppercase();
                    let message = format!("{shown} column \"{wanted}\" not referenced by COPY");
                    Error::new(Condition::InvalidColumnReference, message)
                })
            })
            .collect(),
        _ => {
            let message = format!("argument to option \"{name}\" must be a list of column names");
            Err(Error::new(Condition::InvalidParameterValue, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(options: &[(&str, &str)], from: bool) -> Result<CopyFormat, Error> {
        let options: Vec<_> =
            options.iter().map(|(name, value)| ((*name).to_owned(), CopyValue::Text((*value).to_owned()), 0)).collect();
        format("", &options, &[], from)
    }

    #[test]
    fn defaults_follow_the_format() {
        let text = made(&[], true).expect("valid");
        assert_eq!((text.delimiter, text.null.as_str(), text.csv), (b'\t', "\\N", false));
        let csv = made(&[("format", "csv"), ("quote", "'")], true).expect("valid");
        assert_eq!((csv.delimiter, csv.null.as_str(), csv.quote, csv.escape), (b',', "", b'\'', b'\''));
    }

    #[test]
    fn combinations_that_postgresql_refuses_are_refused() {
        for (options, message) in [
            (&[("delimiter", "ab")][..], "COPY delimiter must be a single one-byte character"),
            (&[("delimiter", "a")], "COPY delimiter cannot be \"a\""),
            (&[("quote", "'")], "COPY quote available only in CSV mode"),
            (&[("format", "csv"), ("delimiter", "\"")], "COPY delimiter and quote must be different"),
            (&[("null", "a\tb")], "COPY delimiter must not appear in the NULL specification"),
            (&[("format", "xml")], "COPY format \"xml\" not recognized"),
            (&[("colour", "red")], "option \"colour\" not recognized"),
            (&[("null", "a"), ("null", "b")], "conflicting or redundant options"),
        ] {
            assert_eq!(made(options, true).expect_err(message).fields().message, message);
        }
    }
}
