//! Settings as sessions see them.

use super::*;

fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), Error> {
    settings.set(name, Some(&[value.to_owned()]), false)
}

fn refused(result: Result<(), Error>) -> (&'static str, String) {
    let error = result.expect_err("refused");
    (error.condition().code(), error.fields().message.clone())
}

#[test]
fn values_are_shown_in_canonical_form() {
    let mut settings = Settings::new();
    set(&mut settings, "statement_timeout", "90s").expect("set");
    assert_eq!(settings.show("Statement_Timeout").expect("shown"), "90s");
    assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(90)));
    set(&mut settings, "statement_timeout", "120000").expect("set");
    assert_eq!(settings.show("statement_timeout").expect("shown"), "2min");
    set(&mut settings, "datestyle", "dmy").expect("set");
    assert_eq!(settings.show("DateStyle").expect("shown"), "ISO, DMY");
    assert_eq!(settings.text_context().date_order, DateOrder::Dmy);
    set(&mut settings, "synchronous_commit", "off").expect("set");
    assert!(!settings.synchronous_commit());
    settings.reset_all();
    assert!(settings.synchronous_commit());
    assert_eq!(settings.canonical_name("timezone").as_deref(), Some("TimeZone"));
}

#[test]
fn what_nobody_may_change_is_refused_by_its_context() {
    let mut settings = Settings::new();
    let cases = [
        ("server_version", "1", "55P02", "parameter \"server_version\" cannot be changed"),
        ("port", "1", "55P02", "parameter \"port\" cannot be changed without restarting the server"),
        ("ssl", "on", "55P02", "parameter \"ssl\" cannot be changed now"),
        ("lc_messages", "C", "42501", "permission denied to set parameter \"lc_messages\""),
        ("nothing", "1", "42704", "unrecognized configuration parameter \"nothing\""),
        ("lock_timeout", "soon", "22023", "invalid value for parameter \"lock_timeout\": \"soon\""),
        ("standard_conforming_strings", "off", "0A000", ""),
        ("role", "other", "0A000", ""),
    ];
    for (name, value, code, message) in cases {
        let (found, said) = refused(set(&mut settings, name, value));
        assert_eq!(found, code, "{name}: {said}");
        assert!(message.is_empty() || said == message, "{said}");
    }
    settings.set_default("is_superuser", "on", Source::Internal).expect("the server may");
    set(&mut settings, "lc_messages", "C").expect("a superuser may");
}

#[test]
fn a_transaction_that_rolls_back_takes_its_settings_with_it() {
    let mut settings = Settings::new();
    set(&mut settings, "work_mem", "8MB").expect("set");
    settings.begin();
    set(&mut settings, "work_mem", "16MB").expect("set");
    settings.savepoint();
    settings.set("work_mem", Some(&["32MB".to_owned()]), true).expect("set");
    assert_eq!(settings.show("work_mem").expect("shown"), "32MB");
    settings.rollback_to();
    assert_eq!(settings.show("work_mem").expect("shown"), "16MB");
    settings.release();
    settings.rollback();
    assert_eq!(settings.show("work_mem").expect("shown"), "8MB");
    settings.begin();
    set(&mut settings, "work_mem", "16MB").expect("set");
    settings.set("work_mem", Some(&["64MB".to_owned()]), true).expect("set");
    settings.commit();
    assert_eq!(settings.show("work_mem").expect("shown"), "16MB");
}

#[test]
fn clients_are_told_of_what_has_changed() {
    let mut settings = Settings::new();
    let first = settings.take_reports();
    assert!(first.iter().any(|(name, value)| *name == "client_encoding" && value == "UTF8"));
    assert!(settings.take_reports().is_empty());
    settings.begin();
    set(&mut settings, "application_name", "bénch").expect("set");
    assert_eq!(settings.take_reports(), [("application_name", "b??nch".to_owned())]);
    settings.rollback();
    assert_eq!(settings.take_reports(), [("application_name", String::new())]);
    set(&mut settings, "work_mem", "8MB").expect("set");
    assert!(settings.take_reports().is_empty());
}

#[test]
fn the_search_path_is_a_list_of_names() {
    let mut settings = Settings::new();
    assert_eq!(settings.search_path(), ["$user", "public"]);
    settings.set("search_path", Some(&["App".to_owned(), "x".to_owned()]), false).expect("set");
    assert_eq!(settings.show("search_path").expect("shown"), "\"App\", x");
    assert_eq!(settings.search_path(), ["App", "x"]);
    settings.set_text("search_path", "A, \"b\"\"c\"", false).expect("set");
    assert_eq!(settings.search_path(), ["a", "b\"c"]);
    settings.set_text("search_path", "", false).expect("set");
    assert!(settings.search_path().is_empty());
    assert!(settings.set_text("search_path", "a b", false).is_err());
}

#[test]
fn names_of_two_parts_are_an_applications_own() {
    let mut settings = Settings::new();
    assert_eq!(settings.show("app.user").map_err(|error| error.condition().code()), Err("42704"));
    set(&mut settings, "App.User", "7").expect("set");
    assert_eq!(settings.show("app.user").expect("shown"), "7");
    assert_eq!(refused(set(&mut settings, "a..b", "7")).0, "42602");
    let generation = settings.generation();
    settings.reset("app.user").expect("reset");
    assert!(settings.generation() > generation);
}

#[test]
fn every_default_is_a_value_that_its_parameter_takes() {
    let settings = Settings::new();
    for row in settings.all() {
        let Ok(Known::Listed(parameter)) = parameter(&row.name) else { panic!("{}", row.name) };
        let canonical = value::canonical(parameter, &row.boot_value, &row.boot_value, &row.boot_value);
        assert_eq!(canonical.ok().as_deref(), Some(row.boot_value.as_str()), "{}", row.name);
    }
}
