//! Access control lists: who was granted which privileges on an object, by whom, and who may pass them on.
//!
//! Follows PostgreSQL's rules (chapter 5.7, "Privileges", and the reference pages of GRANT and REVOKE). Roles are OIDs;
//! which role has the privileges of which other one is asked of a [`Membership`]. Pure.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::{Condition, Error};

/// The grantee that stands for everybody.
pub const PUBLIC: u32 = 0;

/// A set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Privileges(u16);

/// Each privilege with its letter and its word, in the order in which an item of a list shows them.
const NAMED: &[(Privileges, char, &str)] = &[
    (Privileges::INSERT, 'a', "INSERT"),
    (Privileges::SELECT, 'r', "SELECT"),
    (Privileges::UPDATE, 'w', "UPDATE"),
    (Privileges::DELETE, 'd', "DELETE"),
    (Privileges::TRUNCATE, 'D', "TRUNCATE"),
    (Privileges::REFERENCES, 'x', "REFERENCES"),
    (Privileges::TRIGGER, 't', "TRIGGER"),
    (Privileges::EXECUTE, 'X', "EXECUTE"),
    (Privileges::USAGE, 'U', "USAGE"),
    (Privileges::CREATE, 'C', "CREATE"),
    (Privileges::TEMPORARY, 'T', "TEMPORARY"),
    (Privileges::CONNECT, 'c', "CONNECT"),
    (Privileges::SET, 's', "SET"),
    (Privileges::ALTER_SYSTEM, 'A', "ALTER SYSTEM"),
];

#[allow(missing_docs)]
impl Privileges {
    pub const NONE: Self = Self(0);
    pub const INSERT: Self = Self(1);
    pub const SELECT: Self = Self(1 << 1);
    pub const UPDATE: Self = Self(1 << 2);
    pub const DELETE: Self = Self(1 << 3);
    pub const TRUNCATE: Self = Self(1 << 4);
    pub const REFERENCES: Self = Self(1 << 5);
    pub const TRIGGER: Self = Self(1 << 6);
    pub const EXECUTE: Self = Self(1 << 7);
    pub const USAGE: Self = Self(1 << 8);
    pub const CREATE: Self = Self(1 << 9);
    pub const TEMPORARY: Self = Self(1 << 10);
    pub const CONNECT: Self = Self(1 << 11);
    pub const SET: Self = Self(1 << 12);
    pub const ALTER_SYSTEM: Self = Self(1 << 13);

    /// Both.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Without those of the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of the other are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// How many there are.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The privilege of that word, in any case of letters.
    pub fn named(word: &str) -> Option<Self> {
        let word = if word.eq_ignore_ascii_case("temp") { "TEMPORARY" } else { word };
        NAMED.iter().find(|(_, _, name)| name.eq_ignore_ascii_case(word)).map(|(privilege, _, _)| *privilege)
    }

    /// Each one with its word, in the order of their letters.
    pub fn each(self) -> impl Iterator<Item = (Self, &'static str)> {
        NAMED.iter().filter(move |(one, _, _)| self.contains(*one)).map(|(one, _, name)| (*one, *name))
    }
}

impl Kind {
    /// The letter of `pg_default_acl.defaclobjtype`, for the kinds that have default privileges.
    pub const fn letter(self) -> char {
        match self {
            Self::Table => 'r',
            Self::Sequence => 'S',
            Self::Function => 'f',
            Self::Type => 'T',
            Self::Schema => 'n',
            _ => '?',
        }
    }
}

/// Kinds of objects that privileges are granted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Kind {
    /// A table or a view.
    Table,
    Column,
    Sequence,
    Database,
    Function,
    Schema,
    Type,
    Language,
    Tablespace,
    LargeObject,
    ForeignDataWrapper,
    ForeignServer,
    Parameter,
}

impl Kind {
    /// Every privilege that there is on such an object.
    pub const fn all(self) -> Privileges {
        use Privileges as P;
        match self {
            Self::Table => {
                P::INSERT.or(P::SELECT).or(P::UPDATE).or(P::DELETE).or(P::TRUNCATE).or(P::REFERENCES).or(P::TRIGGER)
            }
            Self::Column => P::INSERT.or(P::SELECT).or(P::UPDATE).or(P::REFERENCES),
            Self::Sequence => P::USAGE.or(P::SELECT).or(P::UPDATE),
            Self::Database => P::CREATE.or(P::TEMPORARY).or(P::CONNECT),
            Self::Function => P::EXECUTE,
            Self::Schema => P::USAGE.or(P::CREATE),
            Self::Type | Self::Language | Self::ForeignDataWrapper | Self::ForeignServer => P::USAGE,
            Self::Tablespace => P::CREATE,
            Self::LargeObject => P::SELECT.or(P::UPDATE),
            Self::Parameter => P::SET.or(P::ALTER_SYSTEM),
        }
    }

    /// What everybody has on such an object from the beginning.
    pub const fn of_everybody(self) -> Privileges {
        match self {
            Self::Database => Privileges::TEMPORARY.or(Privileges::CONNECT),
            Self::Function => Privileges::EXECUTE,
            Self::Type | Self::Language => Privileges::USAGE,
            _ => Privileges::NONE,
        }
    }

    /// The word in "permission denied for …".
    pub const fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Column => "column",
            Self::Sequence => "sequence",
            Self::Database => "database",
            Self::Function => "function",
            Self::Schema => "schema",
            Self::Type => "type",
            Self::Language => "language",
            Self::Tablespace => "tablespace",
            Self::LargeObject => "large object",
            Self::ForeignDataWrapper => "foreign-data wrapper",
            Self::ForeignServer => "foreign server",
            Self::Parameter => "parameter",
        }
    }
}

/// Which roles have the privileges of which others.
pub trait Membership {
    /// Whether that role has the other one's privileges; superusers have everybody's.
    fn has_privileges_of(&self, member: u32, role: u32) -> bool;
    /// The role and all those whose privileges it has as their member, itself first; being a superuser does not count.
    fn acts_as(&self, member: u32) -> Vec<u32>;
    /// Whether it is a superuser.
    fn is_superuser(&self, role: u32) -> bool;
}

/// What one role granted to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// To whom; [`PUBLIC`] for everybody.
    pub grantee: u32,
    /// By whom.
    pub grantor: u32,
    /// What.
    pub privileges: Privileges,
    /// What of it may be passed on.
    pub grantable: Privileges,
}

/// Whether REVOKE takes along what was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dependents {
    Restrict,
    Cascade,
}

/// All that was granted on an object. Where nothing ever was, there is no list, and the default is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Acl(pub Vec<Item>);

/// Whose privileges are looked at, on whose object.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The memberships.
    pub roles: &'a dyn Membership,
    /// Who would use the object.
    pub role: u32,
    /// Whom it belongs to.
    pub owner: u32,
}

impl Acl {
    /// What is in force on an object of that kind where nothing was granted.
    pub fn default_of(kind: Kind, owner: u32) -> Self {
        let mut items = Vec::new();
        if !kind.of_everybody().is_empty() {
            let privileges = kind.of_everybody();
            items.push(Item { grantee: PUBLIC, grantor: owner, privileges, grantable: Privileges::NONE });
        }
        // Columns have what their tables have.
        if kind != Kind::Column {
            items.push(Item { grantee: owner, grantor: owner, privileges: kind.all(), grantable: Privileges::NONE });
        }
        Self(items)
    }

    /// The list of a schema that everybody may use and its owner may create in: `public`'s at first, the system's.
    pub fn of_public_schema(owner: u32) -> Self {
        let own = Self::default_of(Kind::Schema, owner).0;
        let usage = Privileges::USAGE;
        let all = Item { grantee: PUBLIC, grantor: owner, privileges: usage, grantable: Privileges::NONE };
        Self(own.into_iter().chain([all]).collect())
    }

    /// The list in force.
    pub fn in_force(acl: Option<&Self>, kind: Kind, owner: u32) -> Self {
        acl.cloned().unwrap_or_else(|| Self::default_of(kind, owner))
    }

    /// What of the wanted privileges the holder has; superusers are not looked at here.
    pub fn held(&self, holder: Holder<'_>, wanted: Privileges) -> Privileges {
        self.sum(holder, wanted, |item| item.privileges)
    }

    /// What of them the holder may pass on: the owner may all.
    pub fn grantable(&self, holder: Holder<'_>, wanted: Privileges) -> Privileges {
        if holder.roles.has_privileges_of(holder.role, holder.owner) {
            return wanted;
        }
        self.sum(holder, wanted, |item| item.grantable)
    }

    fn sum(&self, holder: Holder<'_>, wanted: Privileges, part: impl Fn(&Item) -> Privileges) -> Privileges {
        let direct = |item: &&Item| item.grantee == PUBLIC || item.grantee == holder.role;
        let mut found = Privileges::NONE;
        for item in self.0.iter().filter(direct) {
            found = found.or(part(item).and(wanted));
        }
        for item in self.0.iter().filter(|item| !direct(item)) {
            let missing = wanted.without(found);
            if !part(item).and(missing).is_empty() && holder.roles.has_privileges_of(holder.role, item.grantee) {
                found = found.or(part(item).and(wanted));
            }
        }
        found
    }

    /// On whose behalf the role grants or revokes these privileges, and which of them that one may grant: the owner's,
    /// if it may act for the owner, else that of the role it acts as which may grant the most.
    pub fn best_grantor(&self, holder: Holder<'_>, wanted: Privileges) -> (u32, Privileges) {
        if holder.role == holder.owner || holder.roles.is_superuser(holder.role) {
            return (holder.owner, wanted);
        }
        let mut best = (holder.role, Privileges::NONE);
        for role in holder.roles.acts_as(holder.role) {
            let may = if role == holder.owner { wanted } else { self.directly_grantable(role).and(wanted) };
            if may == wanted {
                return (role, may);
            }
            if may.count() > best.1.count() {
                best = (role, may);
            }
        }
        best
    }

    fn directly_grantable(&self, role: u32) -> Privileges {
        let own = self.0.iter().filter(|item| item.grantee == role);
        own.fold(Privileges::NONE, |sum, item| sum.or(item.grantable))
    }

    /// Adds what an item grants. 0LP01 where the option to grant would come back to who gave it.
    pub fn grant(&mut self, roles: &dyn Membership, granted: Item, owner: u32) -> Result<(), Error> {
        if !granted.grantable.is_empty() {
            self.check_circle(roles, granted, owner)?;
        }
        let same = |item: &&mut Item| item.grantee == granted.grantee && item.grantor == granted.grantor;
        match self.0.iter_mut().find(same) {
            Some(item) => {
                item.privileges = item.privileges.or(granted.privileges);
                item.grantable = item.grantable.or(granted.grantable);
            }
            None if granted.privileges.is_empty() && granted.grantable.is_empty() => {}
            None => self.0.push(granted),
        }
        Ok(())
    }

    /// What the grantor may grant must not rest on what the grantee has.
    fn check_circle(&self, roles: &dyn Membership, granted: Item, owner: u32) -> Result<(), Error> {
        if granted.grantor == owner {
            return Ok(());
        }
        let mut rest = self.clone();
        while let Some(item) = rest.0.iter().find(|i| i.grantee == granted.grantee && !i.grantable.is_empty()).copied()
        {
            let taken = Item { privileges: Privileges::NONE, ..item };
            rest.revoke(roles, taken, owner, Dependents::Cascade)?;
        }
        let grantor = Holder { roles, role: granted.grantor, owner };
        if rest.grantable(grantor, granted.grantable) == granted.grantable {
            return Ok(());
        }
        let message = "grant options cannot be granted back to your own grantor";
        Err(Error::new(Condition::InvalidGrantOperation, message))
    }

    /// Takes away what an item names, and what its grantee has passed on of it: 2BP01 for that with RESTRICT.
    pub fn revoke(
        &mut self,
        roles: &dyn Membership,
        taken: Item,
        owner: u32,
        dependents: Dependents,
    ) -> Result<(), Error> {
        let same = |item: &Item| item.grantee == taken.grantee && item.grantor == taken.grantor;
        let Some(at) = self.0.iter().position(same) else { return Ok(()) };
        let old = self.0[at];
        let new = Item {
            privileges: old.privileges.without(taken.privileges),
            grantable: old.grantable.without(taken.grantable),
            ..old
        };
        if new.privileges.is_empty() && new.grantable.is_empty() {
            self.0.remove(at);
        } else {
            self.0[at] = new;
        }
        let lost = old.grantable.without(new.grantable);
        if lost.is_empty() || taken.grantee == owner {
            return Ok(());
        }
        // The grantee may have the option by another way.
        let lost = lost.without(self.grantable(Holder { roles, role: taken.grantee, owner }, lost));
        let rests = |item: &Item| item.grantor == taken.grantee && !item.privileges.and(lost).is_empty();
        while let Some(item) = self.0.iter().find(|item| rests(item)).copied() {
            if dependents == Dependents::Restrict {
                return Err(Error::new(Condition::DependentObjectsStillExist, "dependent privileges exist")
                    .hint("Use CASCADE to revoke them too."));
            }
            self.revoke(roles, Item { privileges: lost, grantable: lost, ..item }, owner, dependents)?;
        }
        Ok(())
    }

    /// The object has another owner: what the old one gave and had is the new one's.
    pub fn change_owner(&mut self, from: u32, to: u32) {
        let new = |role: u32| if role == from { to } else { role };
        let mut items: Vec<Item> = Vec::with_capacity(self.0.len());
        for item in &self.0 {
            let item = Item { grantee: new(item.grantee), grantor: new(item.grantor), ..*item };
            match items.iter_mut().find(|known| known.grantee == item.grantee && known.grantor == item.grantor) {
                Some(known) => {
                    known.privileges = known.privileges.or(item.privileges);
                    known.grantable = known.grantable.or(item.grantable);
                }
                None => items.push(item),
            }
        }
        self.0 = items;
    }

    /// Takes out all that a role, which is not the owner, has or gave.
    pub fn forget(&mut self, roles: &dyn Membership, role: u32, owner: u32) -> Result<(), Error> {
        while let Some(item) = self.0.iter().find(|item| item.grantee == role || item.grantor == role).copied() {
            self.revoke(roles, item, owner, Dependents::Cascade)?;
        }
        Ok(())
    }

    /// Whether both lists hold the same items, in whichever order.
    pub fn same_as(&self, other: &Self) -> bool {
        let sorted = |acl: &Self| {
            let mut items = acl.0.clone();
            items.sort_by_key(|item| (item.grantee, item.grantor));
            items
        };
        sorted(self) == sorted(other)
    }

    /// Whether a role gave or has anything here.
    pub fn names(&self, role: u32) -> bool {
        self.0.iter().any(|item| item.grantee == role || item.grantor == role)
    }

    /// The list as PostgreSQL's array of aclitem.
    pub fn to_text(&self, name: impl Fn(u32) -> Option<String>) -> String {
        let items: Vec<String> = self.0.iter().map(|item| array_element(&item.to_text(&name))).collect();
        format!("{{{}}}", items.join(","))
    }
}

/// An element of an array's text, quoted where it has to be.
fn array_element(text: &str) -> String {
    if text.contains(['"', '\\', '{', '}', ',', ' ']) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text.to_owned()
}

impl Item {
    /// `grantee=privileges/grantor`, each privilege that may be passed on with an asterisk.
    pub fn to_text(&self, name: impl Fn(u32) -> Option<String>) -> String {
        let shown = |role: u32| match name(role) {
            Some(name) => quoted(&name),
            None => role.to_string(),
        };
        let mut text = if self.grantee == PUBLIC { String::new() } else { shown(self.grantee) };
        text.push('=');
        for (privilege, letter, _) in NAMED {
            if self.privileges.contains(*privilege) || self.grantable.contains(*privilege) {
                text.push(*letter);
            }
            if self.grantable.contains(*privilege) {
                text.push('*');
            }
        }
        let _ = write!(text, "/{}", shown(self.grantor));
        text
    }

    /// Reads an item's text; the names of roles are resolved by `oid`. 22P02 and 42704 as in PostgreSQL.
    pub fn parse(text: &str, oid: impl Fn(&str) -> Option<u32>) -> Result<Self, Error> {
        let bad = |message: String| Error::new(Condition::InvalidTextRepresentation, message);
        let role = |name: &str| {
            let missing = || Error::new(Condition::UndefinedObject, format!("role \"{name}\" does not exist"));
            oid(name).ok_or_else(missing)
        };
        let (mut grantee, rest) = name_before(text.trim_start());
        let mut rest = rest.trim_start();
        if !rest.starts_with('=') && (grantee == "group" || grantee == "user") {
            let (name, after) = name_before(rest);
            if name.is_empty() {
                return Err(
                    bad("missing name".to_owned()).hint("A name must follow the \"group\" or \"user\" key word.")
                );
            }
            grantee = name;
            rest = after.trim_start();
        }
        let Some(rest) = rest.strip_prefix('=') else { return Err(bad("missing \"=\" sign".to_owned())) };
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '*').len();
        let (letters, rest) = rest.split_at(letters);
        let mut item = Self { grantee: PUBLIC, grantor: 0, privileges: Privileges::NONE, grantable: Privileges::NONE };
        let mut last = Privileges::NONE;
        for letter in letters.chars() {
            if letter == '*' {
                item.grantable = item.grantable.or(last);
                continue;
            }
            let Some((privilege, ..)) = NAMED.iter().find(|(_, known, _)| *known == letter) else {
                return Err(bad(format!("invalid mode character: must be one of \"{}\"", letters_known())));
            };
            last = *privilege;
            item.privileges = item.privileges.or(last);
        }
        if !grantee.is_empty() {
            item.grantee = role(&grantee)?;
        }
        let rest = match rest.strip_prefix('/') {
            Some(rest) => {
                let (grantor, rest) = name_before(rest.trim_start());
                if grantor.is_empty() {
                    return Err(bad("a name must follow the \"/\" sign".to_owned()));
                }
                item.grantor = role(&grantor)?;
                rest
            }
            None => {
                item.grantor = FIRST_SUPERUSER;
                rest
            }
        };
        if !rest.trim().is_empty() {
            return Err(bad("extra garbage at the end of the ACL specification".to_owned()));
        }
        Ok(item)
    }
}

/// The bootstrap superuser.
pub const FIRST_SUPERUSER: u32 = 10;

fn letters_known() -> String {
    NAMED.iter().map(|(_, letter, _)| *letter).collect()
}

/// A role's name as an item shows it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A name at the start of a text, quoted or plain, and what follows it.
fn name_before(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut in_quotes = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let plain = c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
        if c == '"' {
            if in_quotes && characters.peek().is_some_and(|(_, next)| *next == '"') {
                name.push('"');
                characters.next();
            } else {
                in_quotes = !in_quotes;
            }
        } else if in_quotes || plain {
            name.push(c);
        } else {
            return (name, &text[at..]);
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests;
