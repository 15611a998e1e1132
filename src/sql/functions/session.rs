//! Functions that ask the session, the server or the catalog.

use super::arguments::{boolean, float, int, text, truth};
use super::{Function, Host};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{
    AclItem, AclItemArray, AnyArray, AnyElement, Bool, Char, Float8, Int2, Int4, Int4Array, Int8, Name, NameArray, Oid,
    OidArray, PgNodeTree, Regclass, Regtype, Text, Uuid, Void,
};
use crate::sql::types::{Datum, Value, array};

/// A function that the catalog answers under its own name.
macro_rules! catalog {
    ($name:literal, $arguments:expr, $result:expr) => {
        Function::call($name, $arguments, $result, concat!("pg_catalog_", $name), |h, a| h.catalog_function($name, a))
            .stable()
    };
}

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("current_user", &[], Name, "pg_current_user", |h, _| Ok(Value::Text(h.current_user()))).stable(),
    Function::call("session_user", &[], Name, "pg_session_user", |h, _| Ok(Value::Text(h.session_user()))).stable(),
    Function::call("current_database", &[], Name, "pg_current_database", |h, _| Ok(Value::Text(h.current_database())))
        .stable(),
    Function::call("current_catalog", &[], Name, "pg_current_database", |h, _| Ok(Value::Text(h.current_database())))
        .stable(),
    Function::call("current_schema", &[], Name, "pg_current_schema", |h, _| {
        Ok(h.current_schemas(false).into_iter().next().map_or(Value::Null, Value::Text))
    })
    .stable(),
    Function::call("current_schemas", &[Bool], NameArray, "pg_current_schemas", |h, a| {
        let schemas = h.current_schemas(boolean(a, 0)?);
        Ok(Value::Text(array::from_elements(schemas.iter().map(|schema| Some(schema.as_str())))))
    })
    .stable(),
    Function::call("version", &[], Text, "pg_version", |h, _| {
        let version = h.setting("server_version", true)?.unwrap_or_default();
        Ok(Value::Text(format!("PostgreSQL {version} on {}", std::env::consts::ARCH)))
    })
    .stable(),
    Function::call("pg_backend_pid", &[], Int4, "pg_backend_pid", |h, _| Ok(Value::Int(i64::from(h.backend_pid()))))
        .stable(),
    Function::call("current_setting", &[Text], Text, "pg_current_setting", current_setting).stable(),
    Function::call("current_setting", &[Text, Bool], Text, "pg_current_setting", current_setting).stable(),
    Function::call("set_config", &[Text, Text, Bool], Text, "pg_set_config", |h, a| {
        h.set_setting(text(a, 0)?, text(a, 1)?, boolean(a, 2)?).map(Value::Text)
    })
    .volatile(),
    Function::call("pg_sleep", &[Float8], Void, "pg_sleep", |h, a| {
        h.sleep(float(a, 0)?)?;
        Ok(Value::Text(String::new()))
    })
    .volatile(),
    Function::call("pg_cancel_backend", &[Int4], Bool, "pg_cancel_backend", |h, a| signal(h, a, false)).volatile(),
    Function::call("pg_terminate_backend", &[Int4], Bool, "pg_terminate_backend", |h, a| signal(h, a, true)).volatile(),
    Function::call("pg_is_in_recovery", &[], Bool, "pg_is_in_recovery", |_, _| Ok(truth(false))).volatile(),
    Function::call("gen_random_uuid", &[], Uuid, "pg_gen_random_uuid", |_, _| {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(Condition::SystemError, format!("no random bits: {error}")))?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Value::Bytes(bytes.to_vec()))
    })
    .volatile(),
    Function::call("pg_encoding_to_char", &[Int4], Name, "pg_encoding_to_char", |_, a| {
        Ok(Value::Text(
            match int(a, 0)? {
                0 => "SQL_ASCII",
                6 => "UTF8",
                _ => "",
            }
            .to_owned(),
        ))
    }),
    Function::call("pg_char_to_encoding", &[Name], Int4, "pg_char_to_encoding", |_, a| {
        Ok(Value::Int(match text(a, 0)?.to_ascii_uppercase().as_str() {
            "UTF8" | "UTF-8" => 6,
            "SQL_ASCII" => 0,
            _ => -1,
        }))
    }),
    Function::call("pg_size_pretty", &[Int8], Text, "pg_size_pretty", |_, a| Ok(Value::Text(size_pretty(int(a, 0)?)))),
    Function::call("array_to_string", &[AnyArray, Text], Text, "pg_array_to_string", array_to_string).stable(),
    Function::call("array_to_string", &[AnyArray, Text, Text], Text, "pg_array_to_string", array_to_string).stable(),
    Function::call("array_position", &[AnyArray, AnyElement], Int4, "pg_array_position", |_, a| {
        let needle = plain(a.get(1));
        let at = array::elements(text(a, 0)?)?.iter().position(|item| item.as_deref() == Some(needle.as_str()));
        Ok(at.map_or(Value::Null, |at| Value::Int(at as i64 + 1)))
    }),
    Function::call("array_length", &[AnyArray, Int4], Int4, "pg_array_length", array_length),
    Function::call("array_upper", &[AnyArray, Int4], Int4, "pg_array_length", array_length),
    Function::call("array_lower", &[AnyArray, Int4], Int4, "pg_array_lower", |h, a| {
        Ok(if array_length(h, a)? == Value::Null { Value::Null } else { Value::Int(1) })
    }),
    Function::call("cardinality", &[AnyArray], Int4, "pg_cardinality", |_, a| {
        Ok(Value::Int(items(text(a, 0)?)?.len() as i64))
    }),
    Function::call("array_remove", &[AnyArray, AnyElement], AnyArray, "pg_array_remove", |_, a| {
        let unwanted = plain(a.get(1));
        let kept: Vec<Option<String>> =
            items(text(a, 0)?)?.into_iter().filter(|item| item.as_deref() != Some(unwanted.as_str())).collect();
        Ok(Value::Text(array::from_elements(kept.iter().map(Option::as_deref))))
    }),
    catalog!("pg_partition_ancestors", &[Regclass], OidArray),
    catalog!("pg_statistics_obj_is_visible", &[Oid], Bool),
    catalog!("pg_operator_is_visible", &[Oid], Bool),
    catalog!("pg_get_userbyid", &[Oid], Name),
    catalog!("pg_table_is_visible", &[Oid], Bool),
    catalog!("pg_type_is_visible", &[Oid], Bool),
    catalog!("pg_function_is_visible", &[Oid], Bool),
    // NULL is a type modifier here: none.
    catalog!("format_type", &[Oid, Int4], Text).lenient(),
    catalog!("pg_get_expr", &[PgNodeTree, Oid], Text),
    catalog!("pg_get_expr", &[PgNodeTree, Oid, Bool], Text),
    catalog!("pg_get_indexdef", &[Oid], Text),
    catalog!("pg_get_indexdef", &[Oid, Int4, Bool], Text),
    catalog!("pg_get_constraintdef", &[Oid], Text),
    catalog!("pg_get_constraintdef", &[Oid, Bool], Text),
    catalog!("pg_get_triggerdef", &[Oid], Text),
    catalog!("pg_get_triggerdef", &[Oid, Bool], Text),
    catalog!("pg_get_viewdef", &[Oid], Text),
    catalog!("pg_get_viewdef", &[Oid, Bool], Text),
    catalog!("pg_get_ruledef", &[Oid], Text),
    catalog!("pg_get_functiondef", &[Oid], Text),
    catalog!("pg_get_function_sqlbody", &[Oid], Text),
    catalog!("pg_get_function_result", &[Oid], Text),
    catalog!("pg_get_function_arguments", &[Oid], Text),
    catalog!("pg_get_function_identity_arguments", &[Oid], Text),
    catalog!("pg_get_statisticsobjdef_columns", &[Oid], Text),
    catalog!("pg_get_partkeydef", &[Oid], Text),
    catalog!("pg_get_partition_constraintdef", &[Oid], Text),
    catalog!("pg_get_serial_sequence", &[Text, Text], Text),
    catalog!("pg_relation_is_publishable", &[Regclass], Bool),
    catalog!("obj_description", &[Oid], Text),
    catalog!("obj_description", &[Oid, Name], Text),
    catalog!("col_description", &[Oid, Int4], Text),
    catalog!("shobj_description", &[Oid, Name], Text),
    catalog!("has_table_privilege", &[Oid, Text], Bool),
    catalog!("has_table_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_table_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_table_privilege", &[Text, Text], Bool),
    catalog!("has_table_privilege", &[Name, Text, Text], Bool),
    catalog!("has_table_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_any_column_privilege", &[Oid, Text], Bool),
    catalog!("has_any_column_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_any_column_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_any_column_privilege", &[Text, Text], Bool),
    catalog!("has_any_column_privilege", &[Name, Text, Text], Bool),
    catalog!("has_any_column_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_sequence_privilege", &[Oid, Text], Bool),
    catalog!("has_sequence_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_sequence_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_sequence_privilege", &[Text, Text], Bool),
    catalog!("has_sequence_privilege", &[Name, Text, Text], Bool),
    catalog!("has_sequence_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_schema_privilege", &[Oid, Text], Bool),
    catalog!("has_schema_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_schema_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_schema_privilege", &[Text, Text], Bool),
    catalog!("has_schema_privilege", &[Name, Text, Text], Bool),
    catalog!("has_schema_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_database_privilege", &[Oid, Text], Bool),
    catalog!("has_database_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_database_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_database_privilege", &[Text, Text], Bool),
    catalog!("has_database_privilege", &[Name, Text, Text], Bool),
    catalog!("has_database_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_function_privilege", &[Oid, Text], Bool),
    catalog!("has_function_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_function_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_function_privilege", &[Text, Text], Bool),
    catalog!("has_function_privilege", &[Name, Text, Text], Bool),
    catalog!("has_function_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_type_privilege", &[Oid, Text], Bool),
    catalog!("has_type_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_type_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_type_privilege", &[Text, Text], Bool),
    catalog!("has_type_privilege", &[Name, Text, Text], Bool),
    catalog!("has_type_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_language_privilege", &[Oid, Text], Bool),
    catalog!("has_language_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_language_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_language_privilege", &[Text, Text], Bool),
    catalog!("has_language_privilege", &[Name, Text, Text], Bool),
    catalog!("has_language_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_tablespace_privilege", &[Oid, Text], Bool),
    catalog!("has_tablespace_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_tablespace_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_tablespace_privilege", &[Text, Text], Bool),
    catalog!("has_tablespace_privilege", &[Name, Text, Text], Bool),
    catalog!("has_tablespace_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_server_privilege", &[Oid, Text], Bool),
    catalog!("has_server_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_server_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_server_privilege", &[Text, Text], Bool),
    catalog!("has_server_privilege", &[Name, Text, Text], Bool),
    catalog!("has_server_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_foreign_data_wrapper_privilege", &[Oid, Text], Bool),
    catalog!("has_foreign_data_wrapper_privilege", &[Name, Oid, Text], Bool),
    catalog!("has_foreign_data_wrapper_privilege", &[Oid, Oid, Text], Bool),
    catalog!("has_foreign_data_wrapper_privilege", &[Text, Text], Bool),
    catalog!("has_foreign_data_wrapper_privilege", &[Name, Text, Text], Bool),
    catalog!("has_foreign_data_wrapper_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_column_privilege", &[Oid, Int2, Text], Bool),
    catalog!("has_column_privilege", &[Name, Oid, Int2, Text], Bool),
    catalog!("has_column_privilege", &[Oid, Oid, Int2, Text], Bool),
    catalog!("has_column_privilege", &[Oid, Text, Text], Bool),
    catalog!("has_column_privilege", &[Name, Oid, Text, Text], Bool),
    catalog!("has_column_privilege", &[Oid, Oid, Text, Text], Bool),
    catalog!("has_column_privilege", &[Text, Int2, Text], Bool),
    catalog!("has_column_privilege", &[Name, Text, Int2, Text], Bool),
    catalog!("has_column_privilege", &[Oid, Text, Int2, Text], Bool),
    catalog!("has_column_privilege", &[Text, Text, Text], Bool),
    catalog!("has_column_privilege", &[Name, Text, Text, Text], Bool),
    catalog!("has_column_privilege", &[Oid, Text, Text, Text], Bool),
    catalog!("acldefault", &[Char, Oid], AclItemArray),
    catalog!("makeaclitem", &[Oid, Oid, Text, Bool], AclItem),
    catalog!("aclcontains", &[AclItemArray, AclItem], Bool),
    catalog!("aclexplode_rows", &[AclItemArray], Text),
    catalog!("pg_has_role", &[Name, Text], Bool),
    catalog!("pg_has_role", &[Oid, Text], Bool),
    catalog!("pg_has_role", &[Name, Name, Text], Bool),
    catalog!("pg_has_role", &[Name, Oid, Text], Bool),
    catalog!("pg_has_role", &[Oid, Name, Text], Bool),
    catalog!("pg_has_role", &[Oid, Oid, Text], Bool),
    catalog!("pg_relation_size", &[Regclass], Int8),
    catalog!("pg_relation_size", &[Regclass, Text], Int8),
    catalog!("pg_total_relation_size", &[Regclass], Int8),
    catalog!("pg_table_size", &[Regclass], Int8),
    catalog!("pg_indexes_size", &[Regclass], Int8),
    catalog!("pg_database_size", &[Name], Int8),
    catalog!("pg_database_size", &[Oid], Int8),
    catalog!("pg_relation_filenode", &[Regclass], Oid),
    catalog!("pg_tablespace_location", &[Oid], Text),
    catalog!("to_regclass", &[Text], Regclass),
    catalog!("to_regtype", &[Text], Regtype),
    catalog!("pg_blocking_pids", &[Int4], Int4Array),
    catalog!("pg_my_temp_schema", &[], Oid),
    catalog!("nextval", &[Regclass], Int8).volatile(),
    catalog!("currval", &[Regclass], Int8).volatile(),
    catalog!("lastval", &[], Int8).volatile(),
    catalog!("setval", &[Regclass, Int8], Int8).volatile(),
    catalog!("setval", &[Regclass, Int8, Bool], Int8).volatile(),
    catalog!("pg_postmaster_start_time", &[], crate::sql::types::Type::Timestamptz),
    catalog!("pg_conf_load_time", &[], crate::sql::types::Type::Timestamptz),
    catalog!("pg_stat_get_numscans", &[Oid], Int8),
    catalog!("pg_reload_conf", &[], Bool).volatile(),
    catalog!("txid_current", &[], Int8),
];

fn current_setting(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let missing_ok = a.len() > 1 && boolean(a, 1)?;
    Ok(host.setting(text(a, 0)?, missing_ok)?.map_or(Value::Null, Value::Text))
}

fn signal(host: &dyn Host, a: &[Datum<'_>], terminate: bool) -> Result<Value, Error> {
    match i32::try_from(int(a, 0)?) {
        Ok(pid) => host.signal_backend(pid, terminate).map(truth),
        Err(_) => Ok(truth(false)),
    }
}

/// A datum as an array's element would show it; enough for the types that are stored as they look.
fn plain(datum: Option<&Datum<'_>>) -> String {
    match datum {
        Some(Datum::Text(text)) => (*text).to_owned(),
        Some(Datum::Int(value)) => value.to_string(),
        Some(Datum::Float(value)) => array::element_text(Float8, Datum::Float(*value), &Default::default()),
        _ => String::new(),
    }
}

/// Elements of an array or of a vector.
fn items(text: &str) -> Result<Vec<Option<String>>, Error> {
    if text.starts_with('{') {
        array::elements(text)
    } else {
        Ok(text.split_ascii_whitespace().map(|word| Some(word.to_owned())).collect())
    }
}

/// `array || array`.
pub(super) fn array_concat(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (mut all, rest) = (items(text(a, 0)?)?, items(text(a, 1)?)?);
    all.extend(rest);
    Ok(Value::Text(array::from_elements(all.iter().map(Option::as_deref))))
}

fn array_to_string(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let null = if a.len() > 2 { Some(text(a, 2)?) } else { None };
    let items = items(text(a, 0)?)?;
    let shown: Vec<&str> = items.iter().filter_map(|item| item.as_deref().or(null)).collect();
    Ok(Value::Text(shown.join(text(a, 1)?)))
}

fn array_length(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let count = items(text(a, 0)?)?.len();
    Ok(if count == 0 || int(a, 1)? != 1 { Value::Null } else { Value::Int(count as i64) })
}

/// Sizes with their unit, as PostgreSQL rounds them: up to 10 of the next unit stay in the smaller.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes.unsigned_abs() < 10 * 1024 {
        return format!("{bytes} bytes");
    }
    // Kept doubled, so that the last step can round half up.
    let mut doubled = bytes / 512;
    let half = |doubled: i64| (doubled + doubled.signum()) / 2;
    for unit in UNITS {
        if doubled.unsigned_abs() < 20 * 1024 - 1 || unit == "PB" {
            return format!("{} {unit}", half(doubled));
        }
        doubled /= 1024;
    }
    String::new()
}
