//! Round trips: what one side writes, the other reads; and the bytes of messages that no recording covers.

use super::client::{Backend, ClientEncoder, field, next};
use super::*;
use crate::error::{Condition, Error};

/// Encodes with `write`, then decodes all of it.
fn backend(write: impl FnOnce(&mut Encoder<'_>), check: impl FnOnce(&[Backend<'_>])) {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    let mut messages = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let Ok(Next::Complete(frame, length)) = next(rest) else { panic!("{rest:?}") };
        messages.push(Backend::decode(frame).unwrap());
        rest = &rest[length..];
    }
    check(&messages);
}

fn decode_one(bytes: &[u8]) -> Result<Message<'_>, Violation> {
    match frame::next(bytes)? {
        Next::Complete(frame, length) => {
            assert_eq!(length, bytes.len());
            Message::decode(frame)
        }
        Next::Missing(bytes) => panic!("{bytes} bytes are missing"),
    }
}

#[test]
fn the_start_of_a_session() {
    backend(
        |out| {
            out.negotiate_protocol_version(NEWEST_VERSION, &["_pq_.a", "_pq_.b"]);
            out.authentication_sasl(&["SCRAM-SHA-256"]);
            out.authentication_sasl_continue(b"challenge");
            out.authentication_sasl_final(b"signature");
            out.authentication_ok();
            out.parameter_status("TimeZone", "UTC");
            out.backend_key_data(7, &[9; 32]);
            out.ready_for_query(ReadyStatus::Idle);
        },
        |messages| {
            assert_eq!(
                messages,
                [
                    Backend::NegotiateProtocolVersion(0x0003_0002, vec!["_pq_.a", "_pq_.b"]),
                    Backend::AuthenticationSasl(vec!["SCRAM-SHA-256"]),
                    Backend::AuthenticationSaslContinue(b"challenge"),
                    Backend::AuthenticationSaslFinal(b"signature"),
                    Backend::AuthenticationOk,
                    Backend::ParameterStatus("TimeZone", "UTC"),
                    Backend::BackendKeyData(7, &[9; 32]),
                    Backend::ReadyForQuery(b'I'),
                ]
            );
        },
    );
}

#[test]
fn a_result() {
    let column =
        |name, format| Field { name, table: 16385, column: 2, type_oid: 23, type_size: 4, type_modifier: -1, format };
    backend(
        |out| {
            out.parse_complete();
            out.bind_complete();
            out.parameter_description([23, 25]);
            out.row_description([column("a", Format::Text), column("b", Format::Binary)]);
            let mut row = out.data_row(3);
            row.null();
            row.value(|buffer| buffer.extend_from_slice(b"42"));
            row.bytes(b"");
            row.finish().unwrap();
            out.command_complete(format_args!("SELECT {}", 1));
            out.portal_suspended();
            out.ready_for_query(ReadyStatus::InTransaction);
        },
        |messages| {
            assert_eq!(
                messages,
                [
                    Backend::ParseComplete,
                    Backend::BindComplete,
                    Backend::ParameterDescription(vec![23, 25]),
                    Backend::RowDescription(vec![("a", 23, Format::Text), ("b", 23, Format::Binary)]),
                    Backend::DataRow(vec![None, Some(b"42"), Some(b"")]),
                    Backend::CommandComplete("SELECT 1"),
                    Backend::PortalSuspended,
                    Backend::ReadyForQuery(b'T'),
                ]
            );
        },
    );
}

#[test]
fn a_row_that_is_not_finished_leaves_nothing() {
    let mut bytes = b"before".to_vec();
    let mut out = Encoder::new(&mut bytes);
    let mut row = out.data_row(2);
    row.null();
    drop(row);
    assert_eq!(
        out.copy_data(|buffer| {
            buffer.push(1);
            Err("broken")
        }),
        Err("broken")
    );
    assert_eq!(bytes, b"before");
}

#[test]
fn an_error_with_every_field() {
    let error = Error::new(Condition::UniqueViolation, "duplicate key")
        .detail("Key (a)=(1) already exists.")
        .hint("Try another.")
        .position(8)
        .context("COPY t, line 1")
        .table("public", "t")
        .column("a")
        .constraint("t_pkey");
    backend(
        |out| {
            out.error_response(Severity::Fatal, &error);
            out.notice_response(Severity::of_notice("WARNING"), &Error::new(Condition::Warning, "cut\0here"));
        },
        |messages| {
            let [Backend::ErrorResponse(fields), Backend::NoticeResponse(notice)] = messages else { panic!() };
            let text: Vec<_> = b"SVCMDHPWstcn".iter().map(|&code| field(fields, code).unwrap()).collect();
            assert_eq!(
                text.join("|"),
                "FATAL|FATAL|23505|duplicate key|Key (a)=(1) already exists.|Try another.|8|COPY t, line 1|\
                 public|t|a|t_pkey"
            );
            assert_eq!(fields.len(), 12);
            assert_eq!(field(notice, b'S'), Some("WARNING"));
            assert_eq!(field(notice, b'M'), Some("cut"));
        },
    );
}

#[test]
fn copy_and_the_rest() {
    backend(
        |out| {
            out.copy_in_response(Format::Text, 2);
            out.copy_out_response(Format::Binary, 1);
            out.copy_data(|buffer| {
                buffer.extend_from_slice(b"1\tx\n");
                Ok::<(), Error>(())
            })
            .unwrap();
            out.copy_done();
            out.no_data();
            out.close_complete();
            out.empty_query_response();
            out.notification_response(5, "channel", "payload");
            out.authentication_cleartext_password();
            out.authentication_md5_password([1, 2, 3, 4]);
        },
        |messages| {
            assert_eq!(
                messages,
                [
                    Backend::CopyInResponse(Format::Text, 2),
                    Backend::CopyOutResponse(Format::Binary, 1),
                    Backend::CopyData(b"1\tx\n"),
                    Backend::CopyDone,
                    Backend::NoData,
                    Backend::CloseComplete,
                    Backend::EmptyQueryResponse,
                    Backend::NotificationResponse(5, "channel", "payload"),
                    Backend::AuthenticationCleartextPassword,
                    Backend::AuthenticationMd5Password([1, 2, 3, 4]),
                ]
            );
        },
    );
}

#[test]
fn a_bind_with_values_of_both_formats() {
    let mut bytes = Vec::new();
    let values = [None, Some(&b"\0\0\0\x2a"[..]), Some(&b""[..])];
    ClientEncoder::new(&mut bytes).bind("portal", "statement", Format::Binary, &values, Format::Binary);
    let Ok(Message::Bind(bind)) = decode_one(&bytes) else { panic!() };
    assert_eq!((bind.portal, bind.statement), ("portal", "statement"));
    assert_eq!(bind.parameters.len(), 3);
    assert_eq!(bind.parameters.iter().collect::<Vec<_>>(), values);
    assert_eq!(bind.parameter_formats.format(2), Format::Binary);
    assert_eq!((bind.result_formats.len(), bind.result_formats.format(9)), (1, Format::Binary));
    assert!(bind.result_formats.fits(7));
}

/// A Bind whose part after the two names is given.
fn bind_of(rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'B'];
    bytes.extend((rest.len() as u32 + 6).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(rest);
    bytes
}

#[test]
fn binds_that_break_the_rules() {
    let refused = |rest: &[u8]| decode_one(&bind_of(rest)).unwrap_err().to_string();
    assert_eq!(refused(b"\0\x02\0\0\0\x01\0\x01"), "bind message has 2 parameter formats but 1 parameters");
    assert_eq!(refused(b"\0\x01\0\x02\0\0\0\0"), "unsupported format code: 2");
    assert_eq!(refused(b"\0\x02\0\0"), "insufficient data left in message");
    assert_eq!(refused(b"\0\0\xff\xff\0\0\0\0"), "insufficient data left in message");
    assert_eq!(refused(b"\0\0\0\x01\xff\xff\xff\xfe\0\0"), "insufficient data left in message");
    assert_eq!(refused(b"\0\0\0\x01\x7f\xff\xff\xff\0\0"), "insufficient data left in message");
    assert_eq!(refused(b"\0\0\0\0\0\0\0"), "invalid message format");
    assert!(decode_one(&bind_of(b"\0\0\0\0\0\0")).is_ok());
}

#[test]
fn other_messages_that_break_the_rules() {
    let refused = |bytes: &[u8]| {
        let violation = decode_one(bytes).unwrap_err();
        assert!(!violation.loses_sync());
        let error = Error::from(violation);
        (error.condition().code(), error.fields().message.clone(), error.fields().detail.clone())
    };
    assert_eq!(
        refused(b"Q\0\0\0\x06ab"),
        ("08P01", "invalid string in message".into(), Some("The text of Query has no terminating zero byte.".into()))
    );
    assert_eq!(
        refused(b"Q\0\0\0\x08a\0b\0"),
        ("08P01", "invalid message format".into(), Some("Bytes follow the last field of Query.".into()))
    );
    assert_eq!(refused(b"Q\0\0\0\x06\xff\0").0, "22021");
    assert_eq!(refused(b"D\0\0\0\x06X\0").1, "invalid DESCRIBE message subtype 88");
    assert_eq!(refused(b"C\0\0\0\x06\0\0").1, "invalid CLOSE message subtype 0");
    assert_eq!(
        refused(b"E\0\0\0\x07\0\0\0"),
        (
            "08P01",
            "insufficient data left in message".into(),
            Some("The message ends inside the row limit of Execute.".into())
        )
    );
    assert_eq!(refused(b"S\0\0\0\x05x").1, "invalid message format");
    assert_eq!(refused(b"P\0\0\0\x0b\0select").1, "invalid string in message");
    assert_eq!(refused(b"P\0\0\0\x08\0\0\x7f\xff").1, "insufficient data left in message");
}

#[test]
fn parse_declares_types() {
    let mut bytes = Vec::new();
    ClientEncoder::new(&mut bytes).parse("s", "select $1", &[23, 0]);
    let Ok(Message::Parse(parse)) = decode_one(&bytes) else { panic!() };
    assert_eq!((parse.name, parse.query), ("s", "select $1"));
    assert_eq!(parse.types.iter().collect::<Vec<_>>(), [23, 0]);
}

#[test]
fn requests_before_a_session() {
    let mut bytes = Vec::new();
    let mut out = ClientEncoder::new(&mut bytes);
    out.ssl_request();
    out.gss_encryption_request();
    out.cancel_request(7, &[1; 32]);
    out.startup(NEWEST_VERSION, &[("user", "ann")]);
    let mut packets = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let Ok(Next::Complete(body, length)) = frame::next_startup(rest) else { panic!() };
        packets.push(Packet::decode(body).unwrap());
        rest = &rest[length..];
    }
    assert_eq!(packets.len(), 4);
    assert_eq!(packets[..2], [Packet::SslRequest, Packet::GssEncryptionRequest]);
    assert_eq!(packets[2], Packet::CancelRequest { process: 7, key: &[1; 32] });
    assert!(
        matches!(&packets[3], Packet::Startup(startup) if startup.user == "ann" && startup.version == NEWEST_VERSION)
    );
}
