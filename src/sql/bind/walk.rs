//! Looking through an expression without changing it. Subqueries are not entered.

use crate::sql::ir::{Node, Scalar};

/// The direct parts of an expression.
pub fn parts(scalar: &Scalar) -> Vec<&Scalar> {
    match &scalar.node {
        Node::Call { arguments, .. } => arguments.iter().collect(),
        Node::Aggregate(aggregate) => {
            let mut parts: Vec<&Scalar> = aggregate.arguments.iter().collect();
            parts.extend(aggregate.filter.iter());
            if let Some(window) = &aggregate.over {
                parts.extend(&window.partition);
                parts.extend(window.order.iter().filter_map(|order| match &order.key {
                    crate::sql::ir::OrderKey::Expression(scalar) => Some(scalar),
                    crate::sql::ir::OrderKey::Output(_) => None,
                }));
            }
            parts
        }
        Node::And(terms) | Node::Or(terms) | Node::Row(terms) => terms.iter().collect(),
        Node::Not(inner) => vec![inner],
        Node::IsNull { argument, .. } | Node::IsTruth { argument, .. } => vec![argument],
        Node::IsDistinct { left, right, .. } => vec![left, right],
        Node::Case { branches, otherwise } => {
            let mut parts: Vec<&Scalar> = branches.iter().flat_map(|(when, then)| [when, then]).collect();
            parts.extend(otherwise.as_deref());
            parts
        }
        Node::InList { argument, list, .. } => std::iter::once(&**argument).chain(list).collect(),
        Node::InQuery { arguments, .. } => arguments.iter().collect(),
        _ => Vec::new(),
    }
}

/// The same, to be changed; without what an aggregate is computed from.
pub fn parts_mut(scalar: &mut Scalar) -> Vec<&mut Scalar> {
    match &mut scalar.node {
        Node::Call { arguments, .. } => arguments.iter_mut().collect(),
        Node::And(terms) | Node::Or(terms) | Node::Row(terms) => terms.iter_mut().collect(),
        Node::Not(inner) => vec![inner],
        Node::IsNull { argument, .. } | Node::IsTruth { argument, .. } => vec![argument],
        Node::IsDistinct { left, right, .. } => vec![left, right],
        Node::Case { branches, otherwise } => {
            let mut parts: Vec<&mut Scalar> = branches.iter_mut().flat_map(|(when, then)| [when, then]).collect();
            parts.extend(otherwise.as_deref_mut());
            parts
        }
        Node::InList { argument, list, .. } => std::iter::once(&mut **argument).chain(list).collect(),
        _ => Vec::new(),
    }
}

/// Whether any node of an expression, itself included, is such.
pub fn any(scalar: &Scalar, test: &dyn Fn(&Node) -> bool) -> bool {
    test(&scalar.node) || parts(scalar).into_iter().any(|part| any(part, test))
}

/// The numbers of the literals in an expression.
pub fn literals(scalar: &Scalar) -> Vec<usize> {
    match &scalar.node {
        Node::Literal { index, .. } => vec![*index],
        _ => parts(scalar).into_iter().flat_map(literals).collect(),
    }
}

/// Gives literals other numbers, where `number` has one; not those inside of aggregates.
pub fn replace_literals(scalar: &mut Scalar, number: &mut dyn FnMut(usize) -> Option<usize>) {
    if let Node::Literal { index, .. } = &mut scalar.node {
        *index = number(*index).unwrap_or(*index);
    }
    parts_mut(scalar).into_iter().for_each(|part| replace_literals(part, number));
}
