//! Tests of access control lists.

use super::*;

/// Nobody is anybody's member; 10 is a superuser.
struct Strangers;

impl Membership for Strangers {
    fn has_privileges_of(&self, member: u32, role: u32) -> bool {
        member == role || member == 10
    }
    fn acts_as(&self, member: u32) -> Vec<u32> {
        vec![member]
    }
    fn is_superuser(&self, role: u32) -> bool {
        role == 10
    }
}

const R: Privileges = Privileges::SELECT;
const W: Privileges = Privileges::UPDATE;
const OWNER: u32 = 1;

fn item(grantee: u32, grantor: u32, privileges: Privileges, grantable: Privileges) -> Item {
    Item { grantee, grantor, privileges, grantable }
}

fn holder(role: u32) -> Holder<'static> {
    Holder { roles: &Strangers, role, owner: OWNER }
}

fn name(role: u32) -> Option<String> {
    Some(match role {
        1 => "owner".to_owned(),
        4 => "a b".to_owned(),
        9 => return None,
        other => format!("r{other}"),
    })
}

fn text(acl: &Acl) -> String {
    acl.to_text(name)
}

#[test]
fn defaults_are_postgresqls() {
    assert_eq!(text(&Acl::default_of(Kind::Table, 1)), "{owner=arwdDxt/owner}");
    assert_eq!(text(&Acl::default_of(Kind::Sequence, 1)), "{owner=rwU/owner}");
    assert_eq!(text(&Acl::default_of(Kind::Database, 1)), "{=Tc/owner,owner=CTc/owner}");
    assert_eq!(text(&Acl::default_of(Kind::Schema, 1)), "{owner=UC/owner}");
    assert_eq!(text(&Acl::default_of(Kind::Function, 1)), "{=X/owner,owner=X/owner}");
    assert_eq!(text(&Acl::default_of(Kind::Column, 1)), "{}");
}

#[test]
fn what_was_granted_is_held_and_what_was_revoked_is_not() {
    let mut acl = Acl::default_of(Kind::Table, OWNER);
    acl.grant(&Strangers, item(2, OWNER, R.or(W), Privileges::NONE), OWNER).unwrap();
    acl.grant(&Strangers, item(PUBLIC, OWNER, R, Privileges::NONE), OWNER).unwrap();
    assert_eq!(acl.held(holder(2), R.or(W)), R.or(W));
    assert_eq!(acl.held(holder(3), R.or(W)), R);
    assert_eq!(acl.grantable(holder(2), R), Privileges::NONE);
    acl.revoke(&Strangers, item(2, OWNER, W, W), OWNER, Dependents::Restrict).unwrap();
    assert_eq!(acl.held(holder(2), R.or(W)), R);
    assert_eq!(text(&acl), "{owner=arwdDxt/owner,r2=r/owner,=r/owner}");
    acl.revoke(&Strangers, item(2, OWNER, R, R), OWNER, Dependents::Restrict).unwrap();
    acl.revoke(&Strangers, item(PUBLIC, OWNER, R, R), OWNER, Dependents::Restrict).unwrap();
    assert_eq!(text(&acl), "{owner=arwdDxt/owner}");
}

#[test]
fn the_owner_and_a_superuser_grant_as_the_owner() {
    let mut acl = Acl::default_of(Kind::Table, OWNER);
    assert_eq!(acl.best_grantor(holder(OWNER), R), (OWNER, R));
    assert_eq!(acl.best_grantor(holder(10), R), (OWNER, R));
    assert_eq!(acl.best_grantor(holder(2), R), (2, Privileges::NONE));
    acl.grant(&Strangers, item(2, OWNER, R, R), OWNER).unwrap();
    assert_eq!(acl.best_grantor(holder(2), R.or(W)), (2, R));
}

#[test]
fn what_was_passed_on_goes_with_what_it_rests_on() {
    let mut acl = Acl::default_of(Kind::Table, OWNER);
    acl.grant(&Strangers, item(2, OWNER, R, R), OWNER).unwrap();
    acl.grant(&Strangers, item(3, 2, R, R), OWNER).unwrap();
    acl.grant(&Strangers, item(5, 3, R, Privileges::NONE), OWNER).unwrap();
    let before = acl.clone();
    let error = acl.revoke(&Strangers, item(2, OWNER, R, R), OWNER, Dependents::Restrict).unwrap_err();
    assert_eq!(error.condition(), Condition::DependentObjectsStillExist);
    let mut acl = before;
    // A circle would keep itself alive.
    let error = acl.grant(&Strangers, item(2, 3, R, R), OWNER).unwrap_err();
    assert_eq!(error.condition(), Condition::InvalidGrantOperation);
    acl.grant(&Strangers, item(2, 3, R, Privileges::NONE), OWNER).unwrap();
    acl.revoke(&Strangers, item(2, OWNER, Privileges::NONE, R), OWNER, Dependents::Cascade).unwrap();
    assert_eq!(text(&acl), "{owner=arwdDxt/owner,r2=r/owner}");
}

#[test]
fn who_has_the_option_by_two_ways_keeps_what_rests_on_either() {
    let mut acl = Acl::default_of(Kind::Table, OWNER);
    acl.grant(&Strangers, item(2, OWNER, R, R), OWNER).unwrap();
    acl.grant(&Strangers, item(3, OWNER, R, R), OWNER).unwrap();
    acl.grant(&Strangers, item(3, 2, R, R), OWNER).unwrap();
    acl.grant(&Strangers, item(5, 3, R, Privileges::NONE), OWNER).unwrap();
    acl.revoke(&Strangers, item(3, 2, R, R), OWNER, Dependents::Restrict).unwrap();
    assert!(acl.names(5));
}

#[test]
fn a_new_owner_takes_over() {
    let mut acl = Acl::default_of(Kind::Table, OWNER);
    acl.grant(&Strangers, item(2, OWNER, R, R), OWNER).unwrap();
    acl.grant(&Strangers, item(3, 2, R, Privileges::NONE), OWNER).unwrap();
    acl.change_owner(OWNER, 2);
    assert_eq!(text(&acl), "{r2=ar*wdDxt/r2,r3=r/r2}");
}

#[test]
fn items_are_read_as_they_are_shown() {
    let oid = |name: &str| [("owner", 1), ("r2", 2), ("a b", 4)].iter().find(|(n, _)| *n == name).map(|(_, oid)| *oid);
    for shown in ["=r/owner", "r2=r*w/owner", "\"a b\"=arwdDxt/r2", "r2=/owner"] {
        let read = Item::parse(shown, oid).unwrap();
        assert_eq!(read.to_text(name), shown);
    }
    assert_eq!(Item::parse("group r2 = r", oid).map_err(|e| e.condition()), Err(Condition::InvalidTextRepresentation));
    assert_eq!(Item::parse("group r2=r/owner", oid).unwrap(), item(2, 1, R, Privileges::NONE));
    assert_eq!(Item::parse("r2=z/owner", oid).unwrap_err().condition(), Condition::InvalidTextRepresentation);
    assert_eq!(Item::parse("nobody=r/owner", oid).unwrap_err().condition(), Condition::UndefinedObject);
    assert_eq!(item(9, 1, R, R).to_text(name), "9=r*/owner");
}
