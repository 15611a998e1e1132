//! Measures reading and writing the text form of a value: integer, text, numeric and timestamp, with the session's
//! default settings. Output goes to a buffer that is used again.
//!
//! Does not measure binary forms, type modifiers, the wire around a value, or SQLite storing it. Text input is a
//! copy and its output another: they are the floor for the rest.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pgprefork::sql::types::{TextContext, Type, input, output};

const VALUES: [(&str, Type, &str); 4] = [
    ("int4", Type::Int4, "-1234567"),
    ("text", Type::Text, "The quick brown fox jumps over the lazy dog"),
    ("numeric", Type::Numeric, "-12345678901234.567890"),
    ("timestamp", Type::Timestamp, "2025-02-28 23:59:58.123456"),
];

fn read(criterion: &mut Criterion) {
    let context = TextContext::default();
    let mut group = criterion.benchmark_group("types/input");
    for (label, type_, text) in VALUES {
        group.bench_function(label, |bencher| {
            bencher.iter(|| input(type_, -1, black_box(text), &context).expect("a valid value"));
        });
    }
    group.finish();
}

fn write(criterion: &mut Criterion) {
    let context = TextContext::default();
    let mut group = criterion.benchmark_group("types/output");
    let mut out = Vec::with_capacity(256);
    for (label, type_, text) in VALUES {
        let value = input(type_, -1, text, &context).expect("a valid value");
        output(type_, -1, value.as_datum(), &context, &mut out);
        assert_eq!(out, text.as_bytes(), "{label} is not written as it was read");
        group.bench_function(label, |bencher| {
            bencher.iter(|| {
                out.clear();
                output(type_, -1, black_box(value.as_datum()), &context, &mut out);
                black_box(&out);
            });
        });
        out.clear();
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = settings(); targets = read, write }
criterion_main!(benches);
