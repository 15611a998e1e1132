//! Measures the codec on memory: decoding what psql and pgbench sent (`tests/wire/`, from after authentication),
//! and encoding RowDescription and DataRow into a buffer that is used again.
//!
//! Does not measure sockets, authentication, or making a value's text: the row's values are there already.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgprefork::protocol::{Encoder, Field, Format, Message, Next, Packet, frame};

const ROW: [&[u8]; 4] = [b"90512", b"1", b"-4760", &[b' '; 84]];

/// What the client sent in its session: the recording without encryption requests, start-up and SASL.
fn session_bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut at = 0;
    loop {
        let Ok(Next::Complete(body, length)) = frame::next_startup(&bytes[at..]) else { panic!("{name}: no start-up") };
        at += length;
        if matches!(Packet::decode(body), Ok(Packet::Startup(_))) {
            break;
        }
    }
    while let Ok(Next::Complete(_, length)) = frame::next_response(&bytes[at..], "SASL response") {
        at += length;
    }
    bytes[at..].to_vec()
}

/// Decodes every message and every parameter; returns how many messages there were.
fn decode_all(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Next::Complete(found, length)) = frame::next(bytes) {
        let message = Message::decode(found).expect("a recorded message");
        if let Message::Bind(bind) = &message {
            bind.parameters.iter().for_each(|parameter| {
                black_box(parameter);
            });
        }
        black_box(&message);
        bytes = &bytes[length..];
        count += 1;
    }
    assert!(bytes.is_empty(), "the recording was not read to its end");
    count
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/decode");
    for (label, recording) in [
        ("simple_queries", "psql.front"),
        ("parse_bind_execute_sync", "pgbench_extended.front"),
        ("pipeline", "pgbench_pipeline.front"),
        ("prepared", "pgbench_prepared.front"),
    ] {
        let bytes = session_bytes(recording);
        assert!(decode_all(&bytes) > 1, "{recording} is empty");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(label, |bencher| bencher.iter(|| decode_all(black_box(&bytes))));
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/encode");
    let mut out = Vec::with_capacity(4096);
    let field = |name, column, type_oid, type_size, type_modifier| Field {
        name,
        table: 16_384,
        column,
        type_oid,
        type_size,
        type_modifier,
        format: Format::Text,
    };
    let fields = [
        field("aid", 1, 23, 4, -1),
        field("bid", 2, 23, 4, -1),
        field("abalance", 3, 23, 4, -1),
        field("filler", 4, 1042, -1, 88),
    ];
    group.bench_function("row_description_4_columns", |bencher| {
        bencher.iter(|| {
            out.clear();
            Encoder::new(&mut out).row_description(black_box(fields));
            black_box(&out);
        });
    });
    group.bench_function("data_row_4_columns", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut encoder = Encoder::new(&mut out);
            let mut row = encoder.data_row(ROW.len());
            for value in black_box(ROW) {
                row.bytes(value);
            }
            row.finish().expect("a short row");
            black_box(&out);
        });
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = settings(); targets = decode, encode }
criterion_main!(benches);
