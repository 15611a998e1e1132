//! PostgreSQL's type conversion, chapter 10: which operator or function is meant, which type several expressions
//! share, and how an expression becomes one of another type.

use super::Binder;
use crate::error::{Condition, Error};
use crate::sql::functions::{self, Emit, casts};
use crate::sql::ir::{Node, Scalar};
use crate::sql::types::{self, CastKind, Type, Value};

/// Whether text is read as that type by DateStyle, IntervalStyle, TimeZone or the clock.
fn reads_settings(type_: Type) -> bool {
    use Type::{Date, DateArray, Interval, Time, Timestamp, TimestampArray, Timestamptz, TimestamptzArray};
    matches!(type_, Date | Time | Interval | Timestamp | Timestamptz | DateArray | TimestampArray | TimestamptzArray)
}

/// Whether a declared argument takes every type as it is.
fn is_polymorphic(type_: Type) -> bool {
    matches!(type_, Type::Any | Type::AnyElement | Type::AnyArray)
}

fn accepts(declared: Type, actual: Type) -> bool {
    match declared {
        Type::Any | Type::AnyElement => true,
        Type::AnyArray => actual == Type::Unknown || actual.is_array(),
        _ => actual == declared || functions::can_coerce(actual, declared, CastKind::Implicit),
    }
}

/// A type as operators see it: varchar is used as text.
fn base(type_: Type) -> Type {
    if type_ == Type::Varchar { Type::Text } else { type_ }
}

/// The candidate that the arguments mean, by the rules of chapter 10.2 and 10.3. `None`: none fits, or several do
/// equally well (`Err`).
pub fn choose(candidates: &[Vec<Type>], actual: &[Type]) -> Result<Option<usize>, ()> {
    let actual: Vec<Type> = actual.iter().map(|type_| base(*type_)).collect();
    let fits_exactly = |declared: &[Type], actual: &[Type]| declared.iter().zip(actual).all(|(d, a)| d == a);
    if let Some(exact) = candidates.iter().position(|declared| fits_exactly(declared, &actual)) {
        return Ok(Some(exact));
    }
    // One unknown operand of two is assumed to be of the other's type.
    if let [left, right] = actual[..]
        && (left == Type::Unknown) != (right == Type::Unknown)
    {
        let known = if left == Type::Unknown { right } else { left };
        if let Some(exact) = candidates.iter().position(|declared| fits_exactly(declared, &[known, known])) {
            return Ok(Some(exact));
        }
    }
    let mut left: Vec<usize> = (0..candidates.len())
        .filter(|index| candidates[*index].iter().zip(&actual).all(|(declared, actual)| accepts(*declared, *actual)))
        .collect();
    let keep_best = |left: &mut Vec<usize>, score: &dyn Fn(usize) -> usize| {
        let best = left.iter().map(|index| score(*index)).max().unwrap_or(0);
        left.retain(|index| score(*index) == best);
    };
    if left.len() > 1 {
        keep_best(&mut left, &|index| candidates[index].iter().zip(&actual).filter(|(d, a)| d == a).count());
    }
    if left.len() > 1 {
        keep_best(&mut left, &|index| {
            let preferred = |(declared, actual): &(&Type, &Type)| {
                declared == actual
                    || (declared.is_preferred()
                        && **actual != Type::Unknown
                        && declared.category() == actual.category())
            };
            candidates[index].iter().zip(&actual).filter(preferred).count()
        });
    }
    if left.len() > 1 {
        prefer_category_of_unknowns(candidates, &actual, &mut left);
    }
    if left.len() > 1 {
        // Last: unknown arguments are taken to be of the one type that the known ones have.
        let known: Vec<Type> = actual.iter().copied().filter(|type_| *type_ != Type::Unknown).collect();
        if let Some(first) = known.first().copied()
            && known.iter().all(|type_| *type_ == first)
        {
            let assumed = vec![first; actual.len()];
            left.retain(|index| candidates[*index].iter().zip(&assumed).all(|(d, a)| accepts(*d, *a)));
        }
    }
    match left[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(()),
    }
}

/// Rule 4.d: at each unknown argument, the string category wins if any candidate takes it, else the one category
/// that all take; within it, preferred types.
fn prefer_category_of_unknowns(candidates: &[Vec<Type>], actual: &[Type], left: &mut Vec<usize>) {
    for (at, _) in actual.iter().enumerate().filter(|(_, type_)| **type_ == Type::Unknown) {
        let categories: Vec<char> = left.iter().map(|index| candidates[*index][at].category()).collect();
        let category = if categories.contains(&'S') {
            'S'
        } else if categories.windows(2).all(|pair| pair[0] == pair[1]) {
            categories.first().copied().unwrap_or('S')
        } else {
            continue;
        };
        let kept: Vec<usize> =
            left.iter().copied().filter(|index| candidates[*index][at].category() == category).collect();
        let preferred: Vec<usize> =
            kept.iter().copied().filter(|index| candidates[*index][at].is_preferred()).collect();
        *left = if preferred.is_empty() { kept } else { preferred };
    }
}

impl Binder<'_> {
    /// The expression as one of the type, without regard to whether a cast is allowed there.
    fn convert(&mut self, scalar: Scalar, to: Type) -> Result<Scalar, Error> {
        let from = scalar.type_;
        if from == to || is_polymorphic(to) {
            return Ok(scalar);
        }
        match scalar.node {
            // Names of objects are looked up when the statement runs: what they stand for may change.
            Node::Literal { index, negated: false } if from == Type::Unknown && casts::is_reg(to) => {
                let text = Scalar::new(Node::Literal { index, negated: false }, Type::Text);
                Ok(self.call_cast(text, to))
            }
            Node::Untyped(text) if casts::is_reg(to) => {
                let text = Scalar::new(Node::Constant(Value::Text(text)), Type::Text);
                Ok(self.call_cast(text, to))
            }
            Node::Parameter(_) if from == Type::Unknown && casts::is_reg(to) => {
                let text = self.convert(scalar, Type::Text)?;
                Ok(self.call_cast(text, to))
            }
            // An unknown literal is read as what the context wants.
            Node::Literal { index, negated } if from == Type::Unknown || reads_alike(from, to) => {
                Ok(Scalar::new(Node::Literal { index, negated }, to))
            }
            Node::Untyped(text) => {
                self.reads_settings |= reads_settings(to);
                let value = types::input(to, -1, &text, self.environment.text_context)?;
                Ok(Scalar::new(Node::Constant(value), to))
            }
            Node::Constant(Value::Null) => Ok(Scalar::null(to)),
            Node::Parameter(number) if from == Type::Unknown => {
                let known = self.parameters.get_mut(number).and_then(|slot| {
                    if slot.is_none() {
                        *slot = Some(to);
                    }
                    *slot
                });
                match known {
                    Some(known) if known != to => self.convert(Scalar::new(Node::Parameter(number), known), to),
                    _ => Ok(Scalar::new(Node::Parameter(number), to)),
                }
            }
            node => {
                let scalar = Scalar { node, type_: from, typmod: scalar.typmod };
                Ok(self.call_cast(scalar, to))
            }
        }
    }

    fn call_cast(&self, scalar: Scalar, to: Type) -> Scalar {
        let from = scalar.type_;
        let emit = casts::find(from, to).map_or(Emit::Call(casts::CAST), |cast| cast.emit);
        // A literal is read as its type says: under another, '70000'::int2::int4 would be no error.
        let reread = matches!(scalar.node, Node::Literal { .. })
            && !matches!((from, to), (Type::Text | Type::Varchar, Type::Text | Type::Varchar));
        match if reread { Emit::Call(casts::CAST) } else { emit } {
            // Stored alike: the node stays, so that a column is still a column to an index.
            Emit::Nothing => Scalar::new(scalar.node, to),
            emit => {
                let oid = |type_: Type| Scalar::integer(i64::from(type_.oid()));
                Scalar::call(emit, vec![scalar, oid(from), oid(to)], to)
            }
        }
    }

    /// An implicit coercion, which has been found to be allowed.
    pub(super) fn coerce(&mut self, scalar: Scalar, to: Type) -> Result<Scalar, Error> {
        let byte = self.byte_of(&scalar);
        self.convert(scalar, to).map_err(|error| self.error_at(error, byte))
    }

    /// CAST and `::`.
    pub(super) fn cast(&mut self, scalar: Scalar, to: Type, typmod: i32, byte: Option<usize>) -> Result<Scalar, Error> {
        if !functions::can_coerce(scalar.type_, to, CastKind::Explicit) {
            let message = format!("cannot cast type {} to {}", scalar.type_.name(), to.name());
            return Err(self.error_at(Error::new(Condition::CannotCoerce, message), byte));
        }
        let cast = self.coerce(scalar, to)?;
        Ok(self.with_typmod(cast, to, typmod, true))
    }

    /// The value of a column: by assignment, with the column's modifier.
    pub(super) fn assign(
        &mut self,
        scalar: Scalar,
        column: &str,
        to: Type,
        typmod: i32,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        if !functions::can_coerce(scalar.type_, to, CastKind::Assignment) {
            let from = scalar.type_.name();
            let message = format!("column \"{column}\" is of type {} but expression is of type {from}", to.name());
            let error = Error::new(Condition::DatatypeMismatch, message)
                .hint("You will need to rewrite or cast the expression.");
            return Err(self.error_at(error, byte));
        }
        let same = scalar.typmod == typmod && scalar.type_ == to;
        let value = self.coerce(scalar, to)?;
        Ok(if same { value } else { self.with_typmod(value, to, typmod, false) })
    }

    fn with_typmod(&self, scalar: Scalar, type_: Type, typmod: i32, explicit: bool) -> Scalar {
        if typmod < 0 || scalar.node == Node::Constant(Value::Null) {
            return Scalar { typmod, ..scalar };
        }
        if let Node::Constant(value) = &scalar.node
            && let Ok(value) = types::apply_typmod(value.clone(), type_, typmod, explicit)
        {
            return Scalar { node: Node::Constant(value), type_, typmod };
        }
        let arguments = vec![
            scalar,
            Scalar::integer(i64::from(type_.oid())),
            Scalar::integer(i64::from(typmod)),
            Scalar::integer(i64::from(explicit)),
        ];
        Scalar { typmod, ..Scalar::call(Emit::Call(casts::TYPMOD), arguments, type_) }
    }

    /// The type that several expressions share (UNION, CASE, VALUES and their like, chapter 10.5).
    pub(super) fn common_type(&self, context: &str, scalars: &[&Scalar]) -> Result<Type, Error> {
        let types: Vec<Type> = scalars.iter().map(|scalar| scalar.type_).collect();
        let Some(first) = types.iter().copied().find(|type_| *type_ != Type::Unknown) else { return Ok(Type::Text) };
        if types.iter().all(|type_| *type_ == first || *type_ == Type::Unknown) {
            return Ok(first);
        }
        let mut chosen = first;
        for (scalar, type_) in scalars.iter().zip(&types).filter(|(_, type_)| **type_ != Type::Unknown) {
            if type_.category() != chosen.category() {
                let message = format!("{context} types {} and {} cannot be matched", chosen.name(), type_.name());
                return Err(self.error_at(Error::new(Condition::DatatypeMismatch, message), self.byte_of(scalar)));
            }
            let onward = functions::can_coerce(chosen, *type_, CastKind::Implicit);
            let back = functions::can_coerce(*type_, chosen, CastKind::Implicit);
            if !chosen.is_preferred() && onward && !back {
                chosen = *type_;
            }
        }
        for (scalar, type_) in scalars.iter().zip(&types) {
            if !functions::can_coerce(*type_, chosen, CastKind::Implicit) {
                let message = format!("{context} could not convert type {} to {}", type_.name(), chosen.name());
                return Err(self.error_at(Error::new(Condition::CannotCoerce, message), self.byte_of(scalar)));
            }
        }
        Ok(chosen)
    }

    /// A condition: WHERE, AND, CASE WHEN.
    pub(super) fn truth(&mut self, scalar: Scalar, context: &str, byte: Option<usize>) -> Result<Scalar, Error> {
        if !functions::can_coerce(scalar.type_, Type::Bool, CastKind::Implicit) {
            let message = format!("argument of {context} must be type boolean, not type {}", scalar.type_.name());
            return Err(self.error_at(Error::new(Condition::DatatypeMismatch, message), byte));
        }
        self.coerce(scalar, Type::Bool)
    }

    /// An operator applied to its operands; `left` is `None` for a prefix operator.
    pub(super) fn operator(
        &mut self,
        name: &str,
        left: Option<Scalar>,
        right: Scalar,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        let name = if name == "!=" { "<>" } else { name };
        let operators: Vec<_> =
            functions::operators::by_name(name).iter().filter(|found| found.left.is_some() == left.is_some()).collect();
        let declared: Vec<Vec<Type>> =
            operators.iter().map(|found| found.left.into_iter().chain([found.right]).collect()).collect();
        let operands: Vec<Scalar> = left.into_iter().chain([right]).collect();
        let actual: Vec<Type> = operands.iter().map(|operand| operand.type_).collect();
        let chosen = match choose(&declared, &actual) {
            Ok(Some(chosen)) => chosen,
            Ok(None) => return Err(self.error_at(no_operator(name, &actual), byte)),
            Err(()) => {
                let message = format!("operator is not unique: {}", written(name, &actual));
                let error = Error::new(Condition::AmbiguousFunction, message)
                    .hint("Could not choose a best candidate operator. You might need to add explicit type casts.");
                return Err(self.error_at(error, byte));
            }
        };
        let operator = operators[chosen];
        let mut arguments = Vec::with_capacity(operands.len());
        for (operand, type_) in operands.into_iter().zip(&declared[chosen]) {
            arguments.push(self.settle(operand, *type_)?);
        }
        if operator.typed {
            let oids: Vec<_> = arguments.iter().map(|argument| argument.type_.oid()).collect();
            arguments.extend(oids.into_iter().map(|oid| Scalar::integer(i64::from(oid))));
        }
        // Which order it is for an array, its type says.
        let collation =
            arguments.first().filter(|first| first.type_.is_array()).and_then(|first| first.type_.collation());
        let emit = match (operator.emit, collation) {
            (Emit::Infix(symbol), Some(collation)) => Emit::Collated(symbol, collation),
            (emit, _) => emit,
        };
        Ok(Scalar::call(emit, arguments, operator.result))
    }

    /// An argument as its declared type; what takes any type takes an unknown literal as text.
    pub(super) fn settle(&mut self, scalar: Scalar, declared: Type) -> Result<Scalar, Error> {
        if is_polymorphic(declared) {
            return if scalar.type_ == Type::Unknown { self.coerce(scalar, Type::Text) } else { Ok(scalar) };
        }
        self.coerce(scalar, declared)
    }
}

/// Digits of one numeric type that read as the same value in another.
pub(super) fn reads_alike(from: Type, to: Type) -> bool {
    use Type::{Float4, Float8, Int2, Int4, Int8, Numeric, Oid};
    match from {
        Int4 => matches!(to, Int2 | Int8 | Float4 | Float8 | Numeric | Oid),
        Int8 => matches!(to, Float4 | Float8 | Numeric | Oid),
        Numeric => matches!(to, Float4 | Float8),
        _ => false,
    }
}

fn written(name: &str, types: &[Type]) -> String {
    match types {
        [one] => format!("{name} {}", one.name()),
        [left, right] => format!("{} {name} {}", left.name(), right.name()),
        _ => name.to_owned(),
    }
}

fn no_operator(name: &str, types: &[Type]) -> Error {
    Error::new(Condition::UndefinedFunction, format!("operator does not exist: {}", written(name, types))).hint(
        if types.len() == 1 {
            "No operator matches the given name and argument type. You might need to add an explicit type cast."
        } else {
            "No operator matches the given name and argument types. You might need to add explicit type casts."
        },
    )
}
